"""One visit of the browser: where a login's page sends it back to after a person has allowed access, or not."""

from __future__ import annotations

import errno
import html
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from sync_pipeline.errors import ConfigurationError, TransientError

PATH = "/OauthRedirect"

WAIT_SECONDS = 300.0
"""How long a person has to log in."""

ANSWER_SECONDS = 120.0
"""How long the browser is kept waiting for what came of it."""

LONGEST_ADDRESS = 16_384
"""Characters; Salesforce's own limit, and no other system's answer is longer."""

_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark }}
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 18vh auto 0; padding: 0 1.5rem }}
  h1 {{ font-size: 1.35rem; font-weight: 600; border-left: .3rem solid {colour}; padding-left: .8rem }}
  p {{ padding-left: 1.1rem }}
</style>
<h1>{title}</h1>
<p>{text}</p>
<p>You can close this window.</p>
</html>
"""


def address(port: int) -> str:
    """The callback URL, which the app must list exactly like this."""
    return f"http://localhost:{port}{PATH}"


class Callback:
    """Waits for one answer to a login, by the browser or pasted, and tells the browser what came of it.

    Args:
        system: whose answer it is, for messages.
        path: of the callback URL.
    """

    def __init__(self, system: str = "Salesforce", path: str = PATH) -> None:
        self.system, self._path = system, path
        self._answers: queue.Queue[dict[str, str]] = queue.Queue()
        self._told = threading.Event()
        self._visited, self._left = threading.Event(), threading.Event()
        self._page = page("Not finished", "sync-pipeline ended before it had an answer.", good=False)

    def wait(self, seconds: float | None = None) -> dict[str, str]:
        """The answer's parameters (`code` and `state`, or `error`).

        Raises:
            TransientError: none came in time.
        """
        seconds = WAIT_SECONDS if seconds is None else seconds
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            try:
                return self._answers.get(timeout=max(0.0, min(left, 0.2)))  # short, so that Ctrl-C gets through
            except queue.Empty:
                if left <= 0:
                    raise TransientError(
                        f"Nobody allowed access within {seconds / 60:.0f} minutes.",
                        next_step=f"Start again. If the browser showed an error of {self.system} (redirect_uri_mismatch, "
                        "invalid_client_id), correct the app's callback URL or client_id first.",
                    ) from None

    def take(self, told: str) -> bool:
        """An answer as the browser's address bar shows it; False where `told` is none."""
        parts = urlsplit(told.strip()[:LONGEST_ADDRESS])
        parameters = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if (parts.path or "/") != self._path or not parameters.keys() & {"code", "error"}:
            return False
        self._answers.put(parameters)
        return True

    def tell(self, title: str, text: str, *, good: bool) -> None:
        """What the browser shows at the end."""
        self._page = page(title, text, good=good)
        self._told.set()

    def page_when_told(self) -> str:
        """The final page, once it is known what came of the login."""
        self._visited.set()
        self._told.wait(ANSWER_SECONDS)
        return self._page

    def shown(self) -> None:
        """The browser has its page."""
        self._left.set()

    def end(self) -> None:
        """Let a browser that is still waiting have its page."""
        self._told.set()
        if self._visited.is_set():
            self._left.wait(5)


@contextmanager
def listening(callback: Callback, port: int) -> Iterator[None]:
    """Serve the callback's address on loopback.

    Raises:
        ConfigurationError: the port is in use or can't be had.
    """
    try:
        server = _Server(callback, port)
    except OSError as error:
        raise _no_port(port, error) from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        callback.end()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # browsers open connections that they never use
    # Windows would let another program listen on the same port.
    allow_reuse_address = not hasattr(socket, "SO_EXCLUSIVEADDRUSE")

    def __init__(self, callback: Callback, port: int) -> None:
        self.callback = callback
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        if self.server.callback.take(self.path):
            self._answer(200, self.server.callback.page_when_told())
            self.server.callback.shown()
        else:
            text = f"This address only takes {self.server.callback.system}'s answer to a login."
            self._answer(404, page("Nothing here", text, good=False))

    def _answer(self, status: int, content: str) -> None:
        sent = content.encode()
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Length": str(len(sent)), "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: the request line holds the code."""


def page(title: str, text: str, *, good: bool) -> str:
    """A small page: what happened, in a sentence."""
    return _PAGE.format(title=html.escape(title), text=html.escape(text), colour="#2e844a" if good else "#ba0517")


def _no_port(port: int, error: OSError) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        why = "another program uses it (Salesforce's own command line uses 1717 too)"
    else:
        why = error.strerror or "unknown trouble"
    return ConfigurationError(
        f"Port {port} of this machine can't be listened on: {why}.",
        next_step="End that program, or choose another port with --port N and add http://localhost:N/OauthRedirect to the "
        "app's callback URLs.",
    )
