"""Customers in a Parquet file, read by DuckDB where it lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import duckdb
from duckdb.sqltypes import DuckDBPyType

from sync_pipeline.billing.plain import LONGEST_ROW, not_a_pattern
from sync_pipeline.billing.source import Organization, Reading, inexact, no_single_value
from sync_pipeline.billing.tabular import Columns, Layout, dotted_names, reading_over
from sync_pipeline.errors import ConfigurationError, DataError, SyncError, TransientError
from sync_pipeline.warehouse.load import literal

MEMORY_LIMIT = "128MB"
EXACT = {"double": 2**53, "float": 2**24}
"""From here on a floating-point number stands for more than one integer."""
_NESTED = ("struct", "list", "map", "array", "union")
_MARK = b"PAR1"
_FILE = "read_parquet($path, hive_partitioning = false)"


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    """As the file says it; one inside a struct with dots."""
    sql: str
    """What it is in `_relation`."""
    type: DuckDBPyType

    @property
    def kind(self) -> str:
        return str(self.type.id)

    @property
    def is_json(self) -> bool:
        return self.kind in _NESTED or str(self.type) == "JSON"


def reading(org: Organization, path: Path, columns: Columns, unchanged: Callable[[], None] = lambda: None) -> Reading:
    """Look at every value once, so that what is wrong is known before the first customer is replaced.

    Args:
        org: the organization.
        path: a file on disk.
        columns: `billing.columns`.
        unchanged: as of `Reading`.

    Raises:
        ConfigurationError: the file lacks a column that the YAML names, or it holds objects or lists.
        DataError: it is no Parquet file, damaged, or the digits of an id may be lost already.
        TransientError: its end is missing.
    """
    with _opened(org, path) as con:
        layout, found = _layout(org, con, path, columns)
        for column in {layout.identifier, layout.used["customer_id"]}:
            _refuse_kind(org, found[column])
        _refuse_values(org, con, path, layout, found)
    params: dict[str, object] = {"path": not_a_pattern(path)}
    return reading_over(org, _relation(found), params, layout, unchanged=unchanged)


def layout_of(org: Organization, path: Path, columns: Columns) -> Layout:
    """Which column says what, from the file's footer alone; raises as `reading` does."""
    with _opened(org, path) as con:
        layout, found = _layout(org, con, path, columns)
    for column in {layout.identifier, layout.used["customer_id"]}:
        _refuse_kind(org, found[column])
    return layout


def _layout(
    org: Organization, con: duckdb.DuckDBPyConnection, path: Path, columns: Columns
) -> tuple[Layout, list[_Column]]:
    read = con.execute(f"SELECT * FROM {_FILE} LIMIT 0", {"path": not_a_pattern(path)}).description or []
    names = zip(_names(con, path), read, strict=True)
    found = [_Column(name, f"k{at}", given[1]) for at, (name, given) in enumerate(names)]
    inner = [column for name in dotted_names(org, columns) if (column := _inside(found, name))]
    layout = Layout.of(org, [column.name for column in [*found, *inner]], columns)
    nested = frozenset(at for at, column in enumerate(found) if column.is_json)
    return replace(layout, nested=nested, inner=frozenset(range(len(found), len(found) + len(inner)))), found + inner


