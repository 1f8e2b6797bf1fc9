"""The world of one organization: accounts, contacts, billing customers, what Upflow holds, and the truth about them.

Made in one pass, in portions: nothing is held in memory but the portion at hand. Every value comes from running numbers
and the seed, so the same options make the same bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from sync_pipeline.sandbox.billing_data import Customer, Keeper
from sync_pipeline.sandbox.billings import STAND_INS, identified_by
from sync_pipeline.sandbox.derived import MOST_CONTACTS, Derived, MadeCustomer
from sync_pipeline.sandbox.ids import SalesforceIds, mixed, uuid_of
from sync_pipeline.sandbox.options import WorldOptions
from sync_pipeline.sandbox.plants import CLEAN, MATCHED, Plant, Slot, plants_for, text_identifier
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
from sync_pipeline.sandbox.state import ACCOUNT_COLUMNS, USER_COLUMNS
from sync_pipeline.sandbox.truth import TruthFile, Verdict
from sync_pipeline.sandbox.users import Users, pod

_PORTION = 2000
"""Units made before they are inserted: small enough to stay in the processor's cache, large enough for executemany."""

_INSERT_ACCOUNT = (
    f"""INSERT INTO account (org, {", ".join(f'"{column}"' for column in ACCOUNT_COLUMNS)}) VALUES"""
    " (?1, ?2, ?3, ?4, NULL, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, NULL, NULL, ?17,"
    " 'nobody sees this', ?18, ?19, NULL, ?20, ?21, ?21)"
)
"""What is the same for all is not bound: binding a null costs as much as binding a value."""

_INSERT_USER = f'INSERT INTO "user" VALUES ({", ".join("?" * (1 + len(USER_COLUMNS)))})'

Progress = Callable[[str, int, int], None]
"""Called with an organization, its accounts made so far, and its accounts in all."""


class Portion:
    """Records that are made together and inserted together."""

    def __init__(self, first_account: int) -> None:
        self.first_account = first_account
        self.accounts: list[tuple[Any, ...]] = []
        self.customers: list[Customer] = []
        self.upflow: list[MadeCustomer] = []
        self.truth: list[Verdict] = []


