"""The Sellsy stand-in, held to Sellsy's own contract, and the connector against it."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from sync_pipeline.billing import load_customers
from sync_pipeline.billing.systems import sellsy as connector
from sync_pipeline.errors import ReconnectError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.contracts import Contract, recorded, specification
from sync_pipeline_tests.orgs.factory import make_organization

SandboxFactory = Callable[..., Sandbox]
EMBEDS = [("embed[]", f"cf.{number}") for number in (12345, 12346, 12350)]


class Sellsy:
    """A session with the organization's token, as fast as tests like."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.login: dict[str, str] = sandbox.organization("sellsy")["billing"]
        self.url, self.http = self.login["url"], sandbox.http()
        self.http.headers["Authorization"] = f"Bearer {self.login['access_token']}"

    def search(
        self, kind: str = "companies", *more: tuple[str, str], body: Any = None, **parameters: Any
    ) -> requests.Response:
        asked = [*more, *parameters.items()]
        return self.http.post(f"{self.url}/v2/{kind}/search", params=asked, json=body or {"filters": {}})

    def fields(self, **parameters: Any) -> requests.Response:
        return self.http.get(f"{self.url}/v2/custom-fields", params=parameters)

    def every(self, kind: str, **parameters: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            answer = self.search(kind, limit=100, **parameters).json()
            found += answer["data"]
            if not answer["data"]:
                return found
            parameters["offset"] = answer["pagination"]["offset"]

    def token(self, secret: str | None = None, grant: str = "client_credentials") -> requests.Response:
        form = {"client_id": self.login["client_id"], "client_secret": secret or self.login["client_secret"]}
        return self.http.post(f"{self.url}/oauth2/access-tokens", data=form | {"grant_type": grant})


@pytest.fixture
def unhurried(sandbox: SandboxFactory) -> Sandbox:
    return sandbox(accounts=300, billing=["sellsy"], billing_per_minute=1_000_000)


@pytest.fixture
def sellsy(unhurried: Sandbox) -> Sellsy:
    return Sellsy(unhurried)


def as_meant(schema: Any, *, closed: bool = True) -> Any:
    """The contract as Sellsy means it. As it is written, `additionalProperties: false` beside `allOf` allows nothing at
    all, no custom field either: it speaks of the properties that stand beside it. So all of the parts are put there."""
    if isinstance(schema, list):
        return [as_meant(one, closed=closed) for one in schema]
    if not isinstance(schema, dict):
        return schema
    own = {key: value for key, value in schema.items() if key != "allOf"}
    own = {key: as_meant(value) for key, value in own.items()}
    if isinstance(parts := schema.get("allOf"), list):
        own["allOf"] = [as_meant(part, closed=False) for part in parts]
        if own.get("additionalProperties") is False:
            own["properties"] = {name: {} for name in names_of(schema)}
    if not closed:
        own.pop("additionalProperties", None)
    return own


def names_of(schema: dict[str, Any]) -> list[str]:
    return [*schema.get("properties", {}), *(name for part in schema.get("allOf", ()) for name in names_of(part))]


def contract_of(url: str) -> Contract:
    return Contract(as_meant(specification("sellsy.json")), f"{url}/v2")


def seek(*values: str) -> str:
    return base64.b64encode(json.dumps(values).encode()).decode()


def test_every_answer_keeps_sellsy_s_contract_and_a_wrong_one_does_not(sellsy: Sellsy) -> None:
    contract = contract_of(sellsy.url)
    answers = [
        sellsy.search("companies", *EMBEDS, limit=100, order="id", direction="asc"),
        sellsy.search("individuals", *EMBEDS, limit=100, order="name", direction="desc"),
        sellsy.search("companies", limit=10, offset=1, order="updated_at", body={"filters": {"is_archived": True}}),
        sellsy.search("companies", offset=seek("999999999")),
        sellsy.fields(limit=100, order="id", direction="asc"),
    ]
    for answer in answers:
        assert answer.status_code == 200
        contract.hold_answer(answer)
        contract.hold_request(answer.request)
    assert all(answer.json()["data"] for answer in (*answers[:3], answers[4]))
    contract.refuse(answers[0], lambda body: body["data"][0].update(type="friend"))
    contract.refuse(answers[1], lambda body: body["data"][0]["_embed"]["custom_fields"][0].update(valeur=1))
    contract.refuse(answers[4], lambda body: body["data"][0].update(type="free"))


def test_pages_are_in_the_order_asked_for(sellsy: Sellsy) -> None:
    for kind in ("companies", "individuals"):
        by_id = [one["id"] for one in sellsy.every(kind, order="id")]
        assert by_id == sorted(set(by_id))
        assert len(by_id) == sellsy.search(kind, limit=0).json()["pagination"]["total"] > 30
        down = [one["id"] for one in sellsy.every(kind, order="id", direction="desc")]
        assert down == by_id[::-1]
        for order, key in (("created_at", "created"), ("updated_at", "updated_at")):
            found = sellsy.every(kind, order=order)
            assert {one["id"] for one in found} == set(by_id)
            assert [one[key] for one in found] == sorted(one[key] for one in found)
    names = [one["name"] for one in sellsy.every("companies", order="name")]
    assert names == sorted(names)
    assert sellsy.search(limit=2, offset=1).json()["data"][0] == sellsy.search(limit=2).json()["data"][1]


def test_companies_and_individuals_share_numbers(sellsy: Sellsy) -> None:
    companies, individuals = ({one["id"] for one in sellsy.every(kind)} for kind in ("companies", "individuals"))
    assert companies & individuals


def test_filters(sellsy: Sellsy) -> None:
    def found(**filters: Any) -> set[str]:
        return {one["type"] for one in sellsy.search(limit=100, body={"filters": filters}).json()["data"]}

    assert found() == {"client", "prospect"}
    assert found(type="prospect") == found(type=["prospect", "supplier"]) == {"prospect"}
    assert found(created={"start": "2999-01-01T00:00:00+01:00"}) == found(type="supplier") == set()
    assert found(updated_at={"start": "2000-01-01T00:00:00+01:00", "end": "2999-01-01T00:00:00+01:00"}) == found()


def test_custom_fields_come_only_when_asked_for(sellsy: Sellsy) -> None:
    assert "_embed" not in sellsy.search(limit=1).json()["data"][0]
    (one,) = sellsy.search("companies", EMBEDS[0], limit=1).json()["data"]
    assert [field["id"] for field in one["_embed"]["custom_fields"]] == [12345]
    listed = [field["id"] for field in sellsy.fields().json()["data"]]
    assert listed == [12345, 12346, 12350, 12360]
    assert [field["id"] for field in sellsy.fields(offset=seek("12346"), limit=1).json()["data"]] == [12350]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"limit": 101}, "limit: this value should be between 0 and 100"),
    ({"limit": "x"}, "limit"),
    ({"order": "shoe"}, "order: the value you selected is not a valid choice"),
    ({"direction": "up"}, "direction"),
    ({"offset": "shoe"}, "offset: this value is not valid"),
    ({"offset": seek("1", "2")}, "offset: this value is not valid"),
    ({"offset": seek("1"), "order": "name"}, "offset: this value is not valid"),
    ({"offset": 100_001}, "offset: by number only the first 100000"),
    ({"page": 2}, "page: this parameter"),
    ({"embed[]": "cf.99"}, "embed: cf.99 is not valid"),
    ({"embed[]": "cf.12360"}, "embed: cf.12360 is not valid"),  # a contact's
    ({"embed[]": "shoe"}, "embed: shoe is not valid"),
    ({"body": {"filters": {"shoe": 1}}}, "filters: this form should not contain extra fields"),
    ({"body": {"filters": {}, "more": 1}}, "filters: this form should not contain extra fields"),
    ({"body": {"more": 1}}, "filters: this value should not be blank"),
    ({"body": {"filters": {"type": ["client", "friend"]}}}, "type: the value you selected"),
    ({"body": {"filters": {"type": ["client", "client"]}}}, "type: the value you selected"),
    ({"body": {"filters": {"created": {"start": "soon"}}}}, "created: this value is not a valid datetime"),
]


