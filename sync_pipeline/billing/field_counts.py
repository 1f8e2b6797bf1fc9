"""The numbers of `billing.fields`, by SQL over rows on disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from sync_pipeline.billing.source import Reading
from sync_pipeline.warehouse import literal

DEEPEST = 8
"""Objects within objects that are looked into."""
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
    """Bring the rows to two tables: `known`, a column f0, f1, ... for each of `fields`, and `entries`, one row per value
    of the rest. Returns how many customers there are."""
    columns = [f"{sql} AS f{at}" for at, sql in enumerate(reading.fields.values())]
    rest = f"CAST({reading.rest} AS JSON)" if reading.rest else "NULL"
    select = f"SELECT {', '.join([*columns, f'{rest} AS rest'])} FROM {reading.relation}"
    asked = set(re.findall(r"\$(\w+)", select))
    params = {name: value for name, value in reading.params.items() if name in asked}
    con.execute(f"CREATE OR REPLACE TEMP TABLE known AS {select}", params)
    con.execute("CREATE OR REPLACE TEMP TABLE entries (name VARCHAR, type VARCHAR, value VARCHAR)")
    if reading.rest:
        _unfold(con)
    return _number(con, "SELECT count(*) FROM known")


def _unfold(con: duckdb.DuckDBPyConnection) -> None:
    """Fill `entries`; an object's own fields are named with a dot, as `records.lookup` finds them."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE objects AS SELECT '' AS prefix, rest AS object FROM known WHERE rest IS NOT NULL"
    )
    for depth in range(DEEPEST):
        con.execute(
            "CREATE OR REPLACE TEMP TABLE unfolded AS SELECT prefix || found.key AS name, found.type, found.value"
            " FROM objects, json_each(object) AS found"
        )
        kept = "" if depth == DEEPEST - 1 else "WHERE type <> 'OBJECT'"
        con.execute(
            "INSERT INTO entries SELECT name, type, CASE WHEN type <> 'NULL' THEN value ->> '$' END"
            f" FROM unfolded {kept}"
        )
        con.execute(
            "CREATE OR REPLACE TEMP TABLE objects AS SELECT name || '.' AS prefix, value AS object FROM unfolded"
            " WHERE type = 'OBJECT'"
        )
        if not _number(con, "SELECT count(*) FROM objects"):
            break


def counted(con: duckdb.DuckDBPyConnection, reading: Reading, *, samples: bool) -> Iterator[Counts]:
    """Count what `lay_out` laid out: one field's column after another, so that memory stays small."""
    for at, name in enumerate(reading.fields):
        column = f"SELECT $name AS name, 'TABLE' AS type, f{at} AS value FROM known"
        yield from (Counts(*row) for row in con.execute(_counts(column, samples), {"name": name}).fetchall())
    if reading.rest:
        names = con.execute("SELECT DISTINCT name FROM entries ORDER BY name").fetchall()
        for entry in names:
            found = con.execute(_counts("FROM entries WHERE name = $1", samples), entry)
            yield from (Counts(*row) for row in found.fetchall())


def _counts(values: str, samples: bool) -> str:
    forms = " ".join(
        f"WHEN regexp_full_match(value, {literal(form)}) THEN {literal(name)}" for name, form in _FORMS.items()
    )
    # A system that has types is believed: a text of digits is text there. What only looks like a date is one everywhere.
    seen = f"""CASE WHEN type IN ('ARRAY', 'OBJECT') THEN 'list'
        WHEN type = 'VARCHAR' AND regexp_full_match(value, {literal(_TEXT_WHERE_TYPES_ARE)}) THEN 'text'
        {forms} ELSE 'text' END"""
    shown = r"value IS NOT NULL AND regexp_matches(value, '[^\s\p{Z}\p{Cf}\p{Cc}]')"
    return f"""
        WITH each AS (
            SELECT name, {seen} AS type, value, {shown} AS filled, count(*) AS customers FROM ({values}) GROUP BY ALL
        ), by_value AS (
            SELECT name, value, filled, sum(customers) AS customers, list(DISTINCT type) AS types FROM each GROUP BY ALL
        )
        SELECT name, coalesce(list_distinct(flatten(list(types) FILTER (filled))), []),
            coalesce(sum(customers) FILTER (filled), 0), count(*) FILTER (filled),
            count(*) FILTER (filled AND customers > 1), coalesce(max(length(value)) FILTER (filled), 0),
            coalesce(min(value, {SAMPLES}) FILTER (filled AND {str(samples).lower()}), [])
        FROM by_value GROUP BY name
    """


def _number(con: duckdb.DuckDBPyConnection, query: str) -> int:
    row = con.execute(query).fetchone()
    return int(row[0]) if row else 0
