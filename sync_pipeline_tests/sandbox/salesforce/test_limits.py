"""The day's API calls: counted, shown, used up."""

from __future__ import annotations

import time

import pytest

from sync_pipeline.sandbox.salesforce import create_app
from sync_pipeline.sandbox.salesforce.limits import Usage
from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.conftest import Served


def test_used_up(served: Served) -> None:
    usage = f"{served.url}/sandbox/usage"
    told = served.http.post(usage, json={"org": world.ORG, "used": 99_998}).json()
    assert told == {world.ORG: {"used": 99_998, "limit": 100_000}, world.OTHER: {"used": 0, "limit": 100_000}}
    limits = served.http.get(served.data("limits"))
    assert limits.headers["Sforce-Limit-Info"] == "api-usage=99999/100000"
    assert limits.json()["DailyApiRequests"] == {"Max": 100_000, "Remaining": 1}
    assert served.http.get(served.data("sobjects/Account/describe")).status_code == 200
    for path in ("limits", "query?q=SELECT+Id+FROM+Account", "jobs/query", "", "sobjects/Account/nothing"):
        refused = served.http.get(served.data(path))
        assert refused.status_code == 403, path
        assert refused.json() == [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
        assert refused.headers["Sforce-Limit-Info"] == "api-usage=100000/100000"
        assert "Retry-After" not in refused.headers
    assert served.http.get(f"{served.url}/services/data").status_code == 200  # not counted
    assert served.http.get(f"{served.url}/services/oauth2/userinfo").status_code == 200
    other = {"Authorization": f"Bearer {world.OTHER_TOKEN}"}
    assert served.http.get(served.data("limits"), headers=other).headers["Sforce-Limit-Info"] == "api-usage=1/100000"
    served.http.post(usage, json=[{"org": world.ORG, "used": 0}])
    assert served.http.get(served.data("limits")).status_code == 200


def test_a_small_limit(served: Served) -> None:
    served.listening.app = create_app(served.state, api_limit=2)
    answers = [served.http.get(served.data("limits")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 403]
    assert answers[1].json()["DailyApiRequests"] == {"Max": 2, "Remaining": 0}


@pytest.mark.parametrize(
    "wrong", [{}, [], 7, {"org": "nobody", "used": 1}, {"org": "stripe", "used": -1}, {"org": "stripe", "used": "1"}]
)
def test_usage_that_makes_no_sense(served: Served, wrong: object) -> None:
    answer = served.http.post(f"{served.url}/sandbox/usage", json=[wrong])
    assert answer.status_code == 400
    assert answer.json()["message"]


def test_the_day_rolls(monkeypatch: pytest.MonkeyPatch) -> None:
    usage, start = Usage(10), time.time()
    usage.set("a", 6)
    monkeypatch.setattr("sync_pipeline.sandbox.salesforce.limits.time", lambda: start + 12 * 3600)
    assert all(usage.count("a") for _ in range(4))
    assert not usage.count("a")
    monkeypatch.setattr("sync_pipeline.sandbox.salesforce.limits.time", lambda: start + 25 * 3600)
    assert usage.used("a") == 4
