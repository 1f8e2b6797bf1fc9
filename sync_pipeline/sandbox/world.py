"""The world of one organization: accounts, contacts, billing customers, what Upflow holds, and the truth about them.

Made in one pass, in portions: nothing is held in memory but the portion at hand. Every value comes from running numbers
and the seed, so the same options make the same bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from sync_pipeline.sandbox.billing_data import Customer, Keeper
from sync_pipeline.sandbox.ids import mixed, salesforce_ids, stripe_customer_id
from sync_pipeline.sandbox.options import WorldOptions
from sync_pipeline.sandbox.people import Contacts, Users, pod
from sync_pipeline.sandbox.plants import CLEAN, Plant, Slot, plants_for, text_identifier
from sync_pipeline.sandbox.pools import (
    COUNTRIES,
    COUNTRY_CODES,
    CURRENCIES,
    DAYS,
    INDUSTRIES,
    KINDS,
    LEGAL_FORMS,
    NOTES,
    ODD_NAMES,
    SEGMENTS,
    WORDS,
    Pools,
)
from sync_pipeline.sandbox.state import ACCOUNT_COLUMNS, CONTACT_COLUMNS, USER_COLUMNS
from sync_pipeline.sandbox.truth import TruthFile, Verdict
from sync_pipeline.sandbox.upflow_data import UpflowData

_PORTION = 2000
"""Units made before they are inserted: small enough to stay in the processor's cache, large enough for executemany."""

Progress = Callable[[str, int, int], None]
"""Called with an organization, its accounts made so far, and its accounts in all."""

_OLD_LINK = "https://old-portal.example/{}"


def _insert(table: str, columns: int) -> str:
    return f'INSERT INTO "{table}" VALUES ({", ".join("?" * columns)})'


class Portion:
    """Rows of one portion, by table."""

    def __init__(self) -> None:
        self.accounts: list[tuple[Any, ...]] = []
        self.contacts: list[tuple[Any, ...]] = []
        self.customers: list[Customer] = []
        self.upflow_customers: list[tuple[Any, ...]] = []
        self.upflow_contacts: list[tuple[Any, ...]] = []
        self.truth: list[Verdict] = []

    def insert(self, db: sqlite3.Connection, keeper: Keeper, truth: TruthFile) -> None:
        """Hand everything on."""
        db.executemany(_insert("account", 1 + len(ACCOUNT_COLUMNS)), self.accounts)
        db.executemany(_insert("contact", 1 + len(CONTACT_COLUMNS)), self.contacts)
        db.executemany(_insert("upflow_customer", 16), self.upflow_customers)
        db.executemany(_insert("upflow_contact", 13), self.upflow_contacts)
        keeper.add(self.customers)
        truth.add(self.truth)


