"""One Salesforce object on its way into its table: whole, or what has changed since the last read.

What is read whole goes by Bulk query, and so does what has changed: one API prints a value in one way only, so that both
ways end in the same tables to the letter. Users are few and go by REST query, likewise both ways.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from sync_pipeline.errors import DataError, TransientError
from sync_pipeline.progress import report
from sync_pipeline.salesforce.client import Client
from sync_pipeline.salesforce.describe import find_field
from sync_pipeline.salesforce.reads.bulk import Operation, download
from sync_pipeline.warehouse.load import literal, passing_through, quote
from sync_pipeline.warehouse.tables import Table

LONGEST_LINE = 8 << 20
"""Bytes of one record as CSV: a record's long text areas hold up to 131,072 characters each."""

BATCH = 2000
"""Rows of a REST query written to disk at once."""

_CSV_OPTIONS = (
    "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', nullstr = '', new_line = '\\n', "
    f"max_line_size = {LONGEST_LINE}, buffer_size = {2 * LONGEST_LINE}"
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Records as they came: a FROM clause with one text column for each field, and how many there must be."""

    source: str
    announced: int


@dataclass
class Reading:
    """What is read of one object, and where it goes.

    Args:
        client: a connected client.
        object_name: e.g. "Account".
        table: the table that receives it.
        key: its column that holds the record's id.
        what: named in progress reports.
        needs: a field without which a record does not belong in the table; None where all do.
        by_rest: whether REST queries read it, rather than Bulk.
    """

    client: Client
    object_name: str
    table: Table
    key: str
    what: str
    needs: str | None = None
    by_rest: bool = False
    fields: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)

    def column(self, name: str) -> str:
        """The field's column in SQL; the field joins the query. Both spell it as Salesforce does, not as the YAML."""
        found = find_field(self.client, self.object_name, name)
        if found is None:
            raise KeyError(f"{self.object_name}.{name} was not checked before it is read")
        api_name: str = found["name"]
        if api_name not in self.fields:
            self.fields.append(api_name)
        return quote(api_name)

    def json_of(self, names: Iterable[str]) -> str:
        """SQL of a JSON object with these fields, under the names the YAML gives them; NULL where there are none."""
        pairs = [f"{literal(name)}, {self.column(name)}" for name in names]
        return f"json_object({', '.join(pairs)})" if pairs else "NULL"

    @property
    def formulas(self) -> list[str]:
        """The fields that Salesforce computes: their values change without a trace in SystemModstamp."""
        found = ((name, find_field(self.client, self.object_name, name)) for name in self.fields)
        return [name for name, entry in found if entry and entry.get("calculated")]

    @property
    def content(self) -> str:
        """What each column of the table is made of. The same fields can fill other columns: the rows are others then."""
        return ", ".join(f"{name}: {expression}" for name, expression in self.columns.items())

    def soql(self, *more: str, where: str | None = None) -> str:
        """The query for the object's fields and `more` of them."""
        condition = f" WHERE {where}" if where else ""
        fields = dict.fromkeys((*self.fields, *more))
        return f"SELECT {', '.join(fields)} FROM {self.object_name}{condition}"

    def select(self, source: str) -> str:
        """SQL of the table's rows, from records as they came."""
        columns = ", ".join(f"{expression} AS {name}" for name, expression in self.columns.items())
        return f"SELECT {columns} FROM {source}"

    @contextmanager
    def rows(self, con: duckdb.DuckDBPyConnection, soql: str, *, deleted_too: bool = False) -> Iterator[Rows]:
        """Run a query and hold its records on disk while the block lasts.

        Raises:
            DataError: they can't be read as what was asked for, or are fewer or more than announced.
        """
        with folder_beside(con) as folder, passing_through(con):
            try:
                if self.by_rest:
                    yield by_rest(self.client, soql, folder, self.what, deleted_too=deleted_too)
                else:
                    yield self._by_bulk(soql, folder, "queryAll" if deleted_too else "query")
            except (duckdb.InvalidInputException, duckdb.ConversionException):  # their texts quote the line
                raise DataError(
                    f"Salesforce's result of {self.object_name} can't be read with the columns asked for; "
                    f"{self.table.name} keeps its old rows.",
                    next_step="Sync again; if it happens again, please report it.",
                ) from None

    def complete(self, announced: int, count: int) -> None:
        """Make sure that every record announced has come; call it before the transaction ends.

        Raises:
            TransientError: it has not.
        """
        if count != announced:
            raise TransientError(
                f"Salesforce announced {announced} records of {self.object_name}, but sent {count}; "
                f"{self.table.name} keeps its old rows.",
                next_step="Sync again.",
            )

    def _by_bulk(self, soql: str, folder: Path, operation: Operation) -> Rows:
        result = download(self.client, soql, folder, what=self.what, operation=operation)
        asked = _selected(soql)
        if not result.pages:
            return Rows(_none_of(asked), 0)
        files = ", ".join(literal(str(page)) for page in result.pages)
        types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in self._header(result.pages, asked))
        return Rows(f"read_csv([{files}], columns = {{{types}}}, {_CSV_OPTIONS})", result.records)

    def _header(self, pages: list[Path], asked: list[str]) -> list[str]:
        """The header that all pages share: columns are read by position, so each page must have this one."""
        headers = set()
        for page in pages:
            with page.open(encoding="utf-8", newline="") as file:
                headers.add(tuple(next(csv.reader(file), [])))
        header = list(headers.pop())
        if headers or sorted(header) != sorted(asked):
            raise TransientError(
                f"Salesforce's Bulk result of {self.object_name} has other columns than asked for.",
                next_step="Sync again.",
            )
        return header


def by_rest(client: Client, soql: str, folder: Path, what: str, *, deleted_too: bool) -> Rows:
    """The records of a REST query, on disk in `folder`."""
    asked = _selected(soql)
    file = folder / "rows.jsonl"
    count = _write_lines(client.query(soql, deleted_too=deleted_too), file, what)
    if not count:
        return Rows(_none_of(asked), 0)
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in asked)
    return Rows(f"read_json({literal(str(file))}, format = 'newline_delimited', columns = {{{types}}})", count)


def _write_lines(rows: Iterator[dict[str, Any]], file: Path, what: str) -> int:
    count = 0
    with file.open("w", encoding="utf-8") as lines:
        while batch := list(islice(rows, BATCH)):
            lines.writelines(json.dumps(row) + "\n" for row in batch)
            count += len(batch)
            report(what, count)
    return count


def _selected(soql: str) -> list[str]:
    return soql.removeprefix("SELECT ").partition(" FROM ")[0].split(", ")


def _none_of(fields: list[str]) -> str:
    return f"(SELECT {', '.join(f'NULL::VARCHAR AS {quote(name)}' for name in fields)} WHERE false)"


@contextmanager
def folder_beside(con: duckdb.DuckDBPyConnection) -> Iterator[Path]:
    """A folder for pages, beside what DuckDB spills: on disk (the system's own may be memory), swept after a kill."""
    spill = Path(con.execute("SELECT current_setting('temp_directory')").fetchall()[0][0])
    spill.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="salesforce-", dir=spill) as folder:
        yield Path(folder)
