"""The state of every stand-in: one SQLite file, so that a restart finds what the last sync wrote.

Commits do not wait for the disk (`synchronous=OFF`): an acknowledged write is with the operating system, so it
survives `kill -9` of the sandbox, though not a power cut of the machine. `org` is a column of every table;
it holds the short name of an organization, which is its billing system's (stripe, database, file, ...).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ACCOUNT_COLUMNS = (
    "Id",
    "Name",
    "OwnerId",
    "ParentId",
    "AccountNumber",
    "Industry",
    "Type",
    "Website",
    "AnnualRevenue",
    "NumberOfEmployees",
    "BillingCountry",
    "Billing_Id__c",
    "Company_Number__c",
    "Legacy_Number__c",
    "Notes__c",
    "Portal_Link__c",
    "Portal_Url__c",
    "Short_Link__c",
    "Score__c",
    "Hidden__c",
    "Segment__c",
    "IsDeleted",
    "MasterRecordId",
    "CreatedDate",
    "LastModifiedDate",
    "SystemModstamp",
)
"""Columns of `account` after `org`, in order: the names of Salesforce's fields. Ids have 18 characters."""

CONTACT_COLUMNS = (
    "Id",
    "AccountId",
    "FirstName",
    "LastName",
    "Name",
    "Email",
    "Phone",
    "Title",
    "Department",
    "Language__c",
    "IsDeleted",
    "MasterRecordId",
    "CreatedDate",
    "LastModifiedDate",
    "SystemModstamp",
)
USER_COLUMNS = (
    "Id",
    "Username",
    "Name",
    "FirstName",
    "LastName",
    "Email",
    "IsActive",
    "CreatedDate",
    "LastModifiedDate",
    "SystemModstamp",
)
_NUMBERS = {
    "AnnualRevenue": "REAL",
    "Legacy_Number__c": "REAL",
    "Score__c": "REAL",
    "NumberOfEmployees": "INTEGER",
    "IsDeleted": "INTEGER NOT NULL",
    "IsActive": "INTEGER NOT NULL",
}


def _salesforce_table(name: str, columns: Iterable[str]) -> str:
    """DDL of a table of Salesforce records. Times are text as Salesforce prints them: 2024-05-01T08:00:00.000Z."""
    body = ", ".join(f'"{column}" {_NUMBERS.get(column, "TEXT")}' for column in columns)
    return f'CREATE TABLE IF NOT EXISTS "{name}" (org TEXT NOT NULL, {body}, PRIMARY KEY (org, "Id")) WITHOUT ROWID'


