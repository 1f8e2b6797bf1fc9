"""Sending a person's browser to a login, and waiting for what it comes back with."""

from __future__ import annotations

import threading
import webbrowser
from contextlib import ExitStack, suppress
from pathlib import Path

from sync_pipeline.cli.output import err
from sync_pipeline.errors import ConfigurationError
from sync_pipeline.logins import callback
from sync_pipeline.logins.tokens import KEYRING

HOW = "as the user that the sync shall work as, and allow access. The app must list exactly this callback URL: {}"


def listen(stack: ExitStack, waiting: callback.Callback, port: int, *, needed: bool) -> bool:
    """Serve the callback's address until the stack ends; False where the port can't be had and the answer can be pasted."""
    try:
        stack.enter_context(callback.listening(waiting, port))
    except ConfigurationError as error:
        if needed:
            raise
        err.print(f"{error.message} The answer can be pasted here all the same.", markup=False)
        return False
    return True


def send(waiting: callback.Callback, address: str, redirect_uri: str, *, browser: bool, listens: bool) -> None:
    """Open the address, or tell it; where the browser can't be relied on to come back, take its answer pasted.

    Args:
        waiting: gets the answer.
        address: where the login begins.
        redirect_uri: where it ends.
        browser: whether to open one here.
        listens: whether this machine serves the redirect_uri.
    """
    if browser:
        # In a thread: some browsers end only when their window is closed.
        threading.Thread(target=_open, args=(address,), daemon=True).start()
        err.print(f"If no browser opens, open this address:\n{address}", markup=False)
        if listens:
            return
    else:
        err.print(f"Open this address in a browser on any machine:\n{address}", markup=False)
    if listens:
        port = redirect_uri.rpartition(":")[2].partition("/")[0]
        err.print(
            f"A browser that reaches port {port} of this machine comes back by itself. For that over ssh, log in here with: "
            f"ssh -L {port}:localhost:{port} ...",
            markup=False,
        )
    ends = "Any other ends at a page that can't be reached" if listens else "It ends at a page that need not work"
    err.print(f"{ends}: paste its address ({redirect_uri}?code=...) here.", markup=False)
    threading.Thread(target=_read_pasted, args=(waiting,), daemon=True).start()


def kept_where(kept_in: str, folder: Path) -> str:
    """The sentence that says where a login is kept."""
    where = "the operating system's keyring" if kept_in == KEYRING else f"{folder}, for you alone to read"
    return f"The login is kept in {where}."


def _open(address: str) -> None:
    if not webbrowser.open(address):
        err.print("No browser could be started here.", markup=False)


def _read_pasted(waiting: callback.Callback) -> None:
    # Not by sys.stdin: a thread that waits in there keeps the interpreter from ending in good order.
    with suppress(OSError), open(0, encoding="utf-8", errors="replace", closefd=False) as typed:
        for line in typed:
            if line.strip() and not waiting.take(line):
                err.print("This is not the address that the browser ended at. Paste it whole.", markup=False)
