"""The ledger of merged accounts. A merge deletes the losers and leaves the winner's id on them (`MasterRecordId`).

Salesforce forgets that when it empties its recycle bin; the ledger does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import duckdb

from sync_pipeline.salesforce.describe import ACCOUNT, find_field
from sync_pipeline.salesforce.reads.reading import Reading, by_rest, folder_beside
from sync_pipeline.warehouse.ledger import SURVIVORS
from sync_pipeline.warehouse.load import insert_rows, quote
from sync_pipeline.warehouse.tables import SALESFORCE_MERGES

DELETED, MASTER = "IsDeleted", "MasterRecordId"


@contextmanager
def merged_away(con: duckdb.DuckDBPyConnection, reading: Reading) -> Iterator[Callable[[], str | None]]:
    """While the block lasts, the accounts that were merged away and are still in the recycle bin, as a FROM clause.

    A whole read leaves deleted records out, so they are asked for by themselves: by REST query, because they are few,
    and beside the Bulk query, which takes its time. The clause is None for other objects, and where the connected user
    may not see the field that tells.
    """
    if reading.object_name != ACCOUNT or find_field(reading.client, ACCOUNT, MASTER) is None:
        yield lambda: None
        return
    soql = reading.soql(DELETED, MASTER, where=f"{DELETED} = true AND {MASTER} != null")
    with folder_beside(con) as folder, ThreadPoolExecutor(1, thread_name_prefix="salesforce-merges") as beside:
        asked = beside.submit(by_rest, reading.client, soql, folder, "merges read", deleted_too=True)
        yield lambda: asked.result().source


def forget_other_organizations(con: duckdb.DuckDBPyConnection, reading: Reading, organization_id: str | None) -> None:
    """Empty the ledger where the accounts were read from another organization before: ids may be the same in both."""
    if reading.object_name == ACCOUNT:
        con.execute(
            "DELETE FROM salesforce_merges WHERE EXISTS "
            "(FROM salesforce_reads WHERE object = ? AND organization_id <> ?)",
            [ACCOUNT, organization_id],
        )


def move_contacts(con: duckdb.DuckDBPyConnection) -> None:
    """Let contacts of accounts that were merged away belong to the survivor, as in Salesforce.

    That the move changes the contact's own stamp is not documented (†), so a read of changes may not bring it.
    """
    con.execute(
        f"""UPDATE salesforce_contacts SET account_id = led.survivor_id FROM ({SURVIVORS}) AS led
        WHERE salesforce_contacts.account_id = led.merged_account_id"""
    )


def note_merges(con: duckdb.DuckDBPyConnection, reading: Reading, source: str | None) -> None:
    """Note the merges among the accounts of `source`, and forget those of accounts that live again.

    Call it when the table of accounts is up to date, in the same transaction.
    """
    if reading.object_name != ACCOUNT:
        return
    if source is not None:
        con.execute(
            f"""CREATE OR REPLACE TEMP TABLE merges_found AS
            SELECT "Id" AS merged_account_id, {quote(MASTER)} AS survivor_id,
                {reading.columns["identifier"]} AS identifier, {reading.columns["modified_at"]} AS merged_at
            FROM {source} WHERE {quote(DELETED)} = 'true' AND {quote(MASTER)} IS NOT NULL"""
        )
        con.execute(
            "DELETE FROM salesforce_merges WHERE merged_account_id IN (SELECT merged_account_id FROM merges_found)"
        )
        insert_rows(con, SALESFORCE_MERGES, "FROM merges_found")
        con.execute("DROP TABLE temp.merges_found")
    con.execute("DELETE FROM salesforce_merges WHERE merged_account_id IN (SELECT account_id FROM salesforce_accounts)")
    move_contacts(con)
