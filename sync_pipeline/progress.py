"""Progress of long work, for whoever watches.

Clients report what they have done; the command line draws it. Where nobody watches (a Dagster run in the background), a
report costs one call and goes nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Watcher = Callable[[str, int, int | None], None]
"""Called with (what, done so far, total or None), e.g. ("accounts read", 50_000, 120_000)."""

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


def report(what: str, done: int, total: int | None = None) -> None:
    """Tell the watcher, if there is one, how far `what` has come."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher(what, done, total)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Send the reports made inside this block to `watcher`."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)