class OrganizationWorld:
    """Fills the tables of one organization.

    Args:
        org: its name, which is its billing system's.
        options: size, seed and share of trouble.
        pools: names to pick from.
        username: of the user whom clients act for.
    """

    def __init__(self, org: str, options: WorldOptions, pools: Pools, username: str) -> None:
        self._org, self._options, self._pools, self._username = org, options, pools, username
        self._salt = salt = mixed(options.seed, sum(org.encode()))
        self._identified_by = identified_by(org)
        self._plants = plants_for(self._identified_by)
        self._account_id = SalesforceIds("001", pod(salt), 62**4 * 9)
        self._ghost_id = SalesforceIds("001", pod(salt), 62**4 * 40)  # accounts that never were
        self._contact_id = SalesforceIds("003", pod(salt), 62**4 * 2)
        self._users = Users(org, options.accounts, pools, salt, trouble=options.trouble > 0)
        self._account_number = 0
        self._customer_number = 0

    @property
    def connected_user_id(self) -> str:
        """Id of the user whom clients act for."""
        return self._users.connected_id

    def fill(self, db: sqlite3.Connection, keeper: Keeper, truth: TruthFile, progress: Progress | None = None) -> None:
        """Insert everything, in one pass."""
        db.executemany(_INSERT_USER, [*self._users.rows, self._users.connected(self._org, self._username)])
        derived = Derived(
            db, self._org, self._pools, self._salt, self._contact_id, self._options.trouble, self._users.emails
        )
        portion = Portion(0)
        for unit, plant in enumerate(self._units(), start=1):
            self._add(portion, unit, plant)
            if unit % _PORTION == 0:
                self._insert(portion, db, keeper, truth, derived)
                portion = Portion(self._account_number)
                if progress:
                    progress(self._org, min(self._account_number, self._options.accounts), self._options.accounts)
        self._insert(portion, db, keeper, truth, derived)
        if progress:
            progress(self._org, self._options.accounts, self._options.accounts)

    def _insert(
        self, portion: Portion, db: sqlite3.Connection, keeper: Keeper, truth: TruthFile, derived: Derived
    ) -> None:
        db.executemany(_INSERT_ACCOUNT, portion.accounts)
        keeper.add(portion.customers)
        truth.add(portion.truth)
        ids = (portion.accounts[0][1], portion.accounts[-1][1]) if portion.accounts else None
        derived.insert(ids, self._contact_id(portion.first_account * MOST_CONTACTS), portion.upflow)

    def _units(self) -> Iterator[Plant]:
        """Plants until every account is there: a share of trouble, evenly spread, one kind after the other."""
        left, share = self._options.accounts, self._options.trouble
        unit = troubles = 0
        while left > 0:
            unit += 1
            plant, live = CLEAN, 1
            if int(unit * share) > int((unit - 1) * share):
                trouble = self._plants[troubles % len(self._plants)]
                troubles += 1
                needed = sum(not slot.deleted for slot in trouble.accounts)
                if needed <= left:
                    plant, live = trouble, needed
            left -= live
            yield plant

    def _add(self, portion: Portion, unit: int, plant: Plant) -> None:
        """The records of one plant, and the truth about them."""
        dice = mixed(unit, self._salt)
        first = self._account_number
        account_ids = [self._account_id(first + place) for place in range(len(plant.accounts))]
        value = self._identifier(unit, plant, account_ids, dice)
        name = self._name(unit, dice)
        slug = f"{self._pools.last_names[dice % len(self._pools.last_names)].slug[:20]}{unit}"
        for slot, account_id in zip(plant.accounts, account_ids, strict=True):
            self._add_account(portion, slot, account_id, value, name, slug, dice)
        customer_ids = []
        for place, slot in enumerate(plant.customers):
            called = name if place == 0 else f"{name[:240]} ({place + 1})"
            account = first if plant is CLEAN else None
            customer_ids.append(self._add_customer(portion, slot, value, called, slug, dice + place, account))
        trouble = plant.trouble
        portion.truth += _verdicts("salesforce", trouble, plant.accounts, account_ids, customer_ids)
        portion.truth += _verdicts("billing", trouble, plant.customers, customer_ids, account_ids)

    def _identifier(self, unit: int, plant: Plant, account_ids: list[str], dice: int) -> str:
        if self._identified_by == "account_id":
            return account_ids[0] if account_ids else self._ghost_id(unit)
        return text_identifier(unit, plant.style, dice >> 32)

    def _name(self, unit: int, dice: int) -> str:
        if unit % 97 == 13:
            return ODD_NAMES[unit // 97 % len(ODD_NAMES)]
        last = self._pools.last_names[dice % len(self._pools.last_names)].text
        return f"{last} {WORDS[(dice >> 12) % len(WORDS)]} {LEGAL_FORMS[(dice >> 17) % len(LEGAL_FORMS)]}"

    def _add_account(
        self, portion: Portion, slot: Slot, account_id: str, value: str, name: str, slug: str, dice: int
    ) -> None:
        """One account. Its number (from 1) is in Legacy_Number__c: contacts are made from it."""
        self._account_number = number = self._account_number + 1
        identifier = slot.transform(value)
        pools = self._pools
        day = (dice >> 5) % (DAYS - 300)
        portion.accounts.append(
            (
                self._org,
                account_id,
                name,
                self._users.owner(dice >> 13),
                f"A-{number:07d}",
                INDUSTRIES[(dice >> 7) % len(INDUSTRIES)],
                KINDS[(dice >> 11) % len(KINDS)],
                f"https://www.{slug}.example" if dice % 4 else None,
                float((dice >> 20) % 100_000 * 1000) if dice % 3 else None,
                (dice >> 26) % 5000 if dice % 3 else None,
                COUNTRIES[(dice >> 29) % len(COUNTRIES)],
                identifier if self._identified_by == "customer_id" else None,
                identifier if self._identified_by == "number" else None,
                float(number),
                NOTES[dice % len(NOTES)] if dice % 31 == 0 else None,
                f"https://old-portal.example/{slug}" if dice % 101 == 0 else None,
                (dice >> 33) % 1000 / 10,
                SEGMENTS[(dice >> 36) % len(SEGMENTS)],
                slot.deleted,
                pools.days[day] + pools.minutes[(dice >> 23) % 1440],
                pools.days[day + (dice >> 8) % 300] + pools.minutes[(dice >> 30) % 1440],
            )
        )

    def _add_customer(
        self, portion: Portion, slot: Slot, value: str, name: str, slug: str, dice: int, account: int | None
    ) -> str:
        """One billing customer, `account` the number of the account that is clearly its own; returns its id."""
        number = self._customer_number
        self._customer_number += 1
        identifier = slot.transform(value)
        if self._identified_by == "customer_id":
            customer_id = str(identifier)
        elif self._org in STAND_INS:
            customer_id = STAND_INS[self._org].customer_id(number, mixed(number, self._salt))
        else:
            customer_id = f"K{number + 10_000}"
        day = (dice >> 15) % (DAYS - 300)
        owed = (dice >> 19) % 2_000_000 - 100_000 if dice % 3 else 0
        portion.customers.append(
            Customer(
                number,
                customer_id,
                identifier,
                name,
                f"invoices@{slug}.example" if dice % 12 else None,
                CURRENCIES[(dice >> 3) % len(CURRENCIES)],
                owed,
                COUNTRY_CODES[(dice >> 29) % len(COUNTRY_CODES)],
                f"{self._pools.days[day]}T08:00:00Z",
                f"{self._pools.days[day + (dice >> 8) % 300]}T17:30:00Z",
                dice,
                slot.deleted,
            )
        )
        if not slot.deleted:
            contact = None if account is None else self._contact_id(account * MOST_CONTACTS)
            made = (number, uuid_of(number, mixed(dice, self._salt)), customer_id, name, owed, account, contact)
            portion.upflow.append(MadeCustomer(*made))
        return customer_id


def _verdicts(side: str, trouble: str, slots: tuple[Slot, ...], ids: list[str], others: list[str]) -> Iterator[Verdict]:
    """The truth about one side of a plant. Of a pair or a near miss, the first of each side belong together."""
    for slot, record_id in zip(slots, ids, strict=True):
        if not slot.deleted:
            paired = slot.verdict == MATCHED or slot.near
            yield Verdict(side, record_id, others[0] if paired else None, slot.verdict, slot.near, trouble)
