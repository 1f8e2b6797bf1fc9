"""Calls as they come in: what each is, who makes it, and the list of them in order."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

KEPT = 20_000
"""Calls that the list remembers."""


@dataclass
class Visit:
    """One call.

    Args:
        method: as it will be handled.
        target: path and query.
        route: the path with names for what varies, e.g. /services/data/{version}/jobs/query/{job}; "?" for no address of
            Salesforce's.
        org: short name of the organization, or "" for somebody unknown.
        number: how many calls came before it.
        at_once: calls of this organization that are being served, this one included.
        struck: actions of the rules that struck it.
    """

    method: str
    target: str
    route: str
    org: str
    number: int = 0
    at_once: int = 1
    struck: list[str] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        """As JSON; `faults` fills as rules strike."""
        return {
            "number": self.number,
            "method": self.method,
            "route": self.route,
            "org": self.org,
            "faults": self.struck,
        }


current: ContextVar[Visit | None] = ContextVar("current", default=None)
"""The call that is being served; work that it started in the background keeps it."""


class Visits:
    """Every call since the start, in the order in which they came. A restart begins anew."""

    def __init__(self) -> None:
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT)  # without targets: a query may have 16 kB
        self._count = 0
        self._serving: Counter[str] = Counter()

    @contextmanager
    def serving(self, visit: Visit) -> Iterator[None]:
        """Enter a call, until it is served."""
        visit.number = self._count
        self._count += 1
        self._kept.append(visit.shown())
        self._serving[visit.org] += 1
        visit.at_once = self._serving[visit.org]
        mark = current.set(visit)
        try:
            yield
        finally:
            current.reset(mark)
            self._serving[visit.org] -= 1

    def since(self, number: int) -> dict[str, Any]:
        """The calls from this number on, and the number that the next will have."""
        return {"calls": [call for call in self._kept if call["number"] >= number], "next": self._count}
