"""From a billing system to `billing_customers`: the one way all systems take."""

from __future__ import annotations

import logging

import duckdb

from sync_pipeline.billing import database, file, stripe
from sync_pipeline.billing.source import COLUMNS, CUSTOMERS, Source, Staged, staging
from sync_pipeline.errors import DataError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.warehouse import quote, replace_table
from sync_pipeline.warehouse.tables import BILLING_CUSTOMERS

log = logging.getLogger(__name__)

SOURCES: dict[str, Source] = {"stripe": stripe, "database": database, "file": file}
"""The module of each `billing.system`."""
NAMED_IDS = 5
"""As many ids are named in a message."""
NAMED_LINES = 3
"""As many lines of a file are named for each."""


def load_customers(con: duckdb.DuckDBPyConnection, org: Organization) -> int:
    """Read every customer of the organization's billing system into `billing_customers`, replacing it as a whole.

    Rows go through disk, so memory does not grow with their number. Where anything is wrong, the table keeps its old
    rows.

    Args:
        con: a connection of `Warehouse.connect`, outside a transaction.
        org: the organization.

    Returns:
        The number of customers; a system without customers gives an empty table.

    Raises:
        ConfigurationError: the identifier, a column, the address or the query does not exist or can't be used.
        ReconnectError: the login was refused.
        DataError: what the system delivered can't be read, a customer has no id, or two different ones share an id.
        TransientError: the system is away, or the file is still being written.
    """
    with staging(con) as folder:
        staged = SOURCES[org.billing.system].stage(con, org, folder)
        _refuse_blank_ids(con, org, staged)
        _settle_repeated_ids(con, org, staged)
        columns = ", ".join(quote(column.name) for column in COLUMNS)
        return replace_table(
            con,
            BILLING_CUSTOMERS,
            f"SELECT $system AS source, {columns} FROM {CUSTOMERS}",
            {"system": org.billing.system},
        )


def customer_url(org: Organization, customer_id: str) -> str | None:
    """The page where people see the customer in the billing system; None where the system has none.

    Raises:
        ConfigurationError: a variable that holds the billing system's address is not set.
    """
    return SOURCES[org.billing.system].customer_url(org, customer_id)


def _refuse_blank_ids(con: duckdb.DuckDBPyConnection, org: Organization, staged: Staged) -> None:
    # White space as Unicode has it; zero-width characters show nothing either.
    blank = r"customer_id IS NULL OR NOT regexp_matches(customer_id, '[^\s\p{Z}\p{Cf}\p{Cc}]')"
    count = _number(con, f"SELECT count(*) FROM {CUSTOMERS} WHERE {blank}")
    if not count:
        return
    lines = staged.lines({""}).get("", []) if staged.lines else []
    raise DataError(
        f"{org.where('billing')}: {count:,} of the customers have no customer_id{_lines(lines)}.",
        next_step="Fill it in, leave those rows out, or name another column as customer_id at billing.columns.",
    )


def _settle_repeated_ids(con: duckdb.DuckDBPyConnection, org: Organization, staged: Staged) -> None:
    """Leave one row for each customer id, or refuse where that would mean choosing."""
    con.execute(
        f"CREATE TABLE billing_staging.repeated AS"
        f" SELECT customer_id FROM {CUSTOMERS} GROUP BY customer_id HAVING count(*) > 1"
    )
    if not _number(con, "SELECT count(*) FROM billing_staging.repeated"):
        return
    if not staged.latest_wins:
        _refuse_differing(con, org, staged)
    con.execute(
        f"""
        DELETE FROM {CUSTOMERS} WHERE rowid IN (
            SELECT row FROM (
                SELECT c.rowid AS row, row_number() OVER (PARTITION BY c.customer_id ORDER BY c.position DESC) AS age
                FROM {CUSTOMERS} AS c SEMI JOIN billing_staging.repeated AS r ON r.customer_id = c.customer_id
            ) WHERE age > 1
        )
        """
    )


def _refuse_differing(con: duckdb.DuckDBPyConnection, org: Organization, staged: Staged) -> None:
    row = ", ".join(f"{quote(column.name)} := {quote(column.name)}" for column in COLUMNS)
    con.execute(
        f"""
        CREATE TABLE billing_staging.differing AS
        SELECT customer_id FROM {CUSTOMERS} SEMI JOIN billing_staging.repeated USING (customer_id)
        GROUP BY customer_id HAVING count(DISTINCT struct_pack({row})) > 1
        """
    )
    count = _number(con, "SELECT count(*) FROM billing_staging.differing")
    if not count:
        return
    query = f"SELECT customer_id FROM billing_staging.differing ORDER BY customer_id LIMIT {NAMED_IDS}"
    ids = [str(customer_id) for (customer_id,) in con.execute(query).fetchall()]
    lines = staged.lines(set(ids)) if staged.lines else {}
    named = ", ".join(f"{customer_id!r}{_lines(lines.get(customer_id, []))}" for customer_id in ids)
    more = f" and {count - len(ids):,} more" if count > len(ids) else ""
    raise DataError(
        f"{org.where('billing')}: rows that differ share a customer_id: {named}{more}.",
        next_step="Correct the ids, or name the column that is unique as customer_id at billing.columns.",
    )


def _lines(lines: list[int]) -> str:
    if not lines:
        return ""
    shown = ", ".join(str(line) for line in lines[:NAMED_LINES])
    return f" (line{'s' if len(lines) > 1 else ''} {shown}{', ...' if len(lines) > NAMED_LINES else ''})"


def _number(con: duckdb.DuckDBPyConnection, query: str) -> int:
    row = con.execute(query).fetchone()
    return int(row[0]) if row else 0
