"""Bulk API 2.0 ingest: uploads, what becomes of each row, and jobs that fail as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.conftest import Served
from sync_pipeline_tests.sandbox.salesforce.jobs import rows_of, wait
from sync_pipeline_tests.sandbox.salesforce.world import ACME, BETA, DELETED, GAMMA


def ingest(served: Served, data: Any, **body: Any) -> dict[str, Any]:
    given = {"object": "Account", "operation": "update", "contentType": "CSV", "lineEnding": "LF"} | body
    created = served.http.post(served.data("jobs/ingest"), json=given)
    assert (created.status_code, created.json()["state"]) == (200, "Open"), created.text
    content_url = f"{served.url}/{created.json()['contentUrl']}"
    uploaded = served.http.put(content_url, data=data, headers={"Content-Type": "text/csv"})
    assert (uploaded.status_code, uploaded.content) == (201, b"")
    address = served.data(f"jobs/ingest/{created.json()['id']}")
    assert served.http.patch(address, json={"state": "UploadComplete"}).json()["state"] == "UploadComplete"
    return wait(served, created.json()["id"], "ingest")


def results(served: Served, job: dict[str, Any], name: str) -> list[list[str]]:
    return rows_of(served.http.get(served.data(f"jobs/ingest/{job['id']}/{name}")).text)


def test_update_by_ingest(served: Served) -> None:
    served.fault(action="refuse", ids=[GAMMA[:15]], message="No changes, please.", fields=["Portal_Link__c"])
    data = (
        "Id,Portal_Link__c,Industry\n"
        f"{ACME},https://new.example/1,\n"
        f'{BETA[:15]},"https://new.example/2?a=""b"",\nc",#N/A\n'
        f"{GAMMA},x,x\n{DELETED},x,x\n,x,x\n"
    ).encode()

    def pieces() -> Any:  # chunked, as sf and jsforce send it
        yield data[:31]
        yield data[31:]

    job = ingest(served, pieces())
    assert (job["state"], job["numberRecordsProcessed"], job["numberRecordsFailed"]) == ("JobComplete", 5, 3)
    assert results(served, job, "successfulResults/") == [
        ["sf__Id", "sf__Created", "Id", "Portal_Link__c", "Industry"],
        [ACME, "false", ACME, "https://new.example/1", ""],
        [BETA, "false", BETA[:15], 'https://new.example/2?a="b",\nc', "#N/A"],
    ]
    assert [row[:2] for row in results(served, job, "failedResults")] == [
        ["sf__Id", "sf__Error"],
        [GAMMA, "FIELD_CUSTOM_VALIDATION_EXCEPTION:No changes, please.:Portal_Link__c"],
        [DELETED, "ENTITY_IS_DELETED:entity is deleted:--"],
        ["", "MISSING_ARGUMENT:Id not specified in an update call:--"],
    ]
    for name in ("unprocessedrecords", "unprocessedRecords"):
        assert results(served, job, name) == [["Id", "Portal_Link__c", "Industry"]]
    assert served.query(f"SELECT Portal_Link__c, Industry FROM Account WHERE Id IN ('{ACME}', '{BETA}')") == [
        {"Portal_Link__c": "https://new.example/1", "Industry": "Retail"},
        {"Portal_Link__c": 'https://new.example/2?a="b",\nc', "Industry": None},
    ]


def test_upsert_insert_and_delete_by_ingest(served: Served) -> None:
    job = ingest(
        served,
        "Billing_Id__c,Name\n0012,Acme again\nnew-1,Newcomer\ntwin,Which?\n,Nobody\n",
        operation="upsert",
        externalIdFieldName="Billing_Id__c",
    )
    created = [row[1:3] for row in results(served, job, "successfulResults")[1:]]
    assert created == [["false", "0012"], ["true", "new-1"]]
    assert [row[1].split(":")[0] for row in results(served, job, "failedResults")[1:]] == [
        "DUPLICATE_EXTERNAL_ID",
        "MISSING_ARGUMENT",
    ]
    by_id = ingest(served, f"Id,Name\n{BETA},Beta\n", operation="upsert", externalIdFieldName="Id")
    assert by_id["numberRecordsFailed"] == 0
    inserted = ingest(served, "Name,OwnerId\nSecond,\n", operation="insert")
    new_id = results(served, inserted, "successfulResults")[1][0]
    deleted = ingest(served, f"Id\n{new_id}\n", operation="delete")
    assert deleted["numberRecordsFailed"] == 0
    assert [r["Name"] for r in served.query("SELECT Name FROM Account ORDER BY Name")] == [
        "50% off_now \\ back",
        "Acme again",
        "Beta",
        "Newcomer",
    ]


@pytest.mark.parametrize(
    ("data", "error", "unprocessed"),
    [
        (f"\ufeffId,Name\n{ACME},x\n".encode(), "InvalidBatch : Field name not found : \ufeffId", 1),
        (f"Id,Nope\n{ACME},x\n".encode(), "InvalidBatch : Field name not found : Nope", 1),
        (f"Id,Hidden__c\n{ACME},x\n".encode(), "InvalidBatch : Field name not found : Hidden__c", 1),
        (f"Id,Name\r\n{ACME},x\r\n".encode(), "ClientInputError : LineEnding is invalid on user data.", 0),
        (b"Id,Name\n\xff,x\n", "ClientInputError : The data is not UTF-8", 0),
        (f"Id,Name\n{ACME},x,y\n".encode(), "ClientInputError : Too many values in line 2", 0),
        (f'Id,Name\n{ACME},"x\n'.encode(), "ClientInputError : Error parsing CSV in line 2", 0),
    ],
)
def test_uploads_that_fail_as_a_whole(served: Served, data: bytes, error: str, unprocessed: int) -> None:
    job = ingest(served, data)
    assert job["state"] == "Failed"
    assert job["errorMessage"].startswith(error)
    assert len(results(served, job, "unprocessedrecords")[1:]) == unprocessed
    assert len(results(served, job, "successfulResults")) <= 1
    assert served.query(f"SELECT Industry FROM Account WHERE Id = '{ACME}'") == [{"Industry": "Retail"}]


def test_an_upload_without_rows(served: Served) -> None:
    for data in (b"Id,Name\n", b""):
        job = ingest(served, data)
        assert (job["state"], job["numberRecordsProcessed"]) == ("JobComplete", 0)


def test_life_of_an_ingest_job(served: Served) -> None:
    body = {"object": "Account", "operation": "update"}
    created = served.http.post(served.data("jobs/ingest/"), json=body).json()
    address = served.data(f"jobs/ingest/{created['id']}")
    assert served.http.get(f"{address}/successfulResults").json()[0]["errorCode"] == "INVALIDJOBSTATE"
    assert served.http.put(f"{address}/batches", data=b"Id,Name\n").status_code == 201
    assert "Found multiple contents" in served.http.put(f"{address}/batches", data=b"Id\n").json()[0]["message"]
    assert served.http.patch(address, json={"state": "JobComplete"}).json()[0]["errorCode"] == "INVALIDJOB"
    assert served.http.patch(address, json={"state": "Aborted"}).json()["state"] == "Aborted"
    assert served.http.patch(address, json={"state": "UploadComplete"}).json()[0]["errorCode"] == "INVALIDJOBSTATE"
    assert served.http.put(f"{address}/batches", data=b"Id\n").json()[0]["errorCode"] == "INVALIDJOBSTATE"
    assert served.http.get(f"{address}/failedResults").text == ""
    assert served.http.delete(address).status_code == 204
    wrong: list[dict[str, Any]] = [
        {"operation": "explode"},
        {"object": "Lead"},
        {"object": "Organization"},
        {"operation": "upsert"},
        {"operation": "upsert", "externalIdFieldName": "Name"},
        {"externalIdFieldName": "Id"},
        {"contentType": "XML"},
    ]
    assert [served.http.post(served.data("jobs/ingest"), json=body | w).status_code for w in wrong] == [400] * len(
        wrong
    )


def test_five_thousand_rows_while_others_are_answered(served: Served) -> None:
    ids = world.many_accounts(served.state, 5_000)
    job = ingest(served, "Id,Segment__c\n" + "".join(f"{record_id},Gold\n" for record_id in ids))
    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (5_000, 0)
    found = served.http.get(served.data("query"), params={"q": "SELECT COUNT() FROM Account WHERE Segment__c = 'Gold'"})
    assert found.json()["totalSize"] == 5_000