class OrganizationWorld:
    """Fills the tables of one organization.

    Args:
        org: its name, which is the kind of its billing system.
        options: size, seed and share of trouble.
        pools: names to pick from.
        username: of the user whom clients act for.
    """

    def __init__(self, org: str, options: WorldOptions, pools: Pools, username: str) -> None:
        self._org, self._options, self._pools = org, options, pools
        salt = mixed(options.seed, sum(org.encode()))
        self._salt = salt
        self._plants = plants_for(org)
        self._account_id = salesforce_ids("001", pod(salt), 62**4 * 9)
        self._ghost_id = salesforce_ids("001", pod(salt), 62**4 * 40)  # accounts that never were
        self._users = Users(org, options.accounts, pools, salt, trouble=options.trouble > 0)
        self._username = username
        self._contacts = Contacts(org, pools, salt, options.trouble)
        self._upflow = UpflowData(org, pools, salt, self._users.emails)
        self._account_number = 0
        self._customer_number = 0

    @property
    def connected_user_id(self) -> str:
        """Id of the user whom clients act for."""
        return self._users.connected_id

    def fill(self, db: sqlite3.Connection, keeper: Keeper, truth: TruthFile, progress: Progress | None = None) -> None:
        """Insert everything, in one pass."""
        users = [*self._users.rows, self._users.connected(self._org, self._username)]
        db.executemany(_insert("user", 1 + len(USER_COLUMNS)), users)
        self._upflow.insert_first(db)
        portion = Portion()
        for unit, plant in enumerate(self._units(), start=1):
            self._add(portion, unit, plant)
            if unit % _PORTION == 0:
                portion.insert(db, keeper, truth)
                portion = Portion()
                if progress:
                    progress(self._org, self._account_number, self._options.accounts)
        portion.insert(db, keeper, truth)
        if progress:
            progress(self._org, self._options.accounts, self._options.accounts)

    def _units(self) -> Iterator[Plant]:
        """Plants until every account is there: a share of trouble, evenly spread, one kind after the other."""
        left, share = self._options.accounts, self._options.trouble
        unit = troubles = 0
        while left > 0:
            unit += 1
            plant = CLEAN
            if int(unit * share) > int((unit - 1) * share):
                plant = self._plants[troubles % len(self._plants)]
                troubles += 1
            live = sum(not slot.deleted for slot in plant.accounts)
            if live > left:
                plant, live = CLEAN, 1
            left -= live
            yield plant

    def _add(self, portion: Portion, unit: int, plant: Plant) -> None:
        """The records of one plant, and the truth about them."""
        dice = mixed(unit, self._salt)
        account_ids = [self._account_id(self._account_number + place) for place in range(len(plant.accounts))]
        value = self._identifier(unit, plant, account_ids, dice)
        name = self._name(unit, dice)
        slug = f"{self._pools.last_names[dice % len(self._pools.last_names)].slug[:20]}{unit}"
        email = None
        for slot, account_id in zip(plant.accounts, account_ids, strict=True):
            email = self._add_account(portion, slot, account_id, value, name, slug, dice) or email
        first_customer = len(portion.customers)
        for place, slot in enumerate(plant.customers):
            self._add_customer(
                portion, slot, value, name if place == 0 else f"{name[:240]} ({place + 1})", slug, dice + place
            )
            self._add_upflow(portion, email if plant is CLEAN and place == 0 else None)
        customer_ids = [customer.customer_id for customer in portion.customers[first_customer:]]
        portion.truth += _verdicts("salesforce", plant.trouble, plant.accounts, account_ids, customer_ids)
        portion.truth += _verdicts("billing", plant.trouble, plant.customers, customer_ids, account_ids)

    def _identifier(self, unit: int, plant: Plant, account_ids: list[str], dice: int) -> str:
        if self._org == "stripe":
            return account_ids[0] if account_ids else self._ghost_id(unit)
        return text_identifier(unit, plant.style, dice >> 32)

    def _name(self, unit: int, dice: int) -> str:
        if unit % 97 == 13:
            return ODD_NAMES[unit // 97 % len(ODD_NAMES)]
        last = self._pools.last_names[dice % len(self._pools.last_names)].text
        return f"{last} {WORDS[(dice >> 12) % len(WORDS)]} {LEGAL_FORMS[(dice >> 17) % len(LEGAL_FORMS)]}"

    def _add_account(
        self, portion: Portion, slot: Slot, account_id: str, value: str, name: str, slug: str, dice: int
    ) -> str | None:
        """One account with its contacts; returns an address that only its oldest row has, if there is one."""
        number = self._account_number
        self._account_number += 1
        identifier = slot.transform(value)
        pools = self._pools
        day = (dice >> 5) % (DAYS - 300)
        created = pools.days[day] + pools.minutes[(dice >> 23) % 1440]
        modified = pools.days[day + (dice >> 8) % 300] + pools.minutes[(dice >> 30) % 1440]
        portion.accounts.append(
            (
                self._org,
                account_id,
                name,
                self._users.owner(dice >> 13),
                None,
                f"A-{number + 1:07d}",
                INDUSTRIES[(dice >> 7) % len(INDUSTRIES)],
                KINDS[(dice >> 11) % len(KINDS)],
                f"https://www.{slug}.example" if dice % 4 else None,
                float((dice >> 20) % 100_000 * 1000) if dice % 3 else None,
                (dice >> 26) % 5000 if dice % 3 else None,
                COUNTRIES[(dice >> 29) % len(COUNTRIES)],
                identifier if self._org == "database" else None,
                identifier if self._org == "file" else None,
                float(number + 1),
                NOTES[dice % len(NOTES)] if dice % 31 == 0 else None,
                _OLD_LINK.format(slug) if dice % 101 == 0 else None,
                None,
                None,
                (dice >> 33) % 1000 / 10,
                "nobody sees this",
                SEGMENTS[(dice >> 36) % len(SEGMENTS)],
                slot.deleted,
                None,
                created,
                modified,
                modified,
            )
        )
        contacts = self._contacts.of(number, account_id, f"{slug}.example") if not slot.deleted else []
        portion.contacts += contacts
        own = f"{number}a@"
        return contacts[0][6] if contacts and contacts[0][6] and own in contacts[0][6] else None

    def _add_customer(self, portion: Portion, slot: Slot, value: str, name: str, slug: str, dice: int) -> None:
        number = self._customer_number
        self._customer_number += 1
        identifier = slot.transform(value)
        if self._org == "stripe":
            customer_id = stripe_customer_id(number, mixed(number, self._salt))
        else:
            customer_id = str(identifier) if self._org == "database" else f"K{number + 10_000}"
        day = (dice >> 15) % (DAYS - 300)
        portion.customers.append(
            Customer(
                number=number,
                customer_id=customer_id,
                identifier=identifier,
                name=name,
                email=f"invoices@{slug}.example" if dice % 12 else None,
                currency=CURRENCIES[(dice >> 3) % len(CURRENCIES)],
                minor_units=(dice >> 19) % 2_000_000 - 100_000 if dice % 3 else 0,
                country=COUNTRY_CODES[(dice >> 29) % len(COUNTRY_CODES)],
                created=f"{self._pools.days[day]}T08:00:00Z",
                updated=f"{self._pools.days[day + (dice >> 8) % 300]}T17:30:00Z",
                dice=dice,
                deleted=slot.deleted,
            )
        )

    def _add_upflow(self, portion: Portion, account_email: str | None) -> None:
        """Upflow's idea of the customer that was added last."""
        made = self._upflow.of(portion.customers[-1], account_email)
        if made:
            portion.upflow_customers.append(made[0])
            portion.upflow_contacts += made[1]


def _verdicts(side: str, trouble: str, slots: tuple[Slot, ...], ids: list[str], others: list[str]) -> Iterator[Verdict]:
    """The truth about one side of a plant. Of a pair or a near miss, the first of each side belong together."""
    for slot, record_id in zip(slots, ids, strict=True):
        if not slot.deleted:
            paired = slot.verdict == "matched" or slot.near
            yield Verdict(side, record_id, others[0] if paired else None, slot.verdict, slot.near, trouble)
