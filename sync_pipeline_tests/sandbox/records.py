"""What a made world holds, read by plain SQL and CSV: lists and dicts."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sync_pipeline.sandbox.billings import identified_by

FIELDS = {"account_id": "Id", "customer_id": "Billing_Id__c", "number": "Company_Number__c"}


class Truth(NamedTuple):
    """One row of a truth file."""

    side: str
    record_id: str
    counterpart_id: str
    verdict: str
    near_miss_rule: str
    trouble: str


def read_truth(folder: Path, org: str) -> list[Truth]:
    with (folder / "truth" / f"{org}.csv").open(encoding="utf-8", newline="") as file:
        return [Truth(**row) for row in csv.DictReader(file)]


def read_state(folder: Path, sql: str, *parameters: object) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(folder / "state.sqlite")) as db:
        db.row_factory = sqlite3.Row
        return db.execute(sql, parameters).fetchall()


def read_accounts(folder: Path, org: str) -> dict[str, str | None]:
    """Identifier by account id, of accounts that are not deleted."""
    sql = f'SELECT "Id", "{FIELDS[identified_by(org)]}" FROM account WHERE org = ? AND NOT "IsDeleted"'
    return {row[0]: row[1] for row in read_state(folder, sql, org)}


def read_customers(folder: Path, org: str) -> list[tuple[str, str | None]]:
    """Customer id and identifier, in the order of the billing system."""
    if org == "database":
        with closing(sqlite3.connect(folder / "billing.sqlite")) as db:
            return [(row[0], row[0]) for row in db.execute("SELECT customer_id FROM customers ORDER BY rowid")]
    if org == "file":
        with (folder / "customers.csv").open(encoding="utf-8", newline="") as file:
            return [(row["customer_id"], row["company_number"] or None) for row in csv.DictReader(file)]
    sql = "SELECT customer_id, identifier FROM billing_customer WHERE org = ? AND NOT deleted ORDER BY position"
    return [(row[0], row[1]) for row in read_state(folder, sql, org)]
