"""What a receivables platform can do, as the four imports see it; Upflow and the warehouse both do it.

The plans are made by SQL over what a platform holds, so a platform reads itself into temporary tables (`LISTINGS`), a
page at a time. Writing goes the other way: it takes a plan, and whenever some of its rows are answered it puts the
answers into the temporary table `answers` and calls `record` inside a transaction, so that an answer is kept as soon
as it is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from typing import Protocol

import duckdb
import pandas as pd

LISTINGS = {
    "platform_users": "user_id VARCHAR, email VARCHAR",
    "platform_customers": (
        "platform_id VARCHAR, customer_id VARCHAR, user_id VARCHAR, user_known BOOLEAN, fields_known BOOLEAN"
    ),
    "platform_fields": "field_id VARCHAR, entity VARCHAR, name VARCHAR",
    "platform_values": "customer_id VARCHAR, field_id VARCHAR, value VARCHAR",
}
"""Temporary tables that a platform fills with what it holds.

`customer_id` is the billing system's id. `user_known` and `fields_known` say whether the platform told the assigned
user and the custom fields of a customer at all; where it did not, our own record of what it answered counts.
"""

Recorder = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the platform answered about one row of a plan."""

    billing_customer_id: str
    status: str
    """The ledger's status of the row; `removed` for a contact that is gone; `settled` ends a customer's uncertainty."""
    salesforce_contact_id: str | None = None
    platform_field: str | None = None
    record: str | None = None
    platform_id: str | None = None
    code: str | None = None
    reason: str | None = None
    url: str | None = None
    asked_at: datetime | None = None


_ANSWER_COLUMNS = tuple(field.name for field in fields(Answer))
ANSWERS = ", ".join(f"{name} {'TIMESTAMP' if name == 'asked_at' else 'VARCHAR'}" for name in _ANSWER_COLUMNS)


class Platform(Protocol):
    """A receivables platform."""

    label: str
    """How people call it, in sentences."""
    link_template: str | None
    """Where portal links are made from a template: the template, so that a change of it renews them."""

    def read_users(self, con: duckdb.DuckDBPyConnection) -> None:
        """Fill `platform_users`; addresses in lower case."""

    def read_customers(self, con: duckdb.DuckDBPyConnection) -> None:
        """Fill `platform_customers` and `platform_values`."""

    def read_fields(self, con: duckdb.DuckDBPyConnection) -> None:
        """Fill `platform_fields`."""

    def assign_owners(self, con: duckdb.DuckDBPyConnection, plan: pd.DataFrame, record: Recorder) -> None:
        """Assign the users of the plan's `assign` rows, creating those that don't exist. Never invites anybody."""

    def bring_contacts(self, con: duckdb.DuckDBPyConnection, plan: pd.DataFrame, record: Recorder) -> None:
        """Carry out the plan's `import`, `remove` and `restore` rows."""

    def set_fields(self, con: duckdb.DuckDBPyConnection, plan: pd.DataFrame, record: Recorder) -> None:
        """Set the values of the plan's `write` rows, creating the fields that don't exist."""

    def make_links(
        self,
        con: duckdb.DuckDBPyConnection,
        plan: pd.DataFrame,
        lifetime_days: int,
        now: datetime | None,
        record: Recorder,
    ) -> None:
        """Make a portal link for each of the plan's `ask` rows."""


def fresh(con: duckdb.DuckDBPyConnection, *listings: str) -> None:
    """Create the named temporary tables of `LISTINGS`, empty."""
    for name in listings:
        con.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({LISTINGS[name]})")


def take_answers(con: duckdb.DuckDBPyConnection, answers: Iterable[Answer]) -> None:
    """Put `answers`, and nothing else, into the temporary table `answers`."""
    rows = [astuple(answer) for answer in answers]
    con.execute(f"CREATE OR REPLACE TEMP TABLE answers ({ANSWERS})")
    if rows:
        columns = [list(column) for column in zip(*rows, strict=True)]
        con.execute(f"INSERT INTO temp.answers SELECT {', '.join(['unnest(?)'] * len(columns))}", columns)
