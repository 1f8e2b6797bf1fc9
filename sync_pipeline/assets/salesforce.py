"""Accounts, users and contacts as they stand in Salesforce."""

from __future__ import annotations

import dagster as dg

from sync_pipeline import salesforce
from sync_pipeline.assets.building import organization_asset
from sync_pipeline.resources import Step
from sync_pipeline.warehouse.tables import SALESFORCE_ACCOUNTS, SALESFORCE_CONTACTS, SALESFORCE_FIELDS, SALESFORCE_USERS

GROUP = "salesforce"
KINDS = ("salesforce", "duckdb")


@organization_asset(SALESFORCE_FIELDS, group=GROUP, kinds=KINDS)
def salesforce_fields(step: Step) -> None:
    """Asked before anything is read: do the fields exist, may the user see and write them, can they serve their purpose?

    Its checks block: an organization whose identifier is, say, a number field goes no further.
    """
    salesforce.load_organization(step.con, step.salesforce, step.org)
    salesforce.load_fields(step.con, step.salesforce, step.org)
    step.metadata["Salesforce"] = dg.MetadataValue.url(step.salesforce.instance_url)


@organization_asset(SALESFORCE_ACCOUNTS, group=GROUP, kinds=KINDS, deps=["salesforce_fields"])
def salesforce_accounts(step: Step) -> None:
    """Read by Bulk API 2.0 queries: everything at first and every few days, in between what changed, was deleted or merged."""
    salesforce.load_accounts(step.con, step.salesforce, step.org)
    step.metadata["read"] = salesforce.how_read(step.con, "Account") or "not asked for"


@organization_asset(SALESFORCE_USERS, group=GROUP, kinds=KINDS, deps=["salesforce_fields"])
def salesforce_users(step: Step) -> None:
    """Read by REST queries, active and inactive, so that an inactive owner can be told from an unknown one."""
    salesforce.load_users(step.con, step.salesforce, step.org)
    step.metadata["read"] = salesforce.how_read(step.con, "User") or "not asked for"


@organization_asset(SALESFORCE_CONTACTS, group=GROUP, kinds=KINDS, deps=["salesforce_fields"])
def salesforce_contacts(step: Step) -> None:
    """Read as the accounts are."""
    salesforce.load_contacts(step.con, step.salesforce, step.org)
    step.metadata["read"] = salesforce.how_read(step.con, "Contact") or "not asked for"


ASSETS = (salesforce_fields, salesforce_accounts, salesforce_users, salesforce_contacts)