def _names(con: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    """The columns as the file names them: DuckDB renames those that differ in case only."""
    schema = con.execute(
        "SELECT name, coalesce(num_children, 0) FROM parquet_schema($path)", {"path": not_a_pattern(path)}
    ).fetchall()
    names: list[str] = []
    at = 1  # after the root
    while at < len(schema):
        names.append(schema[at][0])
        open_children = 1
        while open_children:  # depth first
            open_children += schema[at][1] - 1
            at += 1
    return names


def _inside(found: list[_Column], wanted: str) -> _Column | None:
    """The field of a struct that a dotted name means, where no column has that name."""
    if any(column.name == wanted for column in found):
        return None
    for column in found:
        if wanted.startswith(f"{column.name}."):
            fields = _fields(column, wanted.removeprefix(f"{column.name}."))
            if fields is not None:
                return replace(fields, name=wanted)
    return None


def _fields(column: _Column, rest: str) -> _Column | None:
    if column.kind != "struct":
        return None
    for name, kind in column.type.children:
        field = _Column(str(name), f"struct_extract({column.sql}, {literal(str(name))})", cast(DuckDBPyType, kind))
        if rest == name:
            return field
        if rest.startswith(f"{name}.") and (deeper := _fields(field, rest.removeprefix(f"{name}."))):
            return deeper
    return None


def _relation(found: list[_Column]) -> str:
    columns = ", ".join(f"{_text(column)} AS c{at}" for at, column in enumerate(found))
    return f"(SELECT {columns} FROM {_rows(found)})"


def _rows(found: list[_Column]) -> str:
    """The file for a FROM clause, its columns named by position: a name may hold anything."""
    return f"{_FILE} AS rows({', '.join(column.sql for column in _whole(found))})"


def _whole(found: list[_Column]) -> list[_Column]:
    return [column for column in found if column.sql.startswith("k")]


def _text(column: _Column) -> str:
    """A value as the text that `values.text_of` gives for it."""
    value, kind = column.sql, column.kind
    if kind in EXACT:
        whole = f"{value} = trunc({value}) AND abs({value}) < {EXACT[kind]}"
        return (
            f"CASE WHEN isnan({value}) THEN NULL WHEN {whole} THEN CAST(CAST({value} AS BIGINT) AS VARCHAR)"
            f" ELSE CAST({value} AS VARCHAR) END"
        )
    if kind == "decimal":
        return f"regexp_replace(CAST({value} AS VARCHAR), '\\.0+$', '')"
    if kind == "blob":
        return f"lower(hex({value}))"
    if kind.startswith("timestamp"):
        zone = " || ':00'" if "time zone" in kind else ""  # the session's time zone is UTC: +00
        return f"replace(CAST({value} AS VARCHAR), ' ', 'T'){zone}"
    if column.is_json:
        return f"CAST(to_json({value}) AS VARCHAR)"
    return f"CAST({value} AS VARCHAR)"


def _refuse_kind(org: Organization, column: _Column) -> None:
    if column.is_json:
        raise no_single_value(org, column.name)
    if column.kind == "blob":
        raise DataError(
            f"{org.where('billing')}: column {column.name!r} is binary, not text.",
            next_step="Mark it as text (UTF8) where the file is written; in Spark: spark.sql.parquet.binaryAsString.",
        )


def _refuse_values(
    org: Organization, con: duckdb.DuckDBPyConnection, path: Path, layout: Layout, found: list[_Column]
) -> None:
    floating = [at for at in {layout.identifier, layout.used["customer_id"]} if found[at].kind in EXACT]
    lost = [
        f"count(*) FILTER (NOT isnan({value}) AND ({value} <> trunc({value}) OR abs({value}) >= {limit}))"
        for value, limit in ((found[at].sql, EXACT[found[at].kind]) for at in floating)
    ]
    length = " + ".join(f"coalesce(length({_text(column)}), 0)" for column in _whole(found))
    query = f"SELECT {', '.join([f'max({length})', *lost])} FROM {_rows(found)}"
    longest, *inexact_rows = con.execute(query, {"path": not_a_pattern(path)}).fetchone() or (0,)
    for at, count in zip(floating, inexact_rows, strict=True):
        if count:
            raise inexact(org, found[at].name)
    if (longest or 0) > LONGEST_ROW:
        raise DataError(
            f"{org.where('billing', 'path')}: a row of {path.name} is longer than {LONGEST_ROW:,} characters.",
            next_step="Leave out the columns that are no data of the customer.",
        )


@contextmanager
def _opened(org: Organization, path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session for looking at the file; DuckDB's complaints about it become errors by consequence."""
    config: dict[str, str | int | float | list[str]] = {
        "memory_limit": MEMORY_LIMIT,
        "threads": 2,
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    with duckdb.connect(":memory:", config=config) as con:
        con.execute("SET TimeZone = 'UTC'")
        try:
            yield con
        except duckdb.OutOfMemoryException:
            raise DataError(
                f"{org.where('billing', 'path')}: {path.name} can't be read in {MEMORY_LIMIT}: its row groups are too large.",
                next_step="Write it with smaller row groups, e.g. 100,000 rows.",
            ) from None
        except duckdb.Error as error:
            raise _explained(org, path, error) from None  # not shown: it may quote a value


def _explained(org: Organization, path: Path, error: duckdb.Error) -> SyncError:
    name = f"{org.where('billing', 'path')}: {path.name}"
    with path.open("rb") as file:
        head = file.read(4)
        size = file.seek(0, 2)
        file.seek(max(0, size - 4))
        tail = file.read()
    if not size:
        return DataError(f"{name} is empty.", next_step="Export the file again.")
    if _MARK.startswith(head) and (tail != _MARK or size < 12):
        return TransientError(
            f"{name} has no end: it is still being written, or its transfer broke off.",
            next_step="Let the export finish and sync again; one that writes under another name and renames is safe.",
        )
    if head == b"PARE" or tail == b"PARE":
        return DataError(f"{name} is encrypted.", next_step="Export it without Parquet's encryption.")
    if head != _MARK:
        return DataError(
            f"{name} is no Parquet file.", next_step="Set billing.format to what it is: csv, parquet or jsonl."
        )
    if isinstance(error, duckdb.NotImplementedException):
        return ConfigurationError(
            f"{name}: DuckDB can't read this kind of Parquet.", next_step="Write it with zstd or snappy."
        )
    return DataError(f"{name} is damaged, or holds text or JSON that is none.", next_step="Export the file again.")
