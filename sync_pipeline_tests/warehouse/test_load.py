"""Replacing a table: all of it or nothing, whatever interrupts."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipeline.warehouse import TABLES, Warehouse, literal, quote, replace_table
from sync_pipeline.warehouse.load import transaction

USERS = TABLES["salesforce_users"]
ONE_USER = (
    """SELECT ? AS user_id, 'Ada' AS name, NULL AS first_name, NULL AS last_name, NULL AS email, 1 AS is_active"""
)

REPLACE_SLOWLY = """
import sys
from pathlib import Path
from sync_pipeline.warehouse import TABLES, Warehouse, replace_table
with Warehouse(Path(sys.argv[1]), "acme").connect() as con:
    print("replacing", flush=True)
    replace_table(con, TABLES["salesforce_users"],
        "SELECT md5(i::VARCHAR) AS user_id, md5((i + 1)::VARCHAR) AS name, NULL AS first_name, NULL AS last_name,"
        " sha256(i::VARCHAR) AS email, TRUE AS is_active FROM range(30_000_000) AS t(i)")
"""


def user_ids(con: duckdb.DuckDBPyConnection) -> list[str]:
    return [row[0] for row in con.execute("SELECT user_id FROM salesforce_users ORDER BY 1").fetchall()]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path, "acme")


def test_rows_replace_rows_with_the_declared_types(warehouse: Warehouse) -> None:
    with warehouse.connect() as con:
        assert replace_table(con, USERS, ONE_USER, ["005A"]) == 1
        assert replace_table(con, USERS, f"{ONE_USER} UNION ALL {ONE_USER}", ["005B", "005C"]) == 2
        assert user_ids(con) == ["005B", "005C"]
        assert con.execute("SELECT DISTINCT typeof(is_active), typeof(email) FROM salesforce_users").fetchall() == [
            ("BOOLEAN", "VARCHAR")
        ]
        (described,) = con.execute(
            "SELECT comment FROM duckdb_columns() WHERE table_name = 'salesforce_users' AND column_name = 'email'"
        ).fetchall()
        assert described == ("E-mail address.",)
    with warehouse.connect(read_only=True) as con:
        assert user_ids(con) == ["005B", "005C"]


def test_values_can_be_bound_by_name(warehouse: Warehouse) -> None:
    with warehouse.connect() as con:
        replace_table(con, USERS, ONE_USER.replace("?", "$id"), {"id": "'); DROP TABLE salesforce_users; --"})
        assert user_ids(con) == ["'); DROP TABLE salesforce_users; --"]


@pytest.mark.parametrize(
    "broken",
    [
        "SELECT 1 AS user_id",  # columns are missing
        ONE_USER.replace("?", "'x'").replace("1 AS", "'no boolean' AS"),
        ONE_USER.replace("?", "error('half way')"),
    ],
)
def test_a_failure_keeps_the_old_rows(warehouse: Warehouse, broken: str) -> None:
    with warehouse.connect() as con:
        replace_table(con, USERS, ONE_USER, ["005A"])
        with pytest.raises(duckdb.Error):
            replace_table(con, USERS, broken)
        assert user_ids(con) == ["005A"]


def test_a_callers_transaction_is_joined(warehouse: Warehouse) -> None:
    with warehouse.connect() as con:
        replace_table(con, USERS, ONE_USER, ["005A"])

        def fail_between_two_tables() -> None:
            with transaction(con):
                replace_table(con, USERS, ONE_USER, ["005B"])
                assert user_ids(con) == ["005B"]
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail_between_two_tables()
        assert user_ids(con) == ["005A"]


def test_replacing_again_and_again_does_not_grow_the_file(warehouse: Warehouse) -> None:
    rows = ONE_USER.replace("?", "md5(i::VARCHAR)") + " FROM range(200_000) AS t(i)"
    sizes = []
    for _ in range(5):
        with warehouse.connect() as con:
            replace_table(con, USERS, rows)
        sizes.append(warehouse.path.stat().st_size)
    assert max(sizes) <= 2.5 * sizes[0]  # the old rows and the new ones, and gaps where those did not fit


@pytest.mark.parametrize("after_seconds", [0.05, 0.6, 1.5])
def test_a_kill_while_replacing_leaves_the_old_table_whole(warehouse: Warehouse, after_seconds: float) -> None:
    with warehouse.connect() as con:
        replace_table(con, USERS, ONE_USER.replace("?", "'005' || i") + " FROM range(1000) AS t(i)")
        before = user_ids(con)
    process = subprocess.Popen(
        [sys.executable, "-c", REPLACE_SLOWLY, str(warehouse.path.parent)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "replacing\n"
    time.sleep(after_seconds)
    process.kill()
    assert process.wait() == -signal.SIGKILL  # it was still at it
    process.stdout.close()
    for read_only in (True, False, True):
        with warehouse.connect(read_only=read_only) as con:
            assert user_ids(con) == before
    with warehouse.connect() as con:
        assert replace_table(con, USERS, ONE_USER, ["005A"]) == 1
    assert sorted(path.name for path in warehouse.path.parent.iterdir()) == ["acme.duckdb"]


FEW = settings(max_examples=40, deadline=None)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)


@FEW
@given(name=names)
def test_any_name_can_be_quoted(name: str) -> None:
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE {quote('t' + name)} ({quote(name)} INTEGER)")
        assert con.execute(f"SELECT {quote(name)} FROM {quote('t' + name)}").description[0][0] == name


@FEW
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_can_be_a_literal(text: str) -> None:
    with duckdb.connect() as con:
        assert con.execute(f"SELECT {literal(text)}").fetchone() == (text,)


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_can_be_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        quote(name)