TABLES = (
    """CREATE TABLE IF NOT EXISTS world (
        name TEXT PRIMARY KEY, value TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS organizations (
        org TEXT PRIMARY KEY,               -- its billing system: stripe, database, file, ...
        billing TEXT NOT NULL,              -- the same word
        organization_id TEXT NOT NULL,      -- 00D..., 18 characters
        name TEXT NOT NULL,
        is_sandbox INTEGER NOT NULL,
        user_id TEXT NOT NULL,              -- 005..., the user whom clients act for; a row of "user"
        username TEXT NOT NULL,
        client_id TEXT NOT NULL UNIQUE,
        client_secret TEXT NOT NULL,
        public_key TEXT NOT NULL,           -- PEM, of the key pair that signs JWT bearer assertions
        access_token TEXT NOT NULL UNIQUE,  -- 00D...!..., a session handed out in the ready file; also a row of session
        upflow_key TEXT NOT NULL UNIQUE,
        upflow_secret TEXT NOT NULL,
        password TEXT NOT NULL DEFAULT '',        -- of the connected user; nobody logs in with an empty one
        security_token TEXT NOT NULL DEFAULT ''   -- comes right after the password
    ) WITHOUT ROWID""",
    _salesforce_table("account", ACCOUNT_COLUMNS),
    _salesforce_table("contact", CONTACT_COLUMNS),
    _salesforce_table("user", USER_COLUMNS),
    """CREATE TABLE IF NOT EXISTS session (
        org TEXT NOT NULL,
        access_token TEXT PRIMARY KEY,
        created_at REAL NOT NULL,           -- seconds since 1970, as everywhere below
        expires_at REAL NOT NULL,
        revoked INTEGER NOT NULL DEFAULT 0,
        approval TEXT                       -- the approval it came from; NULL where no person was asked
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS approval (
        org TEXT NOT NULL,
        id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL,              -- who allowed the organization's one app to act for them
        scope TEXT NOT NULL,                -- words with spaces between them
        created_at REAL NOT NULL,
        revoked INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS authorization_code (
        org TEXT NOT NULL,
        code TEXT PRIMARY KEY,
        redirect_uri TEXT NOT NULL,
        scope TEXT NOT NULL,
        challenge TEXT NOT NULL,            -- base64url of the verifier's SHA-256
        created_at REAL NOT NULL,
        used INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS refresh_token (
        org TEXT NOT NULL,
        token TEXT PRIMARY KEY,
        approval TEXT NOT NULL,
        created_at REAL NOT NULL,
        rotated INTEGER NOT NULL DEFAULT 0  -- whether it was used, and so replaced by the next
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS job (
        org TEXT NOT NULL,
        id TEXT PRIMARY KEY,                -- 750..., 18 characters
        kind TEXT NOT NULL,                 -- query or ingest
        api_version TEXT NOT NULL,
        operation TEXT NOT NULL,
        object TEXT NOT NULL,
        query TEXT,
        external_id_field TEXT,
        line_ending TEXT NOT NULL DEFAULT 'LF',
        column_delimiter TEXT NOT NULL DEFAULT 'COMMA',
        state TEXT NOT NULL,
        error TEXT,
        records_processed INTEGER NOT NULL DEFAULT 0,
        records_failed INTEGER NOT NULL DEFAULT 0,
        created_at REAL NOT NULL,
        modified_at REAL NOT NULL,
        folder TEXT                         -- where its files lie, relative to the sandbox's folder
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS upflow_customer (
        org TEXT NOT NULL,
        id TEXT NOT NULL,
        position INTEGER NOT NULL,          -- order of the list
        externalId TEXT,
        name TEXT NOT NULL,
        vatNumber TEXT,
        accountingRef TEXT,
        accountManagerId TEXT,
        dunningPlanId TEXT,
        address TEXT,                       -- JSON object
        parent TEXT,                        -- JSON object
        paymentMethods TEXT,                -- JSON object
        customFields TEXT,                  -- JSON list of {id, value}
        balance INTEGER NOT NULL DEFAULT 0, -- cents
        countInvoicesDue INTEGER NOT NULL DEFAULT 0,
        portal INTEGER NOT NULL DEFAULT 1,  -- whether portal access is on
        PRIMARY KEY (org, id)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS upflow_contact (
        org TEXT NOT NULL,
        id TEXT NOT NULL,
        customer_id TEXT NOT NULL,
        position_in_list INTEGER NOT NULL,
        firstName TEXT,
        lastName TEXT,
        phone TEXT,
        email TEXT NOT NULL,
        position TEXT,
        jobTitle TEXT,
        externalId TEXT,
        isMain INTEGER NOT NULL DEFAULT 0,
        customFields TEXT,                  -- JSON list of {id, value}
        PRIMARY KEY (org, id)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS upflow_user (
        org TEXT NOT NULL,
        id TEXT NOT NULL,
        email TEXT NOT NULL COLLATE NOCASE,
        firstName TEXT,
        lastName TEXT,
        position TEXT,
        invited INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (org, id),
        UNIQUE (org, email)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS upflow_custom_field (
        org TEXT NOT NULL,
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        type TEXT NOT NULL,
        entity TEXT NOT NULL,               -- CUSTOMER or CONTACT
        PRIMARY KEY (org, id),
        UNIQUE (org, entity, name)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS upflow_portal_link (
        org TEXT NOT NULL,
        token TEXT PRIMARY KEY,
        customer_id TEXT NOT NULL,
        created_at REAL NOT NULL,
        expires_at REAL NOT NULL,
        frame_ancestors TEXT
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS billing_customer (
        org TEXT NOT NULL,
        position INTEGER NOT NULL,          -- order of creation
        customer_id TEXT NOT NULL,
        identifier TEXT,                    -- what the shared identifier's field holds; NULL where it is not filled
        name TEXT,
        email TEXT,
        currency TEXT,                      -- ISO 4217, small letters
        minor_units INTEGER NOT NULL DEFAULT 0,  -- positive is owed by the customer, negative is their credit
        country TEXT,                       -- ISO 3166, two letters
        phone TEXT,
        created INTEGER NOT NULL,           -- seconds since 1970, ascending with position
        updated INTEGER NOT NULL,           -- the same; later than created
        dice INTEGER NOT NULL DEFAULT 0,    -- 63 bits of chance: for values that only some customers have
        archived INTEGER NOT NULL DEFAULT 0,
        deleted INTEGER NOT NULL DEFAULT 0,
        parent_id TEXT,                     -- customer_id of another
        merged_into TEXT,                   -- customer_id of the survivor
        is_individual INTEGER NOT NULL DEFAULT 0,
        extra TEXT NOT NULL DEFAULT '{}',   -- JSON object in the vendor's words, over what the stand-in makes of the row
        PRIMARY KEY (org, position)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS billing_login (
        org TEXT NOT NULL,
        name TEXT NOT NULL,                 -- e.g. api_key, as in the ready file
        value TEXT NOT NULL,
        PRIMARY KEY (org, name)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS billing_token (
        token TEXT PRIMARY KEY,
        org TEXT NOT NULL,
        kind TEXT NOT NULL,                 -- access or refresh
        created_at REAL NOT NULL,
        expires_at REAL NOT NULL,
        revoked INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS request_log (
        org TEXT NOT NULL,                  -- '' where the caller was nobody we know
        stand_in TEXT NOT NULL,             -- salesforce, upflow, or a billing system
        method TEXT NOT NULL,               -- GET, POST, PUT, ...
        route TEXT NOT NULL,                -- e.g. /customers/{customer}/portal
        calls INTEGER NOT NULL,
        PRIMARY KEY (org, stand_in, method, route)
    ) WITHOUT ROWID""",
)
INDEXES = (
    'CREATE INDEX IF NOT EXISTS contact_account ON contact (org, "AccountId")',
    # Salesforce has an index on it too.
    *(
        f'CREATE INDEX IF NOT EXISTS {table}_stamp ON "{table}" (org, "SystemModstamp")'
        for table in ("account", "contact")
    ),
    "CREATE UNIQUE INDEX IF NOT EXISTS upflow_customer_external ON upflow_customer (org, externalId)",
    "CREATE UNIQUE INDEX IF NOT EXISTS upflow_customer_position ON upflow_customer (org, position)",
    "CREATE INDEX IF NOT EXISTS upflow_contact_customer ON upflow_contact (org, customer_id, position_in_list)",
    "CREATE UNIQUE INDEX IF NOT EXISTS upflow_contact_email ON upflow_contact (org, email COLLATE NOCASE)",
    "CREATE UNIQUE INDEX IF NOT EXISTS billing_customer_id ON billing_customer (org, customer_id)",
    "CREATE INDEX IF NOT EXISTS billing_customer_updated ON billing_customer (org, updated)",
)
"""Made after a world is filled: a million rows into an index that exists take several times as long."""


