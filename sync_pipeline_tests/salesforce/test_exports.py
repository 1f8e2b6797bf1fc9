"""Portal links to the stand-in: planned, guarded, written, answered."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline import salesforce
from sync_pipeline.errors import GuardStop, ReconnectError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.progress import watched
from sync_pipeline.salesforce import Client, exports, ingest, plan_portal_links, write_portal_links
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.salesforce.conftest import Served
from sync_pipeline_tests.salesforce.organizations import connected
from sync_pipeline_tests.sandbox.salesforce import world

NOW = datetime.now(UTC).replace(tzinfo=None)
LOCKED = {"code": "UNABLE_TO_LOCK_ROW", "message": "unable to obtain exclusive access to this record"}
CLOSED = {"code": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "This account is closed: call us"}


def link(record_id: str) -> str:
    return f"https://pay.example.com/customers/{record_id}"


def want(con: duckdb.DuckDBPyConnection, record_id: str, **columns: Any) -> None:
    """A matched account with a live portal link."""
    given = {"url": link(record_id), "expires_at": NOW + timedelta(days=30), "status": "live"} | columns
    con.execute(
        "INSERT INTO portal_links BY NAME SELECT $id AS salesforce_account_id, 'cus_' || $id AS billing_customer_id, "
        "$url AS url, $expires_at AS expires_at, $status AS status",
        {"id": record_id, **given},
    )
    con.execute(
        "INSERT INTO account_mapping BY NAME "
        "SELECT $id AS salesforce_account_id, 'cus_' || $id AS billing_customer_id, 'matched' AS verdict",
        {"id": record_id},
    )


def noted(con: duckdb.DuckDBPyConnection) -> dict[str, tuple[Any, ...]]:
    sql = "SELECT salesforce_account_id, status, code, url, written_at IS NOT NULL FROM exported_portal_links"
    found = con.sql(sql).fetchall()
    assert len({row[0] for row in found}) == len(found)
    return {row[0]: row[1:] for row in found}


def held(served: Served, column: str = "Portal_Link__c") -> dict[str, str | None]:
    return {row["Id"]: row[column] for row in served.state.rows(f'SELECT "Id", "{column}" FROM account')}


@pytest.fixture
def org(org: Organization, served: Served) -> Organization:
    return connected(served.url, served.ca_file, export={"portal_link": {"salesforce_field": "portal_link__C"}})


@pytest.fixture
def two(con: duckdb.DuckDBPyConnection, client: Client, org: Organization) -> duckdb.DuckDBPyConnection:
    """Two matched accounts with links that Salesforce does not hold yet (one holds an old link)."""
    salesforce.load_accounts(con, client, org)
    want(con, world.ACME)
    want(con, world.BETA)
    return con


def test_only_differences_are_written_and_only_once(
    two: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    plan = plan_portal_links(two, org)
    assert list(plan.columns) == list(exports.PLAN_COLUMNS)
    assert list(plan["salesforce_account_id"]) == [world.ACME, world.BETA]
    assert served.calls("PATCH") == 0
    seen: list[tuple[str, int, int | None]] = []
    with watched(lambda *progress: seen.append(progress)):
        write_portal_links(two, client, org, plan)
    assert seen == [("portal links written", 2, 2)]
    after = held(served)
    assert (after[world.ACME], after[world.BETA], after[world.GAMMA]) == (link(world.ACME), link(world.BETA), None)
    assert noted(two) == {record: ("written", None, link(record), True) for record in (world.ACME, world.BETA)}
    assert plan_portal_links(two, org).empty
    salesforce.load_accounts(two, client, org)
    assert plan_portal_links(two, org).empty
    write_portal_links(two, client, org, plan_portal_links(two, org))
    assert served.calls("PATCH") == 1


def test_what_is_not_matched_live_and_valid_is_not_planned(
    con: duckdb.DuckDBPyConnection, client: Client, org: Organization
) -> None:
    salesforce.load_accounts(con, client, org)
    want(con, world.ACME, expires_at=NOW - timedelta(days=1))
    want(con, world.BETA, status="refused", url=None)
    want(con, world.GAMMA)
    want(con, world.DELETED)
    con.execute(
        "UPDATE account_mapping SET verdict = 'duplicate_identifier' WHERE salesforce_account_id = ?", [world.GAMMA]
    )
    assert plan_portal_links(con, org).empty


def test_without_an_export_nothing_is_planned_or_written(
    con: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    salesforce.load_accounts(con, client, org)
    want(con, world.ACME)
    none = connected(served.url, served.ca_file)
    plan = plan_portal_links(con, none)
    assert (plan.empty, list(plan.columns)) == (True, list(exports.PLAN_COLUMNS))
    write_portal_links(con, client, none, plan)
    assert noted(con) == {}


def test_a_refused_row_is_noted_and_tried_again(
    two: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    served.fault(action="refuse", ids=[world.ACME], **CLOSED)
    write_portal_links(two, client, org, plan_portal_links(two, org))
    assert noted(two)[world.ACME] == ("refused", CLOSED["code"], link(world.ACME), False)
    assert noted(two)[world.BETA][0] == "written"
    reason = two.sql("SELECT reason FROM exported_portal_links WHERE status = 'refused'").fetchall()
    assert reason == [(CLOSED["message"],)]
    salesforce.load_accounts(two, client, org)
    plan = plan_portal_links(two, org)
    assert list(plan["salesforce_account_id"]) == [world.ACME]
    write_portal_links(two, client, org, plan)
    assert noted(two)[world.ACME] == ("written", None, link(world.ACME), True)


def test_a_refusal_does_not_repeat_the_link(
    two: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    message = f"Portal Link: data value too large: {link(world.ACME)} (max length=10)"
    served.fault(action="refuse", ids=[world.ACME], code="STRING_TOO_LONG", message=message)
    write_portal_links(two, client, org, plan_portal_links(two, org))
    reasons = two.sql("SELECT reason FROM exported_portal_links WHERE status = 'refused'").fetchall()
    assert reasons == [("Portal Link: data value too large: (the link) (max length=10)",)]


def test_a_locked_row_is_sent_again(
    two: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    served.fault(action="refuse", ids=[world.ACME], times=exports.LOCK_TRIES - 1, **LOCKED)
    write_portal_links(two, client, org, plan_portal_links(two, org))
    assert noted(two)[world.ACME][0] == "written"


def test_a_row_that_stays_locked_is_refused(
    two: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    served.fault(action="refuse", ids=[world.ACME], times=exports.LOCK_TRIES, **LOCKED)
    write_portal_links(two, client, org, plan_portal_links(two, org))
    assert noted(two)[world.ACME][:2] == ("refused", "UNABLE_TO_LOCK_ROW")
    assert noted(two)[world.BETA][0] == "written"


def test_an_account_deleted_meanwhile_is_that_rows_failure(
    two: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    served.state.db.execute('UPDATE account SET "IsDeleted" = 1 WHERE "Id" = ?', [world.ACME])
    write_portal_links(two, client, org, plan_portal_links(two, org))
    assert noted(two)[world.ACME][:2] == ("refused", "ENTITY_IS_DELETED")
    assert noted(two)[world.BETA][0] == "written"


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("Nowhere__c", "Account has no field Nowhere__c"),
        ("Hidden__c", "field-level security hides it"),
        ("Score__c", "is a formula"),
        ("Industry", "is of type picklist"),
        ("Short_Link__c", "holds 20 characters"),
    ],
)
def test_a_field_that_cannot_hold_the_links_stops_before_the_first_write(
    field: str, message: str, two: duckdb.DuckDBPyConnection, served: Served, client: Client
) -> None:
    org = connected(served.url, served.ca_file, export={"portal_link": {"salesforce_field": field}})
    plan = plan_portal_links(two, org)
    with pytest.raises(GuardStop, match=message) as caught:
        write_portal_links(two, client, org, plan)
    assert "no portal link was written" in str(caught.value)
    assert served.calls("PATCH") == 0
    assert noted(two) == {}


def test_one_link_that_is_too_long_stops_before_the_first_write(
    two: duckdb.DuckDBPyConnection, served: Served, client: Client
) -> None:
    org = connected(served.url, served.ca_file, export={"portal_link": {"salesforce_field": "Portal_Url__c"}})
    salesforce.load_accounts(two, client, org)
    want(two, world.GAMMA, url="https://pay.example.com/" + "x" * 300)
    with pytest.raises(
        GuardStop, match=r"holds 255 characters, the longest portal link has 324 \(1 of 3 are too long\)"
    ):
        write_portal_links(two, client, org, plan_portal_links(two, org))
    assert served.calls("PATCH") == 0


def test_a_sync_that_died_before_it_could_note_writes_nothing_twice(
    two: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    for record in (world.ACME, world.BETA):
        served.state.db.execute('UPDATE account SET "Portal_Link__c" = ? WHERE "Id" = ?', [link(record), record])
    salesforce.load_accounts(two, client, org)
    plan = plan_portal_links(two, org)
    assert plan.empty
    write_portal_links(two, client, org, plan)
    assert noted(two) == {record: ("written", None, link(record), True) for record in (world.ACME, world.BETA)}
    assert served.calls("PATCH") == 0


def test_answers_are_noted_as_they_come(
    con: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "COLLECTION", 4)
    ids = world.many_accounts(served.state, 10)
    salesforce.load_accounts(con, client, org)
    for record in ids:
        want(con, record)
    served.fault(action="status", status=503, path="composite", after=2, times=0)
    with pytest.raises(TransientError):
        write_portal_links(con, client, org, plan_portal_links(con, org))
    assert set(noted(con)) == set(ids[:8])
    served.heal()
    write_portal_links(con, client, org, plan_portal_links(con, org))
    assert {record for record, row in noted(con).items() if row[0] == "written"} == set(ids)
    assert served.calls("PATCH", "%composite%") == 3


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "cut", "bytes": 5, "path": "composite"},
        {"action": "expire_session", "path": "composite"},
        {"action": "status", "status": 503, "path": "composite", "times": 3},
    ],
    ids=str,
)
def test_what_passes_is_survived(
    fault: dict[str, Any], two: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    served.fault(**fault)
    write_portal_links(two, client, org, plan_portal_links(two, org))
    assert {row[0] for row in noted(two).values()} == {"written"}
    assert served.faults_left() == []


def test_a_login_that_dies_stops_the_writes(
    two: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    served.fault(action="expire_session", path="composite", times=0)
    with pytest.raises(ReconnectError):
        write_portal_links(two, client, org, plan_portal_links(two, org))
    assert noted(two) == {}


def test_links_no_longer_wanted_leave_the_table_unless_salesforce_holds_them(
    two: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    served.fault(action="refuse", ids=[world.ACME], **CLOSED)
    write_portal_links(two, client, org, plan_portal_links(two, org))
    two.execute("DELETE FROM account_mapping")
    write_portal_links(two, client, org, plan_portal_links(two, org))
    assert set(noted(two)) == {world.BETA}


DIES_BEFORE_NOTING = """
import os, signal, sys
from pathlib import Path
from sync_pipeline import salesforce
from sync_pipeline.salesforce import exports, ingest
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.salesforce.organizations import connected

