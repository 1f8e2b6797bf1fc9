"""One DuckDB file per organization, attached as `warehouse` to a database in memory.

Steps that only matter while a connection lives (temporary tables, macros) stay in memory; what is kept goes to the
file. The SQL names the catalog, never the file, so that another catalog can stand behind the name.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from sync_pipeline.errors import ConfigurationError, SyncError, TransientError
from sync_pipeline.warehouse.load import column_definitions, describe, literal, qualified, quote, transaction
from sync_pipeline.warehouse.tables import TABLES, Table

log = logging.getLogger(__name__)

MEMORY_LIMIT = "400MB"
"""What DuckDB may hold before it spills to disk. A million rows on each side match well below it."""
THREADS = min(4, os.cpu_count() or 1)
"""More threads than this cost memory and gain nothing at the sizes of a customer base."""
ROW_GROUP = 20_480
"""Rows that DuckDB holds in memory, for each thread, until it can write them; by default six times as many."""
_POLL_SECONDS = 0.1


class Warehouse:
    """The warehouse of one organization.

    Args:
        folder: where warehouse files are kept; created on first use.
        org_name: name of the organization (letters, digits and underscores), which names the file.
        wait_seconds: how long to wait for a file that somebody else is writing to.
    """

    def __init__(self, folder: Path, org_name: str, *, wait_seconds: float = 5.0) -> None:
        self.path = folder / f"{org_name}.duckdb"
        self._org_name = org_name
        self._wait_seconds = wait_seconds

    @contextmanager
    def connect(self, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with the organization's catalog attached as `warehouse` and in use; all of `TABLES` exist.

        One process writes at a time; readers share the file among themselves, not with a writer. The order of rows in a
        table means nothing (ask for one where it matters).

        Args:
            read_only: refuse writes. An organization never synced then shows empty tables, and no file appears.

        Raises:
            TransientError: another process (or connection of this one) holds the file longer than `wait_seconds`; or the
                work done with the connection found no more memory or disk.
            ConfigurationError: the file is no DuckDB database, is damaged, or can't be created or opened.
        """
        with tempfile.TemporaryDirectory(prefix="sync-pipeline-") as spill, _session(Path(spill)) as con:
            if read_only:
                self._attach_for_reading(con)
            else:
                self._attach_for_writing(con)
            with self._no_room():
                yield con

    def _attach_for_writing(self, con: duckdb.DuckDBPyConnection) -> None:
        self._create_file()
        self._attach(con, read_only=False)
        with self._file_errors():
            _create_missing(con)
        # Only now is it certain that no other process spills here: whatever lies there was left by one that was killed.
        spill = self.path.parent / f".{self._org_name}.spill"  # DuckDB makes it when it needs it
        shutil.rmtree(spill, ignore_errors=True)
        con.execute(f"SET temp_directory = {literal(str(spill))}")

    def _attach_for_reading(self, con: duckdb.DuckDBPyConnection) -> None:
        if not self.path.exists():
            con.execute("ATTACH ':memory:' AS warehouse")
            con.execute("USE warehouse")
            _create_missing(con)
            return
        self._attach(con, read_only=True)
        with self._file_errors():
            complete = not _missing(con)
        if not complete:  # written by an older version
            con.execute("USE memory")
            con.execute("DETACH warehouse")
            self._attach(con, read_only=False)
            _create_missing(con)
            con.execute("USE memory")
            con.execute("DETACH warehouse")
            self._attach(con, read_only=True)

    def _attach(self, con: duckdb.DuckDBPyConnection, *, read_only: bool) -> None:
        mode = "READ_ONLY" if read_only else f"READ_WRITE, ROW_GROUP_SIZE {ROW_GROUP}"
        statement = f"ATTACH {literal(str(self.path))} AS warehouse ({mode})"
        give_up = time.monotonic() + self._wait_seconds
        while True:
            try:
                with self._file_errors():
                    con.execute(statement)
                    con.execute("USE warehouse")
                return
            except TransientError:
                if time.monotonic() >= give_up:
                    raise
                time.sleep(_POLL_SECONDS)

    def _create_file(self) -> None:
        """Make an empty database under another name first: a process killed meanwhile leaves no half of a file."""
        if self.path.exists():
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # contacts and links: the owner alone
            with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".new-") as folder:
                fresh = Path(folder) / self.path.name
                duckdb.connect(fresh).close()
                with suppress(FileExistsError):  # somebody else was first
                    os.link(fresh, self.path)
        except (OSError, duckdb.Error) as error:
            raise self._unusable(error) from error

    @contextmanager
    def _file_errors(self) -> Iterator[None]:
        """DuckDB's errors about the file, as errors by consequence."""
        try:
            yield
        except duckdb.Error as error:
            raise self._explained(error) from error

    @contextmanager
    def _no_room(self) -> Iterator[None]:
        try:
            yield
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            if isinstance(error, duckdb.IOException) and "No space left" not in str(error):
                raise
            raise TransientError(
                f"The warehouse of organization {self._org_name} ran out of memory and of disk to use instead "
                f"(at {self.path.parent}); its tables are as they were.",
                next_step="Make room there and try again.",
            ) from error

    def _explained(self, error: duckdb.Error) -> SyncError:
        text = str(error)
        if "Could not set lock" in text or "Unique file handle conflict" in text:
            holder = text.partition("Conflicting lock is held in ")[2].partition(". See also")[0]
            return TransientError(
                f"The warehouse of organization {self._org_name} ({self.path}) is in use by "
                f"{holder or 'this very process'}.",
                next_step="Wait until that has finished, or end it, and try again.",
            )
        return self._unusable(error)

    def _unusable(self, error: Exception) -> ConfigurationError:
        why = str(error).splitlines()[0]
        return ConfigurationError(
            f"The warehouse of organization {self._org_name} can't be opened at {self.path}: {why}",
            next_step="Move the file away and sync again: everything but the record of links and imports comes back "
            "from the sources. If the folder is at fault, choose another by SYNC_PIPELINE_DATA.",
        )


