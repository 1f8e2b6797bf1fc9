"""Bulk API 2.0: query jobs and their pages, ingest jobs and their results, and faults in the middle of them."""

from __future__ import annotations

import csv
import io
import time
import zlib
from typing import Any

import pytest
import requests

from sync_pipeline.sandbox.salesforce import bulk_query, create_app
from sync_pipeline.sandbox.state import State
from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.conftest import PAGE_ROWS, Served
from sync_pipeline_tests.sandbox.salesforce.world import ACME, BETA, DELETED, GAMMA


def wait(served: Served, job_id: str, kind: str = "query") -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        job: dict[str, Any] = served.http.get(served.data(f"jobs/{kind}/{job_id}")).json()
        if job["state"] in {"JobComplete", "Failed", "Aborted"}:
            return job
        time.sleep(0.01)
    raise TimeoutError(job)


def run_query(served: Served, soql: str, **more: Any) -> dict[str, Any]:
    created = served.http.post(served.data("jobs/query"), json={"operation": "query", "query": soql, **more})
    assert created.status_code == 200, created.text
    assert created.json()["state"] == "UploadComplete"
    assert created.json()["id"].startswith("750")
    return wait(served, created.json()["id"])


def read(served: Served, job: dict[str, Any], **parameters: Any) -> requests.Response:
    answer = served.http.get(served.data(f"jobs/query/{job['id']}/results"), params=parameters)
    assert answer.status_code == 200, answer.text
    return answer


