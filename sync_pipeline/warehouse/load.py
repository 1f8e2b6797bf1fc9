"""Writing whole tables, so that a reader (or a kill) meets the old rows or the new ones and nothing between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb

from sync_pipeline.warehouse.tables import Table

PASSING_MEMORY = "200MB"
"""At twice as much a read of five million accounts takes 300 MB more, and no less time."""


def quote(identifier: str) -> str:
    """`identifier` as a DuckDB identifier, whatever it contains.

    Raises:
        ValueError: it is empty or holds a null character, which no identifier may.
    """
    if not identifier or "\0" in identifier:
        raise ValueError(f"not a name a table or column can have: {identifier!r}")
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as a DuckDB string literal, for the few statements that take no bound values (ATTACH, COMMENT, SET)."""
    return "'" + text.replace("'", "''") + "'"


def qualified(table: Table) -> str:
    """The table's full name in the attached catalog: `"warehouse"."main"."<name>"`."""
    return f'"warehouse"."main".{quote(table.name)}'


def column_definitions(table: Table) -> str:
    """The table's columns as CREATE TABLE wants them."""
    return ", ".join(f"{quote(column.name)} {column.type}" for column in table.columns)


def replace_table(
    con: duckdb.DuckDBPyConnection, table: Table, select_sql: str, params: Sequence[object] | dict[str, object] = ()
) -> int:
    """Replace all rows of `table` by those of `select_sql`, in one transaction.

    `select_sql` names every declared column, in any order; each is cast to its declared type. Until the transaction
    commits, and after any failure or kill before that, the table holds its old rows. Joins the caller's transaction if
    there is one.

    Args:
        con: a connection of `Warehouse.connect`.
        table: one of `tables.TABLES`.
        select_sql: a SELECT without a semicolon.
        params: values for its `?` or `$name`.

    Returns:
        The number of rows the table now holds.
    """
    with transaction(con):
        con.execute(f"CREATE OR REPLACE TABLE {qualified(table)} AS {_typed(table, select_sql)}", params)
        counted = con.fetchone()
        describe(con, table)
    return int(counted[0]) if counted else 0


def insert_rows(
    con: duckdb.DuckDBPyConnection, table: Table, select_sql: str, params: Sequence[object] | dict[str, object] = ()
) -> int:
    """Add the rows of `select_sql` to `table`; otherwise as `replace_table`. Returns how many were added."""
    con.execute(f"INSERT INTO {qualified(table)} BY NAME {_typed(table, select_sql)}", params)
    counted = con.fetchone()
    return int(counted[0]) if counted else 0


def _typed(table: Table, select_sql: str) -> str:
    columns = ", ".join(f"CAST({quote(c.name)} AS {c.type}) AS {quote(c.name)}" for c in table.columns)
    return f"SELECT {columns} FROM ({select_sql})"


def describe(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Write the declared descriptions into the catalog, where people who query the file find them."""
    comments = [f"COMMENT ON TABLE {qualified(table)} IS {literal(table.description)}"]
    comments += [
        f"COMMENT ON COLUMN {qualified(table)}.{quote(c.name)} IS {literal(c.description)}" for c in table.columns
    ]
    con.execute("; ".join(comments))


@contextmanager
def passing_through(
    con: duckdb.DuckDBPyConnection, memory: str = PASSING_MEMORY, *, threads: int | None = None
) -> Iterator[None]:
    """Let DuckDB keep less in memory while many rows pass through to a table: it would keep what nobody asks for again.

    Args:
        con: a connection of `Warehouse.connect`.
        memory: what it may keep.
        threads: as many as may work, each of which holds rows of its own; None leaves it.
    """
    sql = "SELECT current_setting('memory_limit'), current_setting('threads')"
    usual_memory, usual_threads = con.execute(sql).fetchall()[0]
    con.execute(f"SET memory_limit = {literal(memory)}; SET threads = {threads or usual_threads}")
    try:
        yield
    finally:
        con.execute(f"SET memory_limit = {literal(usual_memory)}; SET threads = {usual_threads}")


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All or nothing for what happens inside; inside another transaction, part of that one."""
    if _inside_transaction(con):
        yield
        return
    con.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        _rollback(con)
        raise
    con.execute("COMMIT")


def _inside_transaction(con: duckdb.DuckDBPyConnection) -> bool:
    """DuckDB can't be asked, and a refused BEGIN aborts the open transaction; but only inside one does the id stay."""
    first, second = (con.execute("SELECT txid_current()").fetchone() for _ in range(2))
    return first == second


def _rollback(con: duckdb.DuckDBPyConnection) -> Any:
    try:
        con.execute("ROLLBACK")
    except duckdb.Error:  # an error that invalidated the connection has undone the transaction already
        return