@pytest.mark.parametrize(("asked", "words"), REFUSED)
def test_what_sellsy_refuses(sellsy: Sellsy, asked: dict[str, Any], words: str) -> None:
    answer = sellsy.search("companies", **asked)
    assert answer.status_code == 400
    assert answer.json()["error"].keys() == {"code", "message", "context"}
    assert answer.json()["error"]["context"].startswith(words)


def test_who_is_refused(sellsy: Sellsy) -> None:
    assert sellsy.token("wrong").json()["error"] == "invalid_client"
    assert sellsy.token(grant="password").json() == {"error": "unsupported_grant_type"}
    assert sellsy.token().json()["expires_in"] == 3600
    assert sellsy.http.get(f"{sellsy.url}/v2/companies").status_code == 404
    assert sellsy.http.get(f"{sellsy.url}/v2/companies/search").status_code == 405
    assert sellsy.search("individuals", body={"filters": {"siret": "1"}}).status_code == 400
    sellsy.http.headers["Authorization"] = "Bearer x"
    assert sellsy.search().json()["error"]["code"] == 401


def test_a_second_has_five_requests(fresh_sandbox: SandboxFactory) -> None:
    sellsy = Sellsy(fresh_sandbox(accounts=5, billing=["sellsy"]))
    answers = [sellsy.search(limit=1) for _ in range(6)]
    assert Counter(answer.status_code for answer in answers) == {200: 5, 429: 1}
    assert answers[5].json()["error"]["code"] == 429
    left = [[answer.headers[f"X-Quota-Remaining-By-{one}"] for one in ("Second", "Day")] for answer in answers]
    assert (left[0], left[5]) == (["4", "431999"], ["0", "431994"])


