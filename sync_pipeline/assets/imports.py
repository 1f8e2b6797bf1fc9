"""From Salesforce to the receivables platform: plan the difference, check the plan, write it, keep every answer."""

from __future__ import annotations

from types import ModuleType

import dagster as dg

from sync_pipeline.assets.building import organization_asset, outcome
from sync_pipeline.assets.plans import CONTACTS_PLAN, CUSTOM_FIELDS_PLAN, OWNERS_PLAN, validated
from sync_pipeline.receivables import contacts, custom_fields, owners
from sync_pipeline.resources import Step
from sync_pipeline.warehouse.tables import IMPORTED_CONTACTS, IMPORTED_CUSTOM_FIELDS, IMPORTED_OWNERS, Table

GROUP = "imports"
KINDS = ("pandas", "duckdb")


@organization_asset(IMPORTED_OWNERS, group=GROUP, kinds=KINDS, deps=["account_mapping", "salesforce_users"])
def imported_owners(step: Step) -> None:
    """The account owner becomes the customer's assigned user: created where unknown, never invited, only if active."""
    _bring(step, owners, OWNERS_PLAN, IMPORTED_OWNERS)


@organization_asset(IMPORTED_CONTACTS, group=GROUP, kinds=KINDS, deps=["account_mapping", "salesforce_contacts"])
def imported_contacts(step: Step) -> None:
    """Salesforce contacts replace those of the billing system; the oldest is the main one, and an address is unique."""
    _bring(step, contacts, CONTACTS_PLAN, IMPORTED_CONTACTS)


@organization_asset(IMPORTED_CUSTOM_FIELDS, group=GROUP, kinds=KINDS, deps=["account_mapping", "imported_contacts"])
def imported_custom_fields(step: Step) -> None:
    """The account and contact fields that the YAML names, to the platform's custom fields."""
    _bring(step, custom_fields, CUSTOM_FIELDS_PLAN, IMPORTED_CUSTOM_FIELDS)


def _bring(step: Step, what: ModuleType, plan_type: dg.DagsterType, table: Table) -> None:
    platform = step.platform
    plan = validated(what.plan(step.con, step.org, platform), plan_type, step.org.name)
    if not step.dry_run:
        what.apply(step.con, step.org, platform, plan)
    outcome(step, table, plan, what.WRITES)


ASSETS = (imported_owners, imported_contacts, imported_custom_fields)
