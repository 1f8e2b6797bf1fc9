"""Small worlds of customers and accounts in a real warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from sync_pipeline.matching import match
from sync_pipeline.orgs.models import Identifier, Rule
from sync_pipeline.warehouse import TABLES, Warehouse, quote, replace_table

Sides = dict[str, str | None]


@contextmanager
def warehouse(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with Warehouse(folder, "acme").connect() as con:
        yield con


def fill(con: duckdb.DuckDBPyConnection, table: str, columns: dict[str, str], source: str, params: Any = ()) -> None:
    """Replace a table by rows of `source`; columns that are not named stay null."""
    chosen = ", ".join(f"{columns.get(c.name, 'NULL')} AS {quote(c.name)}" for c in TABLES[table].columns)
    replace_table(con, TABLES[table], f"SELECT {chosen} FROM {source}", params)


def settle(
    con: duckdb.DuckDBPyConnection,
    customers: Sides,
    accounts: Sides,
    normalize: tuple[Rule, ...] = (),
    *,
    salesforce_ids: bool = False,
) -> list[dict[str, Any]]:
    """Load both sides, match them, and return the mapping's rows."""
    rows = "(SELECT unnest($ids) AS id, unnest($values) AS value)"
    for table, id_column, side in (
        ("billing_customers", "customer_id", customers),
        ("salesforce_accounts", "account_id", accounts),
    ):
        params = {"ids": list(side), "values": list(side.values())}
        fill(con, table, {id_column: "id::VARCHAR", "identifier": "value::VARCHAR"}, rows, params)
    identifier = Identifier(billing_field="metadata.sf", salesforce_field="Billing_Id__c", normalize=list(normalize))
    match(con, identifier, salesforce_ids=salesforce_ids)
    return mapping(con)


def mapping(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    cursor = con.execute("SELECT * FROM account_mapping ORDER BY billing_customer_id, salesforce_account_id")
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def by_record(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows by the records they speak of; a pair's row stands under both ids. Fails where a record has two rows."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        for record in (row["billing_customer_id"], row["salesforce_account_id"]):
            if record is not None:
                assert record not in found, f"two rows for {record}"
                found[record] = row
    return found


def count(con: duckdb.DuckDBPyConnection, query: str) -> int:
    """How many rows a guard finds."""
    return int(con.execute(f"SELECT count(*) FROM ({query})").fetchall()[0][0])
