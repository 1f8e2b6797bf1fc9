"""The day's requests: counted, watched, and left for others."""

from __future__ import annotations

import logging

import duckdb
import pytest
import requests

from sync_pipeline import salesforce
from sync_pipeline.errors import LimitReached
from sync_pipeline.orgs.models import ApiBudget, Organization
from sync_pipeline.salesforce import Client
from sync_pipeline.salesforce.budget import Budget
from sync_pipeline_tests.salesforce.conftest import Served


def answer(used: int | None, limit: int = 1000) -> requests.Response:
    response = requests.Response()
    if used is not None:
        response.headers["Sforce-Limit-Info"] = f"api-usage={used}/{limit}; per-app-api-usage=17/250(appName=sync)"
    return response


def test_it_counts_what_salesforce_counts() -> None:
    budget = Budget(ApiBudget())
    for used in (17, None, 18):
        budget.ask()
        budget.heard(answer(used))
    assert (budget.calls, budget.used, budget.limit, budget.percent) == (2, 18, 1000, 1.8)


def test_it_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    budget = Budget(ApiBudget())
    with caplog.at_level(logging.WARNING):
        for used in (799, 800, 801, 900):
            budget.heard(answer(used))
    assert [record.getMessage() for record in caplog.records] == [
        "Salesforce: 800 of 1,000 API requests of the last 24 hours are used (80 %)"
    ]
    assert budget.is_low


def test_it_stops_before_the_limit_and_says_where_to_change_that() -> None:
    budget = Budget(ApiBudget(), "config/orgs/acme.yaml:7")
    budget.heard(answer(949))
    budget.ask()
    budget.heard(answer(950))
    with pytest.raises(
        LimitReached, match=r"config/orgs/acme\.yaml:7: 950 of 1,000 .* stops at 95 %.*raise stop_percent"
    ):
        budget.ask()


def test_both_can_be_set() -> None:
    budget = Budget(ApiBudget(warn_percent=10, stop_percent=100))
    budget.heard(answer(999))
    budget.ask()
    assert budget.is_low
    budget.heard(answer(1000))
    with pytest.raises(LimitReached):
        budget.ask()


def test_a_read_stops_politely_and_goes_on_when_there_are_requests_again(
    con: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    salesforce.load_accounts(con, client, org)
    before = served.calls()
    client.session.budget.used = 95_000
    with pytest.raises(LimitReached):
        salesforce.load_accounts(con, client, org)
    assert served.calls() == before
    client.session.budget.used = 0
    assert salesforce.load_accounts(con, client, org) == 3


def test_requests_sent_again_are_counted(served: Served, client: Client) -> None:
    before = served.calls()
    served.fault(action="status", status=503, path="limits", times=2, headers={"Sforce-Limit-Info": "api-usage=1/100"})
    client.call("GET", "/limits")
    assert client.session.budget.calls == served.calls() - before == 3


def test_used_up_requests_are_told_from_too_many_at_once(served: Served, client: Client) -> None:
    def refused(message: str) -> pytest.ExceptionInfo[Exception]:
        body = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": message}]
        served.fault(action="status", status=403, path="limits", body=body)
        with pytest.raises(Exception, match="Limit exceeded") as caught:
            client.call("GET", "/limits")
        return caught

    assert refused("TotalRequests Limit exceeded.").type is LimitReached
    assert not issubclass(refused("ConcurrentRequests (Concurrent API Requests) Limit exceeded.").type, LimitReached)
