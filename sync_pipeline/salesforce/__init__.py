"""Salesforce: connect, describe, extract, write back. Knows no Dagster.

login -> session -> client -> bulk, ingest -> describe, load, exports; permissions, identifier, permission_set for checks
"""

from sync_pipeline.salesforce.bulk import bulk_query
from sync_pipeline.salesforce.changes import told as how_read
from sync_pipeline.salesforce.client import Client, connect
from sync_pipeline.salesforce.describe import FieldFact, identifier_is_salesforce_id, inspect_fields, objects_read
from sync_pipeline.salesforce.exports import plan_portal_links, write_portal_links
from sync_pipeline.salesforce.identifier import read_identifiers
from sync_pipeline.salesforce.links import record_url
from sync_pipeline.salesforce.load import (
    load_accounts,
    load_contacts,
    load_fields,
    load_organization,
    load_users,
)
from sync_pipeline.salesforce.permission_set import PermissionSet, least_permission_set
from sync_pipeline.salesforce.permissions import (
    connected_user,
    inspect_permissions,
    refused_objects,
)

__all__ = [
    "Client",
    "FieldFact",
    "PermissionSet",
    "bulk_query",
    "connect",
    "connected_user",
    "how_read",
    "identifier_is_salesforce_id",
    "inspect_fields",
    "inspect_permissions",
    "least_permission_set",
    "load_accounts",
    "load_contacts",
    "load_fields",
    "load_organization",
    "load_users",
    "objects_read",
    "plan_portal_links",
    "read_identifiers",
    "record_url",
    "refused_objects",
    "write_portal_links",
]
