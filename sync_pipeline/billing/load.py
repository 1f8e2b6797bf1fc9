"""From a billing system to `billing_customers`: the one way all systems take."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import cast

import duckdb

from sync_pipeline import progress
from sync_pipeline.billing import reads
from sync_pipeline.billing.source import Organization, Reading
from sync_pipeline.billing.systems import sources
from sync_pipeline.errors import DataError
from sync_pipeline.logins.grants import AuthorizationServer, GrantStore, connected
from sync_pipeline.warehouse import quote, replace_table
from sync_pipeline.warehouse.load import insert_rows, passing_through, transaction
from sync_pipeline.warehouse.tables import BILLING_CUSTOMERS

MEMORY = "60MB"
"""What DuckDB may keep of rows on their way, besides some 70 MB that it does not count; the rest goes to disk. One thread
works at a time: another saves a tenth of the time, and takes a fifth more memory."""
NAMED_IDS = 5
"""As many ids are named in a message."""
NAMED_LINES = 3
"""As many lines of a file are named for each."""


def load_customers(con: duckdb.DuckDBPyConnection, org: Organization) -> int:
    """Bring `billing_customers` to what the organization's billing system has: all of it, or what has changed.

    Rows go through disk, so memory does not grow with their number (below 300 MB with a million). Where anything is
    wrong, the table keeps its old rows.

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
    with tempfile.TemporaryDirectory(prefix="sync-pipeline-billing-") as folder:
        source = sources()[org.billing.system]
        planned = reads.plan(con, org, source)
        count = _take(con, org, source.read(org, Path(folder), planned.since), planned)
        if count is None:
            planned = replace(planned, since=None, why_whole="customers were deleted since the last read")
            count = _take(con, org, source.read(org, Path(folder)), planned)
    progress.report("customers read", count or 0, count or 0)
    return count or 0


def probe(org: Organization) -> str:
    """Make sure that a read could begin, and say what was found. Cheap, and writes nothing; raises as a read does."""
    return sources()[org.billing.system].probe(org)


def title(org: Organization) -> str:
    """The billing system's name, as it stands within a sentence."""
    return sources()[org.billing.system].title


def authorization(org: Organization) -> AuthorizationServer | None:
    """The server where a person grants the login; None where the organization's billing system needs no such grant.

    A module that has such logins says so by a function (or its SOURCE by a method) `authorization` with this signature.

    Raises:
        ConfigurationError: a variable that holds the app's id or secret is not set.
    """
    described = getattr(sources()[org.billing.system], "authorization", None)
    return cast(AuthorizationServer | None, described(org) if described else None)


def kept_login(org: Organization) -> str | None:
    """For `check`: who is connected to the billing system, and since when; None where no login is kept.

    Raises:
        ReconnectError: nobody has connected the organization, or its file names another app, server or tenant since.
        ConfigurationError: what is stored, or a variable, can't be used.
    """
    server = authorization(org)
    if server is None:
        return None
    grant = connected(org.name, server, GrantStore())
    return f"{grant}, since {grant.connected_at[:10]}."


def customer_url(org: Organization, customer_id: str) -> str | None:
    """The page where people see the customer in the billing system; None where the system has none.

    Raises:
        ConfigurationError: a variable that holds the billing system's address is not set.
    """
    return sources()[org.billing.system].customer_url(org, customer_id)


def _take(con: duckdb.DuckDBPyConnection, org: Organization, reading: Reading, planned: reads.Plan) -> int | None:
    """Put what was read into the table; None, and nothing changed, where changes alone don't give the system's count."""
    try:
        return _keep_small(con, org, reading, planned)
    except _DeletedMeanwhile:
        return None
    except duckdb.InvalidInputException:
        # Not shown: DuckDB quotes the line, which is personal data, and its reason is not always the true one.
        if reading.otherwise is None:
            raise DataError(f"{org.where('billing')}: DuckDB can't read what {title(org)} delivered.") from None
        return _keep_small(con, org, reading.otherwise(), planned)


def _keep_small(con: duckdb.DuckDBPyConnection, org: Organization, reading: Reading, planned: reads.Plan) -> int:
    """`_keep` in little memory; in all there may be where customers are as large as books (DuckDB takes 2,048 at a time)."""
    try:
        with passing_through(con, MEMORY, threads=1):
            return _keep(con, org, reading, planned)
    except (duckdb.OutOfMemoryException, duckdb.TransactionException):  # the latter where it shows at COMMIT
        return _keep(con, org, reading, planned)


