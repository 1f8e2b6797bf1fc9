"""The numbers of `billing.fields`, by SQL over rows on disk.

Every value of every customer becomes a row of one narrow table in a file: DuckDB holds whole row groups, so that wide rows,
or a query over what it reads at the same time, would take more memory the more fields there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from sync_pipeline.billing.source import Reading
from sync_pipeline.warehouse import literal

FIELDS_AT_ONCE = 100
"""Columns brought to rows in one reading; DuckDB holds 2,048 values of each."""
LISTED = 1000
"""Fields that are given where keys may be as many as customers, the best filled first."""
SAMPLES = 3
"""Values of a field that are given where some are asked for."""
_FORMS = {
    "yes/no": r"(?i)(true|false|yes|no)",
    "number": r"-?(0|[1-9]\d{0,37})(\.0+)?",
    "decimal": r"-?\d*[.,]\d+|-?\d+(\.\d+)?[eE][-+]?\d+",
    "date": r"\d{4}-\d{2}-\d{2}([T ].*)?|\d{1,2}[./]\d{1,2}[./]\d{4}( .*)?|/Date\(.*\)/",
    "e-mail": r"[^@\s]+@[^@\s]+\.[^@\s]+",
    "address": r"(?i)https?://.*",
    "list": r"\[.*\]",
}
"""What a text looks like, the first that fits."""
_TEXT_WHERE_TYPES_ARE = r"[-+.,\d]*|(?i)(true|false|yes|no)|\[.*\]"


_TYPES = (*_FORMS, "text")
_FILLED = r"value IS NOT NULL AND regexp_matches(value, '[^\s\p{Z}\p{Cf}\p{Cc}]')"
_TEXT, _LIST, _OTHER = 1, 2, 4
"""What a system that has types says of a value, as bits: text; a list or an object; another type, or none."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted of one field; the attributes are explained at `billing.fields.Field`.

    Attributes:
        types: what its values are or look like, each once.
        samples: the first values in order, as they are.
    """

    name: str
    types: list[str]
    filled: int
    distinct: int
    repeated: int
    longest: int
    samples: list[str]


def lay_out(con: duckdb.DuckDBPyConnection, reading: Reading) -> int:
    """Bring every value to a row of the table `entries`: field, bits of its type, text. Returns how many customers there are."""
    con.execute("SET force_compression = 'uncompressed'")  # finding out what is best takes longer than all the rest
    con.execute("CREATE OR REPLACE TABLE entries (name VARCHAR, kinds UTINYINT, value VARCHAR)")
    for at in range(0, len(reading.fields), FIELDS_AT_ONCE):
        names = list(reading.fields)[at : at + FIELDS_AT_ONCE]
        cells = ", ".join(reading.fields[name] for name in names)
        rows = f"SELECT unnest($field_names) AS name, {_OTHER}, unnest([{cells}]) AS value FROM {reading.relation}"
        _execute(con, f"INSERT INTO entries {rows}", {**reading.params, "field_names": names})
    if reading.rest:
        # Not json_each: DuckDB would join its rows to what they are from, and hold all the texts as keys of the join.
        each = f"unnest(map_entries(from_json({reading.rest}, '\"MAP(VARCHAR, JSON)\"')))"
        kinds = f"CASE json_type(each.value) WHEN 'VARCHAR' THEN {_TEXT} WHEN 'ARRAY' THEN {_LIST} WHEN 'OBJECT' THEN {_LIST}"
        rows = f"""
            SELECT each.key, {kinds} ELSE {_OTHER} END, each.value ->> '$'
            FROM (SELECT {each} AS each FROM {reading.relation}) WHERE NOT list_contains($field_names, each.key)
        """
        _execute(con, f"INSERT INTO entries {rows}", {**reading.params, "field_names": list(reading.fields)})
    return _number(_execute(con, f"SELECT count(*) FROM {reading.relation}", reading.params))


def count_fields(con: duckdb.DuckDBPyConnection, always: Sequence[str], *, samples: bool) -> tuple[list[Counts], int]:
    """Count what `lay_out` laid out.

    Args:
        con: the connection.
        always: fields that are given however few customers fill them, in any case of letters.
        samples: also give values.

    Returns:
        The fields: `always` and the best filled of the others. And how many more there are.
    """
    con.execute(f"CREATE OR REPLACE TABLE counts AS {_counts()}")
    con.execute(
        "CREATE OR REPLACE TABLE listed AS FROM counts ORDER BY list_contains($1, lower(trim(name))) DESC, filled DESC, name"
        " LIMIT $2",
        [[name.strip().lower() for name in always], max(LISTED, len(always))],
    )
    examples: dict[str, list[str]] = {}
    if samples:
        values = f"SELECT DISTINCT name, value FROM entries SEMI JOIN listed USING (name) WHERE {_FILLED}"
        examples = dict(con.execute(f"SELECT name, min(value, {SAMPLES}) FROM ({values}) GROUP BY name").fetchall())
    found = [
        Counts(name, _words(types), filled, distinct, repeated, longest, examples.get(name, []))
        for name, types, filled, distinct, repeated, longest in con.execute("FROM listed").fetchall()
    ]
    return found, _number(con.execute("SELECT count(*) FROM counts")) - len(found)


def _words(types: int) -> list[str]:
    return [word for at, word in enumerate(_TYPES) if types >> at & 1]


def _counts() -> str:
    """A query for a row per field: its name, its types as bits by their place in `_TYPES`, and its numbers.

    Grouped twice by what goes to disk where memory is short: texts and numbers, no lists.
    """
    forms = " ".join(
        f"WHEN regexp_full_match(value, {literal(form)}) THEN {_bit(name)}" for name, form in _FORMS.items()
    )
    form = f"CASE {forms} ELSE {_bit('text')} END"
    # A system that has types is believed: a text of digits is text there. What only looks like a date is one everywhere.
    text = f"CASE WHEN regexp_full_match(value, {literal(_TEXT_WHERE_TYPES_ARE)}) THEN {_bit('text')} ELSE {form} END"
    types = (
        f"(CASE WHEN kinds & {_LIST} > 0 THEN {_bit('list')} ELSE 0 END"
        f" | CASE WHEN kinds & {_TEXT} > 0 THEN {text} ELSE 0 END"
        f" | CASE WHEN kinds & {_OTHER} > 0 THEN {form} ELSE 0 END)"
    )
    return f"""
        WITH by_value AS NOT MATERIALIZED (
            SELECT name, value, bit_or(kinds) AS kinds, count(*) AS customers FROM entries GROUP BY name, value
        )
        SELECT name, coalesce(bit_or({types}) FILTER (filled), 0) AS types,
            coalesce(sum(customers) FILTER (filled), 0) AS filled, count(*) FILTER (filled) AS distinct_values,
            count(*) FILTER (filled AND customers > 1) AS repeated, coalesce(max(length(value)) FILTER (filled), 0) AS longest
        FROM (SELECT *, {_FILLED} AS filled FROM by_value) GROUP BY name
    """


def _bit(name: str) -> int:
    return 1 << _TYPES.index(name)


def _execute(con: duckdb.DuckDBPyConnection, query: str, params: Mapping[str, object]) -> duckdb.DuckDBPyConnection:
    """DuckDB refuses values that a query doesn't ask for."""
    asked = set(re.findall(r"\$(\w+)", query))
    return con.execute(query, {name: value for name, value in params.items() if name in asked})


def _number(found: duckdb.DuckDBPyConnection) -> int:
    row = found.fetchone()
    return int(row[0]) if row else 0
