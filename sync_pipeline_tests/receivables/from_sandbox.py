"""A sandbox's world as a sync would have left it in the warehouse, and a sync of the platform as a process.

`python -m sync_pipeline_tests.receivables.from_sandbox FOLDER SETTINGS` carries out one sync, to be killed.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from sync_pipeline.orgs.models import Organization
from sync_pipeline.receivables import open_platform
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.orgs.factory import make_organization
from sync_pipeline_tests.receivables.world import MODULES, fill

if TYPE_CHECKING:
    from sync_pipeline_tests.conftest import Sandbox

ORG = "stripe"


def settings_of(sandbox: Sandbox, **more: Any) -> dict[str, Any]:
    """What differs from the factory's organization to reach the sandbox's Upflow."""
    receivables = {
        "platform": "upflow",
        "api_key": {"env": "SANDBOX_UPFLOW_KEY"},
        "api_secret": {"env": "SANDBOX_UPFLOW_SECRET"},
        "url": sandbox.organization(ORG)["upflow"]["url"],
        "ca_file": sandbox["ca_file"],
        "requests_per_minute": 100_000,
    }
    return {"receivables": {**receivables, **more}}


def environment_of(sandbox: Sandbox) -> dict[str, str]:
    """The variables that the settings name."""
    keys = sandbox.organization(ORG)["upflow"]
    return {"SANDBOX_UPFLOW_KEY": keys["api_key"], "SANDBOX_UPFLOW_SECRET": keys["api_secret"]}


def load(con: duckdb.DuckDBPyConnection, sandbox: Sandbox) -> None:
    """Fill the warehouse from the sandbox's state and its truth about the pairs."""
    accounts = sandbox.rows('SELECT "Id", "OwnerId", "Industry" FROM account WHERE org = ? AND "IsDeleted" = 0', ORG)
    rows = [(a["Id"], a["OwnerId"], json.dumps({"Industry": a["Industry"]})) for a in accounts]
    fill(con, "salesforce_accounts", ("account_id", "owner_id", "custom_fields"), rows)
    users = sandbox.rows(
        'SELECT "Id", "Name", "FirstName", "LastName", "Email", "IsActive" FROM "user" WHERE org = ?', ORG
    )
    columns: tuple[str, ...] = ("user_id", "name", "first_name", "last_name", "email", "is_active")
    fill(con, "salesforce_users", columns, [(*tuple(u)[:5], bool(u["IsActive"])) for u in users])
    contacts = sandbox.rows(
        'SELECT "Id", "AccountId", "FirstName", "LastName", "Email", "Phone", "Title", "CreatedDate", "Language__c"'
        ' FROM contact WHERE org = ? AND "IsDeleted" = 0',
        ORG,
    )
    columns = ("contact_id", "account_id", "first_name", "last_name", "email", "phone", "title", "created_at")
    columns = (*columns, "custom_fields")
    found = [
        (*tuple(c)[:7], c["CreatedDate"].rstrip("Z"), json.dumps({"Language__c": c["Language__c"]})) for c in contacts
    ]
    fill(con, "salesforce_contacts", columns, found)
    with sandbox.truth[ORG].open(encoding="utf-8", newline="") as file:
        truth = [row for row in csv.DictReader(file) if row["side"] == "billing"]
    mapping = [
        (row["record_id"], row["counterpart_id"] if row["verdict"] == "matched" else None, row["verdict"])
        for row in truth
    ]
    fill(con, "account_mapping", ("billing_customer_id", "salesforce_account_id", "verdict"), mapping)


@contextmanager
def warehouse(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The warehouse of the test's organization."""
    with Warehouse(folder, "acme").connect() as con:
        yield con


def sync_once(con: duckdb.DuckDBPyConnection, org: Organization) -> dict[str, int]:
    """One sync of all four; rows by module that the platform had to be asked to write."""
    written = {}
    for name, module in MODULES.items():
        platform = open_platform(con, org)
        plan = module.plan(con, org, platform)  # type: ignore[operator]
        module.apply(con, org, platform, plan)  # type: ignore[operator]
        written[name] = int(plan["action"].isin(module.WRITES).sum())
    return written


def _main(folder: str, settings: str) -> None:
    organize: Callable[..., Organization] = make_organization
    with warehouse(Path(folder)) as con:
        sync_once(con, organize(**json.loads(settings)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
