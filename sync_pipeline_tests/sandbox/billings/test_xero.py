"""The Xero stand-in, held to Xero's own contract, and the connector against it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from sync_pipeline.billing import load_customers
from sync_pipeline.orgs.models import Organization
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.contracts import Contract, recorded, specification
from sync_pipeline_tests.orgs.factory import make_organization

SandboxFactory = Callable[..., Sandbox]


class Xero:
    """A session with the organization's token."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.login: dict[str, str] = sandbox.organization("xero")["billing"]
        self.url, self.http = self.login["url"], sandbox.http()
        self.http.headers["Authorization"] = f"Bearer {self.login['access_token']}"
        self.http.headers["xero-tenant-id"] = self.login["tenant_id"]

    def get(self, headers: dict[str, str] | None = None, **parameters: Any) -> requests.Response:
        return self.http.get(f"{self.url}/api.xro/2.0/Contacts", params=parameters, headers=headers)

    def token(self, secret: str | None = None, **form: str) -> requests.Response:
        app = (self.login["client_id"], secret or self.login["client_secret"])
        return requests.post(f"{self.url}/connect/token", data=form, auth=app, verify=self.http.verify)


@pytest.fixture
def xero(sandbox: SandboxFactory) -> Xero:
    return Xero(sandbox(accounts=300, billing=["xero"]))


def test_every_answer_keeps_xero_s_contract_and_a_wrong_one_does_not(xero: Xero) -> None:
    contract = Contract(specification("xero.json"), f"{xero.url}/api.xro/2.0")
    answers = [
        xero.get(page=1, pageSize=1000, includeArchived="true", order="ContactID"),
        xero.get(page=2, pageSize=100),
        xero.get({"If-Modified-Since": "2000-01-01T00:00:00Z"}, page=1),
        xero.get({"If-Modified-Since": "2999-01-01T00:00:00Z"}, page=1),
    ]
    for answer in answers:
        assert answer.status_code == 200
        contract.hold_answer(answer)
    assert answers[3].json()["Contacts"] == []
    contract.refuse(answers[0], lambda body: body["Contacts"][0].update(ContactStatus="SLEEPING"))


def test_pages_are_in_the_order_asked_for(xero: Xero) -> None:
    first = xero.get(page=1, pageSize=100, includeArchived="true", order="ContactID").json()
    numbers = first["pagination"]
    found = list(first["Contacts"])
    for page in range(2, numbers["pageCount"] + 1):
        found += xero.get(page=page, pageSize=100, includeArchived="true", order="ContactID").json()["Contacts"]
    ids = [contact["ContactID"] for contact in found]
    assert ids == sorted(set(ids))
    assert len(ids) == numbers["itemCount"]
    assert {contact["ContactStatus"] for contact in found} == {"ACTIVE", "ARCHIVED"}
    assert {contact["ContactStatus"] for contact in xero.get(pageSize=1000).json()["Contacts"]} == {"ACTIVE"}


def test_refusals(xero: Xero) -> None:
    assert xero.get({"Authorization": "Bearer x"}).json()["Detail"].startswith("TokenExpired")
    assert xero.get({"Authorization": ""}).status_code == 401
    assert xero.get({"xero-tenant-id": "other"}).json()["Title"] == "Forbidden"
    assert xero.get(order="Shoe").status_code == 400
    assert xero.get(page=0).status_code == 400
    assert xero.token("wrong", grant_type="client_credentials").json() == {"error": "invalid_client"}
    assert xero.token(grant_type="password").json() == {"error": "unsupported_grant_type"}
    assert xero.token(grant_type="refresh_token", refresh_token="x").json() == {"error": "invalid_grant"}


def test_a_refresh_token_rotates(fresh_sandbox: SandboxFactory) -> None:
    xero = Xero(fresh_sandbox(accounts=5, billing=["xero"]))
    old = xero.login["refresh_token"]
    answer = xero.token(grant_type="refresh_token", refresh_token=old).json()
    assert answer["refresh_token"] != old
    assert xero.get({"Authorization": f"Bearer {answer['access_token']}"}).status_code == 200
    assert xero.token(grant_type="refresh_token", refresh_token=old).status_code == 400


def test_the_minute_has_sixty_requests(fresh_sandbox: SandboxFactory) -> None:
    xero = Xero(fresh_sandbox(accounts=5, billing=["xero"]))
    answers = [xero.get(pageSize=1) for _ in range(61)]
    assert [answers[0].headers[f"X-{name}Limit-Remaining"] for name in ("Min", "Day")] == ["59", "4999"]
    assert (answers[59].status_code, answers[60].status_code) == (200, 429)
    assert answers[60].headers["X-Rate-Limit-Problem"] == "minute"
    assert 0 < int(answers[60].headers["Retry-After"]) <= 60


def test_the_connector_reads_what_is_there(
    sandbox: SandboxFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = sandbox(accounts=300, billing=["xero"])
    org = organization(shared, tmp_path, monkeypatch)
    with Warehouse(tmp_path / "warehouse", org.name).connect() as con:
        count = load_customers(con, org)
        found = con.execute("SELECT customer_id, identifier FROM billing_customers ORDER BY 1").fetchall()
        statuses = {row[0] for row in con.execute("SELECT DISTINCT status FROM billing_customers").fetchall()}
    there = shared.rows("SELECT customer_id, identifier FROM billing_customer WHERE NOT deleted ORDER BY customer_id")
    assert found == [(row["customer_id"], row["identifier"]) for row in there]
    assert (count, statuses) == (len(there), {"active", "archived"})


def test_the_connector_asks_what_xero_s_contract_allows(
    sandbox: SandboxFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = sandbox(accounts=300, billing=["xero"])
    org = organization(shared, tmp_path, monkeypatch)
    base = f"{shared.organization('xero')['billing']['url']}/api.xro/2.0"
    contract = Contract(specification("xero.json"), base)
    with Warehouse(tmp_path / "warehouse", org.name).connect() as con, recorded() as answers:
        load_customers(con, org)
        load_customers(con, org)
    asked = [answer for answer in answers if str(answer.url).startswith(base)]
    assert any("If-Modified-Since" in answer.request.headers for answer in asked)
    for answer in asked:
        contract.hold_request(answer.request)
        contract.hold_answer(answer)


def organization(shared: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Organization:
    ready = shared.organization("xero")["billing"]
    monkeypatch.setenv("XERO_SECRET", ready["client_secret"])
    monkeypatch.setattr("sync_pipeline.billing.systems.xero.PER_MINUTE", 6_000)
    login = {"method": "client_credentials", "client_id": ready["client_id"], "client_secret": {"env": "XERO_SECRET"}}
    billing = {"system": "xero", "tenant_id": ready["tenant_id"], "login": login, "url": ready["url"]}
    billing |= {"login_url": f"{ready['url']}/connect/token", "ca_file": shared["ca_file"]}
    return make_organization(folder=folder, billing=billing, identifier__billing_field=ready["field"])
