"""Customers from a real database: a SQLite file, read through SQLAlchemy as any other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy

from sync_pipeline import progress
from sync_pipeline.billing import customer_url, load_customers
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.orgs.factory import make_organization

Read = Callable[[Organization], list[tuple[Any, ...]]]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "billing.db")
    yield connection
    connection.close()


@pytest.fixture
def org(tmp_path: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Organization]:
    def make(*, field: str = "customer_id", url: str | None = None, **billing: Any) -> Organization:
        database.commit()
        monkeypatch.setenv("BILLING_DATABASE", url or f"sqlite:///{tmp_path / 'billing.db'}")
        settings = {"system": "database", "url": {"env": "BILLING_DATABASE"}} | billing
        return make_organization(folder=tmp_path / "config", billing=settings, identifier__billing_field=field)

    return make


def test_a_table(org: Callable[..., Organization], database: sqlite3.Connection, read: Read) -> None:
    database.execute("CREATE TABLE customers (customer_id TEXT, name TEXT, region TEXT)")
    database.executemany(
        "INSERT INTO customers VALUES (?, ?, ?)", [("00285", "Ada", "N"), ("286", 'O"Hara\r\n,;', None)]
    )
    assert read(org(table="customers")) == [
        ("00285", "00285", "Ada", '{"region":"N"}'),
        ("286", "286", 'O"Hara\r\n,;', '{"region":null}'),
    ]


def test_numbers_become_text_without_losing_digits(
    org: Callable[..., Organization], database: sqlite3.Connection, con: duckdb.DuckDBPyConnection
) -> None:
    database.execute("CREATE TABLE customers (id INTEGER, ref REAL, balance NUMERIC, created_at TEXT)")
    database.execute("INSERT INTO customers VALUES (9223372036854775807, 285.0, -12.5, '2024-03-01 10:00:00')")
    database.execute("INSERT INTO customers VALUES (1, 9007199254740991.0, 3, NULL)")
    load_customers(con, org(table="customers", field="ref"))
    found = con.execute(
        "SELECT customer_id, identifier, balance::VARCHAR, created_at::VARCHAR FROM billing_customers ORDER BY 1"
    ).fetchall()
    assert found == [
        ("1", "9007199254740991", "3.000000", None),
        ("9223372036854775807", "285", "-12.500000", "2024-03-01 10:00:00"),
    ]


def test_floats_beyond_exactness_are_refused_as_identifiers(
    org: Callable[..., Organization], database: sqlite3.Connection, read: Read
) -> None:
    database.execute("CREATE TABLE customers (id INTEGER, ref REAL)")
    database.execute("INSERT INTO customers VALUES (1, 9007199254740993.0)")
    with pytest.raises(DataError, match=r"column 'ref' is floating-point.*CAST\(ref AS DECIMAL"):
        read(org(table="customers", field="ref"))
    assert read(org(table="customers"))[0][0] == "1"  # elsewhere such a number harms nobody


def test_a_query_with_everything_that_a_template_would_stumble_over(
    org: Callable[..., Organization], database: sqlite3.Connection, read: Read
) -> None:
    database.execute("CREATE TABLE c (id TEXT, name TEXT)")
    database.executemany("INSERT INTO c VALUES (?, ?)", [("1", "100% :x"), ("2", "b")])
    found = read(org(query="SELECT id, name, ' :y %s %(z)s' AS note FROM c WHERE name LIKE '%%:x%' -- :comment"))
    assert found == [("1", "1", "100% :x", '{"note":" :y %s %(z)s"}')]


@pytest.mark.parametrize("name", ['cust"; DROP TABLE c; --', "with space", "Ünï", "select"])
def test_table_names_are_quoted(
    org: Callable[..., Organization], database: sqlite3.Connection, read: Read, name: str
) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    database.execute("CREATE TABLE c (id TEXT)")
    database.execute(f"CREATE TABLE {quoted} (id TEXT)")
    database.execute(f"INSERT INTO {quoted} VALUES ('1')")
    assert read(org(table=name))[0][0] == "1"
    assert database.execute("SELECT count(*) FROM c").fetchone() == (0,)


def test_a_table_of_a_schema(org: Callable[..., Organization], database: sqlite3.Connection, read: Read) -> None:
    database.execute("CREATE TABLE customers (id TEXT)")
    database.execute("INSERT INTO customers VALUES ('7')")
    assert read(org(table="main.customers"))[0][0] == "7"


def test_nothing_is_written(org: Callable[..., Organization], database: sqlite3.Connection, read: Read) -> None:
    database.execute("CREATE TABLE customers (id TEXT)")
    database.execute("INSERT INTO customers VALUES ('1')")
    sneaky = "WITH x AS (SELECT 1) DELETE FROM customers RETURNING id"
    with pytest.raises(ConfigurationError, match="refuses the query: attempt to write a readonly database"):
        read(org(query=sneaky))
    assert database.execute("SELECT count(*) FROM customers").fetchone() == (1,)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM nowhere", "no such table: nowhere"),
        ("SELECT unheard_of FROM sqlite_master", "no such column: unheard_of"),
        ("SELECT (1", "incomplete input"),
        ("SELECT 1 AS id, 2 AS other", "has no 'customer_number'. It has: 'id', 'other'"),
        ("SELECT 1 AS customer_number", "has no column customer_id or id"),
    ],
)
def test_a_query_that_fails(
    org: Callable[..., Organization], read: Read, tmp_path: Path, query: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"acme\.yaml:\d+.*" + said.replace("(", "\\(")) as caught:
        read(org(query=query, field="customer_number"))
    assert "[SQL:" not in str(caught.value)
    assert "sqlalche.me" not in str(caught.value)
    assert str(tmp_path / "billing.db") not in str(caught.value)


def test_no_rows_is_no_error(org: Callable[..., Organization], database: sqlite3.Connection, read: Read) -> None:
    database.execute("CREATE TABLE customers (id TEXT, ref TEXT)")
    assert read(org(table="customers", field="ref")) == []


def test_a_database_file_that_is_not_there_is_not_made(
    org: Callable[..., Organization], read: Read, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.db"
    with pytest.raises(ConfigurationError, match="no database file"):
        read(org(table="customers", url=f"sqlite:///{missing}"))
    assert not missing.exists()


def test_a_file_that_is_no_database(org: Callable[..., Organization], read: Read, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"something else, and long enough to be looked at" * 40)
    with pytest.raises(DataError, match="file is not a database"):
        read(org(table="customers", url=f"sqlite:///{tmp_path / 'other.db'}"))


def test_a_locked_database(
    org: Callable[..., Organization], database: sqlite3.Connection, read: Read, tmp_path: Path
) -> None:
    database.execute("CREATE TABLE customers (id TEXT)")
    configured = org(table="customers", url=f"sqlite:///{tmp_path / 'billing.db'}?timeout=0.1")
    database.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TransientError, match="database is locked"):
        read(configured)


def test_text_in_another_encoding(org: Callable[..., Organization], database: sqlite3.Connection, read: Read) -> None:
    database.execute("CREATE TABLE customers (id TEXT, name TEXT)")
    database.execute("INSERT INTO customers VALUES ('1', CAST(x'4dfc6c6c6572' AS TEXT))")
    with pytest.raises(DataError, match="Could not decode to UTF-8"):
        read(org(table="customers"))


@pytest.mark.parametrize(
    ("url", "package"),
    [
        ("postgresql+psycopg2://u:geheim@db.example.com/x", "psycopg2-binary"),
        ("mysql+pymysql://u:geheim@db.example.com/x", "pymysql"),
        ("snowflake://u:geheim@account/x", "snowflake-sqlalchemy"),
    ],
)
def test_a_missing_driver(org: Callable[..., Organization], read: Read, url: str, package: str) -> None:
    if not url.startswith("snowflake"):
        try:
            sqlalchemy.make_url(url).get_dialect().import_dbapi()
        except ModuleNotFoundError:
            pass
        else:
            pytest.skip("the driver is installed here")
    with pytest.raises(ConfigurationError, match=f"driver for .* is not installed.*pip install {package}") as caught:
        read(org(table="customers", url=url))
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgres://u:geheim@host/x", r"knows no postgres://\. Write postgresql\+psycopg://"),
        ("sqlserver://u:geheim@host/x", r"knows no sqlserver://\. Write mssql\+pyodbc://"),
        ("mssql+nonsense://u:geheim@host/x", r"knows no mssql\+nonsense://\. Check the address"),
        ("clickhouse://u:geheim@host/x", "pip install clickhouse-sqlalchemy"),
    ],
)
def test_nobody_is_told_to_install_what_only_has_the_name(
    org: Callable[..., Organization], read: Read, url: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        read(org(table="customers", url=url))
    assert "geheim" not in str(caught.value)


def test_a_driver_that_lacks_a_library(
    org: Callable[..., Organization], read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise ImportError("libodbc.so.2: cannot open shared object file")

    monkeypatch.setattr(sqlalchemy, "create_engine", broken)
    with pytest.raises(ConfigurationError, match=r"can't be loaded: libodbc\.so\.2.*Install unixODBC"):
        read(org(table="customers", url="mssql+pyodbc://u:geheim@host/x"))


class DriverError(Exception):
    """What a driver raises; `sqlstate` as snowflake.connector and psycopg have it."""

    def __init__(self, *args: object, sqlstate: str | None = None) -> None:
        super().__init__(*args)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("url", "cause", "error", "said"),
    [
        ("mssql+pymssql", DriverError((18456, b"Login failed for user 'u'.")), ReconnectError, "18456 Login failed"),
        ("mssql+pymssql", DriverError((20009, b"server is unavailable or does not exist")), TransientError, "20009"),
        ("mysql+pymysql", DriverError(1045, "Access denied for user 'u'"), ReconnectError, "1045 Access denied"),
        ("mysql+pymysql", DriverError(2003, "Can't connect"), TransientError, "2003"),
        ("snowflake", DriverError("Incorrect username or password", sqlstate="08001"), ReconnectError, "Incorrect"),
        ("snowflake", DriverError("Could not connect to host", sqlstate="08001"), TransientError, "Could not connect"),
        ("mssql+pyodbc", DriverError("28000", "[28000] Login failed for user 'u'."), ReconnectError, "Login failed"),
        ("mssql+pyodbc", DriverError("HYT00", "[HYT00] Login timeout expired"), TransientError, "timeout"),
    ],
)
def test_what_drivers_raise(
    org: Callable[..., Organization],
    read: Read,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    cause: Exception,
    error: type[SyncError],
    said: str,
) -> None:
    def refusing(*arguments: Any, **options: Any) -> None:
        raise sqlalchemy.exc.OperationalError("SELECT geheim", None, cause)

    monkeypatch.setattr(sqlalchemy, "create_engine", refusing)
    with pytest.raises(error, match=said) as caught:
        read(org(table="customers", url=f"{url}://u:geheim@host/x"))
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["no address", "postgresql://u:ge@he@im:x/y:z@1:/", "://", "sqlite:///x.db?timeout=geheim"]
)
def test_an_address_that_can_t_be_read_is_not_repeated(org: Callable[..., Organization], read: Read, url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(org(table="customers", url=url))
    assert not any(part in str(caught.value) for part in ("he@im", "geheim", "no address"))


def test_progress(org: Callable[..., Organization], database: sqlite3.Connection, read: Read) -> None:
    database.execute("CREATE TABLE customers (id INTEGER)")
    database.executemany("INSERT INTO customers VALUES (?)", ((n,) for n in range(4_500)))
    seen: list[int] = []
    with progress.watched(lambda what, done, total: seen.append(done)):
        assert len(read(org(table="customers"))) == 4_500
    assert seen == [2_000, 4_000, 4_500, 4_500]


def test_the_page_of_a_customer(org: Callable[..., Organization]) -> None:
    configured = org(table="customers", customer_url="https://erp.example.com/{customer_id}")
    assert customer_url(configured, "A/1") == "https://erp.example.com/A%2F1"


@pytest.fixture(scope="module", params=["psycopg2", "psycopg"])
def postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a PostgreSQL of our own, behind a socket in a folder of our own."""
    pytest.importorskip(request.param, reason="this driver for PostgreSQL is not installed")
    if not shutil.which("initdb") or not shutil.which("postgres"):
        pytest.skip("no PostgreSQL on this machine")
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL does not run as root
    with tempfile.TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, user)
        create = ["initdb", "-D", f"{folder}/data", "-U", "postgres", "-A", "trust"]
        subprocess.run(create, check=True, capture_output=True, user=user, cwd=folder)
        serve = ["postgres", "-D", f"{folder}/data", "-k", folder, "-c", "listen_addresses="]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(serve, stdout=quiet, stderr=quiet, user=user, cwd=folder) as server:
            address = f"postgresql+{request.param}://postgres:geheim@/postgres?host={folder}"
            try:
                _wait_for(address)
                yield address
            finally:
                server.send_signal(signal.SIGINT)  # fast shutdown


