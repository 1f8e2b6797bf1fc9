"""What Dagster loads: the rooms put together, one partition for each organization."""

from __future__ import annotations

import dagster as dg

from sync_pipeline.assets import billing, exports, imports, matching, salesforce
from sync_pipeline.assets.organizations import organizations
from sync_pipeline.checks import exports as export_checks
from sync_pipeline.checks import imports as import_checks
from sync_pipeline.checks import matching as matching_checks
from sync_pipeline.checks import salesforce as salesforce_checks
from sync_pipeline.orgs import Loaded, load_organizations
from sync_pipeline.resources import Sync
from sync_pipeline.schedules import organizations_job, overdue_organizations, schedule_of, sync_failures, sync_job
from sync_pipeline.settings import config_dir

ASSETS = (*salesforce.ASSETS, *billing.ASSETS, *matching.ASSETS, *imports.ASSETS, *exports.ASSETS)
CHECKS = (*salesforce_checks.CHECKS, *matching_checks.CHECKS, *import_checks.CHECKS, *export_checks.CHECKS)


def build(loaded: Loaded) -> dg.Definitions:
    """The definitions for these organizations; a broken one has a partition too, which says what is wrong with its file."""
    partitions = dg.StaticPartitionsDefinition(sorted({*loaded.organizations, *loaded.broken}))
    return dg.Definitions(
        assets=[organizations, *(asset.build(partitions) for asset in ASSETS)],
        asset_checks=[check.build(partitions) for check in CHECKS],
        jobs=[sync_job, organizations_job],
        schedules=[schedule_of(org) for org in loaded.organizations.values()],
        sensors=[overdue_organizations, sync_failures],
        resources={"sync": Sync()},
        # An organization takes a second; a process for each of its steps would take half a minute. Its warehouse has one writer.
        executor=dg.in_process_executor,
    )


defs = build(load_organizations(config_dir()))
