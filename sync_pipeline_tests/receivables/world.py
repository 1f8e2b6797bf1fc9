"""A small world in the warehouse: what Salesforce, the billing system and the matching left there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import duckdb

from sync_pipeline.orgs.models import Organization
from sync_pipeline.receivables import Platform, contacts, custom_fields, open_platform, owners, portal_links
from sync_pipeline.warehouse import quote

EPOCH = datetime(2024, 1, 1)
CONTACT_COLUMNS = (
    "contact_id",
    "account_id",
    "first_name",
    "last_name",
    "email",
    "phone",
    "title",
    "custom_fields",
    "created_at",
)
MODULES = {"owners": owners, "contacts": contacts, "custom_fields": custom_fields, "portal_links": portal_links}


@dataclass(frozen=True)
class Contact:
    id: str
    account: str
    email: str | None
    age: int = 0
    first_name: str | None = "Ada"
    last_name: str | None = "Berg"
    phone: str | None = None
    title: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class User:
    id: str
    email: str | None
    active: bool = True
    name: str = "Otto Owner"


@dataclass
class World:
    """Rows to put into the warehouse. `pairs` maps matched customers to accounts; the rest is set aside."""

    customers: dict[str, list[str]] = field(default_factory=dict)
    accounts: dict[str, tuple[str | None, dict[str, str | None] | None]] = field(default_factory=dict)
    pairs: dict[str, str] = field(default_factory=dict)
    users: list[User] = field(default_factory=list)
    contacts: list[Contact] = field(default_factory=list)

    def change(self, contact_id: str, **changes: Any) -> None:
        self.contacts = [replace(c, **changes) if c.id == contact_id else c for c in self.contacts]

    def load(self, con: duckdb.DuckDBPyConnection) -> None:
        fill(
            con,
            "billing_customers",
            ("source", "customer_id", "emails"),
            [("file", c, e) for c, e in self.customers.items()],
        )
        fill(
            con,
            "salesforce_accounts",
            ("account_id", "owner_id", "custom_fields"),
            [
                (a, owner, None if fields is None else json.dumps(fields))
                for a, (owner, fields) in self.accounts.items()
            ],
        )
        fill(
            con,
            "salesforce_users",
            ("user_id", "name", "first_name", "last_name", "email", "is_active"),
            [(u.id, u.name, *u.name.split(), u.email, u.active) for u in self.users],
        )
        fill(
            con,
            "salesforce_contacts",
            CONTACT_COLUMNS,
            [
                (c.id, c.account, c.first_name, c.last_name, c.email, c.phone, c.title, fields, created)
                for c in self.contacts
                for fields, created in [(json.dumps({"Language__c": c.language}), EPOCH + timedelta(days=c.age))]
            ],
        )
        aside = [(c, None, "no_counterpart") for c in self.customers if c not in self.pairs]
        aside += [(None, a, "no_counterpart") for a in self.accounts if a not in self.pairs.values()]
        fill(
            con,
            "account_mapping",
            ("billing_customer_id", "salesforce_account_id", "verdict"),
            [(c, a, "matched") for c, a in self.pairs.items()] + aside,
        )


def fill(con: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    con.execute(f"DELETE FROM {quote(table)}")
    rows = list(rows)
    if rows:
        marks = ", ".join("?" * len(columns))
        con.executemany(f"INSERT INTO {quote(table)} ({', '.join(map(quote, columns))}) VALUES ({marks})", rows)


def sync(
    con: duckdb.DuckDBPyConnection, org: Organization, platform: Platform | None = None, **now: datetime
) -> dict[str, int]:
    """One sync of all four; rows planned by module."""
    platform = platform or open_platform(con, org)
    planned = {}
    for name, module in MODULES.items():
        clock = now if name == "portal_links" else {}
        plan = module.plan(con, org, platform, **clock)  # type: ignore[operator]
        assert dict(plan.dtypes.astype(str)) == module.PLAN_COLUMNS
        assert not plan.duplicated(list(module.PLAN_KEY)).any()
        planned[name] = len(plan)
        module.apply(con, org, platform, plan, **clock)  # type: ignore[operator]
    return planned


def table(con: duckdb.DuckDBPyConnection, columns: str, source: str) -> list[tuple[Any, ...]]:
    return con.execute(f"SELECT {columns} FROM {source} ORDER BY ALL").fetchall()
