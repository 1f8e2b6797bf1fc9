"""Salesforce: connect, describe, extract, write back. Knows no Dagster.

login -> session -> client -> bulk, ingest -> describe, load, exports
"""

from sync_pipeline.salesforce.bulk import bulk_query
from sync_pipeline.salesforce.changes import told as how_read
from sync_pipeline.salesforce.client import Client, connect
from sync_pipeline.salesforce.describe import FieldFact, identifier_is_salesforce_id, inspect_fields
from sync_pipeline.salesforce.exports import plan_portal_links, write_portal_links
from sync_pipeline.salesforce.links import record_url
from sync_pipeline.salesforce.load import (
    load_accounts,
    load_contacts,
    load_fields,
    load_organization,
    load_users,
)

__all__ = [
    "Client",
    "FieldFact",
    "bulk_query",
    "connect",
    "how_read",
    "identifier_is_salesforce_id",
    "inspect_fields",
    "load_accounts",
    "load_contacts",
    "load_fields",
    "load_organization",
    "load_users",
    "plan_portal_links",
    "record_url",
    "write_portal_links",
]
