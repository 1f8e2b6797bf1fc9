"""The Chargebee stand-in, held to the contract, and the connector against it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from sync_pipeline.billing import customer_url, load_customers
from sync_pipeline.billing.api import Api
from sync_pipeline.orgs.models import Organization
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.contracts import Contract, recorded, specification
from sync_pipeline_tests.orgs.factory import make_organization

SandboxFactory = Callable[..., Sandbox]
CONTRACT = "chargebee_v2_from_sdk.json"


class Chargebee:
    """A session with the site's key."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.login: dict[str, str] = sandbox.organization("chargebee")["billing"]
        self.url, self.http = self.login["url"], sandbox.http()
        self.http.auth = (self.login["api_key"], "")

    def get(self, **parameters: Any) -> requests.Response:
        renamed = {name.replace("__", "[") + "]" * ("__" in name): value for name, value in parameters.items()}
        return self.http.get(f"{self.url}/api/v2/customers", params=renamed)

    def listed(self, **parameters: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        more: dict[str, str] = {}
        while True:
            answer = self.get(**parameters, **more).json()
            found += [entry["customer"] for entry in answer["list"]]
            if "next_offset" not in answer:
                return found
            more = {"offset": answer["next_offset"]}


@pytest.fixture
def chargebee(sandbox: SandboxFactory) -> Chargebee:
    return Chargebee(sandbox(accounts=300, billing=["chargebee"]))


def test_every_answer_keeps_the_contract_and_a_wrong_one_does_not(chargebee: Chargebee) -> None:
    contract = Contract(specification(CONTRACT), f"{chargebee.url}/api/v2")
    answers = [
        chargebee.get(limit=100, include_deleted="true", sort_by__asc="created_at"),
        chargebee.get(),
        chargebee.get(updated_at__after=1, sort_by__desc="updated_at"),
        chargebee.get(updated_at__after=9_999_999_999),
        chargebee.get(limit=101),
        chargebee.get(shoe__is="42"),
        chargebee.http.get(f"{chargebee.url}/api/v2/customers", auth=("test_wrong", "")),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 400, 400, 401]
    for answer in answers:
        contract.hold_answer(answer)
    assert answers[3].json() == {"list": []}
    contract.refuse(answers[0], lambda body: body["list"][0]["customer"].update(created_at="yesterday"))
    contract.refuse(answers[6], lambda body: body.update(api_error_code="who_are_you"))


def test_what_is_empty_is_left_out(chargebee: Chargebee) -> None:
    for customer in chargebee.listed(limit=100):
        assert None not in customer.values()
        assert "" not in customer.values()


def test_pages_are_in_the_order_asked_for(chargebee: Chargebee, sandbox: SandboxFactory) -> None:
    rows = sandbox(accounts=300, billing=["chargebee"]).rows("SELECT * FROM billing_customer ORDER BY position")
    everybody = [row["customer_id"] for row in rows]
    for attribute in ("created_at", "updated_at"):
        assert [one["id"] for one in chargebee.listed(limit=100, sort_by__asc=attribute)] == everybody
        assert [one["id"] for one in chargebee.listed(limit=99, sort_by__desc=attribute)] == everybody[::-1]
    assert len(chargebee.get().json()["list"]) == 10
    assert chargebee.get().json()["list"][0]["customer"]["id"] == everybody[-1]
    last = chargebee.listed(limit=100, updated_at__after=rows[-4]["updated"], created_at__before=rows[-1]["created"])
    assert [one["id"] for one in last] == everybody[-2:-4:-1]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"limit": 0}, "limit"),
    ({"limit": "many"}, "limit"),
    ({"offset": "x"}, "offset"),
    ({"offset": '["1"]'}, "offset"),
    ({"offset": "[null, null]"}, "offset"),
    ({"sort_by__asc": "email"}, "sort_by"),
    ({"sort_by__up": "created_at"}, "sort_by"),
    ({"sort_by__asc": "created_at", "sort_by__desc": "created_at"}, "sort_by"),
    ({"include_deleted": "perhaps"}, "include_deleted"),
    ({"updated_at__after": "2026-01-01"}, "updated_at[after]"),
    ({"updated_at__since": "1"}, "updated_at[since]"),
    ({"page": "2"}, "page"),
]


@pytest.mark.parametrize(("parameters", "param"), WRONG)
def test_what_is_refused(chargebee: Chargebee, parameters: dict[str, Any], param: str) -> None:
    answer = chargebee.get(**parameters)
    body = answer.json()
    assert (answer.status_code, body["type"], body["param"]) == (400, "invalid_request", param)
    assert body["http_status_code"] == 400


def test_who_is_refused(chargebee: Chargebee) -> None:
    key = chargebee.login["api_key"]
    for headers in (
        {},
        {"Authorization": f"Bearer {key}"},
        {"Authorization": "Basic ä"},
        {"Authorization": "Basic eDp5"},
    ):
        answer = chargebee.http.get(
            f"{chargebee.url}/api/v2/customers", headers={k: v.encode() for k, v in headers.items()}, auth=lambda r: r
        )
        assert (answer.status_code, answer.json()["api_error_code"]) == (401, "api_authentication_failed")
    chargebee.http.auth = (key, "a password")
    assert chargebee.get().status_code == 401


