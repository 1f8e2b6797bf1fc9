"""Customers as they stand in the billing system."""

from __future__ import annotations

from sync_pipeline import billing
from sync_pipeline.assets.building import organization_asset
from sync_pipeline.resources import Step
from sync_pipeline.warehouse.tables import BILLING_CUSTOMERS


# After salesforce_fields, though it reads nothing of it: where a field can't serve, nothing at all is read.
@organization_asset(BILLING_CUSTOMERS, group="billing", kinds=("python", "duckdb"), deps=["salesforce_fields"])
def billing_customers(step: Step) -> None:
    """Read from the system that the organization's YAML names (Stripe, a SQL database, a file)."""
    billing.load_customers(step.con, step.org)
    step.metadata["system"] = step.org.billing.system


ASSETS = (billing_customers,)
