"""The file behind the warehouse: made whole, shared politely, explained when it can't be opened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from sync_pipeline.errors import ConfigurationError, TransientError
from sync_pipeline.warehouse import TABLES, Warehouse, connection

HOLD = """
import sys
from pathlib import Path
from sync_pipeline.warehouse import Warehouse
with Warehouse(Path(sys.argv[1]), "acme").connect() as con:
    print("holding", flush=True)
    sys.stdin.read()
"""


def tables(con: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    query = (
        "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'warehouse' ORDER BY column_index"
    )
    for table, column in con.execute(query).fetchall():
        found.setdefault(table, []).append(column)
    return found


EXPECTED = {name: [column.name for column in table.columns] for name, table in TABLES.items()}


def test_the_first_connection_makes_every_table(tmp_path: Path) -> None:
    with Warehouse(tmp_path / "new" / "folder", "acme").connect() as con:
        assert tables(con) == EXPECTED
        assert con.execute("SELECT current_catalog(), current_setting('TimeZone')").fetchone() == ("warehouse", "UTC")
    assert os.listdir(tmp_path / "new" / "folder") == ["acme.duckdb"]


def test_types_are_as_declared(tmp_path: Path) -> None:
    with Warehouse(tmp_path, "acme").connect() as con:
        for name, table in TABLES.items():
            described = con.execute(f"DESCRIBE {name}").fetchall()
            assert [(row[0], row[1].replace(" ", "")) for row in described] == [
                (column.name, column.type.replace(" ", "")) for column in table.columns
            ]


def test_reading_what_was_never_synced_leaves_no_file(tmp_path: Path) -> None:
    with Warehouse(tmp_path, "acme").connect(read_only=True) as con:
        assert tables(con) == EXPECTED
        assert con.execute("SELECT count(*) FROM account_mapping").fetchone() == (0,)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_may_not_write(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, "acme")
    with warehouse.connect():
        pass
    with warehouse.connect(read_only=True) as con, pytest.raises(duckdb.InvalidInputException, match="read-only"):
        con.execute("DELETE FROM account_mapping")


def test_two_readers_at_once(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, "acme")
    with warehouse.connect() as con:
        con.execute("INSERT INTO salesforce_users (user_id) VALUES ('005')")
    with warehouse.connect(read_only=True) as one, warehouse.connect(read_only=True) as two:
        for con in (one, two):
            assert con.execute("SELECT user_id FROM salesforce_users").fetchall() == [("005",)]


@pytest.mark.parametrize("read_only", [False, True])
def test_an_older_file_gets_the_tables_and_columns_it_lacks(tmp_path: Path, read_only: bool) -> None:
    with duckdb.connect(tmp_path / "acme.duckdb") as con:
        con.execute("CREATE TABLE salesforce_users (user_id VARCHAR, name VARCHAR, of_the_user VARCHAR)")
        con.execute("INSERT INTO salesforce_users VALUES ('005', 'Ada', 'own column')")
    with Warehouse(tmp_path, "acme").connect(read_only=read_only) as con:
        found = tables(con)
        assert set(found.pop("salesforce_users")) == {*EXPECTED["salesforce_users"], "of_the_user"}
        assert found == {name: columns for name, columns in EXPECTED.items() if name != "salesforce_users"}
        row = con.execute("SELECT user_id, name, of_the_user, email FROM salesforce_users").fetchall()
        assert row == [("005", "Ada", "own column", None)]


def test_columns_carry_their_descriptions(tmp_path: Path) -> None:
    with Warehouse(tmp_path, "acme").connect() as con:
        rows = con.execute("SELECT table_name, column_name FROM duckdb_columns() WHERE comment IS NULL").fetchall()
        assert [row for row in rows if row[0] in TABLES] == []


def test_a_file_held_by_another_process_names_it(tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "holding\n"
        for read_only in (False, True):
            warehouse = Warehouse(tmp_path, "acme", wait_seconds=0.2)
            with pytest.raises(TransientError, match=f"acme.*PID {other.pid}"), warehouse.connect(read_only=read_only):
                pass
        waiting = Warehouse(tmp_path, "acme", wait_seconds=30)
        assert other.stdin is not None
        other.stdin.close()  # it ends now; whoever waits gets the file
        with waiting.connect() as con:
            assert tables(con) == EXPECTED
    finally:
        other.kill()
        other.wait()
        other.stdout.close()  # type: ignore[union-attr]


def test_a_second_writer_in_this_process_is_told_so(tmp_path: Path) -> None:
    with Warehouse(tmp_path, "acme").connect():
        again = Warehouse(tmp_path, "acme", wait_seconds=0)
        with pytest.raises(TransientError, match="in use by this very process"), again.connect():
            pass


@pytest.mark.parametrize("content", [b"", b"customer_id,name\n1,Ada\n", b"\0" * 20_000])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes, read_only: bool) -> None:
    (tmp_path / "acme.duckdb").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"acme\.duckdb") as caught:  # noqa: SIM117
        with Warehouse(tmp_path, "acme").connect(read_only=read_only):
            pass
    assert "Move the file away" in str(caught.value)
    assert (tmp_path / "acme.duckdb").read_bytes() == content


def test_a_damaged_database(tmp_path: Path) -> None:
    with Warehouse(tmp_path, "acme").connect():
        pass
    whole = (tmp_path / "acme.duckdb").read_bytes()
    (tmp_path / "acme.duckdb").write_bytes(whole[:12_288] + b"X" * 4096 + whole[16_384:])
    with pytest.raises(ConfigurationError, match="acme"), Warehouse(tmp_path, "acme").connect():
        pass


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where the folder should be")
    warehouse = Warehouse(tmp_path / "var" / "acme", "acme")
    with pytest.raises(ConfigurationError, match="SYNC_PIPELINE_DATA"), warehouse.connect():
        pass


def test_a_folder_with_quotes_and_spaces_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / 'o\'brien & "co"; --'
    for read_only in (False, True):
        with Warehouse(folder, "acme").connect(read_only=read_only) as con:
            assert tables(con) == EXPECTED


def test_what_does_not_fit_in_memory_goes_to_disk_and_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MEMORY_LIMIT", "60MB")
    leftover = tmp_path / ".acme.spill" / "duckdb_temp_storage_DEFAULT-0.tmp"
    leftover.parent.mkdir()
    leftover.write_text("left by a killed process")
    with Warehouse(tmp_path, "acme").connect() as con:
        assert not leftover.exists()
        con.execute("CREATE TEMP TABLE big AS SELECT md5(i::VARCHAR) || i AS text FROM range(1_500_000) AS t(i)")
        assert con.execute("SELECT count(DISTINCT text) FROM big").fetchone() == (1_500_000,)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("acme")] == []


def test_running_out_of_room_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MEMORY_LIMIT", "60MB")

    def fill_the_disk() -> None:
        with Warehouse(tmp_path, "acme").connect() as con:
            con.execute("SET max_temp_directory_size = '1MB'")
            con.execute("CREATE TEMP TABLE big AS SELECT md5(i::VARCHAR) || i AS text FROM range(2_000_000) AS t(i)")

    with pytest.raises(TransientError, match="acme ran out of memory"):
        fill_the_disk()
