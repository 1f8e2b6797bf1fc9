"""Portal links: from the receivables platform, and back to Salesforce."""

from __future__ import annotations

import pandas as pd

from sync_pipeline import salesforce
from sync_pipeline.assets.building import organization_asset, outcome
from sync_pipeline.assets.plans import EXPORT_PLAN, PORTAL_LINKS_PLAN, validated
from sync_pipeline.receivables import portal_links as links
from sync_pipeline.resources import Step
from sync_pipeline.warehouse.tables import EXPORTED_PORTAL_LINKS, PORTAL_LINKS

GROUP = "exports"


@organization_asset(PORTAL_LINKS, group=GROUP, kinds=("pandas", "duckdb"), deps=["account_mapping"])
def portal_links(step: Step) -> None:
    """Asked for with a lifetime, kept with their expiry, renewed before it, never fetched again while they live."""
    platform = step.platform
    plan = validated(links.plan(step.con, step.org, platform), PORTAL_LINKS_PLAN, step.org.name)
    if not step.dry_run:
        links.apply(step.con, step.org, platform, plan)
    outcome(step, PORTAL_LINKS, plan, links.WRITES)


@organization_asset(
    EXPORTED_PORTAL_LINKS,
    group=GROUP,
    kinds=("salesforce", "pandas"),
    deps=["portal_links", "salesforce_accounts", "account_mapping"],
)
def exported_portal_links(step: Step) -> None:
    """Written to the configured account field, only where the value must change; refused rows are tried again next time."""
    if step.org.export.portal_link is None:
        step.metadata["not exported"] = f"{step.org.where('export')} names no Salesforce field for the portal link."
        return
    plan = validated(salesforce.plan_portal_links(step.con, step.org), EXPORT_PLAN, step.org.name)
    if step.dry_run:
        plan = _with_links_to_come(step, plan)
    else:
        salesforce.write_portal_links(step.con, step.salesforce, step.org, plan)
    outcome(step, EXPORTED_PORTAL_LINKS, plan)


def _with_links_to_come(step: Step, plan: pd.DataFrame) -> pd.DataFrame:
    """A dry run asks for no portal link, but a sync would, and then write it: those accounts belong to what would change."""
    step.con.register("export_plan", plan)
    try:
        return step.con.sql(
            """
            FROM export_plan
            UNION ALL BY NAME
            SELECT salesforce_account_id, billing_customer_id, NULL AS url FROM planned_portal_links AS asked
            WHERE action = 'ask' AND NOT EXISTS (
                FROM export_plan WHERE export_plan.salesforce_account_id = asked.salesforce_account_id
            )
            """
        ).df()
    finally:
        step.con.unregister("export_plan")


ASSETS = (portal_links, exported_portal_links)
