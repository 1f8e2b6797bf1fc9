"""Every fault at every call of a sync: it recovers, or it stops with an error by consequence and the next sync repairs all.

A sync here is what the assets do with Salesforce, one after the other: who it is, the fields, accounts, contacts, users,
the portal links back. It is walked three ways: a first sync that writes by collections, a first one that writes by Bulk
jobs, and one that reads changes. Undisturbed it makes some two dozen calls; each fault strikes each of them in turn.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline import salesforce
from sync_pipeline.errors import SyncError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.salesforce import ingest, jobs
from sync_pipeline.salesforce.reads import pages
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.salesforce.conftest import Served
from sync_pipeline_tests.salesforce.organizations import connected
from sync_pipeline_tests.salesforce.test_exports import want
from sync_pipeline_tests.sandbox.salesforce import world

SECTIONS = {
    "import": {"account_fields": {"Industry": "Industry"}},
    "export": {"portal_link": {"salesforce_field": "Portal_Link__c"}},
}
USED_UP = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}]
FAULTS: dict[str, dict[str, Any]] = {
    "busy": {"action": "status", "status": 503},
    "busy for long": {"action": "status", "status": 503, "times": 20},
    "busy, but done": {"action": "status", "status": 500, "done": True},
    "an answer lost": {"action": "cut", "bytes": 0},
    "cut": {"action": "cut", "bytes": 30},
    "cut for long": {"action": "cut", "bytes": 30, "times": 20},
    "420": {"action": "status", "status": 420},
    "page for people": {"action": "html", "status": 200},
    "nothing": {"action": "empty", "status": 200},
    "another shape": {"action": "status", "status": 200, "body": {"other": []}},
    "a list": {"action": "status", "status": 200, "body": ["other"]},
    "gone": {"action": "status", "status": 404, "body": [{"errorCode": "NOT_FOUND", "message": "none"}]},
    "refused": {"action": "status", "status": 400, "body": [{"errorCode": "MALFORMED_QUERY", "message": "no"}]},
    "forbidden": {"action": "status", "status": 403, "body": [{"errorCode": "API_DISABLED_FOR_ORG", "message": "no"}]},
    "used up": {"action": "status", "status": 403, "body": USED_UP},
    "session ends": {"action": "expire_session"},
    "session ends again and again": {"action": "expire_session", "times": 20},
    "page ends early": {"action": "truncate", "rows": 1},
    "page ends in a row": {"action": "truncate", "bytes": 25},
    "one more": {"action": "wrong_count", "by": 1},
    "one less": {"action": "wrong_count", "by": -1},
    "job fails": {"action": "fail_job"},
    "job aborted": {"action": "abort_job"},
    "job lost": {"action": "lose_job"},
    "locator expires": {"action": "expire_locator"},
    "no result pages": {"action": "no_result_pages"},
    "result chunks": {"action": "result_chunks"},
    "locked": {"action": "lock", "times": 2},
    "locked for long": {"action": "lock", "times": 200},
    "row refused": {"action": "refuse", "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "Closed.", "times": 3},
    "slow": {"action": "slow", "seconds": 0.02},
}

Contents = dict[str, list[Any]]
TABLES = {
    "salesforce_organization": "* EXCLUDE (api_requests_used)",
    "salesforce_fields": "*",
    "salesforce_accounts": "* EXCLUDE modified_at",  # our own writes move it
    "salesforce_contacts": "*",
    "salesforce_users": "*",
    "salesforce_merges": "* EXCLUDE merged_at",
    "exported_portal_links": "* EXCLUDE written_at",
}
SECRETS = (f"secret+{world.ORG}", world.ORGANIZATION_ID[:15] + "!")


@dataclass
class Outcome:
    """What a sync left, and how it ended."""

    contents: Contents
    error: SyncError | None
    calls: list[dict[str, Any]]

    @property
    def struck(self) -> bool:
        return any(call["faults"] for call in self.calls)

    @property
    def refused(self) -> bool:
        return any("refused" in row for row in self.contents["exported_portal_links"])


class Place:
    """A Salesforce and a warehouse that can be put back to where a sync begins."""

    def __init__(self, served: Served, folder: Path, org: Organization) -> None:
        self.served, self.org, self.folder = served, org, folder
        self.rows: dict[str, list[tuple[Any, ...]]] = {}

    def remember(self) -> None:
        """What is now is where every sync begins."""
        shutil.copy(self.folder / "acme.duckdb", self.folder / "start")
        for table in ("account", "contact"):
            self.rows[table] = [tuple(row) for row in self.served.state.rows(f"SELECT * FROM {table}")]

    def start_again(self) -> None:
        """Put both back."""
        shutil.copy(self.folder / "start", self.folder / "acme.duckdb")
        with self.served.state.transaction() as db:
            for table, rows in self.rows.items():
                db.execute(f"DELETE FROM {table}")
                db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)

    def sync(self) -> Outcome:
        mark = self.calls()["next"]
        error = None
        with Warehouse(self.folder, "acme").connect() as con:
            try:
                self._steps(con)
            except SyncError as raised:
                error = raised
            return Outcome(self.contents(con), error, self.calls(mark)["calls"])

    def calls(self, since: int = 0) -> dict[str, Any]:
        answer: dict[str, Any] = self.served.http.get(f"{self.served.url}/sandbox/calls?since={since}").json()
        return answer

    def contents(self, con: duckdb.DuckDBPyConnection) -> Contents:
        found = {
            table: sorted(con.execute(f"SELECT {columns} FROM {table}").fetchall(), key=repr)
            for table, columns in TABLES.items()
        }
        held = self.served.state.rows('SELECT "Id", "Portal_Link__c" FROM account WHERE org = ?', world.ORG)
        return {**found, "held": sorted(tuple(row) for row in held)}

    def _steps(self, con: duckdb.DuckDBPyConnection) -> None:
        client = salesforce.connect(self.org)
        with client.session:
            salesforce.load_organization(con, client, self.org)
            salesforce.load_fields(con, client, self.org)
            salesforce.load_accounts(con, client, self.org)
            salesforce.load_contacts(con, client, self.org)
            salesforce.load_users(con, client, self.org)
            salesforce.write_portal_links(con, client, self.org, salesforce.plan_portal_links(con, self.org))


@pytest.fixture(params=["by collections", "by jobs", "changes"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(pages, "PAGE_RECORDS", 10)
    monkeypatch.setattr(jobs, "FIRST_WAIT", 0.002)
    monkeypatch.setattr(ingest, "COLLECTION", 10)
    monkeypatch.setattr(ingest, "JOB_ROWS", 15)
    monkeypatch.setattr(ingest, "BULK_FROM", 5 if request.param == "by jobs" else 1000)
    return str(request.param)


@pytest.fixture
def place(way: str, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("ACME_SECRET", f"secret+{world.ORG}/%")
    place = Place(served, tmp_path, connected(served.url, served.ca_file, **SECTIONS))
    accounts = world.many_accounts(served.state, 24)
    with Warehouse(tmp_path, "acme").connect() as con:
        for account in accounts:
            want(con, account)
    if way == "changes":
        assert place.sync().error is None
        people_work(served, accounts)
    place.remember()
    return place


def people_work(served: Served, accounts: list[str]) -> None:
    """Between two syncs: renamed, a link cleared, deleted, merged; a contact without its account."""
    change = served.state.db.execute
    change('UPDATE account SET "Name" = \'Renamed\', "Portal_Link__c" = NULL WHERE "Id" = ?', (accounts[0],))
    change('UPDATE account SET "IsDeleted" = 1 WHERE "Id" = ?', (accounts[1],))
    change('UPDATE account SET "IsDeleted" = 1, "MasterRecordId" = ? WHERE "Id" = ?', (accounts[0], accounts[2]))
    change('UPDATE contact SET "AccountId" = NULL')


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_every_call(name: str, way: str, place: Place) -> None:
    place.start_again()
    undisturbed = place.sync()
    assert (undisturbed.error, undisturbed.struck, undisturbed.refused) == (None, False, False)
    first = (
        next((n for n, call in enumerate(undisturbed.calls) if "ingest" in call["route"]), 0) if way == "by jobs" else 0
    )
    struck = 0
    for number in range(first, len(undisturbed.calls)):
        place.start_again()
        place.served.fault(**FAULTS[name], path="", after=number)
        disturbed = place.sync()
        place.served.heal()
        if not disturbed.struck:
            break  # and so it will be at every later call
        struck += 1
        at = f"{name}, call {number}: {disturbed.calls[number]['route'] if number < len(disturbed.calls) else '?'}"
        if disturbed.error is None:
            assert disturbed.refused or disturbed.contents == undisturbed.contents, at
        else:
            assert disturbed.error.exit_code > 1, at
            assert not [secret for secret in SECRETS if secret in str(disturbed.error)], at
        repaired = place.sync()
        assert repaired.error is None, f"{at}: {repaired.error}"
        assert repaired.contents == undisturbed.contents, at
    expected = 0 if "result" in name or "locator" in name or "job" in name or "page" in name else 1
    assert struck >= expected
