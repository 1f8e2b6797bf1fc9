"""A small HTTP server on loopback that answers as a test says: for what no well-behaved stand-in would do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    status: int = 200
    body: bytes | str | list[Any] | dict[str, Any] = b""
    headers: dict[str, str] = field(default_factory=dict)
    missing_bytes: int = 0
    """How many bytes of the announced body are never sent."""


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Request], Reply]


class Server:
    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._httpd.server_address[1]}"

    def asked(self, method: str, part: str = "") -> list[Request]:
        return [request for request in self.requests if request.method == method and part in request.path]

    def start(self) -> None:
        self._thread = threading.Thread(target=self._httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = Request(self.command, self.path, dict(self.headers.items()), body)
                server.requests.append(request)
                reply = server.answer(request)
                content = reply.body if isinstance(reply.body, (bytes, str)) else json.dumps(reply.body)
                sent = content.encode() if isinstance(content, str) else content
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(sent)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(sent[: len(sent) - reply.missing_bytes])

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = serve

            def log_message(self, format: str, *args: Any) -> None:
                """Keep quiet."""

        return Handler


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    server = Server(answer)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def in_turn(*replies: Reply) -> Answer:
    """Each reply once; the last for ever."""
    waiting = list(replies)
    return lambda request: waiting.pop(0) if len(waiting) > 1 else waiting[0]
