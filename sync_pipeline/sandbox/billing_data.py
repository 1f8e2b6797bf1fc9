"""Where billing customers are kept: the state for systems with an API, a company's own SQLite database, a CSV file."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sync_pipeline.sandbox.pools import FIRST_SECOND

COLUMNS = (
    "customer_id",
    "display_id",
    "name",
    "company_name",
    "primary_email",
    "phone",
    "country",
    "currency",
    "balance",
    "status",
    "payment_terms",
    "created_at",
    "updated_at",
)
"""Of the database's table `customers`; the CSV file has `company_number` after them."""

_TERMS = ("net 30", "net 60", "due on receipt", None)
_DECIMALS = {"jpy": 0, "kwd": 3}
_SECONDS_TO_UPDATE = 100 * 86_400
_63_BITS = (1 << 63) - 1
"""What an INTEGER of SQLite holds."""


class Customer(NamedTuple):
    """One billing customer, before its system gives it a shape."""

    number: int
    customer_id: str
    identifier: str | None
    name: str
    email: str | None
    currency: str
    minor_units: int
    country: str | None
    created: str
    updated: str
    dice: int
    deleted: bool


class Keeper(Protocol):
    """Takes the customers of a world as they come, in portions."""

    def add(self, customers: Iterable[Customer]) -> None:
        """Keep a portion."""

    def close(self) -> None:
        """Finish the file, if it is one."""


class StateKeeper:
    """Customers of a billing system with an API, in the state: its stand-in makes the vendor's JSON of each row."""

    def __init__(self, db: sqlite3.Connection, org: str) -> None:
        self._db, self._org = db, org
        self._company: str | None = None
        """Id of the last company without a parent."""

    def add(self, customers: Iterable[Customer]) -> None:
        """Insert a portion."""
        marks = ", ".join("?" * 19)
        self._db.executemany(f"INSERT INTO billing_customer VALUES ({marks})", map(self._row, customers))

    def _row(self, c: Customer) -> tuple[Any, ...]:
        created = FIRST_SECOND + 20 * c.number
        is_individual = (c.dice >> 44) % 9 == 0
        parent = self._company if (c.dice >> 40) % 40 == 0 else None
        if parent is None and not is_individual:
            self._company = c.customer_id
        return (
            self._org,
            c.number,
            c.customer_id,
            c.identifier,
            c.name,
            c.email,
            c.currency,
            c.minor_units,
            c.country,
            f"+33 1 {c.dice % 10**8:08d}" if c.dice % 4 == 0 else None,
            created,
            created + _SECONDS_TO_UPDATE,
            c.dice & _63_BITS,
            _is_archived(c),
            c.deleted,
            parent,
            None,
            is_individual,
            "{}",
        )

    def close(self) -> None:
        """Nothing to do: the state is one file for all."""


def _is_archived(c: Customer) -> bool:
    """An archived customer is matched like any other: the truth knows no difference."""
    return c.dice % 61 == 0


def _plain_row(c: Customer) -> tuple[Any, ...]:
    decimals = _DECIMALS.get(c.currency, 2)
    return (
        c.customer_id,
        f"C{c.number + 1:07d}",
        c.name,
        c.name if c.dice % 2 else None,
        c.email,
        f"+49 30 {c.dice % 10**7:07d}" if c.dice % 4 == 0 else None,
        c.country,
        c.currency.upper(),
        f"{c.minor_units / 10**decimals:.{decimals}f}",
        "archived" if _is_archived(c) else "active",
        _TERMS[c.dice % 4],
        c.created,
        c.updated,
    )


class DatabaseKeeper:
    """Customers in the table `customers` of a SQLite file; the identifier is their own id."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        types = {"customer_id": "TEXT NOT NULL", "balance": "NUMERIC NOT NULL"}
        columns = ", ".join(f"{name} {types.get(name, 'TEXT')}" for name in COLUMNS)
        self._db.execute(f"CREATE TABLE customers ({columns})")
        self._db.execute("BEGIN")

    def add(self, customers: Iterable[Customer]) -> None:
        """Insert a portion."""
        marks = ", ".join("?" * len(COLUMNS))
        self._db.executemany(f"INSERT INTO customers VALUES ({marks})", map(_plain_row, customers))

    def close(self) -> None:
        """Finish with the index: a million ids in no order into an index that exists take several times as long."""
        self._db.execute("CREATE UNIQUE INDEX customers_id ON customers (customer_id)")
        self._db.execute("COMMIT")
        self._db.close()


class FileKeeper:
    """Customers in a CSV file (UTF-8, commas, quotes where needed); the identifier is the company number."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow((*COLUMNS, "company_number"))

    def add(self, customers: Iterable[Customer]) -> None:
        """Write a portion."""
        self._writer.writerows((*_plain_row(c), c.identifier) for c in customers)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
