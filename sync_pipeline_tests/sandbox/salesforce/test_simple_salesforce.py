"""simple-salesforce, as published, against the stand-in: proof by a client that others wrote."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from simple_salesforce import Salesforce, format_soql
from simple_salesforce.exceptions import (
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceOperationError,
    SalesforceResourceNotFound,
)

from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.conftest import Served
from sync_pipeline_tests.sandbox.salesforce.world import ACME, BETA, DELETED, GAMMA, LOSER

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def salesforce(served: Served) -> Iterator[Salesforce]:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(served.ca_file)
        yield Salesforce(instance=served.host, session_id=world.TOKEN, session=session)


def test_queries(served: Served, salesforce: Salesforce) -> None:
    ids = world.many_accounts(served.state, 4_100)
    found = salesforce.query_all("SELECT Id, Name FROM Account WHERE Name LIKE 'Many%'")
    assert [record["Id"] for record in found["records"]] == ids
    assert salesforce.query("SELECT COUNT() FROM Account")["totalSize"] == 4_103
    assert salesforce.query("SELECT COUNT() FROM Account", include_deleted=True)["totalSize"] == 4_105
    assert salesforce.api_usage["api-usage"].used >= 1
    deleted = salesforce.query_all_iter("SELECT Id FROM Account WHERE IsDeleted = true", include_deleted=True)
    assert [record["Id"] for record in deleted] == [DELETED, LOSER]
    since = format_soql("SELECT Id FROM Account WHERE SystemModstamp >= {} AND Name LIKE '{:like}%'", EPOCH, "50%")
    assert [record["Id"] for record in salesforce.query(since)["records"]] == [GAMMA]


def test_metadata(salesforce: Salesforce) -> None:
    names = [o["name"] for o in salesforce.describe()["sobjects"]]
    assert names[:4] == ["Account", "Contact", "User", "Organization"]
    fields = {f["name"]: f["type"] for f in salesforce.Account.describe()["fields"]}
    assert (fields["Legacy_Number__c"], fields["Portal_Link__c"]) == ("double", "textarea")
    assert salesforce.Account.metadata()["objectDescribe"]["keyPrefix"] == "001"
    assert salesforce.limits()["DailyBulkV2QueryJobs"]["Max"] == 10_000


def test_records(salesforce: Salesforce) -> None:
    assert salesforce.Account.get(ACME)["Industry"] == "Retail"
    assert salesforce.Account.get_by_custom_id("Billing_Id__c", "0012")["Id"] == ACME
    assert salesforce.Account.update(ACME, {"Segment__c": "Gold"}) == 204
    made = salesforce.Contact.create({"LastName": "Lee", "AccountId": ACME})
    assert salesforce.Contact.delete(made["id"]) == 204
    with pytest.raises(SalesforceMoreThanOneRecord):
        salesforce.Account.get_by_custom_id("Billing_Id__c", "twin")
    with pytest.raises(SalesforceResourceNotFound):
        salesforce.Account.get(world.make_id("001", 99))
    with pytest.raises(SalesforceMalformedRequest, match="INVALID_FIELD"):
        salesforce.query("SELECT Hidden__c FROM Account")


def test_upsert_by_external_id(salesforce: Salesforce) -> None:
    assert salesforce.Account.upsert("Billing_Id__c/0012", {"Segment__c": "Gold"}) == 200
    assert salesforce.Account.upsert("Billing_Id__c/new", {"Name": "New"}) == 201
    assert salesforce.Account.get_by_custom_id("Billing_Id__c", "new")["Name"] == "New"
    with pytest.raises(SalesforceMoreThanOneRecord):
        salesforce.Account.upsert("Billing_Id__c/twin", {"Name": "Which?"})


def test_what_was_deleted_and_what_changed(salesforce: Salesforce) -> None:
    salesforce.Account.delete(ACME)
    salesforce.Account.update(BETA, {"Segment__c": "Gold"})
    start, end = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(minutes=2)
    assert [record["id"] for record in salesforce.Account.deleted(start, end)["deletedRecords"]] == [ACME]
    assert salesforce.Account.updated(start, end)["ids"] == [BETA]
    with pytest.raises(SalesforceMalformedRequest, match="INVALID_REPLICATION_DATE"):
        salesforce.Account.updated(end, start)


def test_collections(salesforce: Salesforce) -> None:
    records = [{"attributes": {"type": "Account"}, "id": i, "Portal_Link__c": "https://x"} for i in (ACME, DELETED)]
    answer = salesforce.restful("composite/sobjects", method="PATCH", json={"allOrNone": False, "records": records})
    assert [item["success"] for item in answer] == [True, False]


def test_bulk_query(served: Served, salesforce: Salesforce, tmp_path: Path) -> None:
    ids = world.many_accounts(served.state, 25)
    soql = "SELECT Id, Name FROM Account WHERE Name LIKE 'Many%'"
    pages = list(salesforce.bulk2.Account.query(soql, max_records=10, wait=0.01))
    assert [len(page.splitlines()) - 1 for page in pages] == [10, 10, 5]
    files = salesforce.bulk2.Account.download(soql, path=str(tmp_path), max_records=10, wait=0.01)
    rows = [row for f in files for row in csv.reader(io.StringIO(Path(f["file"]).read_text())) if row[0] != "Id"]
    assert [row[0] for row in rows] == ids
    assert sum(f["number_of_records"] for f in files) == 25
    everything = "".join(salesforce.bulk2.Account.query_all("SELECT Id FROM Account WHERE IsDeleted = true", wait=0.01))
    assert len(everything.splitlines()) == 3


def test_bulk_update(served: Served, salesforce: Salesforce) -> None:
    served.fault(action="refuse", ids=[GAMMA])
    records = [{"Id": i, "Portal_Link__c": f"https://new.example/{i}"} for i in (ACME, BETA, GAMMA)]
    (job,) = salesforce.bulk2.Account.update(records=records, wait=0.01)
    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (3, 1)
    answers = salesforce.bulk2.Account.get_all_ingest_records(job["job_id"])
    assert {row["sf__Id"] for row in answers["successfulRecords"]} == {ACME, BETA}
    assert answers["failedRecords"][0]["sf__Error"].startswith("FIELD_CUSTOM_VALIDATION_EXCEPTION:")
    assert salesforce.Account.get(BETA)["Portal_Link__c"] == f"https://new.example/{BETA}"


def test_bulk_upsert_insert_and_delete(served: Served, salesforce: Salesforce) -> None:
    records = [{"Billing_Id__c": "0012", "Name": "Acme"}, {"Billing_Id__c": "new", "Name": "New"}]
    (job,) = salesforce.bulk2.Account.upsert(records=records, external_id_field="Billing_Id__c", wait=0.01)
    created = [
        row["sf__Created"]
        for row in salesforce.bulk2.Account.get_all_ingest_records(job["job_id"])["successfulRecords"]
    ]
    assert created == ["false", "true"]
    (job,) = salesforce.bulk2.Account.insert(records=[{"Name": "Another"}], wait=0.01)
    answers = salesforce.bulk2.Account.get_all_ingest_records(job["job_id"])
    made = [row["sf__Id"] for row in answers["successfulRecords"]]
    (job,) = salesforce.bulk2.Account.delete(records=[{"Id": record_id} for record_id in [*made, DELETED]], wait=0.01)
    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (2, 1)
    assert salesforce.query("SELECT COUNT() FROM Account WHERE Name IN ('Acme', 'New', 'Another')")["totalSize"] == 2


def test_bulk_jobs_that_fail(salesforce: Salesforce) -> None:
    with pytest.raises(SalesforceOperationError, match="Field name not found : Nope"):
        salesforce.bulk2.Account.update(records=[{"Id": ACME, "Nope": "x"}], wait=0.01)


def test_a_session_that_has_ended(served: Served, salesforce: Salesforce) -> None:
    served.fault(path="/limits", action="expire_session")
    with pytest.raises(SalesforceExpiredSession, match="INVALID_SESSION_ID"):
        salesforce.limits()
