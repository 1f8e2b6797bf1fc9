"""From two tables of records to one table of verdicts."""

from __future__ import annotations

import logging
from contextlib import suppress

import duckdb

from sync_pipeline.matching.comparison import Comparison, Step
from sync_pipeline.matching.macros import install_macros
from sync_pipeline.matching.reasons import mapping_sql
from sync_pipeline.matching.steps import steps
from sync_pipeline.orgs.models import Identifier
from sync_pipeline.warehouse import TABLES, quote, replace_table

log = logging.getLogger(__name__)


def match(con: duckdb.DuckDBPyConnection, identifier: Identifier, *, salesforce_ids: bool) -> None:
    """Give every account and every customer exactly one verdict, and replace `account_mapping` by them.

    Reads `salesforce_accounts`, `salesforce_merges` and `billing_customers`. A record is `matched` where its key (the
    identifier, compared under the rules of `identifier.normalize`) stands on exactly one customer and one account; all
    others are set aside, each with its reason. What would have matched under rules that are off is named, never linked.

    Args:
        con: a writing connection of `Warehouse.connect`.
        identifier: the organization's shared identifier; names the two fields in the reasons.
        salesforce_ids: the identifiers are Salesforce ids: 15 and 18 characters are one identity, and `case` and
            `leading_zeros` make no match even where they are on.
    """
    by_account_id = identifier.salesforce_field.lower() == "id"
    comparison = Comparison(frozenset(identifier.normalize), salesforce_ids, by_account_id)
    install_macros(con)
    made: list[Step] = []
    try:
        for step in steps(comparison):
            con.execute(f"CREATE OR REPLACE TEMP {step.kind} {quote(step.name)} AS {step.sql}")
            made.append(step)
        rows = replace_table(
            con,
            TABLES["account_mapping"],
            mapping_sql(comparison),
            {"billing_field": identifier.billing_field, "salesforce_field": identifier.salesforce_field},
        )
        log.info("Matched: %d rows of verdicts.", rows)
    finally:
        with suppress(duckdb.Error):  # after a failure that took the connection along, that failure is what matters
            for step in reversed(made):
                con.execute(f"DROP {step.kind} IF EXISTS temp.main.{quote(step.name)}")
