"""Bulk API 2.0 queries: jobs, their pages and their life."""

from __future__ import annotations

import time
import zlib
from typing import Any

import pytest

from sync_pipeline.sandbox.salesforce import bulk_query, create_app
from sync_pipeline.sandbox.state import State
from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.conftest import PAGE_ROWS, Served
from sync_pipeline_tests.sandbox.salesforce.jobs import read, rows_of, run_query, wait
from sync_pipeline_tests.sandbox.salesforce.world import ACME, BETA, GAMMA


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


def test_jobs_are_listed_in_pages_the_newest_first(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync_pipeline.sandbox.salesforce.jobs.JOBS_A_PAGE", 2)
    made = [run_query(served, "SELECT Id FROM Account")["id"] for _ in range(5)]
    address, found, pages = "/services/data/v66.0/jobs/query/?isPkChunkingEnabled=false", [], 0
    while address:
        page = served.http.get(served.url + address).json()
        assert page["done"] is (page["nextRecordsUrl"] is None)
        found += [job["id"] for job in page["records"]]
        address, pages = page["nextRecordsUrl"], pages + 1
    assert (found, pages) == (made[::-1], 3)
    wrong = served.http.get(served.data("jobs/query?queryLocator=nonsense"))
    assert (wrong.status_code, wrong.json()[0]["errorCode"]) == (400, "INVALIDLOCATOR")
