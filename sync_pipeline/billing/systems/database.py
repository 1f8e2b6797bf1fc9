"""Customers in a SQL database: a query or a table, read once from its first row to its last and never held whole.

The address is SQLAlchemy's, so every database that has a dialect for it works once its driver is installed. Nothing is
ever written there: the session is made read-only where the database can do that, and nothing is committed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import sqlalchemy
from pydantic import Field
from sqlalchemy import URL, Connection, CursorResult
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from sync_pipeline import progress
from sync_pipeline.billing.plain import PlainFile
from sync_pipeline.billing.settings import BillingSettings
from sync_pipeline.billing.source import Organization, Reading
from sync_pipeline.billing.tabular import Columns, Layout, reading_of
from sync_pipeline.billing.values import is_inexact, text_of
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.yaml_types.shapes import CustomerUrl, DatabaseUrl, Query
from sync_pipeline.yaml_types.values import EnvRef, Name, one_of, text

title = "the database"
CHUNK = 2_000
"""Rows fetched at once: enough that the network's round trips don't count, few enough that memory doesn't."""
READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "postgresql": "SET TRANSACTION READ ONLY",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
    "oracle": "SET TRANSACTION READ ONLY",
}
"""How a session is told not to write, where the database knows it."""
PACKAGES = {
    "psycopg": "'psycopg[binary]'",
    "mysql": "mysql-connector-python",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "snowflake": "snowflake-sqlalchemy",
    "bigquery": "sqlalchemy-bigquery",
    "redshift": "sqlalchemy-redshift",
    "databricks": "databricks-sqlalchemy",
    "duckdb": "duckdb-engine",
    "clickhouse": "clickhouse-sqlalchemy",
    "db2": "ibm_db_sa",
    "hana": "sqlalchemy-hana",
    "teradatasql": "teradatasqlalchemy",
    "trino": "trino",
}
"""What to install, where the package has another name than the module or dialect that is missing."""
OTHERWISE_CALLED = {"postgres": "postgresql+psycopg", "sqlserver": "mssql+pyodbc", "oci": "oracle+oracledb"}
"""Names that people try, and SQLAlchemy's own."""
LIBRARIES = {"pyodbc": "unixODBC and Microsoft's ODBC driver", "psycopg": "libpq, or `pip install 'psycopg[binary]'`"}
"""What a driver needs of the system besides itself."""
_LOGIN_CODES = {1044, 1045, 1698, 18456}  # MySQL's; SQL Server's
_AWAY_CODES = {1040, 1205, 1213, 2002, 2003, 2006, 2013, 20003, 20006, 20009, 20047}  # MySQL's; those of FreeTDS
_LOGIN_WORDS = re.compile(
    r"password|authenticat|login failed|access denied|not authorized|permission denied|pg_hba|role .* does not exist",
    re.I,
)
_NO_SUCH = re.compile(r"does not exist|unknown database|cannot open database", re.I)


class Settings(BillingSettings):
    """Customers in a SQL database."""

    model_config = one_of("query", "table")

    system: Literal["database"]
    """The billing system."""
    url: DatabaseUrl
    """SQLAlchemy address. With a password in it, it is a secret: {env: BILLING_DATABASE}."""
    query: Query | None = None
    """A SELECT that gives one row per customer. Exactly one of query and table."""
    table: Name | None = None
    """A table or view with one row per customer. Exactly one of query and table."""
    columns: Columns = Field(default_factory=dict)
    """What a customer row says (customer_id, name, ...): the column that says it, where the names differ."""
    customer_url: CustomerUrl | None = None
    """Address of a customer's page, with {customer_id} in it; checks link there."""


def read(org: Organization, folder: Path, since: datetime | None = None) -> Reading:
    """Stream the rows to disk as text.

    Raises:
        ConfigurationError: the address, the driver, the query or a column is not there.
        ReconnectError: the database refuses the login.
        TransientError: the database is away or busy.
        DataError: it delivered values that can't be read, or whose digits are lost already.
    """
    url = _url(org)
    plain = folder / "plain.csv"
    with _translated(org, url), _connection(org, url) as connection:
        result = _run(org, connection)
        header = list(result.keys())
        layout = Layout.of(org, header, _settings(org).columns)
        exact = {layout.identifier, layout.used["customer_id"]}
        with PlainFile(_where(org), plain, len(header)) as file:
            for rows in result.partitions(CHUNK):
                for row in rows:
                    file.write([_value(org, header, at, value, at in exact) for at, value in enumerate(row)])
                progress.report("customers read", file.count)
    return reading_of(org, plain, PlainFile.delimiter, layout, longest=file.longest)


