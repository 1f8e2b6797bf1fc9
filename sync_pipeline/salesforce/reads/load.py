"""From Salesforce into the warehouse. Rows of accounts and contacts never become Python objects on the way."""

from __future__ import annotations

from datetime import timedelta

import duckdb

from sync_pipeline.orgs.models import Organization
from sync_pipeline.salesforce.client import Client
from sync_pipeline.salesforce.describe import (
    ACCOUNT,
    CONTACT,
    USER,
    find_field,
    inspect_fields,
    objects_read,
    readable,
)
from sync_pipeline.salesforce.reads import changes
from sync_pipeline.salesforce.reads.merges import move_contacts
from sync_pipeline.salesforce.reads.reading import Reading
from sync_pipeline.warehouse.load import replace_table, transaction
from sync_pipeline.warehouse.tables import (
    SALESFORCE_ACCOUNTS,
    SALESFORCE_CONTACTS,
    SALESFORCE_FIELDS,
    SALESFORCE_USERS,
    Table,
)


def load_fields(con: duckdb.DuckDBPyConnection, client: Client, org: Organization) -> int:
    """Replace `salesforce_fields` by what `inspect_fields` finds, problems included; returns the number of rows."""
    facts = inspect_fields(client, org)
    names = [column.name for column in SALESFORCE_FIELDS.columns]
    rows = ", ".join(f"({', '.join('?' * len(names))})" for _ in facts)
    values = [getattr(fact, name) for fact in facts for name in names]
    return replace_table(con, SALESFORCE_FIELDS, f"SELECT * FROM (VALUES {rows}) AS facts ({', '.join(names)})", values)


def load_accounts(con: duckdb.DuckDBPyConnection, client: Client, org: Organization) -> int:
    """Bring `salesforce_accounts` up to date: every account that is not deleted. Returns how many there are.

    Reads what changed since the last read, or everything where that would not do; `salesforce_reads` says which and
    why, `salesforce_merges` which accounts were merged away.

    Raises:
        ConfigurationError: fields the YAML names can't be read (all are listed), or Salesforce refuses the query.
        ReconnectError: the login is refused, or the user lacks a right.
        TransientError: Salesforce is away, or its answer stays incomplete; the table keeps its old rows.
    """
    readable(client, org, ACCOUNT)
    reading = Reading(client, ACCOUNT, SALESFORCE_ACCOUNTS, "account_id", "accounts read")
    link = org.export.portal_link
    # A field that can't be exported to is no reason not to read: the export stops there, with its own message.
    link_fact = find_field(client, ACCOUNT, link.salesforce_field) if link else None
    reading.columns = {
        "account_id": reading.column("Id"),
        "name": reading.column("Name"),
        "identifier": reading.column(org.identifier.salesforce_field),
        "owner_id": reading.column("OwnerId"),
        "portal_link": reading.column(link_fact["name"]) if link_fact else "NULL",
        "custom_fields": reading.json_of(org.imports.account_fields),
        "created_at": reading.column("CreatedDate"),
        "modified_at": reading.column("SystemModstamp"),
    }
    return _read(con, reading, org)


def load_contacts(con: duckdb.DuckDBPyConnection, client: Client, org: Organization) -> int:
    """Bring `salesforce_contacts` up to date: every contact that belongs to an account. Returns how many there are.

    Where the YAML imports neither contacts nor their fields, nothing is asked and the table is emptied. Raises as
    `load_accounts` does.
    """
    if CONTACT not in objects_read(org):
        return _emptied(con, SALESFORCE_CONTACTS, CONTACT)
    readable(client, org, CONTACT)
    reading = Reading(client, CONTACT, SALESFORCE_CONTACTS, "contact_id", "contacts read", needs="AccountId")
    reading.columns = {
        "contact_id": reading.column("Id"),
        "account_id": reading.column("AccountId"),
        "first_name": reading.column("FirstName"),
        "last_name": reading.column("LastName"),
        "email": reading.column("Email"),
        "phone": reading.column("Phone"),
        "title": reading.column("Title"),
        "custom_fields": reading.json_of(org.imports.contact_fields),
        "created_at": reading.column("CreatedDate"),
        "modified_at": reading.column("SystemModstamp"),
    }
    count = _read(con, reading, org)
    move_contacts(con)
    return count


def load_users(con: duckdb.DuckDBPyConnection, client: Client, org: Organization) -> int:
    """Bring `salesforce_users` up to date: every user, active or not. Returns how many there are.

    Read by REST in pages of 2,000 (users are few). Where the YAML imports no owners, nothing is asked. Raises as
    `load_accounts` does.
    """
    if not org.imports.owners:
        return _emptied(con, SALESFORCE_USERS, USER)
    readable(client, org, USER)
    reading = Reading(client, USER, SALESFORCE_USERS, "user_id", "users read", by_rest=True)
    reading.columns = {
        "user_id": reading.column("Id"),
        "name": reading.column("Name"),
        "first_name": reading.column("FirstName"),
        "last_name": reading.column("LastName"),
        "email": reading.column("Email"),
        "is_active": reading.column("IsActive"),
    }
    return _read(con, reading, org)


def _read(con: duckdb.DuckDBPyConnection, reading: Reading, org: Organization) -> int:
    return changes.read(con, reading, whole_every=timedelta(days=org.salesforce.full_read_days))


def _emptied(con: duckdb.DuckDBPyConnection, table: Table, object_name: str) -> int:
    with transaction(con):
        changes.forget(con, object_name)
        nothing = ", ".join(f"NULL AS {column.name}" for column in table.columns)
        return replace_table(con, table, f"SELECT {nothing} WHERE false")
