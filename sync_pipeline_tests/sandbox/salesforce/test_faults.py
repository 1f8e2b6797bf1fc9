"""Faults on demand: what a client meets, and that the next call is undisturbed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
import requests

from sync_pipeline_tests.sandbox.salesforce import browser, world
from sync_pipeline_tests.sandbox.salesforce.conftest import Served
from sync_pipeline_tests.sandbox.salesforce.jobs import read, rows_of, run_query
from sync_pipeline_tests.sandbox.salesforce.test_bulk_ingest import ingest, results


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


def test_an_answer_that_is_lost_after_the_work_was_done(served: Served) -> None:
    address = served.data(f"sobjects/Account/{world.ACME}")
    served.fault(path="/sobjects", action="status", status=503, done=True)
    assert served.http.patch(address, json={"Industry": "Lost"}).status_code == 503
    assert served.http.get(address).json()["Industry"] == "Lost"
    served.fault(path="/sobjects", action="empty", method="patch")
    assert served.http.patch(address, json={"Industry": "Never"}).content == b""
    assert served.http.get(address).json()["Industry"] == "Lost"


def test_a_page_for_people_and_nothing_at_all(served: Served) -> None:
    served.fault(path="/limits", action="html")
    served.fault(path="/limits", action="html", status=503)
    served.fault(path="/limits", action="empty")
    answers = [served.http.get(served.data("limits")) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 503, 200, 200]
    assert [answer.text[:9].lower() for answer in answers] == ["<!doctype", "<!doctype", "", '{"concurr']
    assert answers[2].headers["Content-Type"].startswith("application/json")


def test_one_rule_strikes_a_call_and_every_rule_counts_it(served: Served) -> None:
    served.fault(path="/limits", action="status", status=500)
    served.fault(path="/limits", action="status", status=501, after=1)
    served.fault(path="/limits", action="status", status=502)
    assert [served.http.get(served.data("limits")).status_code for _ in range(4)] == [500, 501, 502, 200]


def test_only_one_organization(served: Served) -> None:
    served.fault(path="", action="status", status=503, org=world.OTHER, times=0)
    other = {"Authorization": f"Bearer {world.OTHER_TOKEN}"}
    assert served.http.get(served.data("limits")).status_code == 200
    assert served.http.get(served.data("limits"), headers=other).status_code == 503
    form = {"grant_type": "client_credentials", "client_id": "client-file", "client_secret": "secret+file/%"}
    token = f"{served.url}/services/oauth2/token"
    del served.http.headers["Authorization"]
    assert served.http.post(token, data=form).status_code == 503
    only_basic = {"grant_type": "client_credentials"}
    assert served.http.post(token, data=only_basic, auth=("client-file", "x")).status_code == 503
    mine = {"grant_type": "client_credentials", "client_id": "client-stripe", "client_secret": "secret+stripe/%"}
    assert served.http.post(token, data=mine).status_code == 200


def test_jobs_that_fail_are_aborted_or_gone(served: Served) -> None:
    for action, state in [("fail_job", "Failed"), ("abort_job", "Aborted")]:
        served.fault(path="", action=action)  # waits for a call that names a job
        assert run_query(served, "SELECT Id FROM Account")["state"] == state
    served.fault(action="fail_job", message="InternalServerError : Retried more than 15 times")
    assert run_query(served, "SELECT Id FROM Contact")["errorMessage"].endswith("15 times")
    job = run_query(served, "SELECT Id FROM Account")
    served.fault(path="/results", action="lose_job")
    gone = served.http.get(served.data(f"jobs/query/{job['id']}/results"))
    assert (gone.status_code, gone.json()[0]["errorCode"]) == (404, "NOT_FOUND")
    assert served.http.get(served.data(f"jobs/query/{job['id']}")).status_code == 404
    assert run_query(served, "SELECT Id FROM Account")["id"] != job["id"]


def test_an_ingest_job_that_fails(served: Served) -> None:
    served.fault(path="/jobs/ingest/", method="GET", action="fail_job")
    job = ingest(served, f"Id,Industry\n{world.ACME},New\n")
    assert (job["state"], job["errorMessage"][:19]) == ("Failed", "InternalServerError")


def test_locators_that_expire(served: Served) -> None:
    job = run_query(served, "SELECT Id FROM Account")
    served.fault(path="locator=", action="expire_locator", after=1, times=0)
    first = read(served, job, maxRecords=1)
    second = read(served, job, maxRecords=1, locator=first.headers["Sforce-Locator"])
    third = {"maxRecords": 1, "locator": second.headers["Sforce-Locator"]}
    for _ in range(2):
        expired = served.http.get(served.data(f"jobs/query/{job['id']}/results"), params=third)
        assert (expired.status_code, expired.json()[0]["errorCode"]) == (400, "INVALIDLOCATOR")
    served.http.delete(f"{served.url}/sandbox/faults")
    world.many_accounts(served.state, 300)
    served.fault(path="", action="expire_locator")
    query = served.http.get(
        served.data("query?q=SELECT+Id+FROM+Account"), headers={"Sforce-Query-Options": "batchSize=200"}
    )
    more = served.http.get(served.url + query.json()["nextRecordsUrl"])
    assert more.json() == [{"message": "invalid query locator", "errorCode": "INVALID_QUERY_LOCATOR"}]


def test_result_pages_that_are_missing_or_spelt_otherwise(served: Served) -> None:
    world.many_accounts(served.state, 40)
    job = run_query(served, "SELECT Id FROM Account")
    address = served.data(f"jobs/query/{job['id']}/resultPages")
    plain = served.http.get(address).json()
    served.fault(path="", action="no_result_pages")
    assert served.http.get(address).status_code == 404
    served.fault(path="", action="result_chunks", times=0)
    other = served.http.get(address).json()
    root = "/services/data/v66.0"
    assert [root + chunk["resultLink"] for chunk in other["resultChunks"]] == [
        page["resultUrl"] for page in plain["resultPages"]
    ]
    assert other["resultChunks"][0]["resultLink"].startswith(f"/jobs/query/{job['id']}/results?")
    assert {**other, "resultChunks": 0} == {"resultChunks": 0, "done": False, "nextRecordsUrl": plain["nextRecordsUrl"]}
    assert read(served, job, maxRecords=1).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_page_that_ends_early_and_is_whole(served: Served, encoding: str) -> None:
    job = run_query(served, "SELECT Id, Name FROM Account WHERE Id != null ORDER BY Name DESC")
    served.http.headers["Accept-Encoding"] = encoding
    whole = read(served, job)
    rows = rows_of(whole.text)
    assert any("\n" in row[1] for row in rows)
    for left in range(len(rows)):
        served.fault(path="/results", action="truncate", rows=left)
        short = read(served, job)
        assert rows_of(short.text) == rows[: left + 1]
        assert short.headers["Sforce-NumberOfRecords"] == str(len(rows) - 1)
        assert (short.headers.get("Content-Encoding") == "gzip") == (encoding == "gzip")
        assert int(short.headers["Content-Length"]) > 0
    served.fault(path="", action="truncate")
    assert rows_of(read(served, job).text) == rows[: (len(rows) - 1) // 2 + 1]
    served.fault(path="", action="truncate", bytes=len(whole.content) - 5)
    assert read(served, job).content == whole.content[:-5]
    served.fault(path="", action="truncate", rows=1000)
    assert read(served, job).content == whole.content


def test_numbers_that_do_not_fit(served: Served) -> None:
    job = run_query(served, "SELECT Id FROM Account")
    served.fault(path="/results", action="wrong_count")
    served.fault(path="", action="wrong_count", by=-2, after=1)
    page = read(served, job)
    assert int(page.headers["Sforce-NumberOfRecords"]) == len(rows_of(page.text))  # the header is no record
    again = served.http.get(served.data(f"jobs/query/{job['id']}")).json()
    assert again == {**job, "numberRecordsProcessed": job["numberRecordsProcessed"] - 2}


def test_rows_that_are_locked_for_a_while(served: Served) -> None:
    served.fault(action="lock", ids=[world.ACME[:15]], times=2)
    address = served.data(f"sobjects/Account/{world.ACME}")
    answers = [served.http.patch(address, json={"Industry": "New"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [400, 400, 204]
    assert answers[0].json()[0]["errorCode"] == "UNABLE_TO_LOCK_ROW"
    served.fault(action="lock", path="/composite", org=world.OTHER)
    served.fault(action="lock", path="/jobs/ingest", after=1)
    assert served.http.patch(address, json={"Industry": "New"}).status_code == 204
    data = "".join(f"{record},New\n" for record in (world.ACME, world.BETA, world.GAMMA))
    job = ingest(served, f"Id,Industry\n{data}")
    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (3, 1)
    assert results(served, job, "failedResults")[1][:2] == [
        world.BETA,
        "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record:--",
    ]


def test_too_many_calls_at_once(served: Served) -> None:
    served.fault(path="", action="concurrent_limit", limit=2, times=0)
    served.fault(path="", action="slow", seconds=1.5, times=0)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: served.http.get(served.data("limits")), range(4)))
    refused = [answer.json() for answer in answers if answer.status_code == 403]
    assert len(refused) == 2
    assert refused[0][0]["message"] == "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
    assert served.http.get(served.data("limits")).status_code == 200


def test_a_late_first_byte_comes_after_the_work(served: Served) -> None:
    address = served.data(f"sobjects/Account/{world.ACME}")
    served.fault(path="/sobjects", action="slow", seconds=0.7)
    with pytest.raises(requests.exceptions.ReadTimeout):
        served.http.patch(address, json={"Industry": "Late"}, timeout=0.3)
    assert served.http.get(address).json()["Industry"] == "Late"


def test_a_narrow_line(served: Served) -> None:
    world.many_accounts(served.state, 1000)
    job = run_query(served, "SELECT Id, Name, Billing_Id__c FROM Account")
    whole = read(served, job, maxRecords=5000)
    served.fault(path="/results", action="slow", seconds=0.1, times=0)
    served.fault(path="/results", action="bandwidth", bytes_per_second=len(whole.content), times=0)
    took = {}
    for encoding in ("identity", "gzip"):
        served.http.headers["Accept-Encoding"] = encoding
        started = time.monotonic()
        assert read(served, job, maxRecords=5000).content == whole.content
        took[encoding] = time.monotonic() - started
    assert took["identity"] >= 1.1
    assert 0.1 <= took["gzip"] < took["identity"]


def test_chance_is_the_same_every_time(served: Served) -> None:
    def struck() -> list[int]:
        served.http.delete(f"{served.url}/sandbox/faults")
        served.fault(path="/nowhere", action="status")
        served.fault(path="/limits", action="status", status=503, times=0, chance=0.5)
        return [served.http.get(served.data("limits")).status_code for _ in range(40)]

    first = struck()
    assert set(first) == {200, 503}
    assert struck() == first
    served.http.delete(f"{served.url}/sandbox/faults")
    served.fault(path="/limits", action="status", times=0, chance=0)
    assert served.http.get(served.data("limits")).status_code == 200


def test_whose_login_it_is(served: Served) -> None:
    held = browser.connected(served)
    claims = {"iss": "client-file", "sub": "x", "aud": "https://login.salesforce.com", "exp": 1}
    assertion = jwt.encode(claims, world.PRIVATE_KEY, algorithm="RS256")
    mark = served.http.get(f"{served.url}/sandbox/calls").json()["next"]
    for path, form in [
        ("token", {"assertion": assertion}),
        ("token", {"assertion": "no.assertion"}),
        ("token", {"refresh_token": held["refresh_token"]}),
        ("revoke", {"token": held["refresh_token"]}),
        ("revoke", {"token": held["access_token"]}),
        ("revoke", {"token": "guessed"}),
    ]:
        served.http.post(f"{served.url}/services/oauth2/{path}", data=form)
    calls = served.http.get(f"{served.url}/sandbox/calls", params={"since": mark}).json()["calls"]
    assert [call["org"] for call in calls] == ["file", "", "stripe", "stripe", "stripe", ""]


def test_the_calls_since_a_mark(served: Served) -> None:
    calls = f"{served.url}/sandbox/calls"
    mark = served.http.get(calls).json()["next"]
    served.fault(path="", action="status", status=503, after=1)
    served.http.get(served.data("query/?q=SELECT+Id+FROM+Account"))
    served.http.get(served.data("limits"))
    served.http.get(f"{served.url}/services/nowhere/at/all/there")
    served.http.post(
        f"{served.url}/services/oauth2/token", data={"client_id": "client-file"}, headers={"Authorization": ""}
    )
    found = served.http.get(calls, params={"since": mark}).json()
    assert [(call["method"], call["route"], call["org"], call["faults"]) for call in found["calls"]] == [
        ("GET", "/services/data/{version}/query", world.ORG, []),
        ("GET", "/services/data/{version}/limits", world.ORG, ["status"]),
        ("GET", "?", world.ORG, []),
        ("POST", "/services/oauth2/token", world.OTHER, []),
    ]
    assert [call["number"] for call in found["calls"]] == list(range(mark, mark + 4))
    assert found["next"] == mark + 4
    assert served.http.get(calls, params={"since": "x"}).status_code == 400
