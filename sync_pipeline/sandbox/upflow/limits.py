"""Upflow's limits: requests a minute and requests at once, for each organization."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

AT_ONCE = 10
_WINDOW = 60.0


class Refused(Exception):
    """The message of a 429."""


class Limits:
    """Counts requests of the last 60 seconds and those in flight.

    Args:
        per_minute: requests an organization may send in any 60 seconds.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._seen: dict[str, deque[float]] = {}
        self._running: dict[str, int] = {}

    @contextmanager
    def request(self, org: str) -> Iterator[None]:
        """Around one request of an organization.

        Raises:
            Refused: one more than either limit; it does not count towards them.
        """
        now = time.monotonic()
        seen = self._seen.setdefault(org, deque())
        while seen and seen[0] <= now - _WINDOW:
            seen.popleft()
        if self._running.get(org, 0) >= AT_ONCE:
            raise Refused(f"Too many requests: at most {AT_ONCE} at once")
        if len(seen) >= self._per_minute:
            raise Refused(f"Too many requests: at most {self._per_minute} a minute")
        seen.append(now)
        self._running[org] = self._running.get(org, 0) + 1
        try:
            yield
        finally:
            self._running[org] -= 1