def rows_of(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


# -- queries -----------------------------------------------------------------------------------------------------


def test_csv_as_salesforce_writes_it(served: Served) -> None:
    job = run_query(
        served,
        "SELECT Id, Name, IsDeleted, AnnualRevenue, NumberOfEmployees, CreatedDate, Parent.Name, Owner.IsActive "
        "FROM Account",
    )
    assert (job["numberRecordsProcessed"], job["object"], job["apiVersion"]) == (3, "Account", 66.0)
    page = read(served, job)
    acme = '"Acme ""Rockets"", Ltd.\nSecond line"'
    assert page.headers["Sforce-NumberOfRecords"] == "3"
    assert page.headers["Sforce-Locator"] == "null"
    assert page.content.decode() == (
        '"Id","Name","IsDeleted","AnnualRevenue","NumberOfEmployees","CreatedDate","Parent.Name","Owner.IsActive"\n'
        f'"{ACME}",{acme},"false","1000000.0","12","2024-01-31T10:11:12.000Z","","true"\n'
        f'"{BETA}","ÉTÉ & Söhne 🚀","false","","","2024-01-31T10:11:12.000Z",{acme},"false"\n'
        f'"{GAMMA}","50% off_now \\ back","false","","0","2024-01-31T10:11:12.000Z","","true"\n'
    )


def test_other_delimiters_and_line_endings(served: Served) -> None:
    job = run_query(
        served, f"SELECT Id, Industry FROM Account WHERE Id = '{ACME}'", columnDelimiter="PIPE", lineEnding="CRLF"
    )
    assert read(served, job).text == f'"Id"|"Industry"\r\n"{ACME}"|"Retail"\r\n'


def test_pages_by_locator_are_stable(served: Served) -> None:
    ids = world.many_accounts(served.state, 40)
    job = run_query(served, "SELECT Id, Name FROM Account WHERE Name LIKE 'Many%'")
    served.state.db.execute("DELETE FROM account WHERE Name LIKE 'Many%'")
    found, locators, locator = [], [], ""
    while locator != "null":
        locators.append(locator)
        page = read(served, job, maxRecords=15, **({"locator": locator} if locator else {}))
        rows = rows_of(page.text)
        assert rows[0] == ["Id", "Name"]
        assert len(rows) - 1 == int(page.headers["Sforce-NumberOfRecords"])
        found += [row[0] for row in rows[1:]]
        locator = page.headers["Sforce-Locator"]
    assert found == ids
    assert read(served, job, maxRecords=15, locator=locators[1]).text.splitlines()[1].startswith(f'"{ids[15]}"')


def test_pages_in_parallel(served: Served) -> None:
    ids = world.many_accounts(served.state, 38)
    job = run_query(served, "SELECT Id FROM Account WHERE Name LIKE 'Many%'")
    address, found, counts = f"/services/data/v66.0/jobs/query/{job['id']}/resultPages", [], []
    done = False
    while not done:
        listed = served.http.get(served.url + address).json()
        done, address = listed["done"], listed["nextRecordsUrl"]
        counts.append(len(listed["resultPages"]))
        for page in listed["resultPages"]:
            rows = rows_of(served.http.get(served.url + page["resultUrl"]).text)
            assert len(rows) <= PAGE_ROWS + 1
            found += [row[0] for row in rows[1:]]
    assert (counts, found) == ([5, 1], ids)
    old = served.http.get(f"{served.url}/services/data/v57.0/jobs/query/{job['id']}/resultPages")
    assert old.status_code == 404


def test_an_empty_result_has_a_header(served: Served) -> None:
    job = run_query(served, "SELECT Id FROM Account WHERE Name = 'nobody'")
    page = read(served, job)
    assert (page.text, page.headers["Sforce-NumberOfRecords"], page.headers["Sforce-Locator"]) == (
        '"Id"\n',
        "0",
        "null",
    )
    listed = served.http.get(served.data(f"jobs/query/{job['id']}/resultPages")).json()
    assert (len(listed["resultPages"]), listed["done"]) == (1, True)
    assert served.http.get(served.url + listed["resultPages"][0]["resultUrl"]).text == '"Id"\n'


def test_gzip_when_asked(served: Served) -> None:
    world.many_accounts(served.state, 6)
    job = run_query(served, "SELECT Id, Name FROM Account")
    address = served.data(f"jobs/query/{job['id']}/results")
    plain = served.http.get(address, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    zipped = served.http.get(address, headers={"Accept-Encoding": "gzip"}, stream=True)
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert zlib.decompress(zipped.raw.read(decode_content=False), 31) == plain.content


def test_equal_queries_on_unchanged_data_share_their_result(served: Served) -> None:
    soql = "SELECT Id, Segment__c FROM Account"
    folders = []
    for change in (None, None, "UPDATE account SET Segment__c = 'Gold'"):
        if change:
            served.state.db.execute(change)
        job = run_query(served, soql)
        folders.append(served.state.rows("SELECT folder FROM job WHERE id = ?", job["id"])[0][0])
    assert folders[0] == folders[1] != folders[2]
    assert read(served, job).text.count('"Gold"') == 3


def test_old_results_make_room(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_query, "KEPT_RESULTS", 2)
    monkeypatch.setattr(bulk_query, "KEPT_BYTES", 50)
    jobs = []
    for number in range(4):
        jobs.append(run_query(served, f"SELECT Id FROM Account WHERE Id != null LIMIT {number + 1}")["id"])
        time.sleep(0.02)  # file times tell which is older
    answers = [served.http.get(served.data(f"jobs/query/{job_id}/results")).status_code for job_id in jobs]
    assert answers == [404, 404, 200, 200]


def test_query_all(served: Served) -> None:
    job = run_query(served, "SELECT Id FROM Account", operation="queryAll")
    assert job["numberRecordsProcessed"] == 5


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"operation": "query", "query": "SELECT Id, BillingAddress FROM Account"}, "FUNCTIONALITY_NOT_ENABLED"),
        ({"operation": "query", "query": "SELECT COUNT() FROM Account"}, "FUNCTIONALITY_NOT_ENABLED"),
        ({"operation": "query", "query": "SELECT Nope FROM Account"}, "INVALID_FIELD"),
        ({"operation": "query", "query": "nonsense"}, "MALFORMED_QUERY"),
        ({"operation": "query", "query": 5}, "INVALIDJOB"),
        ({"operation": "insert"}, "INVALIDJOB"),
        ({"operation": "query", "query": "SELECT Id FROM Account", "lineEnding": "CR"}, "INVALIDJOB"),
        ([], "JSON_PARSER_ERROR"),
    ],
)
def test_refused_query_jobs(served: Served, body: Any, code: str) -> None:
    answer = served.http.post(served.data("jobs/query"), json=body)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


