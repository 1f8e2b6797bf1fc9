"""The shared identifiers of all accounts and nothing else, for looking at them before anything is trusted."""

from __future__ import annotations

from pathlib import Path

import duckdb

from sync_pipeline.errors import TransientError
from sync_pipeline.salesforce.bulk import download
from sync_pipeline.salesforce.client import Client
from sync_pipeline.salesforce.describe import ACCOUNT
from sync_pipeline.warehouse.load import literal

LONGEST_LINE = 2 << 20
"""Bytes of one line: an id, and a text of at most 131,072 characters of four bytes each, all doubled if quotes."""


def read_identifiers(con: duckdb.DuckDBPyConnection, client: Client, field: str, folder: Path) -> int:
    """Read `field` of every account that the user sees into `temp.identifiers (value)`; returns how many there are.

    One Bulk query of two columns: aggregates in SOQL would leave out long text, and compare as Salesforce does.

    Args:
        con: a connection to DuckDB.
        client: a connected client.
        field: the field as Salesforce spells it; not Id.
        folder: an existing folder for the pages.

    Raises:
        ConfigurationError, ReconnectError, TransientError: as `download`.
    """
    result = download(client, f"SELECT Id, {field} FROM {ACCOUNT}", folder, what="accounts looked at")
    con.execute("CREATE OR REPLACE TEMP TABLE identifiers (value VARCHAR)")
    if not result.pages:
        return 0
    files = ", ".join(literal(str(page)) for page in result.pages)
    con.execute(
        f"""
        INSERT INTO temp.identifiers
        SELECT value FROM read_csv([{files}], columns = {{'id': 'VARCHAR', 'value': 'VARCHAR'}}, auto_detect = false,
            header = true, delim = ',', quote = '"', escape = '"', nullstr = '', new_line = '\\n',
            max_line_size = {LONGEST_LINE}, buffer_size = {2 * LONGEST_LINE})
        """
    )
    count = int(con.execute("SELECT count(*) FROM temp.identifiers").fetchall()[0][0])
    if count != result.records:
        raise TransientError(
            f"Salesforce announced {result.records} accounts, but sent {count}.", next_step="Check again."
        )
    return count
