"""The receivables platform: where owners, contacts and custom fields go, and portal links come from.

Each of the four modules has `plan` (the difference, written nowhere) and `apply` (carries it out, and records every
answer); `open_platform` opens the platform that an organization's YAML names.
"""

from __future__ import annotations

import duckdb

from sync_pipeline.orgs.models import Organization, UpflowSettings
from sync_pipeline.receivables import contacts, custom_fields, owners, portal_links
from sync_pipeline.receivables.in_warehouse import InWarehouse
from sync_pipeline.receivables.platform import Platform
from sync_pipeline.receivables.upflow import open_upflow

__all__ = ["Platform", "contacts", "custom_fields", "open_platform", "owners", "portal_links"]


def open_platform(con: duckdb.DuckDBPyConnection, org: Organization) -> Platform:
    """The organization's receivables platform. Asks it for nothing yet.

    Raises:
        ConfigurationError: a variable that holds a credential is not set.
    """
    if isinstance(org.receivables, UpflowSettings):
        return open_upflow(org)
    return InWarehouse(org.receivables)
