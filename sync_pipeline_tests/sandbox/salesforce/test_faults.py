"""Faults on demand: what a client meets, and that the next call is undisturbed."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.conftest import Served
from sync_pipeline_tests.sandbox.salesforce.jobs import read, run_query


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