def _wait_for(address: str) -> None:
    for _ in range(100):
        try:
            sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool).connect().close()
        except sqlalchemy.exc.OperationalError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("PostgreSQL does not answer")


def test_postgres(org: Callable[..., Organization], read: Read, postgres: str) -> None:
    with sqlalchemy.create_engine(postgres, poolclass=sqlalchemy.NullPool).begin() as connection:
        connection.exec_driver_sql('CREATE SCHEMA "Bill ing"')
        connection.exec_driver_sql("CREATE SEQUENCE numbers")
        connection.exec_driver_sql('CREATE TABLE "Bill ing".customers (id bigint, ref numeric, doc jsonb)')
        connection.exec_driver_sql(
            "INSERT INTO \"Bill ing\".customers SELECT n, n * 1e20, '[1]' FROM generate_series(1, 5000) n"
        )
    found = read(org(url=postgres, table="Bill ing.customers", field="ref"))
    assert len(found) == 5_000
    assert ("2", "200000000000000000000") in {row[:2] for row in found}
    assert json.loads(found[0][3])["doc"] == "[1]"
    with pytest.raises(ConfigurationError, match="read-only transaction"):
        read(org(url=postgres, query="SELECT nextval('numbers') AS id", field="id"))
    with pytest.raises(ReconnectError, match='role "nobody" does not exist') as caught:
        read(org(url=postgres.replace("postgres:geheim", "nobody:geheim"), table="customers"))
    assert "geheim" not in str(caught.value)
    with pytest.raises(TransientError):
        read(org(url=f"{postgres.partition(':')[0]}://u:geheim@127.0.0.1:1/x", table="customers"))


