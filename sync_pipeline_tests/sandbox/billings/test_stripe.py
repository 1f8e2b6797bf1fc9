"""The Stripe stand-in, held to Stripe's own contract and to what its documents say about lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from sync_pipeline.billing import load_customers
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.contracts import Contract, recorded, specification
from sync_pipeline_tests.orgs.factory import make_organization

SandboxFactory = Callable[..., Sandbox]


class Stripe:
    """A session with the organization's key."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.url = sandbox["stripe"]["url"]
        self.http = sandbox.http()
        self.http.headers["Authorization"] = f"Bearer {sandbox['stripe']['api_key']}"

    def get(self, path: str = "", **parameters: Any) -> requests.Response:
        return self.http.get(f"{self.url}/v1/customers{path}", params=parameters)

    def page(self, **parameters: Any) -> list[dict[str, Any]]:
        answer = self.get(**parameters)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    def all(self) -> list[dict[str, Any]]:
        found = self.page(limit=100)
        while self.get(limit=1, starting_after=found[-1]["id"]).json()["data"]:
            found += self.page(limit=100, starting_after=found[-1]["id"])
        return found


@pytest.fixture
def stripe(sandbox: SandboxFactory) -> Stripe:
    return Stripe(sandbox())


def contract_at(url: str) -> Contract:
    content = specification("stripe.json")
    for schema in content["components"]["schemas"].values():
        for declared in schema.get("properties", {}).values():
            # Stripe means null by `nullable` beside `anyOf`; OpenAPI 3.0 read to the letter does not.
            if declared.get("nullable") and "anyOf" in declared:
                declared["anyOf"].append({"type": "object", "nullable": True, "enum": [None]})
    listing = content["paths"]["/v1/customers"]["get"]
    # openapi-core stumbles over these even where they are not sent, which the connector never does.
    listing["parameters"] = [one for one in listing["parameters"] if one["name"] not in ("created", "expand")]
    return Contract(content, url)


def test_every_answer_keeps_stripe_s_contract_and_a_wrong_one_does_not(fresh_sandbox: SandboxFactory) -> None:
    stripe = Stripe(fresh_sandbox(accounts=300, billing=["stripe"]))
    contract = contract_at(stripe.url)
    one, gone = stripe.page(limit=2)
    assert stripe.http.delete(f"{stripe.url}/v1/customers/{gone['id']}").json()["deleted"] is True
    answers = [stripe.get(limit=100), stripe.get(f"/{one['id']}"), stripe.get(f"/{gone['id']}")]
    answers += [stripe.get(limit=100, starting_after=answers[0].json()["data"][-1]["id"])]
    wrong = [
        stripe.get("/cus_none"),
        stripe.get(limit=0),
        requests.get(f"{stripe.url}/v1/customers", verify=stripe.http.verify),
    ]
    assert [answer.status_code for answer in [*answers, *wrong]] == [200, 200, 200, 200, 404, 400, 401]
    for answer in [*answers, *wrong]:
        contract.hold_answer(answer)
    contract.refuse(answers[0], lambda body: body["data"][0].update(object="client"))


