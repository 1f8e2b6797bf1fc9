"""What an Upflow organization holds before the first sync: its billing customers, their contacts, some users."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from sync_pipeline.sandbox.billing_data import Customer
from sync_pipeline.sandbox.ids import mixed, uuid_of
from sync_pipeline.sandbox.pools import COUNTRY_CODES, Pools

_EVERY = 397
_ABSENT, _NO_PORTAL = 5, 11
"""Of every 397 customers the fifth is not in Upflow, and the eleventh has portal access switched off."""

_POSITIONS = ("ACCOUNTING", "PAYER", "PURCHASER", "SALES", None)


class UpflowData:
    """Makes Upflow's side of the world, customer by customer.

    Every customer has more than a name (address, VAT number, a custom field of the company's own), so that a client
    which writes back less than it read loses something a test can see.

    Args:
        org: name of the organization.
        pools: names.
        salt: the organization's own dice.
        user_emails: addresses of Salesforce users; the first three have a user in Upflow already.
    """

    def __init__(self, org: str, pools: Pools, salt: int, user_emails: list[str]) -> None:
        self._org, self._pools, self._salt = org, pools, salt ^ 0x0F
        self._region = uuid_of(0, mixed(1, self._salt))
        self._regions = tuple(
            json.dumps([{"id": self._region, "value": value}]) for value in ("North", 'South "B"', "West, far", "East")
        )
        self._addresses = tuple(
            json.dumps(
                {"address": f"{n} Rue de l'Église", "zipcode": f"{10000 + n}", "city": "Zürich", "country": code}
            )
            for n, code in enumerate(COUNTRY_CODES)
            if code
        )
        self.users = [
            (org, uuid_of(n, mixed(n, self._salt ^ 0xA)), email, None, None, None, True)
            for n, email in enumerate(user_emails[:3])
        ]
        self._managers = [row[1] for row in self.users]
        self._contacts = 0
        self._customers = 0

    def insert_first(self, db: sqlite3.Connection) -> None:
        """Insert users and custom fields."""
        db.executemany("INSERT INTO upflow_user VALUES (?, ?, ?, ?, ?, ?, ?)", self.users)
        row = (self._org, self._region, "Region", "STRING", "CUSTOMER")
        db.execute("INSERT INTO upflow_custom_field VALUES (?, ?, ?, ?, ?)", row)

    def of(self, c: Customer, account_email: str | None) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]] | None:
        """The customer's row and its contacts' rows; None for one of the few that are not in Upflow.

        Args:
            c: the billing customer.
            account_email: an address that one contact of the account has, and no other: somebody known to both systems.
        """
        if c.deleted or c.number % _EVERY == _ABSENT:
            return None
        dice = mixed(c.number, self._salt)
        customer_id = uuid_of(self._customers, dice)
        row = (
            self._org,
            customer_id,
            self._customers,
            c.customer_id,
            c.name,
            f"FR{dice % 10**11:011d}" if dice % 3 else None,
            f"411{c.number:07d}",
            self._managers[dice % 3] if dice % 5 == 0 else None,
            f"plan-{dice % 4}" if dice % 4 else None,
            self._addresses[dice % len(self._addresses)],
            None,
            '{"card": true, "directDebit": false}' if dice % 7 == 0 else None,
            self._regions[(dice >> 8) % 4] if dice % 2 else "[]",
            max(0, c.minor_units),
            dice % 6,
            c.number % _EVERY != _NO_PORTAL,
        )
        self._customers += 1
        contacts = [self._contact(customer_id, c.number, 0, dice, account_email if dice % 3 == 0 else None)]
        if dice % 16 > 8:
            contacts.append(self._contact(customer_id, c.number, 1, dice >> 16, None))
        return row, contacts

    def _contact(self, customer_id: str, number: int, place: int, dice: int, email: str | None) -> tuple[Any, ...]:
        pools = self._pools
        first = pools.first_names[(dice >> 4) % len(pools.first_names)][0]
        last = pools.last_names[(dice >> 13) % len(pools.last_names)]
        contact_id = uuid_of(self._contacts, dice ^ self._salt)
        self._contacts += 1
        return (
            self._org,
            contact_id,
            customer_id,
            place,
            first.text,
            last.text,
            None,
            email or f"{first.slug}.{last.slug}.{number}{'yz'[place]}@billing-contacts.example",
            _POSITIONS[dice % 5],
            None,
            None,
            place == 0,
            "[]",
        )