def test_other_addresses(chargebee: Chargebee) -> None:
    assert chargebee.http.get(f"{chargebee.url}/api/v2/shoes").json()["api_error_code"] == "resource_not_found"
    assert (
        chargebee.http.post(f"{chargebee.url}/api/v2/customers").json()["api_error_code"] == "http_method_not_supported"
    )


def test_the_minute_of_a_test_site_has_150_requests(fresh_sandbox: SandboxFactory) -> None:
    chargebee = Chargebee(fresh_sandbox(accounts=5, billing=["chargebee"]))
    answers = [chargebee.get(limit=1) for _ in range(151)]
    assert {answer.status_code for answer in answers[:150]} == {200}
    assert (answers[150].status_code, answers[150].json()["type"]) == (429, "operation_failed")
    assert 0 < int(answers[150].headers["Retry-After"]) <= 60
    Contract(specification(CONTRACT), f"{chargebee.url}/api/v2").hold_answer(answers[150])


def test_the_connector_reads_what_is_there(
    sandbox: SandboxFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = sandbox(accounts=300, billing=["chargebee"])
    org = organization(shared, tmp_path, monkeypatch)
    with Warehouse(tmp_path / "warehouse", org.name).connect() as con:
        count = load_customers(con, org)
        query = (
            "SELECT customer_id, identifier, name, is_individual, parent_id FROM billing_customers ORDER BY customer_id"
        )
        found = con.execute(query).fetchall()
    there = shared.rows("SELECT * FROM billing_customer ORDER BY customer_id")
    columns = ("customer_id", "identifier", "name", "is_individual", "parent_id")
    assert [row[:2] for row in found] == [(row["customer_id"], row["identifier"]) for row in there]
    assert found == [tuple(row[column] for column in columns) for row in there if row["name"]]
    assert count == len(there)
    assert len({row[4] for row in found}) > 1
    page = shared.http().get(str(customer_url(org, there[0]["customer_id"])))
    assert (page.status_code, there[0]["customer_id"] in page.text) == (200, True)


def test_the_connector_reads_what_changes_between_pages(
    fresh_sandbox: SandboxFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = fresh_sandbox(accounts=300, billing=["chargebee"])
    org = organization(own, tmp_path, monkeypatch)
    asked, get = [0], Api.get

    def changing(api: Api, *arguments: Any, **more: Any) -> dict[str, Any]:
        answer = get(api, *arguments, **more)
        if (page := asked[0]) < 3:  # one of the first page, one of the last, one that is deleted, and one that is new
            now = "updated = unixepoch()"
            own.change(
                f"UPDATE billing_customer SET name = 'changed', {now} WHERE position IN (?, ?)", page, 250 + page
            )
            own.change(f"UPDATE billing_customer SET deleted = 1, {now} WHERE position = ?", 50 + page)
            own.change(
                "INSERT INTO billing_customer (org, position, customer_id, name, minor_units, created, updated)"
                " VALUES ('chargebee', ?, ?, 'new', 0, unixepoch(), unixepoch())",
                *(9000 + page, f"new{page}"),
            )
        asked[0] += 1
        return answer

    monkeypatch.setattr(Api, "get", changing)
    with Warehouse(tmp_path / "warehouse", org.name).connect() as con:
        load_customers(con, org)
        found = con.execute("SELECT customer_id, status FROM billing_customers ORDER BY customer_id").fetchall()
        later = con.execute("SELECT count(*) FROM billing_customers WHERE name = 'changed'").fetchone()
    there = own.rows("SELECT customer_id, deleted FROM billing_customer ORDER BY customer_id")
    assert found == [(row["customer_id"], "deleted" if row["deleted"] else "active") for row in there]
    assert later == (len(own.rows("SELECT 1 FROM billing_customer WHERE name = 'changed'")),)


def test_a_deletion_is_a_change(fresh_sandbox: SandboxFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = fresh_sandbox(accounts=30, billing=["chargebee"])
    org = organization(own, tmp_path, monkeypatch)
    with Warehouse(tmp_path / "warehouse", org.name).connect() as con:
        count = load_customers(con, org)
        own.change("UPDATE billing_customer SET deleted = 1, updated = unixepoch() WHERE position = 3")
        assert load_customers(con, org) == count
        assert con.execute("SELECT count(*) FROM billing_customers WHERE status = 'deleted'").fetchone() == (1,)


def test_the_connector_asks_what_the_contract_allows(
    sandbox: SandboxFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = sandbox(accounts=300, billing=["chargebee"])
    org = organization(shared, tmp_path, monkeypatch)
    base = f"{shared.organization('chargebee')['billing']['url']}/api/v2"
    contract = Contract(specification(CONTRACT), base)
    with Warehouse(tmp_path / "warehouse", org.name).connect() as con, recorded() as answers:
        load_customers(con, org)
        load_customers(con, org)
    asked = [answer for answer in answers if str(answer.url).startswith(base)]
    assert any("updated_at" in str(answer.url) for answer in asked)
    for answer in asked:
        contract.hold_request(answer.request)
        contract.hold_answer(answer)


def organization(shared: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Organization:
    ready = shared.organization("chargebee")["billing"]
    monkeypatch.setenv("CHARGEBEE_KEY", ready["api_key"])
    billing = {"system": "chargebee", "api_key": {"env": "CHARGEBEE_KEY"}, "url": ready["url"]}
    billing |= {"ca_file": shared["ca_file"], "requests_per_minute": 6_000}
    return make_organization(folder=folder, billing=billing, identifier__billing_field=ready["field"])
