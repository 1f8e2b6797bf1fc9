"""What a billing system's module offers, and where on disk its customers stand until they are known to be sound."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

import duckdb

from sync_pipeline.errors import ConfigurationError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.warehouse import literal, quote
from sync_pipeline.warehouse.tables import BILLING_CUSTOMERS

CUSTOMERS = "billing_staging.customers"
"""The customers as read: the columns of BILLING_CUSTOMERS but `source`, and `position` (order of reading)."""
ROW_GROUP = 16_384
NAMED_FIELDS = 30
"""As many fields are listed where one isn't found."""
COLUMNS = tuple(column for column in BILLING_CUSTOMERS.columns if column.name != "source")


@dataclass(frozen=True, slots=True)
class Staged:
    """What is known about the customers in `billing_staging.customers` besides their rows."""

    latest_wins: bool = False
    """The system keeps ids unique: an id read twice is a customer that changed meanwhile; the later reading counts."""
    lines: Callable[[set[str]], dict[str, list[int]]] | None = None
    """Where a file says the given customer ids ("" stands for every blank one): first lines of each, from 1."""


class Source(Protocol):
    """One billing system; its module is the implementation."""

    def stage(self, con: duckdb.DuckDBPyConnection, org: Organization, folder: Path) -> Staged:
        """Read every customer into `billing_staging.customers`; `folder` is on disk and goes away afterwards."""
        ...

    def customer_url(self, org: Organization, customer_id: str) -> str | None:
        """The page people open to see the customer; None where there is none."""
        ...


@contextmanager
def staging(con: duckdb.DuckDBPyConnection) -> Iterator[Path]:
    """A folder and a database on disk (attached as `billing_staging`) for one reading; both are gone afterwards.

    On disk, because customers read from a system of any size must not need memory of that size.
    """
    with tempfile.TemporaryDirectory(prefix="sync-pipeline-billing-") as name:
        folder = Path(name)
        # Small groups of rows, each written as soon as it is full: custom fields can make rows long.
        con.execute("SET write_buffer_row_group_count = 1")
        con.execute(f"ATTACH {literal(str(folder / 'staging.duckdb'))} AS billing_staging (ROW_GROUP_SIZE {ROW_GROUP})")
        try:
            yield folder
        finally:
            con.execute("DETACH billing_staging")
            con.execute("RESET write_buffer_row_group_count")


def put_customers(
    con: duckdb.DuckDBPyConnection,
    expressions: Mapping[str, str],
    relation: str,
    params: Mapping[str, object],
    *,
    also: Sequence[str] = (),
) -> None:
    """Create `billing_staging.customers` from `relation`.

    Args:
        con: the connection, with staging attached.
        expressions: column of the customer row to the SQL expression that gives it; a column left out is null.
        relation: what to select from, e.g. a table function.
        params: values for the `$names` in expressions and relation.
        also: names of further expressions, which are no columns of the customer row.
    """
    columns = [f"CAST({expressions.get(c.name, 'NULL')} AS {c.type}) AS {quote(c.name)}" for c in COLUMNS]
    columns += [f"{expressions[name]} AS {quote(name)}" for name in ("position", *also)]
    con.execute(f"CREATE OR REPLACE TABLE {CUSTOMERS} AS SELECT {', '.join(columns)} FROM {relation}", dict(params))


def no_such_field(
    org: Organization, place: tuple[str, ...], wanted: str, present: Sequence[str], subject: str
) -> ConfigurationError:
    """The error for a field or column that the YAML names and the system does not have.

    Args:
        org: the organization.
        place: keys of the YAML file that name it.
        wanted: the name there.
        present: the names the system has.
        subject: beginning of the sentence, e.g. "the file has no".
    """
    near = get_close_matches(wanted.lower(), [name.lower() for name in present], n=1, cutoff=0.75)
    similar = next((name for name in present if near and name.lower() == near[0]), None)
    return ConfigurationError(
        f"{org.where(*place)}: {subject} {wanted!r}. {listed(present)}",
        next_step=f"Is it {similar!r}?" if similar else f"Name one of them at {place[-1]}.",
    )


def listed(names: Sequence[str]) -> str:
    """`It has: a, b, c and 4 more.`"""
    if not names:
        return "It has none at all."
    rest = f" and {len(names) - NAMED_FIELDS} more" if len(names) > NAMED_FIELDS else ""
    return f"It has: {', '.join(repr(name) for name in names[:NAMED_FIELDS])}{rest}."