def test_the_connector_asks_what_stripe_s_contract_allows(
    sandbox: SandboxFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = sandbox()
    ready = shared["stripe"]
    monkeypatch.setenv("STRIPE_KEY", ready["api_key"])
    billing = {"system": "stripe", "api_key": {"env": "STRIPE_KEY"}, "url": ready["url"], "ca_file": shared["ca_file"]}
    org = make_organization(folder=tmp_path, billing=billing, identifier__billing_field=ready["field"])
    contract = contract_at(ready["url"])
    with Warehouse(tmp_path / "warehouse", org.name).connect() as con, recorded() as answers:
        load_customers(con, org)
    assert answers
    for answer in answers:
        contract.hold_request(answer.request)
        contract.hold_answer(answer)


def test_the_list_is_newest_first_and_pages_to_its_end(stripe: Stripe, sandbox: SandboxFactory) -> None:
    found = stripe.all()
    there = sandbox().rows(
        "SELECT customer_id FROM billing_customer WHERE org = 'stripe' AND NOT deleted ORDER BY position DESC"
    )
    assert [customer["id"] for customer in found] == [row["customer_id"] for row in there]
    created = [customer["created"] for customer in found]
    assert created == sorted(created, reverse=True)


def test_has_more_is_true_until_the_last_page(stripe: Stripe) -> None:
    found = stripe.all()
    last = stripe.get(limit=2, starting_after=found[-3]["id"]).json()
    assert (last["has_more"], len(last["data"])) == (False, 2)
    assert stripe.get(limit=2, starting_after=found[-4]["id"]).json()["has_more"] is True
    assert len(stripe.page()) == 10


def test_backwards(stripe: Stripe) -> None:
    ids = [customer["id"] for customer in stripe.page(limit=6)]
    assert [customer["id"] for customer in stripe.page(limit=3, ending_before=ids[5])] == ids[2:5]


@pytest.mark.parametrize(
    ("parameters", "code", "param"),
    [
        ({"limit": 0}, "parameter_invalid_integer", "limit"),
        ({"limit": 101}, "parameter_invalid_integer", "limit"),
        ({"limit": "ten"}, "parameter_invalid_integer", "limit"),
        ({"starting_after": "cus_none"}, "resource_missing", "starting_after"),
        ({"starting_after": "' OR 1=1 --"}, "resource_missing", "starting_after"),
        ({"page": 2}, "parameter_unknown", "page"),
    ],
)
def test_refused_parameters(stripe: Stripe, parameters: dict[str, Any], code: str, param: str) -> None:
    answer = stripe.get(**parameters)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("key", ["", "Bearer ", "Bearer sk_test_wrong_wrong_wrong", "Basic ???", "Bearer é"])
def test_a_wrong_key_is_refused_and_not_repeated_whole(stripe: Stripe, key: str) -> None:
    headers = {"Authorization": key.encode("latin-1")} if key else {}
    answer = requests.get(f"{stripe.url}/v1/customers", headers=headers, verify=stripe.http.verify)
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "invalid_request_error")
    assert "wrong_wrong_wrong" not in answer.text


def test_the_key_as_the_user_of_basic_authentication(stripe: Stripe, sandbox: SandboxFactory) -> None:
    key = sandbox()["stripe"]["api_key"]
    assert requests.get(f"{stripe.url}/v1/customers", auth=(key, ""), verify=stripe.http.verify).status_code == 200


def test_some_have_no_currency_and_metadata_beside_the_identifier(sandbox: SandboxFactory) -> None:
    found = Stripe(sandbox(accounts=700, billing=["stripe"])).all()
    assert {None, "eur"} <= {customer["currency"] for customer in found}
    keys = {frozenset(customer["metadata"]) for customer in found}
    assert {frozenset(), frozenset({"plan"}), frozenset({"plan", "salesforce_account_id"})} <= keys


def test_fields_that_a_row_has_extra_win(fresh_sandbox: SandboxFactory) -> None:
    sandbox = fresh_sandbox(accounts=5, billing=["stripe"])
    sandbox.change("""UPDATE billing_customer SET extra = '{"name": null, "new": 1}'""")
    assert {(customer["name"], customer["new"]) for customer in Stripe(sandbox).page()} == {(None, 1)}


def test_a_deleted_customer_leaves_the_list_and_is_found_as_a_stub(fresh_sandbox: SandboxFactory) -> None:
    stripe = Stripe(fresh_sandbox(accounts=40, billing=["stripe"]))
    gone, after = stripe.page(limit=2)
    stripe.http.delete(f"{stripe.url}/v1/customers/{gone['id']}")
    assert stripe.page(limit=1) == [after]
    assert stripe.get(f"/{gone['id']}").json() == {"id": gone["id"], "object": "customer", "deleted": True}
    assert stripe.page(limit=1, starting_after=gone["id"]) == [after], "a page that was being read goes on"


def test_a_page_for_people_escapes_what_it_shows(sandbox: SandboxFactory) -> None:
    shared = sandbox(accounts=700, billing=["stripe"])
    bold = shared.rows("SELECT customer_id FROM billing_customer WHERE name LIKE '<b>%'")[0]["customer_id"]
    answer = shared.http().get(f"{shared['stripe']['url']}/customers/{bold}")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "&lt;script&gt;" in answer.text
    assert "<script" not in answer.text
    assert shared.http().get(f"{shared['stripe']['url']}/customers/cus_none").status_code == 404