def test_the_page_of_a_customer(unhurried: Sandbox, sellsy: Sellsy) -> None:
    (row,) = unhurried.rows("SELECT customer_id, identifier FROM billing_customer WHERE position = 0")
    shown = requests.get(f"{sellsy.url}/customers/{row['customer_id']}", verify=sellsy.http.verify)
    assert (shown.status_code, str(row["identifier"]) in shown.text) == (200, True)
    assert requests.get(f"{sellsy.url}/customers/0", verify=sellsy.http.verify).status_code == 404


def organization(shared: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Organization:
    ready = shared.organization("sellsy")["billing"]
    monkeypatch.setenv("SELLSY_SECRET", ready["client_secret"])
    login = {"method": "client_credentials", "client_id": ready["client_id"], "client_secret": {"env": "SELLSY_SECRET"}}
    billing = {"system": "sellsy", "login": login, "url": ready["url"], "ca_file": shared["ca_file"]}
    billing |= {"login_url": f"{ready['url']}/oauth2/access-tokens"}
    return make_organization(folder=folder, billing=billing, identifier__billing_field=ready["field"])


def test_the_connector_reads_what_is_there_as_the_contract_allows(
    unhurried: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "PER_MINUTE", 60_000)
    org = organization(unhurried, tmp_path, monkeypatch)
    with Warehouse(tmp_path / "warehouse", org.name).connect() as con, recorded() as answers:
        count = load_customers(con, org)
        found = con.execute(
            "SELECT customer_id, identifier, is_individual FROM billing_customers ORDER BY 1"
        ).fetchall()
        statuses = {row[0] for row in con.execute("SELECT DISTINCT status FROM billing_customers").fetchall()}
    there = unhurried.rows(
        "SELECT customer_id, identifier FROM billing_customer WHERE NOT deleted ORDER BY customer_id"
    )
    assert found == [(*row, row["customer_id"].startswith("individual-")) for row in there]
    assert (count, statuses) == (len(there), {"active", "archived"})
    base = f"{organization_url(unhurried)}/v2"
    asked = [answer for answer in answers if str(answer.url).startswith(base)]
    individuals = sum(row["customer_id"].startswith("individual-") for row in there)
    assert len(asked) == 1 + -(-individuals // 100) + -(-(count - individuals) // 100)
    contract = contract_of(organization_url(unhurried))
    for answer in asked:
        contract.hold_request(answer.request)
        contract.hold_answer(answer)
        embeds = [value for name, value in parse_qsl(urlsplit(str(answer.url)).query) if name == "embed[]"]
        assert all(re.fullmatch(r"cf.\d+", one) for one in embeds)  # which the contract can't hold: PHP's brackets


def organization_url(shared: Sandbox) -> str:
    return str(shared.organization("sellsy")["billing"]["url"])


def test_nobody_is_missed_or_comes_twice_while_customers_come_and_go(
    fresh_sandbox: SandboxFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "PER_MINUTE", 60_000)
    monkeypatch.setattr(connector, "PAGE_SIZE", 20)
    shared = fresh_sandbox(accounts=150, billing=["sellsy"], billing_per_minute=1_000_000)
    org = organization(shared, tmp_path, monkeypatch)
    before = {row["customer_id"] for row in shared.rows("SELECT customer_id FROM billing_customer WHERE NOT deleted")}
    listed = connector.SOURCE.pages
    pages = iter(range(1, 1000))

    def changing(self: Any, api: Any, since: Any) -> Any:
        for found in listed(api, since):
            yield found
            page = next(pages)
            shared.change("UPDATE billing_customer SET deleted = 1 WHERE position IN (?, ?)", 3 * page, 3 * page + 1)
            shared.change("UPDATE billing_customer SET name = 'again', updated = updated + ?", page)
            shared.change(
                "INSERT INTO billing_customer (org, position, customer_id, name, created, updated) VALUES"
                " ('sellsy', ?, ?, 'new', 1, 2)",
                *(100_000 + page, str(100_000 + page)),
            )

    monkeypatch.setattr(type(connector.SOURCE), "pages", changing)
    with Warehouse(tmp_path / "warehouse", org.name).connect() as con:
        count = load_customers(con, org)
        found = [row[0] for row in con.execute("SELECT customer_id FROM billing_customers").fetchall()]
    after = {row["customer_id"] for row in shared.rows("SELECT customer_id FROM billing_customer WHERE NOT deleted")}
    last = next(pages)
    assert last > 7
    assert count == len(found) == len(set(found))
    new = {one for one in found if one.isdecimal() and int(one) > 100_000}
    assert new
    assert before & after <= set(found) <= before | new


def test_sellsy_s_limit_is_kept_from_the_start(
    fresh_sandbox: SandboxFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = fresh_sandbox(accounts=60, billing=["sellsy"])
    monkeypatch.setattr(connector, "PAGE_SIZE", 10)
    org = organization(shared, tmp_path, monkeypatch)
    with Warehouse(tmp_path / "warehouse", org.name).connect() as con, recorded() as answers:
        load_customers(con, org)
    assert len(answers) > 8
    assert {answer.status_code for answer in answers} == {200}


def test_a_missing_scope_is_named(
    fresh_sandbox: SandboxFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = fresh_sandbox(accounts=5, billing=["sellsy"])
    org = organization(shared, tmp_path, monkeypatch)
    shared.change("UPDATE billing_login SET value = 'companies.read custom-fields.read' WHERE name = 'scopes'")
    with (
        Warehouse(tmp_path / "warehouse", org.name).connect() as con,
        pytest.raises(ReconnectError, match=r"individuals: .* \(HTTP 403\).*individuals\.read"),
    ):
        load_customers(con, org)
