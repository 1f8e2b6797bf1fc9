"""What a parsed SOQL query is made of, and how an error points at a place in its text."""

from __future__ import annotations

from dataclasses import dataclass

from sync_pipeline.sandbox.salesforce.errors import ApiError


@dataclass(frozen=True, slots=True)
class Path:
    """A field, perhaps of a parent: Owner.Name."""

    parts: tuple[str, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A value; `kind` is string, number, date, datetime, period, boolean or null, `text` as written (strings with quotes).

    A period is a date literal such as LAST_N_DAYS:7.
    """

    kind: str
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """`operator` is one of = != < <= > >= LIKE IN "NOT IN"; only the last two have several literals."""

    path: Path
    operator: str
    literals: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Junction:
    """Conditions joined by AND or by OR."""

    word: str
    conditions: tuple[Condition, ...]


Condition = Comparison | Not | Junction


@dataclass(frozen=True, slots=True)
class Order:
    """One field to sort by."""

    path: Path
    descending: bool
    nulls_last: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query. `fields` is empty for SELECT COUNT()."""

    text: str
    fields: tuple[Path, ...]
    entity: str
    entity_at: int
    alias: str | None
    where: Condition | None
    order: tuple[Order, ...]
    limit: int | None
    offset: int


def marked(text: str, at: int, message: str) -> str:
    """Salesforce's way to point at a place: the line, a caret under it, row and column, and then the message."""
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    line = text[start : end if end >= 0 else len(text)]
    column = at - start
    first = max(0, column - 60)
    shown = line[first : column + 60]
    row = text.count("\n", 0, at) + 1
    return f"\n{shown}\n{' ' * (column - first)}^\nERROR at Row:{row}:Column:{column + 1}\n{message}"


def malformed(text: str, at: int, message: str) -> ApiError:
    """MALFORMED_QUERY with the place in the text."""
    return ApiError("MALFORMED_QUERY", marked(text, at, message))