def _keep(con: duckdb.DuckDBPyConnection, org: Organization, reading: Reading, planned: reads.Plan) -> int:
    with transaction(con):
        if reading.changes:
            con.execute("CREATE OR REPLACE TEMP TABLE before AS FROM billing_customers")
        count = read = _replace(con, org, reading)
        if reading.changes:
            count += insert_rows(con, BILLING_CUSTOMERS, "FROM before ANTI JOIN billing_customers USING (customer_id)")
            con.execute("DROP TABLE before")
            if reading.count is not None and reading.count != count:
                raise _DeletedMeanwhile
        reads.remember(con, planned, reading.read_until, changed=read)
    return count


class _DeletedMeanwhile(Exception):
    """The system has fewer customers (or more) than changes account for."""


def _replace(con: duckdb.DuckDBPyConnection, org: Organization, reading: Reading) -> int:
    """Put the customers into the table, and keep them there only if nothing is wrong with them."""
    params = {**reading.params, "system": org.billing.system}
    customers = reading.select()
    with transaction(con):
        try:
            count = replace_table(con, BILLING_CUSTOMERS, customers, params)
            reading.check(con)
            _refuse_blank_ids(con, org, reading)
            if _repeated(con):
                if not reading.latest_wins:
                    _refuse_differing(con, org, reading)
                count = _keep_latest(con, customers, params)
        except (duckdb.ConversionException, duckdb.OutOfRangeException):
            raise DataError(
                f"{org.where('billing')}: {title(org)} delivered a number or a time that is none."
            ) from None
        finally:
            reading.unchanged()
    return count


def _refuse_blank_ids(con: duckdb.DuckDBPyConnection, org: Organization, reading: Reading) -> None:
    # White space as Unicode has it; zero-width characters show nothing either.
    blank = r"customer_id IS NULL OR NOT regexp_matches(customer_id, '[^\s\p{Z}\p{Cf}\p{Cc}]')"
    count = _number(con, f"SELECT count(*) FROM billing_customers WHERE {blank}")
    if not count:
        return
    lines = reading.lines({""}).get("", []) if reading.lines else []
    raise DataError(
        f"{org.where('billing')}: {count:,} of the customers have no customer_id{_lines(lines)}.",
        next_step="Fill it in, leave those rows out, or name another column as customer_id at billing.columns.",
    )


def _repeated(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether ids came more than once; the temporary table `repeated` has them."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE repeated AS"
        " SELECT customer_id FROM billing_customers GROUP BY customer_id HAVING count(*) > 1"
    )
    return _number(con, "SELECT count(*) FROM repeated") > 0


def _keep_latest(con: duckdb.DuckDBPyConnection, customers: str, params: dict[str, object]) -> int:
    """Leave one row of each of `repeated`, and read only these again: to sort all rows, custom fields and all, would take
    more memory than there is. Returns how many customers there are."""
    con.execute("DELETE FROM billing_customers WHERE customer_id IN (FROM repeated)")
    latest = "row_number() OVER (PARTITION BY customer_id ORDER BY position DESC) = 1"
    insert_rows(
        con,
        BILLING_CUSTOMERS,
        f"FROM ({customers}) WHERE customer_id IN (FROM repeated) QUALIFY {latest}",
        params,
    )
    return _number(con, "SELECT count(*) FROM billing_customers")


def _refuse_differing(con: duckdb.DuckDBPyConnection, org: Organization, reading: Reading) -> None:
    """Refuse where leaving one row for each customer id would mean choosing."""
    row = ", ".join(f"{quote(column.name)} := {quote(column.name)}" for column in BILLING_CUSTOMERS.columns)
    rivals = f"""
        SELECT customer_id, count(*) OVER () AS rivals FROM billing_customers
        SEMI JOIN (SELECT customer_id FROM billing_customers GROUP BY customer_id HAVING count(*) > 1) USING (customer_id)
        GROUP BY customer_id HAVING count(DISTINCT struct_pack({row})) > 1
        ORDER BY customer_id LIMIT {NAMED_IDS}
    """
    found = con.execute(rivals).fetchall()
    if not found:
        return
    ids = [str(customer_id) for customer_id, _ in found]
    lines = reading.lines(set(ids)) if reading.lines else {}
    named = ", ".join(f"{customer_id!r}{_lines(lines.get(customer_id, []))}" for customer_id in ids)
    more = f" and {found[0][1] - len(ids):,} more" if found[0][1] > len(ids) else ""
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