org = connected(sys.argv[1], Path(sys.argv[2]), export={"portal_link": {"salesforce_field": "Portal_Link__c"}})
ingest.COLLECTION = 4
note, noted = exports._note, []

def dies_at_the_second(*answers):
    if noted:
        os.kill(os.getpid(), signal.SIGKILL)
    note(*answers)
    noted.append(1)

exports._note = dies_at_the_second
with Warehouse(Path(sys.argv[3]), "acme").connect() as con:
    salesforce.write_portal_links(con, salesforce.connect(org), org, salesforce.plan_portal_links(con, org))
"""


def test_a_killed_sync_loses_nothing_and_the_next_writes_nothing_twice(
    served: Served, client: Client, org: Organization, tmp_path: Path
) -> None:
    warehouse = Warehouse(tmp_path, "acme")
    ids = world.many_accounts(served.state, 10)
    with warehouse.connect() as con:
        salesforce.load_accounts(con, client, org)
        for record in ids:
            want(con, record)
    command = [sys.executable, "-c", DIES_BEFORE_NOTING, served.url, str(served.ca_file), str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert sum(held(served)[record] == link(record) for record in ids) == 8
    with warehouse.connect() as con:
        assert len(noted(con)) == 4
        salesforce.load_accounts(con, client, org)
        plan = plan_portal_links(con, org)
        assert len(plan) == 2
        write_portal_links(con, client, org, plan)
        assert {record for record, row in noted(con).items() if row[0] == "written"} == set(ids)
    assert served.calls("PATCH", "%composite%") == 3


# -- many rows: an ingest job -------------------------------------------------------------------------------------


@pytest.fixture
def many(
    con: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> tuple[duckdb.DuckDBPyConnection, list[str]]:
    """As many matched accounts as make a job worth it."""
    ids = world.many_accounts(served.state, ingest.BULK_FROM)
    salesforce.load_accounts(con, client, org)
    con.execute(
        "INSERT INTO portal_links BY NAME "
        "SELECT account_id AS salesforce_account_id, account_id AS billing_customer_id, "
        "'https://pay.example.com/\"quoted\",' || account_id AS url, 'live' AS status "
        "FROM salesforce_accounts WHERE name LIKE 'Many%'"
    )
    con.execute(
        "INSERT INTO account_mapping BY NAME "
        "SELECT salesforce_account_id, billing_customer_id, 'matched' AS verdict FROM portal_links"
    )
    return con, ids


def test_many_rows_go_by_a_job(
    many: tuple[duckdb.DuckDBPyConnection, list[str]], served: Served, client: Client, org: Organization
) -> None:
    con, ids = many
    served.fault(action="refuse", ids=[ids[5]], **CLOSED)
    served.fault(action="refuse", ids=[ids[6], ids[7]], **LOCKED)
    served.state.db.execute('UPDATE account SET "IsDeleted" = 1 WHERE "Id" = ?', [ids[8]])
    write_portal_links(con, client, org, plan_portal_links(con, org))
    answers = noted(con)
    assert answers.pop(ids[5])[:2] == ("refused", CLOSED["code"])
    assert answers.pop(ids[8])[:2] == ("refused", "ENTITY_IS_DELETED")
    assert set(answers) == set(ids) - {ids[5], ids[8]}
    assert {row[0] for row in answers.values()} == {"written"}
    reasons = con.sql("SELECT reason FROM exported_portal_links WHERE status = 'refused' ORDER BY reason").fetchall()
    assert reasons == [(CLOSED["message"],), ("entity is deleted",)]
    after = held(served)
    assert all(after[record] == f'https://pay.example.com/"quoted",{record}' for record in answers)
    assert served.calls("PUT", "%batches%") == 1
    assert served.calls("PATCH", "%composite%") == 1  # the two that were locked
    assert set(plan_portal_links(con, org)["salesforce_account_id"]) == {ids[5], ids[8]}


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "cut", "bytes": 0, "path": "batches", "method": "PUT"},
        {"action": "cut", "bytes": 0, "path": "jobs/ingest/[^/]+$", "method": "PATCH"},
        {"action": "cut", "bytes": 50, "path": "successfulResults"},
        {"action": "expire_session", "path": "failedResults"},
        {"action": "status", "status": 503, "path": "batches"},
    ],
    ids=str,
)
def test_a_job_survives_what_passes(
    fault: dict[str, Any],
    many: tuple[duckdb.DuckDBPyConnection, list[str]],
    served: Served,
    client: Client,
    org: Organization,
) -> None:
    con, ids = many
    served.fault(**fault)
    write_portal_links(con, client, org, plan_portal_links(con, org))
    assert served.faults_left() == []
    assert {record for record, row in noted(con).items() if row[0] == "written"} == set(ids)


def test_a_job_that_fails_leaves_its_rows_noted_as_not_written(
    many: tuple[duckdb.DuckDBPyConnection, list[str]], served: Served, client: Client, org: Organization
) -> None:
    con, ids = many
    served.fault(
        action="status",
        status=200,
        path="jobs/ingest/[^/]+$",
        method="GET",
        body={"id": "750x", "state": "Failed", "errorMessage": "InternalServerError : Batch timed out"},
    )
    for results in ("successfulResults", "failedResults"):
        gone = [{"errorCode": "NOT_FOUND", "message": "none"}]
        served.fault(action="status", status=404, path=results, body=gone)
    write_portal_links(con, client, org, plan_portal_links(con, org))
    assert {row[:2] for row in noted(con).values()} == {("refused", "UNPROCESSED")}
    assert set(noted(con)) == set(ids)
    assert con.sql("SELECT DISTINCT reason FROM exported_portal_links").fetchall() == [
        ("Salesforce ended the job as Failed before this row: InternalServerError : Batch timed out",)
    ]
    salesforce.load_accounts(con, client, org)
    write_portal_links(con, client, org, plan_portal_links(con, org))
    assert {row[0] for row in noted(con).values()} == {"written"}


@pytest.mark.parametrize("body", ['"Id"\n"x"\n', '"sf__Id","sf__Error","Id"\n"a","b","c","d"\n"'])
def test_results_that_cannot_be_read_are_read_back_by_the_next_sync(
    body: str,
    many: tuple[duckdb.DuckDBPyConnection, list[str]],
    served: Served,
    client: Client,
    org: Organization,
) -> None:
    con, ids = many
    served.fault(action="status", status=200, path="failedResults", body=body)
    with pytest.raises(TransientError, match="failedResults of a Bulk job can't be read"):
        write_portal_links(con, client, org, plan_portal_links(con, org))
    salesforce.load_accounts(con, client, org)
    plan = plan_portal_links(con, org)
    assert plan.empty
    write_portal_links(con, client, org, plan)
    assert {record for record, row in noted(con).items() if row[0] == "written"} == set(ids)
