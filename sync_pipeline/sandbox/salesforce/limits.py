"""How many API calls an organization has a day, and what is used of them."""

from __future__ import annotations

from collections import Counter
from time import time

from sync_pipeline.sandbox.salesforce.errors import ApiError

_HOURS = 24


class Usage:
    """API calls of the last 24 hours: Salesforce's day rolls, it has no midnight. This one rolls by whole hours.

    It lives in memory. Nothing that a client does outlives the sandbox longer than a call does, so a restart is a new day.

    Args:
        limit: calls of each organization a day.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._hours: dict[str, Counter[int]] = {}

    def used(self, org: str) -> int:
        """Calls of the last 24 hours."""
        oldest = _hour() - _HOURS + 1
        return sum(calls for hour, calls in self._hours.get(org, Counter()).items() if hour >= oldest)

    def count(self, org: str) -> bool:
        """Count one call; whether there was one left. A refused call is not counted."""
        if self.used(org) >= self.limit:
            return False
        self._hours.setdefault(org, Counter())[_hour()] += 1
        return True

    def set(self, org: str, used: int) -> None:
        """Say that so many calls were used, just now."""
        self._hours[org] = Counter({_hour(): used})


def total_requests_exceeded() -> ApiError:
    """The answer to every counted call once the day's are used up; Salesforce sends no Retry-After with it."""
    return ApiError("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", 403)


def _hour() -> int:
    return int(time() // 3600)
