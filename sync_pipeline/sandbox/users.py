"""Users of one organization: who owns accounts."""

from __future__ import annotations

from typing import Any

from sync_pipeline.sandbox.ids import SalesforceIds, mixed
from sync_pipeline.sandbox.pools import Pools


class Users:
    """Who owns accounts: mostly active, some inactive, and a few ids that no visible user has.

    Args:
        org: name of the organization.
        accounts: size of the organization; it grows more users with it.
        pools: names.
        salt: the organization's own dice.
        trouble: whether some are inactive or unknown.
    """

    def __init__(self, org: str, accounts: int, pools: Pools, salt: int, *, trouble: bool) -> None:
        make = SalesforceIds("005", pod(salt), 62**3 * 7)
        self.rows: list[tuple[Any, ...]] = []
        self.emails: list[str] = []
        for number in range(8 + min(accounts // 200, 192)):
            dice = mixed(number, salt ^ 0x5)
            first, last = (
                pools.first_names[dice % len(pools.first_names)][0],
                pools.last_names[(dice >> 20) % len(pools.last_names)],
            )
            email = f"{first.slug}.{last.slug}.{number}@{org}-sales.example"
            created = pools.days[dice % 300] + pools.minutes[(dice >> 9) % 1440]
            active = not (trouble and number % 7 == 5)
            self.emails.append(email)
            name = f"{first.text} {last.text}"
            dates = (created, created, created)
            self.rows.append((org, make(number), email, name, first.text, last.text, email, active, *dates))
        self._ids: list[str] = [row[1] for row in self.rows]
        self._unknown = make(62**2) if trouble else None
        self.connected_id = make(62**2 * 2)

    def owner(self, dice: int) -> str:
        """The owner of an account."""
        if self._unknown and dice % 499 == 7:
            return self._unknown
        some, any_one = dice % len(self._ids), (dice >> 11) % len(self._ids)
        return self._ids[min(some, any_one)]  # some own far more than others

    def connected(self, org: str, username: str) -> tuple[Any, ...]:
        """The row of the user whom clients act for."""
        dates = ("2019-01-07T09:00:00.000Z",) * 3
        return (org, self.connected_id, username, "Sync Integration", "Sync", "Integration", username, True, *dates)


def pod(salt: int) -> str:
    """Two characters of a Salesforce instance."""
    return "gKaBmW"[salt % 3 * 2 :][:2]
