"""Literals of a SOQL query -> values bound into SQL, each in the form in which its column is compared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sync_pipeline.sandbox.salesforce.date_literals import period_of
from sync_pipeline.sandbox.salesforce.errors import ApiError
from sync_pipeline.sandbox.salesforce.ids import id18
from sync_pipeline.sandbox.salesforce.objects import NUMBER_TYPES, TEXT_TYPES, Field
from sync_pipeline.sandbox.salesforce.soql_tree import Literal, malformed, marked

LONGEST_PATTERN = 10_000
"""Characters; SQLite takes 50,000 bytes."""

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a query: its path in Salesforce's own spelling, its metadata, the alias of its table."""

    path: tuple[str, ...]
    field: Field
    alias: str


def comparable(column: Column) -> str:
    """SQL that two values of a column are compared and sorted by."""
    sql = column.field.expression(column.alias)
    if column.field.type in TEXT_TYPES:
        return f"sf_fold({sql})"
    return f"CAST({sql} AS REAL)" if column.field.type in NUMBER_TYPES else sql


@dataclass(frozen=True, slots=True)
class Values:
    """Reads the literals of one query; `query` is its text, for errors that point into it."""

    query: str

    def value(self, literal: Literal, column: Column) -> Any:
        """The value of a literal, in the form `comparable` gives its column; None for null and the empty text."""
        if literal.kind == "null":
            return None
        kind = column.field.type
        if kind in TEXT_TYPES and literal.kind == "string":
            return self._text(literal).casefold() or None
        if kind in {"id", "reference"} and literal.kind == "string":
            return self._id(literal)
        if kind == "boolean" and literal.kind == "boolean":
            return int(literal.text.lower() == "true")
        if kind in NUMBER_TYPES and literal.kind == "number":
            return float(literal.text)
        if kind in {"date", "datetime"} and literal.kind == kind:
            return self._moment(literal)
        quoted = "" if kind in TEXT_TYPES or kind in {"id", "reference"} else "not "
        shown = "dateTime" if kind == "datetime" else kind
        message = (
            f"value of filter criterion for field '{column.field.name}' must be of type {shown} "
            f"and should {quoted}be enclosed in quotes"
        )
        raise ApiError("INVALID_FIELD", marked(self.query, literal.at, message))

    def period(self, literal: Literal, column: Column) -> tuple[str, str]:
        """Beginning of a date literal's period, and the first moment (or day) after it."""
        if column.field.type not in {"date", "datetime"}:
            self.value(literal, column)  # says what it should be
        try:
            first, after = period_of(literal.text, datetime.now(UTC).date())
        except (OverflowError, ValueError):
            raise malformed(self.query, literal.at, f"Invalid date: {literal.text}") from None
        ending = "T00:00:00.000Z" if column.field.type == "datetime" else ""
        return f"{first.isoformat()}{ending}", f"{after.isoformat()}{ending}"

    def pattern(self, literal: Literal) -> str:
        r"""A LIKE pattern for SQLite: % and _ are wildcards there too, and an escaped one stays escaped."""
        if literal.kind != "string":
            raise malformed(self.query, literal.at, f"unexpected token: '{literal.text}'")

        def kept(found: re.Match[str]) -> str:
            if found[0] in {r"\%", r"\_", r"\\"}:
                return found[0]
            return self._text(Literal("string", f"'{found[0]}'", literal.at))

        pattern = re.sub(r"\\.", kept, literal.text[1:-1], flags=re.DOTALL).casefold()
        if len(pattern) > LONGEST_PATTERN:
            raise ApiError("QUERY_TOO_COMPLICATED", "The LIKE pattern is too long.")
        return pattern

    def _id(self, literal: Literal) -> str | None:
        text = self._text(literal)
        found = id18(text)
        if text and found is None:
            raise ApiError("INVALID_QUERY_FILTER_OPERATOR", marked(self.query, literal.at, f"invalid ID field: {text}"))
        return found

    def _text(self, literal: Literal) -> str:
        def unescape(found: re.Match[str]) -> str:
            if found[1] not in _ESCAPES:
                raise malformed(
                    self.query,
                    literal.at,
                    f"Invalid string literal {literal.text}. Illegal character sequence '{found[0]}' in string "
                    "literal.",
                )
            return _ESCAPES[found[1]]

        return re.sub(r"\\(.)", unescape, literal.text[1:-1], flags=re.DOTALL)

    def _moment(self, literal: Literal) -> str:
        try:
            if literal.kind == "date":
                return date.fromisoformat(literal.text).isoformat()
            moment = datetime.fromisoformat(literal.text.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            raise malformed(self.query, literal.at, f"Invalid {literal.kind}: {literal.text}") from None
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
