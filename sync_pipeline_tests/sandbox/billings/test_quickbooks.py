"""The QuickBooks stand-in, held to Intuit's own schema, and the connector against it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from sync_pipeline.billing import load_customers
from sync_pipeline.billing.systems.quickbooks import SOURCE
from sync_pipeline.logins.connecting import from_refresh_token
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.contracts import Contract, recorded, specification
from sync_pipeline_tests.orgs.factory import make_organization

SandboxFactory = Callable[..., Sandbox]
ALL = "select * from Customer where Active in (true, false) orderby Id startposition {} maxresults {}"


class QuickBooks:
    """A session with the organization's token."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.login: dict[str, str] = sandbox.organization("quickbooks")["billing"]
        self.url, self.http = self.login["url"], sandbox.http()
        self.http.headers["Authorization"] = f"Bearer {self.login['access_token']}"

    def ask(self, query: str, company: str | None = None, **headers: str) -> requests.Response:
        address = f"{self.url}/v3/company/{company or self.login['company_id']}/query"
        return self.http.get(address, params={"query": query, "minorversion": "75"}, headers=headers)

    def customers(self, query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(query).json()["QueryResponse"].get("Customer", [])
        return found

    def token(self, refresh_token: str, secret: str | None = None) -> requests.Response:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        app = (self.login["client_id"], secret or self.login["client_secret"])
        return requests.post(f"{self.url}/oauth2/v1/tokens/bearer", data=form, auth=app, verify=self.http.verify)


@pytest.fixture
def quickbooks(sandbox: SandboxFactory) -> QuickBooks:
    return QuickBooks(sandbox(accounts=300, billing=["quickbooks"]))


def test_every_answer_keeps_intuit_s_schema_and_a_wrong_one_does_not(quickbooks: QuickBooks) -> None:
    contract = Contract(specification("qbo_from_intuit_xsd.json"), quickbooks.url)
    answers = [
        quickbooks.ask(ALL.format(1, 1000)),
        quickbooks.ask("select count(*) from Customer"),
        quickbooks.ask("select * from Customer where MetaData.LastUpdatedTime >= '2999-01-01T00:00:00+00:00'"),
        quickbooks.ask("select nothing"),
        quickbooks.ask("select * from Customer", Authorization="Bearer x"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 400, 401]
    for answer in answers:
        contract.hold_answer(answer)
    contract.refuse(answers[0], lambda body: body["QueryResponse"]["Customer"][0].update(Balance="much"))


def test_pages_and_the_count(quickbooks: QuickBooks) -> None:
    whole = quickbooks.customers(ALL.format(1, 1000))
    parts = quickbooks.customers(ALL.format(1, 100)) + quickbooks.customers(ALL.format(101, 900))
    assert whole == parts
    count = quickbooks.ask("select count(*) from Customer where Active in (true, false)").json()["QueryResponse"]
    assert count == {"totalCount": len(whole)}
    assert {one["Active"] for one in whole} == {True, False}
    assert {one["Active"] for one in quickbooks.customers("select * from Customer maxresults 1000")} == {True}


def test_refusals(quickbooks: QuickBooks) -> None:
    wrong = quickbooks.ask("select * from Customer", Authorization="Bearer x").json()["fault"]["error"][0]
    assert (wrong["code"], wrong["message"]) == (
        "3200",
        "message=AuthenticationFailed; errorCode=003200; statusCode=401",
    )
    assert quickbooks.ask("select * from Customer", company="1").status_code == 403
    assert quickbooks.ask(ALL.format(1, 1001)).json()["Fault"]["Error"][0]["code"] == "4001"
    assert quickbooks.ask("select * from Customer where Shoe = 1").status_code == 400
    assert quickbooks.token("x").json()["error"] == "invalid_grant"
    assert quickbooks.token("x", secret="wrong").json() == {"error": "invalid_client"}


def test_a_limit_in_the_vendor_s_words(fresh_sandbox: SandboxFactory) -> None:
    quickbooks = QuickBooks(fresh_sandbox(accounts=5, billing=["quickbooks"]))
    answers = [quickbooks.ask("select count(*) from Customer") for _ in range(501)]
    assert (answers[499].status_code, answers[500].status_code) == (200, 429)
    assert "ThrottleExceeded" in answers[500].text


def test_the_connector_reads_what_is_there(
    fresh_sandbox: SandboxFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = fresh_sandbox(accounts=1200, billing=["quickbooks"])
    ready = shared.organization("quickbooks")["billing"]
    monkeypatch.setenv("INTUIT_SECRET", ready["client_secret"])
    monkeypatch.setenv("SYNC_PIPELINE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SYNC_PIPELINE_TOKENS", "file")
    login = {"method": "browser", "client_id": ready["client_id"], "client_secret": {"env": "INTUIT_SECRET"}}
    billing = {"system": "quickbooks", "company_id": ready["company_id"], "login": login, "url": ready["url"]}
    billing |= {"login_url": f"{ready['url']}/oauth2/v1/tokens/bearer", "ca_file": shared["ca_file"]}
    org = make_organization(folder=tmp_path / "config", billing=billing, identifier__billing_field=ready["field"])
    from_refresh_token(org.name, SOURCE.authorization(org), ready["refresh_token"])
    with Warehouse(tmp_path / "warehouse", org.name).connect() as con, recorded() as answers:
        count = load_customers(con, org)
        found = con.execute("SELECT customer_id, identifier, parent_id FROM billing_customers").fetchall()
        calls = shared.calls("quickbooks", "GET")
        assert load_customers(con, org) == count
    there = shared.rows("SELECT customer_id, identifier, parent_id FROM billing_customer WHERE NOT deleted")
    assert sorted(found) == sorted(tuple(row) for row in there)
    assert (count > 1000, calls) == (True, 3)
    contract = Contract(specification("qbo_from_intuit_xsd.json"), ready["url"])
    asked = [answer for answer in answers if "/query" in str(answer.url)]
    assert len(asked) > calls  # all, and then what has changed
    for answer in asked:
        contract.hold_request(answer.request)
        contract.hold_answer(answer)