class State:
    """The state file, opened for the one process that serves it.

    Every handler runs on one event loop and uses `db`, in autocommit: a statement is a transaction unless
    `with state.transaction():` groups several. Long work in a thread opens a connection of its own with `reader()`.

    Args:
        path: the SQLite file; made with all tables where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.parent
        self.db = connect(path)
        for statement in (*TABLES, *INDEXES):
            self.db.execute(statement)

    def transaction(self) -> _Transaction:
        """One transaction around several statements; rolled back on an exception."""
        return _Transaction(self.db)

    def reader(self) -> sqlite3.Connection:
        """A second, read-only connection, for work in another thread. Whoever asks for it closes it."""
        connection = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        return connection

    def rows(self, sql: str, *parameters: Any) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self.db.execute(sql, parameters).fetchall()

    def row(self, sql: str, *parameters: Any) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        found: sqlite3.Row | None = self.db.execute(sql, parameters).fetchone()
        return found

    def orgs(self) -> list[str]:
        """Short names of the organizations."""
        return [str(row["org"]) for row in self.rows("SELECT org FROM organizations ORDER BY org")]

    def seed(self) -> int:
        """The world's seed; 1 for a state that somebody filled by hand."""
        found = self.row("SELECT value FROM world WHERE name = 'seed'")
        return int(found["value"]) if found else 1

    def count_call(self, stand_in: str, org: str, method: str, route: str) -> None:
        """Add one call to `request_log`, so that a test can ask whether anything was written."""
        self.db.execute(
            "INSERT INTO request_log VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET calls = calls + 1",
            (org, stand_in, method, route),
        )

    def close(self) -> None:
        """Bring the write-ahead log into the file and close it."""
        self.db.close()


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> sqlite3.Connection:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit with named columns, set up for many small writes."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -64000")
    return connection
