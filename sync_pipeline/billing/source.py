"""What a billing system's module offers, and the words for a field that isn't there or can't serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

import duckdb

from sync_pipeline.billing.settings import BillingSettings
from sync_pipeline.errors import ConfigurationError, DataError
from sync_pipeline.warehouse import quote
from sync_pipeline.warehouse.tables import BILLING_CUSTOMERS
from sync_pipeline.yaml_types.values import EnvRef

NAMED_FIELDS = 30
"""As many fields are listed where one isn't found."""


class Identified(Protocol):
    """The part of `identifier` that a billing system has to know."""

    @property
    def billing_field(self) -> str:
        """Field of the billing system, as the YAML names it; empty where none is asked for, only what there is."""
        ...


class Organization(Protocol):
    """What a billing system's module knows of an organization (`orgs.models.Organization`, which declares them all)."""

    @property
    def name(self) -> str:
        """Short name."""
        ...

    @property
    def billing(self) -> BillingSettings:
        """The module's own settings."""
        ...

    @property
    def identifier(self) -> Identified:
        """The shared identifier."""
        ...

    def where(self, *path: str | int) -> str:
        """`config/orgs/acme.yaml:12`, the place of a key."""
        ...

    def path(self, setting: str | EnvRef) -> Path:
        """The file a setting names."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """All customers of a system, laid out on disk so that one SELECT brings them to the customer row."""

    relation: str
    """What to select from: a table function over files."""
    expressions: Mapping[str, str]
    """Column of the customer row to the SQL that gives it; a column left out is null. `position` may be among them."""
    params: Mapping[str, object]
    """Values for the `$names` in both."""
    latest_wins: bool = False
    """The system keeps ids unique: an id read twice is a customer that changed meanwhile; the higher `position` counts."""
    changes: bool = False
    """These are the customers that have changed; the others stay as they are."""
    read_until: datetime | None = None
    """Changes before this moment of the system's clock (UTC) are among them; None where it can't be asked for changes."""
    count: int | None = None
    """How many customers the system says it has."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Field as the YAML names it to the SQL that gives it as text."""
    rest: str | None = None
    """SQL of a JSON object with the fields that are not in `fields` (some may be in both); None where there are no others."""
    check: Callable[[duckdb.DuckDBPyConnection], None] = field(default=lambda con: None)
    """Called when the rows stand in `billing_customers`, and raises if they don't say what the YAML expects."""
    unchanged: Callable[[], None] = field(default=lambda: None)
    """Raises if the source changed while it was read; called last, whatever else may be wrong."""
    lines: Callable[[set[str]], dict[str, list[int]]] | None = None
    """Where a file says the given customer ids ("" stands for every blank one): first lines of each, from 1."""
    otherwise: Callable[[], Reading] | None = None
    """Another way to read the same, for where DuckDB refuses this one; raises with the reason if there is none."""

    def select(self) -> str:
        """The customer rows, with the name of the system as `$system`, and their `position` (0 where there is none)."""
        given = {"source": "$system", "position": "0", **self.expressions}
        columns = [f"{given.get(c.name, 'NULL')} AS {quote(c.name)}" for c in BILLING_CUSTOMERS.columns]
        return f"SELECT {', '.join(columns)}, {given['position']} AS position FROM {self.relation}"


class Source(Protocol):
    """One billing system; its module is the implementation."""

    title: str
    """Its name in messages, as it stands within a sentence."""

    def read(self, org: Organization, folder: Path, since: datetime | None = None) -> Reading:
        """Lay out every customer below `folder`, which is on disk and goes away afterwards.

        Args:
            org: the organization.
            folder: an empty folder.
            since: a moment (UTC, without zone); a system that can tell lays out only what has changed since.
        """
        ...

    def probe(self, org: Organization) -> str:
        """Make sure that a read could begin: address, login, columns. Says what was found; raises as `read` does."""
        ...

    def customer_url(self, org: Organization, customer_id: str) -> str | None:
        """The page people open to see the customer; None where there is none."""
        ...


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


def inexact(org: Organization, name: str, at: str = "") -> DataError:
    """The error for a column whose numbers have to be exact and may have lost digits already.

    Args:
        org: the organization.
        name: the column.
        at: where it was seen, e.g. " (line 3)".
    """
    return DataError(
        f"{org.where('billing')}: column {name!r} is floating-point, and not all its numbers are exact integers{at}.",
        next_step="Export it as text, as an integer, or as a decimal: an identifier has to keep every digit.",
    )


def no_single_value(org: Organization, name: str) -> ConfigurationError:
    """The error for a column that holds objects or lists where one value is needed."""
    place = ("identifier", "billing_field") if name == org.identifier.billing_field else ("billing", "columns")
    return ConfigurationError(
        f"{org.where(*place)}: {name!r} is no single value, but holds objects or lists.",
        next_step=f"Name a field inside it, e.g. {name}.id, or export it as a column of its own.",
    )


def listed(names: Sequence[str]) -> str:
    """`It has: a, b, c and 4 more.`"""
    if not names:
        return "It has none at all."
    rest = f" and {len(names) - NAMED_FIELDS} more" if len(names) > NAMED_FIELDS else ""
    return f"It has: {', '.join(repr(name) for name in names[:NAMED_FIELDS])}{rest}."
