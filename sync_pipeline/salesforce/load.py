"""From Salesforce into the warehouse. Rows of accounts and contacts never become Python objects on the way."""

from __future__ import annotations

import csv
import json
import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from sync_pipeline.errors import DataError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.progress import report
from sync_pipeline.salesforce.bulk import Result, download
from sync_pipeline.salesforce.client import Client
from sync_pipeline.salesforce.describe import (
    ACCOUNT,
    CONTACT,
    find_field,
    inspect_fields,
    objects_read,
    readable,
)
from sync_pipeline.warehouse.load import literal, quote, replace_table, transaction
from sync_pipeline.warehouse.tables import (
    SALESFORCE_ACCOUNTS,
    SALESFORCE_CONTACTS,
    SALESFORCE_FIELDS,
    SALESFORCE_ORGANIZATION,
    SALESFORCE_USERS,
    Table,
)

log = logging.getLogger(__name__)

LONGEST_LINE = 8 << 20
"""Bytes of one record as CSV: a record's long text areas hold up to 131,072 characters each."""

BATCH = 2000
"""Rows of a REST query written to disk at once."""

_CSV_OPTIONS = (
    "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', nullstr = '', new_line = '\\n', "
    f"max_line_size = {LONGEST_LINE}, buffer_size = {2 * LONGEST_LINE}"
)


def load_organization(con: duckdb.DuckDBPyConnection, client: Client) -> int:
    """Ask who is behind the login and replace `salesforce_organization`; returns 1."""
    found = client.organization()
    sql = "SELECT ? AS organization_id, ? AS name, ? AS instance_url, ? AS is_sandbox"
    values = (found["Id"], found["Name"], client.instance_url, found["IsSandbox"])
    return replace_table(con, SALESFORCE_ORGANIZATION, sql, values)


def load_fields(con: duckdb.DuckDBPyConnection, client: Client, org: Organization) -> int:
    """Replace `salesforce_fields` by what `inspect_fields` finds, problems included; returns the number of rows."""
    facts = inspect_fields(client, org)
    names = [column.name for column in SALESFORCE_FIELDS.columns]
    rows = ", ".join(f"({', '.join('?' * len(names))})" for _ in facts)
    values = [getattr(fact, name) for fact in facts for name in names]
    return replace_table(con, SALESFORCE_FIELDS, f"SELECT * FROM (VALUES {rows}) AS facts ({', '.join(names)})", values)


def load_accounts(con: duckdb.DuckDBPyConnection, client: Client, org: Organization) -> int:
    """Replace `salesforce_accounts` by every account that is not deleted, and return how many there are.

    Raises:
        ConfigurationError: fields the YAML names can't be read (all are listed), or Salesforce refuses the query.
        ReconnectError: the login is refused, or the user lacks a right.
        TransientError: Salesforce is away, or its answer stays incomplete; the table keeps its old rows.
    """
    readable(client, org, ACCOUNT)
    read = _Read(client, ACCOUNT, "accounts read")
    link = org.export.portal_link
    # A field that can't be exported to is no reason not to read: the export stops there, with its own message.
    link_fact = find_field(client, ACCOUNT, link.salesforce_field) if link else None
    columns = {
        "account_id": read.column("Id"),
        "name": read.column("Name"),
        "identifier": read.column(org.identifier.salesforce_field),
        "owner_id": read.column("OwnerId"),
        "portal_link": read.column(link_fact["name"]) if link_fact else "NULL",
        "custom_fields": read.json_of(org.imports.account_fields),
        "created_at": read.column("CreatedDate"),
        "modified_at": read.column("SystemModstamp"),
    }
    return read.into(con, SALESFORCE_ACCOUNTS, columns)


def load_contacts(con: duckdb.DuckDBPyConnection, client: Client, org: Organization) -> int:
    """Replace `salesforce_contacts` by every contact that belongs to an account, and return how many there are.

    Where the YAML imports neither contacts nor their fields, nothing is asked and the table is emptied. Raises as
    `load_accounts` does.
    """
    if CONTACT not in objects_read(org):
        return replace_table(con, SALESFORCE_CONTACTS, _no_rows(SALESFORCE_CONTACTS))
    readable(client, org, CONTACT)
    read = _Read(client, CONTACT, "contacts read", where="AccountId != null")
    columns = {
        "contact_id": read.column("Id"),
        "account_id": read.column("AccountId"),
        "first_name": read.column("FirstName"),
        "last_name": read.column("LastName"),
        "email": read.column("Email"),
        "phone": read.column("Phone"),
        "title": read.column("Title"),
        "custom_fields": read.json_of(org.imports.contact_fields),
        "created_at": read.column("CreatedDate"),
        "modified_at": read.column("SystemModstamp"),
    }
    return read.into(con, SALESFORCE_CONTACTS, columns)