@contextmanager
def _session(spill: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    con = duckdb.connect(
        ":memory:",
        config={
            "threads": THREADS,
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(spill),
            "preserve_insertion_order": False,  # tables are sets; keeping the order costs memory
            "autoinstall_known_extensions": False,  # nothing is ever fetched from the network
            "autoload_known_extensions": False,
        },
    )
    try:
        con.execute("SET TimeZone = 'UTC'")
        con.execute("SET enable_progress_bar = false")  # it would draw into what a command prints for machines
        yield con
    finally:
        con.close()


def _missing(con: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Columns of each declared table that the catalog lacks; all of them where it lacks the table."""
    rows = con.execute(
        "SELECT table_name, column_name FROM duckdb_columns()"
        " WHERE database_name = 'warehouse' AND schema_name = 'main'"
    ).fetchall()
    present = set(rows)
    found = {name: [c.name for c in table.columns if (name, c.name) not in present] for name, table in TABLES.items()}
    return {name: columns for name, columns in found.items() if columns}


def _create_missing(con: duckdb.DuckDBPyConnection) -> None:
    missing = _missing(con)
    if not missing:
        return
    with transaction(con):
        for name, columns in missing.items():
            table = TABLES[name]
            if len(columns) == len(table.columns):
                con.execute(f"CREATE TABLE {qualified(table)} ({column_definitions(table)})")
            else:
                _add_columns(con, table, columns)
            describe(con, table)
    log.info("Created or extended %d tables of the warehouse.", len(missing))


def _add_columns(con: duckdb.DuckDBPyConnection, table: Table, names: list[str]) -> None:
    for column in table.columns:
        if column.name in names:
            con.execute(f"ALTER TABLE {qualified(table)} ADD COLUMN {quote(column.name)} {column.type}")
