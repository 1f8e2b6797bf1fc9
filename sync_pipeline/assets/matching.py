"""The one-to-one mapping."""

from __future__ import annotations

from sync_pipeline import matching, salesforce
from sync_pipeline.assets.building import organization_asset
from sync_pipeline.resources import Step
from sync_pipeline.warehouse.tables import ACCOUNT_MAPPING


@organization_asset(
    ACCOUNT_MAPPING, group="matching", kinds=("sql", "duckdb"), deps=["salesforce_accounts", "billing_customers"]
)
def account_mapping(step: Step) -> None:
    """One SQL statement gives every account and every customer exactly one verdict, with a reason. Nothing is guessed."""
    identifier = step.org.identifier
    salesforce_ids = identifier.salesforce_id or salesforce.identifier_is_salesforce_id(step.con)
    matching.match(step.con, identifier, salesforce_ids=salesforce_ids)
    verdicts = step.con.sql(
        "SELECT verdict, count(*) FROM account_mapping GROUP BY verdict ORDER BY verdict"
    ).fetchall()
    step.metadata.update({verdict.replace("_", " "): count for verdict, count in verdicts})
    near_misses = step.con.sql("SELECT count(*) FROM account_mapping WHERE near_miss_rule IS NOT NULL").fetchall()
    step.metadata["near misses"] = near_misses[0][0]


ASSETS = (account_mapping,)