def load_users(con: duckdb.DuckDBPyConnection, client: Client, org: Organization) -> int:
    """Replace `salesforce_users` by every user, active or not, and return how many there are.

    Read by REST in pages of 2,000 (users are few). Where the YAML imports no owners, nothing is asked.
    """
    if not org.imports.owners:
        return replace_table(con, SALESFORCE_USERS, _no_rows(SALESFORCE_USERS))
    fields = ("Id", "Name", "FirstName", "LastName", "Email", "IsActive")
    rows = client.query(f"SELECT {', '.join(fields)} FROM User")
    with _folder(con) as folder:
        file = folder / "users.jsonl"
        count = _write_lines(rows, file)
        types = ", ".join(f"{field}: '{'BOOLEAN' if field == 'IsActive' else 'VARCHAR'}'" for field in fields)
        source = f"read_json({literal(str(file))}, format = 'newline_delimited', columns = {{{types}}})"
        return replace_table(
            con,
            SALESFORCE_USERS,
            "SELECT Id AS user_id, Name AS name, FirstName AS first_name, LastName AS last_name, Email AS email, "
            f"IsActive AS is_active FROM {source}"
            if count
            else _no_rows(SALESFORCE_USERS),
        )


class _Read:
    """One Bulk read: the fields asked for, each once."""

    def __init__(self, client: Client, object_name: str, what: str, *, where: str | None = None) -> None:
        self._client = client
        self._object = object_name
        self._what = what
        self._where = where
        self._fields: list[str] = []

    def column(self, field: str) -> str:
        """The field's column in SQL; the field joins the query. Both spell it as Salesforce does, not as the YAML."""
        found = find_field(self._client, self._object, field)
        if found is None:
            raise KeyError(f"{self._object}.{field} was not checked before it is read")
        name: str = found["name"]
        if name not in self._fields:
            self._fields.append(name)
        return quote(name)

    def json_of(self, fields: Iterable[str]) -> str:
        """SQL of a JSON object with these fields, under the names the YAML gives them; NULL where there are none."""
        pairs = [f"{literal(field)}, {self.column(field)}" for field in fields]
        return f"json_object({', '.join(pairs)})" if pairs else "NULL"

    def into(self, con: duckdb.DuckDBPyConnection, table: Table, columns: dict[str, str]) -> int:
        """Run the query and replace `table`, all or nothing."""
        soql = f"SELECT {', '.join(self._fields)} FROM {self._object}"
        if self._where:
            soql += f" WHERE {self._where}"
        with _folder(con) as folder:
            result = download(self._client, soql, folder, what=self._what)
            if not result.pages:
                return replace_table(con, table, _no_rows(table))
            selected = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
            return self._load(con, table, f"SELECT {selected} FROM {self._source(result.pages)}", result)

    def _load(self, con: duckdb.DuckDBPyConnection, table: Table, sql: str, result: Result) -> int:
        try:
            with transaction(con):
                count = replace_table(con, table, sql)
                if count != result.records:
                    raise TransientError(
                        f"Salesforce announced {result.records} records of {self._object}, but sent {count}; "
                        f"{table.name} keeps its old rows.",
                        next_step="Sync again.",
                    )
        except (duckdb.InvalidInputException, duckdb.ConversionException):  # their texts quote the line
            raise DataError(
                f"Salesforce's Bulk result of {self._object} can't be read as CSV with the columns asked for; "
                f"{table.name} keeps its old rows.",
                next_step="Sync again; if it happens again, please report it.",
            ) from None
        return count

    def _source(self, pages: list[Path]) -> str:
        files = ", ".join(literal(str(page)) for page in pages)
        types = ", ".join(f"{literal(field)}: 'VARCHAR'" for field in self._header(pages))
        return f"read_csv([{files}], columns = {{{types}}}, {_CSV_OPTIONS})"

    def _header(self, pages: list[Path]) -> list[str]:
        """The header that all pages share: columns are read by position, so each page must have this one."""
        headers = set()
        for page in pages:
            with page.open(encoding="utf-8", newline="") as file:
                headers.add(tuple(next(csv.reader(file), [])))
        header = list(headers.pop())
        if headers or sorted(header) != sorted(self._fields):
            raise TransientError(
                f"Salesforce's Bulk result of {self._object} has other columns than asked for.", next_step="Sync again."
            )
        return header


@contextmanager
def _folder(con: duckdb.DuckDBPyConnection) -> Iterator[Path]:
    """A folder for pages, beside what DuckDB spills: on disk (the system's own may be memory), swept after a kill."""
    spill = Path(con.execute("SELECT current_setting('temp_directory')").fetchall()[0][0])
    spill.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="salesforce-", dir=spill) as folder:
        yield Path(folder)


def _write_lines(rows: Iterator[dict[str, Any]], file: Path) -> int:
    count = 0
    with file.open("w", encoding="utf-8") as lines:
        while batch := list(islice(rows, BATCH)):
            lines.writelines(json.dumps(row) + "\n" for row in batch)
            count += len(batch)
            report("users read", count)
    return count


def _no_rows(table: Table) -> str:
    return f"SELECT {', '.join(f'NULL AS {column.name}' for column in table.columns)} WHERE false"