def probe(org: Organization) -> str:
    """Run the query, look at its columns, and fetch nothing."""
    url = _url(org)
    with _translated(org, url), _connection(org, url) as connection:
        result = _run(org, connection)
        header = list(result.keys())
        result.close()
    Layout.of(org, header, _settings(org).columns)
    return (
        f"The database answers; the query has {len(header)} columns, the identifier and the customer's id among them."
    )


def customer_url(org: Organization, customer_id: str) -> str | None:
    """The page that `billing.customer_url` names."""
    template = _settings(org).customer_url
    return template.replace("{customer_id}", quote(customer_id, safe="")) if template else None


@contextmanager
def _connection(org: Organization, url: URL) -> Iterator[Connection]:
    """One connection that streams and does not write."""
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, hide_parameters=True)
    except (ImportError, NoSuchModuleError) as error:
        raise _no_driver(org, url, error) from None
    try:
        with engine.connect() as connection:
            if statement := READ_ONLY.get(engine.dialect.name):
                connection.exec_driver_sql(statement)
            yield connection
    finally:
        engine.dispose()


def _run(org: Organization, connection: Connection) -> CursorResult[Any]:
    # no_parameters: a percent sign in the query is a percent sign
    streaming = connection.execution_options(yield_per=CHUNK, no_parameters=True)
    result = streaming.exec_driver_sql(_statement(org, connection))
    if not result.returns_rows:
        raise ConfigurationError(f"{_where(org)}: the query returns no rows at all.", next_step="Write a SELECT there.")
    return result


def _statement(org: Organization, connection: Connection) -> str:
    settings = _settings(org)
    if settings.query is not None:
        return settings.query
    schema, _, name = (settings.table or "").rpartition(".")
    table = sqlalchemy.table(name, schema=schema or None)
    return str(sqlalchemy.select(sqlalchemy.text("*")).select_from(table).compile(dialect=connection.dialect))


def _value(org: Organization, header: Sequence[str], at: int, value: object, exact: bool) -> str | None:
    if exact and is_inexact(value):
        raise DataError(
            f"{_where(org)}: column {header[at]!r} is floating-point, and its numbers are too long to be exact.",
            next_step=f"Turn it into an exact type in the query, e.g. CAST({header[at]} AS DECIMAL(38, 0)).",
        )
    return text_of(value)


def _url(org: Organization) -> URL:
    """The database's address; it never appears in a message, because it may hold a password."""
    place = org.where("billing", "url")
    setting = _settings(org).url
    try:
        url = sqlalchemy.make_url(text(setting))
    except (ArgumentError, ValueError):
        name = f" in {setting.env}" if isinstance(setting, EnvRef) else ""
        raise ConfigurationError(
            f"{place}: SQLAlchemy can't read the database's address{name}.",
            next_step="Write dialect+driver://user:password@host:port/database, special characters percent-encoded.",
        ) from None
    if url.get_backend_name() == "sqlite" and url.database and not url.database.startswith("file:"):
        file = Path(url.database)
        if not file.is_file():  # SQLite would create an empty one
            raise ConfigurationError(f"{place}: there is no database file {file}.", next_step="Check billing.url.")
    return url


def _no_driver(org: Organization, url: URL, error: Exception) -> ConfigurationError:
    place, backend = org.where("billing", "url"), url.get_backend_name()
    if isinstance(error, NoSuchModuleError) and backend not in PACKAGES:  # a package of that name may be anybody's
        called = OTHERWISE_CALLED.get(backend)
        return ConfigurationError(
            f"{place}: SQLAlchemy knows no {url.drivername}://.",
            next_step=f"Write {called}://." if called else "Check the address, or install the dialect that it names.",
        )
    module = getattr(error, "name", None) or backend
    if isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError):
        driver = url.get_driver_name()
        return ConfigurationError(
            f"{place}: the driver for {url.drivername} is installed, but can't be loaded: {' '.join(str(error).split())}.",
            next_step=f"Install {LIBRARIES.get(driver, 'what it needs of the system')} where the sync runs.",
        )
    return ConfigurationError(
        f"{place}: the driver for {url.drivername} is not installed.",
        next_step=f"Run `pip install {PACKAGES.get(module, module)}` where the sync runs.",
    )


