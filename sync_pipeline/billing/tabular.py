"""Customers of systems that answer tables: which column says what, and the SQL from a file to the customer row.

Columns are read as c0, c1, ... and their real names are only ever bound as values, so a name may hold anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Self, get_args

import duckdb

from sync_pipeline.billing.plain import UNKNOWN, csv_relation
from sync_pipeline.billing.source import Organization, Reading, listed, no_such_field
from sync_pipeline.errors import ConfigurationError
from sync_pipeline.yaml_types.values import Name

log = logging.getLogger(__name__)

CustomerColumn = Literal[
    "customer_id",
    "display_id",
    "name",
    "company_name",
    "is_individual",
    "emails",
    "primary_email",
    "currency",
    "balance",
    "status",
    "parent_id",
    "merged_into_id",
    "created_at",
    "updated_at",
]
"""What a customer row of a database or a file can say besides its own columns."""

Columns = dict[CustomerColumn, Name]
"""`billing.columns` of a YAML file."""

OTHER_NAMES = {"customer_id": ("customer_id", "id"), "emails": ("emails", "email")}
"""Columns that are recognized by more than their own name."""
RECOGNIZED: tuple[CustomerColumn, ...] = get_args(CustomerColumn)
READ_AS = {
    "is_individual": "yes or no",
    "balance": "a number like 1234.50",
    "created_at": "a date like 2024-12-31T23:59:59Z",
    "updated_at": "a date like 2024-12-31T23:59:59Z",
}
"""Columns whose text has to be read as something else; it stays in custom_fields as well, as a status does."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column of a table says what."""

    names: list[str]
    """Names for custom fields: as the table has them, made unique, none empty."""
    used: dict[str, int]
    """Column of the customer row to the position of the column that says it."""
    identifier: int
    """Position of the shared identifier."""
    nested: frozenset[int] = frozenset()
    """Positions whose text is JSON, and stays that in the custom fields."""
    inner: frozenset[int] = frozenset()
    """Positions that stand inside another column, and so are no custom fields of their own."""

    @classmethod
    def of(cls, org: Organization, header: Sequence[str], columns: Mapping[CustomerColumn, str]) -> Self:
        """Find the columns that the YAML names, and those that carry the customer row's own names.

        Args:
            org: the organization, for its identifier and for places in its file.
            header: the table's column names, in order.
            columns: `billing.columns`: column of the customer row to column of the table.

        Raises:
            ConfigurationError: every column that is named but missing, or there more than once, at once.
        """
        used: dict[str, int] = {}
        problems: list[ConfigurationError] = []
        for column in RECOGNIZED:
            if column in columns:
                found = _find(header, columns[column])
                place = ("billing", "columns", column)
                problems += _problem(org, header, place, columns[column], found)
            else:
                found = next((f for name in OTHER_NAMES.get(column, (column,)) if (f := _find(header, name))), [])
            if len(found) == 1:
                used[column] = found[0]
        if "customer_id" not in used and "customer_id" not in columns:
            problems.append(_no_customer_id(org, header))
        # A column of the customer row may be named as well as the table's own: customer_id where the table says id.
        field = org.identifier.billing_field or "customer_id"
        found = _find(header, field) or ([used[field]] if field in used else [])
        if org.identifier.billing_field:
            problems += _problem(org, header, ("identifier", "billing_field"), field, found)
        if problems:
            raise problems[0] if len(problems) == 1 else ConfigurationError("\n".join(str(p) for p in problems))
        return cls(_unique(header), used, found[0])

    @property
    def consumed(self) -> frozenset[str]:
        """Names of columns that the customer row says itself, so that custom fields needn't."""
        return frozenset(self.names[at] for at in self._consumed())

    def expressions(self, custom_fields: str | None = None) -> tuple[dict[str, str], dict[str, object]]:
        """SQL for the columns of the customer row over c0, c1, ... (but `source`), and its parameters.

        Args:
            custom_fields: SQL for the custom fields, where the columns are not all there is.
        """
        plain = {column: _cell(at) for column, at in self.used.items()}
        found = {column: plain[column] for column in plain.keys() - READ_AS.keys() - {"status", "emails", "currency"}}
        found |= {column: _read(column, plain[column]) for column in READ_AS if column in plain}
        found["identifier"] = _cell(self.identifier)
        found["status"] = _status(plain.get("status", "NULL"))
        if "currency" in plain:
            found["currency"] = f"nullif(upper(trim({plain['currency']})), '')"
        if "emails" in plain:
            found["emails"] = f"nullif(regexp_extract_all({plain['emails']}, {_EMAIL}), [])"
            found.setdefault("primary_email", f"({found['emails']})[1]")
        elif "primary_email" in plain:
            found["emails"] = f"CASE WHEN {plain['primary_email']} IS NOT NULL THEN [{plain['primary_email']}] END"
        if custom_fields is not None:
            return found | {"custom_fields": custom_fields}, {}
        kept = [at for at in range(len(self.names)) if at not in self._consumed() | self.inner]
        found["custom_fields"] = f"json_object({', '.join(f'$name_{at}, {self._custom(at)}' for at in kept)})"
        return found, {f"name_{at}": self.names[at] for at in kept}

    def _consumed(self) -> set[int]:
        return {at for column, at in self.used.items() if column not in READ_AS and column != "status"}

    def _custom(self, at: int) -> str:
        return f"CAST({_cell(at)} AS JSON)" if at in self.nested else _cell(at)

    def fields(self, custom_fields: str | None) -> dict[str, str]:
        """Columns' names to the SQL of their text; those alone that the relation has, where `custom_fields` has the others."""
        own = sorted({*self.used.values(), self.identifier}) if custom_fields else range(len(self.names))
        return {self.names[at]: _cell(at) for at in own}


