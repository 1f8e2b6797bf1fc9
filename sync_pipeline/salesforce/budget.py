"""The day's API requests: counted, watched, and never used up by a sync. Others live on them too.

Source: REST API Developer Guide, "Limit Info Header": every counted answer says how many requests of the last 24 hours
the organization has used, and how many it may.
"""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass, field

import requests

from sync_pipeline.errors import LimitReached
from sync_pipeline.orgs.models import ApiBudget

log = logging.getLogger(__name__)

LIMIT_INFO = "Sforce-Limit-Info"
"""The header; every answer that is counted has it."""

_USAGE = re.compile(r"(?<![\w-])api-usage=(\d+)/(\d+)")
"""Not `per-app-api-usage`, which may stand beside it."""


@dataclass
class Budget:
    """What one client has asked, and what the organization has left.

    Attributes:
        settings: when to warn and when to stop, in percent of the day's requests.
        where: file and line of the settings, for messages.
        calls: requests this client sent that Salesforce counts, repeated ones included.
        used, limit: the organization's requests of the last 24 hours and the most it may send, as last heard; 0 before.
    """

    settings: ApiBudget
    where: str = "salesforce.api_budget"
    calls: int = 0
    used: int = 0
    limit: int = 0
    _warned: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def percent(self) -> float:
        """How much of the day's requests is used; 0 before Salesforce has said so."""
        return 100 * self.used / self.limit if self.limit else 0.0

    @property
    def is_low(self) -> bool:
        """Whether it is time to warn."""
        return self.percent >= self.settings.warn_percent

    def ask(self) -> None:
        """Before each request.

        Raises:
            LimitReached: one more would come too near to the day's limit.
        """
        if self.percent >= self.settings.stop_percent:
            raise LimitReached(
                f"{self.where}: {self.said()}; the sync stops at {self.settings.stop_percent} %, so that others can go on. "
                "What was done is kept.",
                next_step="Sync again later (the count covers the last 24 hours), or raise stop_percent.",
            )

    def heard(self, response: requests.Response) -> None:
        """After each answer."""
        found = _USAGE.search(response.headers.get(LIMIT_INFO, ""))
        if found is None:  # the list of versions and the login are not counted
            return
        with self._lock:  # result pages are read by several threads
            self.calls += 1
            self.used, self.limit = int(found[1]), int(found[2])
            warn, self._warned = self.is_low and not self._warned, self._warned or self.is_low
        if warn:
            log.warning("Salesforce: %s", self.said())

    def said(self) -> str:
        """The state of the day's requests, for a person."""
        return f"{self.used:,} of {self.limit:,} API requests of the last 24 hours are used ({self.percent:.0f} %)"