@pytest.fixture(scope="module")
def mysql() -> Iterator[str]:
    """The address of a MariaDB of our own, behind a socket in a folder of our own."""
    pytest.importorskip("pymysql", reason="this driver for MySQL is not installed")
    if not shutil.which("mariadbd"):
        pytest.skip("no MariaDB on this machine")
    with tempfile.TemporaryDirectory() as folder:
        options = [f"--datadir={folder}", f"--socket={folder}/socket", "--skip-networking", "--skip-grant-tables"]
        serve = ["mariadbd", "--no-defaults", *options, "--innodb-buffer-pool-size=8M", "--user=root"]
        with subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            address = f"mysql+pymysql://u:geheim@localhost/?unix_socket={folder}/socket"
            try:
                _wait_for(address)
                yield address
            finally:
                server.terminate()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the driver forgets a socket it can't connect
def test_mysql(org: Callable[..., Organization], read: Read, mysql: str) -> None:
    with sqlalchemy.create_engine(mysql, poolclass=sqlalchemy.NullPool).begin() as connection:
        connection.exec_driver_sql("CREATE DATABASE billing")
        connection.exec_driver_sql("CREATE SEQUENCE billing.numbers")
        connection.exec_driver_sql(
            "CREATE TABLE billing.customers (id bigint unsigned, ref decimal(38, 0), name text charset utf8mb4, doc json)"
        )
        rows = [(2**64 - n, n * 10**20, "Zoë 🦆", "[1]") for n in range(1, 5_001)]
        connection.exec_driver_sql("INSERT INTO billing.customers VALUES (%s, %s, %s, %s)", rows)
    found = read(org(url=mysql, table="billing.customers", field="ref"))
    assert len(found) == 5_000
    assert (str(2**64 - 2), "200000000000000000000", "Zoë 🦆") in {row[:3] for row in found}
    assert json.loads(found[0][3])["doc"] == "[1]"
    with pytest.raises(ConfigurationError, match=r"1146 Table 'billing\.nowhere' doesn't exist"):
        read(org(url=mysql, table="billing.nowhere"))
    with pytest.raises(ConfigurationError, match="1792 Cannot execute statement in a READ ONLY transaction"):
        read(org(url=mysql, query="SELECT nextval(billing.numbers) AS id", field="id"))
    with pytest.raises(TransientError, match="2003 Can't connect"):
        read(org(url="mysql+pymysql://u:geheim@127.0.0.1:1/x", table="customers"))
