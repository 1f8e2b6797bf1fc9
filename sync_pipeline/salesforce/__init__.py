"""Salesforce: connect, describe, extract, write back. Knows no Dagster.

logins/ -> session, budget -> client -> jobs -> describe, organization -> reads/, ingest -> exports
permissions, identifier, permission_set: what `check` asks and writes
"""

from sync_pipeline.salesforce.client import Client, connect
from sync_pipeline.salesforce.describe import FieldFact, identifier_is_salesforce_id, inspect_fields, objects_read
from sync_pipeline.salesforce.exports import plan_portal_links, write_portal_links
from sync_pipeline.salesforce.identifier import read_identifiers
from sync_pipeline.salesforce.links import record_url
from sync_pipeline.salesforce.logins.login import kept_login
from sync_pipeline.salesforce.organization import load_organization, refuse_changed
from sync_pipeline.salesforce.organization import told as told_organization
from sync_pipeline.salesforce.permission_set import PermissionSet, least_permission_set
from sync_pipeline.salesforce.permissions import (
    connected_user,
    inspect_permissions,
    refused_objects,
)
from sync_pipeline.salesforce.reads.changes import told as how_read
from sync_pipeline.salesforce.reads.load import (
    load_accounts,
    load_contacts,
    load_fields,
    load_users,
)

__all__ = [
    "Client",
    "FieldFact",
    "PermissionSet",
    "connect",
    "connected_user",
    "how_read",
    "identifier_is_salesforce_id",
    "inspect_fields",
    "inspect_permissions",
    "kept_login",
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
    "refuse_changed",
    "refused_objects",
    "told_organization",
    "write_portal_links",
]