@contextmanager
def _translated(org: Organization, url: URL) -> Iterator[None]:
    """The database's errors, as errors by consequence, in its own words but without the address or the password."""
    try:
        yield
    except DBAPIError as error:
        raise _explained(org, url, error) from None
    except UnicodeError:
        raise DataError(
            f"{_where(org)}: a text in the database is not of the encoding its driver expects.",
            next_step="Name the encoding in the address, as the driver's manual says (MySQL: ?charset=utf8mb4).",
        ) from None
    except SQLAlchemyError as error:
        raise ConfigurationError(f"{_where(org)}: {_words(url, error)}") from None


def _explained(org: Organization, url: URL, error: DBAPIError) -> SyncError:
    cause = error.orig if error.orig is not None else error
    words = _words(url, cause)
    kind = _kind(error, cause)
    if kind is ReconnectError:
        return ReconnectError(
            f"{org.where('billing', 'url')}: the database refuses the login: {words}",
            next_step="Check the user, the password and the user's rights.",
        )
    if kind is TransientError:
        return TransientError(
            f"{_where(org)}: the database can't answer now: {words}",
            next_step="Try again later; if it lasts, check host, port and network.",
        )
    if kind is DataError:
        return DataError(f"{_where(org)}: the database's data can't be read: {words}")
    return ConfigurationError(
        f"{_where(org)}: the database refuses the query: {words}",
        next_step="Correct it, and try it on the database itself.",
    )


def _kind(error: DBAPIError, cause: BaseException) -> type[SyncError]:
    """What an error of a driver asks for. Drivers share SQLSTATE at most; SQLite and MySQL have codes of their own."""
    state = str(getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or "")
    code = next(iter(_parts(cause)), None)
    lite = str(getattr(cause, "sqlite_errorname", ""))
    # Snowflake's 08001 is a refused login as well as a host that is away.
    refused = state.startswith("08") and _LOGIN_WORDS.search(str(cause))
    if state.startswith("28") or code in _LOGIN_CODES or state == "42501" or refused:
        return ReconnectError
    if (
        state.startswith(("08", "40", "53", "55", "57"))
        or code in _AWAY_CODES
        or lite.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    ):
        return TransientError
    if state or lite not in ("", "SQLITE_NOTADB", "SQLITE_CORRUPT"):
        return ConfigurationError
    return _kind_without_code(error, cause, lite)


def _kind_without_code(error: DBAPIError, cause: BaseException, lite: str) -> type[SyncError]:
    if lite or isinstance(error, sqlalchemy.exc.DataError) or "decode to UTF-8" in str(cause):
        return DataError
    if (
        isinstance(error, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError))
        or error.connection_invalidated
    ):
        if _LOGIN_WORDS.search(str(cause)):
            return ReconnectError
        return ConfigurationError if _NO_SUCH.search(str(cause)) else TransientError
    return ConfigurationError


def _words(url: URL, error: BaseException) -> str:
    """What the error says, on one line, without what is secret."""
    said = " ".join(map(str, _parts(error))) or type(error).__name__
    for secret in (url.render_as_string(hide_password=False), str(url.password or "")):
        if secret:
            said = said.replace(secret, "***")
    return " ".join(said.split())[:500].rstrip(".") + "."


def _parts(error: BaseException) -> list[object]:
    """An error's arguments; pymssql wraps them once more, and leaves them bytes."""
    args = error.args[0] if len(error.args) == 1 and isinstance(error.args[0], tuple) else error.args
    return [part.decode("utf-8", "replace") if isinstance(part, bytes) else part for part in args]


def _where(org: Organization) -> str:
    return org.where("billing", "query" if _settings(org).query is not None else "table")


def _settings(org: Organization) -> Settings:
    if not isinstance(org.billing, Settings):
        raise TypeError(f"{org.name} is billed by {org.billing.system}")
    return org.billing
