"""The shared identifiers of all accounts and nothing else, for looking at them before anything is trusted."""

from __future__ import annotations

import duckdb

from sync_pipeline.salesforce.client import Client
from sync_pipeline.salesforce.describe import ACCOUNT
from sync_pipeline.salesforce.reads.reading import Reading
from sync_pipeline.warehouse.tables import SALESFORCE_ACCOUNTS


def read_identifiers(con: duckdb.DuckDBPyConnection, client: Client, field: str) -> int:
    """Read `field` of every account that the user sees into `temp.identifiers (value)`; returns how many there are.

    One Bulk query of two columns: aggregates in SOQL would leave out long text, and compare as Salesforce does.

    Args:
        con: a connection of `Warehouse.connect`.
        client: a connected client.
        field: an Account field that the user sees.

    Raises:
        ConfigurationError, ReconnectError, TransientError, DataError: as every read.
    """
    reading = Reading(client, ACCOUNT, SALESFORCE_ACCOUNTS, "account_id", "accounts looked at")
    reading.column("Id")
    column = reading.column(field)
    with reading.rows(con, reading.soql()) as rows:
        con.execute(f"CREATE OR REPLACE TEMP TABLE identifiers AS SELECT {column} AS value FROM {rows.source}")
        count = int(con.execute("SELECT count(*) FROM temp.identifiers").fetchall()[0][0])
        reading.complete(rows.announced, count)
    return count