def reading_of(
    org: Organization,
    path: Path,
    delimiter: str,
    layout: Layout,
    *,
    longest: int = UNKNOWN,
    unchanged: Callable[[], None] = lambda: None,
    lines: Callable[[set[str]], dict[str, list[int]]] | None = None,
    otherwise: Callable[[], Reading] | None = None,
) -> Reading:
    """The customers in a UTF-8 CSV file with one header line.

    Args:
        org: the organization.
        path: the file.
        delimiter: its delimiter.
        layout: which of its columns says what.
        longest: characters of its longest row.
        unchanged: as of `Reading`; so are `lines` and `otherwise`.
    """
    relation, params = csv_relation(path, delimiter, [f"c{at}" for at in range(len(layout.names))], longest)
    return reading_over(org, relation, params, layout, unchanged=unchanged, lines=lines, otherwise=otherwise)


def reading_over(
    org: Organization,
    relation: str,
    params: dict[str, object],
    layout: Layout,
    *,
    custom_fields: str | None = None,
    unchanged: Callable[[], None] = lambda: None,
    lines: Callable[[set[str]], dict[str, list[int]]] | None = None,
    otherwise: Callable[[], Reading] | None = None,
) -> Reading:
    """The customers in a relation.

    Args:
        org: the organization.
        relation: for a FROM clause; it has a text column c0, c1, ... for each position that `layout` uses.
        params: its parameters.
        layout: which of its columns says what.
        custom_fields: as of `Layout.expressions`.
        unchanged: as of `Reading`; so are `lines` and `otherwise`.
    """
    expressions, names = layout.expressions(custom_fields)
    check = partial(_refuse_unreadable, org, layout, relation, params)
    return Reading(
        relation,
        expressions,
        params | names,
        fields=layout.fields(custom_fields),
        rest=custom_fields,
        check=check,
        unchanged=unchanged,
        lines=lines,
        otherwise=otherwise,
    )


def dotted_names(org: Organization, columns: Mapping[CustomerColumn, str]) -> list[str]:
    """Names in the YAML that may lead into an object (`metadata.crm_id`), for systems whose columns hold some."""
    return [name for name in dict.fromkeys([org.identifier.billing_field, *columns.values()]) if "." in name]


_YES, _NO = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_EMAIL = "'[^\\s,;<>\"]+@[^\\s,;<>\"]+'"


def _find(header: Sequence[str], wanted: str) -> list[int]:
    """Positions of the column: as written, else without regard to case and spaces around it (as SQL names columns)."""
    exact = [at for at, name in enumerate(header) if name == wanted]
    return exact or [at for at, name in enumerate(header) if name.strip().casefold() == wanted.strip().casefold()]