def test_life_of_a_query_job(served: Served) -> None:
    job = run_query(served, "SELECT Id FROM Account")
    address = served.data(f"jobs/query/{job['id']}")
    assert [j["id"] for j in served.http.get(served.data("jobs/query/")).json()["records"]] == [job["id"]]
    assert served.http.patch(address, json={"state": "Aborted"}).json()[0]["errorCode"] == "INVALIDJOBSTATE"
    for wrong in ({"locator": "***"}, {"locator": "OTk5"}, {"maxRecords": "0"}, {"maxRecords": "x"}):
        assert served.http.get(f"{address}/results", params=wrong).status_code == 400
    other = {"Authorization": f"Bearer {world.OTHER_TOKEN}"}
    assert served.http.get(address, headers=other).status_code == 404
    assert served.http.get(served.data(f"jobs/ingest/{job['id']}")).status_code == 404
    assert served.http.delete(address).status_code == 204
    assert served.http.get(address).status_code == 404


def test_aborting_a_query_job(served: Served) -> None:
    world.many_accounts(served.state, 3_000)
    created = served.http.post(
        served.data("jobs/query"), json={"operation": "query", "query": "SELECT Id, Name FROM Account ORDER BY Name"}
    ).json()
    served.state.db.execute("UPDATE job SET state = 'InProgress' WHERE id = ?", (created["id"],))
    aborted = served.http.patch(served.data(f"jobs/query/{created['id']}"), json={"state": "Aborted"})
    assert aborted.json()["state"] == "Aborted"
    results = served.http.get(served.data(f"jobs/query/{created['id']}/results"))
    assert (results.status_code, results.json()[0]["errorCode"]) == (400, "INVALIDJOBSTATE")


def test_a_restart_fails_what_was_running_and_keeps_what_was_done(served: Served) -> None:
    done = run_query(served, "SELECT Id FROM Account")
    running = run_query(served, "SELECT Id FROM Account")
    served.state.db.execute("UPDATE job SET state = 'InProgress' WHERE id = ?", (running["id"],))
    create_app(State(served.state.path))
    assert wait(served, running["id"])["errorMessage"].startswith("InternalServerError")
    assert read(served, done).headers["Sforce-NumberOfRecords"] == "3"


# -- faults ------------------------------------------------------------------------------------------------------


def test_a_session_that_ends_in_the_middle_of_a_download(served: Served) -> None:
    job = run_query(served, "SELECT Id FROM Account")
    served.fault(path="/results", action="expire_session", after=1)
    assert read(served, job, maxRecords=1).text.count("\n") == 2
    ended = served.http.get(served.data(f"jobs/query/{job['id']}/results"), params={"maxRecords": 1, "locator": "MQ"})
    assert (ended.status_code, ended.json()[0]["errorCode"]) == (401, "INVALID_SESSION_ID")
    assert served.http.get(served.data("limits")).status_code == 401


def test_a_status_with_an_empty_body(served: Served) -> None:
    served.fault(path="/query", method="GET", action="status", status=503, body="", times=2)
    answers = [served.http.get(served.data("query?q=SELECT+Id+FROM+Account")) for _ in range(3)]
    assert [(a.status_code, a.content[:0] == a.content) for a in answers] == [(503, True), (503, True), (200, False)]
    assert served.http.get(f"{served.url}/sandbox/faults").json() == []
    body = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}]
    served.fault(path="/limits", action="status", status=403, body=body, times=0)
    assert [served.http.get(served.data("limits")).json() for _ in range(2)] == [body, body]
    served.http.delete(f"{served.url}/sandbox/faults")
    assert served.http.get(served.data("limits")).status_code == 200


def test_a_connection_cut_after_some_bytes(served: Served) -> None:
    world.many_accounts(served.state, 7)
    job = run_query(served, "SELECT Id FROM Account")
    served.fault(path="/results", action="cut", bytes=50)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        read(served, job)
    assert read(served, job).headers["Sforce-NumberOfRecords"] == "7"
    served.fault(path="/limits", action="cut", bytes=10)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        served.http.get(served.data("limits"))
    served.fault(path="/limits", action="cut", bytes=10_000)
    assert served.http.get(served.data("limits")).status_code == 200  # shorter than that


@pytest.mark.parametrize(
    "rule",
    [{"action": "explode"}, {"action": "cut", "colour": 1}, {"action": "cut", "path": "("}, "cut", {"action": []}],
)
def test_faults_that_make_no_sense(served: Served, rule: Any) -> None:
    answer = served.http.post(f"{served.url}/sandbox/faults", json=[rule])
    assert answer.status_code == 400
    assert answer.json()["message"]


# -- ingest ------------------------------------------------------------------------------------------------------


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
