"""Users and contacts of one organization."""

from __future__ import annotations

from typing import Any

from sync_pipeline.sandbox.ids import mixed, salesforce_ids
from sync_pipeline.sandbox.pools import DAYS, DEPARTMENTS, Pools

LETTERS = "abcd"
MOST_CONTACTS = len(LETTERS)
_HOW_MANY = (0, 1, 1, 2, 2, 2, 3, 4)
_DAYS_OF_CONTACTS = DAYS - 8


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
        make = salesforce_ids("005", pod(salt), 62**3 * 7)
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


class Contacts:
    """Contacts of accounts, none to four each, in no order of age.

    Args:
        org: name of the organization.
        pools: names, titles, dates.
        salt: the organization's own dice.
        trouble: share of contacts in whose addresses something is wrong: none, or one that another contact has.
    """

    def __init__(self, org: str, pools: Pools, salt: int, trouble: float) -> None:
        self._org, self._pools, self._salt = org, pools, salt ^ 0xC
        self._make = salesforce_ids("003", pod(salt), 62**3 * 31)
        self._wrong = int(trouble * 1000)
        self._elsewhere: str | None = None

    def of(self, number: int, account_id: str, domain: str) -> list[tuple[Any, ...]]:
        """Rows of the contacts of the account with this running number."""
        pools = self._pools
        rows: list[tuple[Any, ...]] = []
        account_dice = mixed(number, self._salt)
        first_contact = number * MOST_CONTACTS
        for place in range(_HOW_MANY[account_dice & 7]):
            dice = mixed(first_contact + place, self._salt)
            first, language = pools.first_names[dice % len(pools.first_names)]
            last = pools.last_names[(dice >> 12) % len(pools.last_names)]
            email: str | None = f"{first.slug}.{last.slug}.{number}{LETTERS[place]}@{domain}"
            if (dice >> 24) % 1000 < self._wrong:
                email = self._wrong_email(dice >> 34, rows)
            elif place == 0:
                self._elsewhere = email
            # Days differ among the contacts of an account, so that one is the oldest.
            created = (
                pools.days[(dice >> 40) % (_DAYS_OF_CONTACTS // 4) * 4 + place] + pools.minutes[(dice >> 16) % 1440]
            )
            name = f"{first.text} {last.text}"
            rows.append(
                (
                    self._org,
                    self._make(first_contact + place),
                    account_id,
                    None if dice % 41 == 3 else first.text,
                    last.text,
                    last.text if dice % 41 == 3 else name,
                    email,
                    None if dice % 5 == 0 else f"+1 (555) {(dice >> 30) % 1000:03d}-{dice % 10000:04d}",
                    pools.titles[(dice >> 20) % len(pools.titles)],
                    DEPARTMENTS[(dice >> 44) % len(DEPARTMENTS)],
                    None if dice % 11 == 0 else language,
                    False,
                    created,
                    created,
                    created,
                )
            )
        return rows

    def _wrong_email(self, dice: int, before: list[tuple[Any, ...]]) -> str | None:
        """No address, that of a contact before in the same account, or that of another account's contact."""
        if dice % 3 == 0:
            return None
        shared = before[0][6] if before and dice % 3 == 1 else self._elsewhere
        return str(shared).upper() if shared and dice % 2 else shared


def pod(salt: int) -> str:
    """Two characters of a Salesforce instance."""
    return "gKaBmW"[salt % 3 * 2 :][:2]