def _problem(
    org: Organization, header: Sequence[str], place: tuple[str, ...], wanted: str, found: list[int]
) -> list[ConfigurationError]:
    if not found:
        return [no_such_field(org, place, wanted, header, f"{_subject(org)} has no")]
    if len(found) > 1:
        at = ", ".join(str(position + 1) for position in found)
        return [
            ConfigurationError(
                f"{org.where(*place)}: {_subject(org)} has {len(found)} columns named {wanted!r} (columns {at}).",
                next_step="Give them different names.",
            )
        ]
    return []


def _no_customer_id(org: Organization, header: Sequence[str]) -> ConfigurationError:
    return ConfigurationError(
        f"{org.where('billing', 'columns')}: {_subject(org)} has no column customer_id or id. {listed(header)}",
        next_step="Say which column is the customer's own id, e.g. columns: {customer_id: number}.",
    )


def _subject(org: Organization) -> str:
    return (
        "the query"
        if getattr(org.billing, "query", None)
        else f"the {'file' if org.billing.system == 'file' else 'table'}"
    )


def _unique(header: Sequence[str]) -> list[str]:
    taken = set(header)
    names: dict[str, None] = {}  # JSON may have as many keys as customers
    for at, written in enumerate(header):
        name = written if written.strip() else f"column {at + 1}"
        number = 2
        while name in names or (name != written and name in taken):
            name, number = f"{written.strip() or f'column {at + 1}'} ({number})", number + 1
        names[name] = None
    return list(names)


def _cell(at: int) -> str:
    return f"nullif(c{at}, '')"


def _read(column: str, cell: str) -> str:
    if (
        column == "balance"
    ):  # the narrow type first: DuckDB reads it thirty times faster, and it holds nearly everything
        return (
            f"coalesce(CAST(TRY_CAST({cell} AS DECIMAL(18, 6)) AS DECIMAL(38, 6)), TRY_CAST({cell} AS DECIMAL(38, 6)))"
        )
    if column == "is_individual":
        said = f"lower(trim({cell}))"
        return f"CASE WHEN {said} IN {_YES} THEN true WHEN {said} IN {_NO} THEN false END"
    return f"CAST(TRY_CAST({cell} AS TIMESTAMPTZ) AS TIMESTAMP)"  # the session's time zone is UTC


def _status(cell: str) -> str:
    said = f"lower(trim({cell}))"
    archived = f"WHEN {said} IN ('archived', 'inactive') THEN 'archived'"
    return f"CASE {archived} WHEN {said} = 'deleted' THEN 'deleted' ELSE 'active' END"


def _refuse_unreadable(
    org: Organization, layout: Layout, relation: str, params: dict[str, object], con: duckdb.DuckDBPyConnection
) -> None:
    """Refuse a column that the YAML names in vain; of any other, what can't be read stays in custom_fields only."""
    columns = [column for column in READ_AS if column in layout.used]
    if not columns:
        return
    counts = ", ".join(f"count({column})" for column in columns)
    read = con.execute(f"SELECT {counts}, count(*) FROM billing_customers").fetchone() or ()
    suspects = {column: read[at] for at, column in enumerate(columns) if read[at] < read[-1]}
    if not suspects:
        return
    filled = ", ".join(f"count(nullif(trim({_cell(layout.used[column])}), ''))" for column in suspects)
    written = con.execute(f"SELECT {filled} FROM {relation}", params).fetchone() or ()
    for (column, readable), values in zip(suspects.items(), written, strict=True):
        if values > readable:
            _mind_unread(org, layout, column, values, readable)


def _mind_unread(org: Organization, layout: Layout, column: str, values: int, readable: int) -> None:
    name = layout.names[layout.used[column]]
    if not readable and column in getattr(org.billing, "columns", {}):
        raise ConfigurationError(
            f"{org.where('billing', 'columns', column)}: no value of column {name!r} can be read as {READ_AS[column]}.",
            next_step=f"Name another column as {column}, or leave it out: the values then stay in custom_fields.",
        )
    log.warning(
        "%s: %d of %d values of column %r can't be read as %s; they stand in custom_fields only.",
        *(org.name, values - readable, values, name, READ_AS[column]),
    )
