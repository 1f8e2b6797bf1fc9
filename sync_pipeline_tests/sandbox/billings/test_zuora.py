"""The Zuora stand-in, held to Zuora's own contracts, and the connector against it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from sync_pipeline.billing import customer_url, load_customers
from sync_pipeline.errors import ReconnectError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.contracts import Contract, recorded, specification
from sync_pipeline_tests.orgs.factory import make_organization

SandboxFactory = Callable[..., Sandbox]
LIST, LOGIN = "zuora_object_query_from_sdk.json", "zuora.json"


class Zuora:
    """A session with an organization's token."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.login: dict[str, str] = sandbox.organization("zuora")["billing"]
        self.url, self.http = self.login["url"], sandbox.http()
        self.http.headers["Authorization"] = f"Bearer {self.token().json()['access_token']}"

    def get(self, headers: dict[str, str] | None = None, **parameters: Any) -> requests.Response:
        named = {f"{name}[]" if name in ("sort", "filter", "expand") else name: one for name, one in parameters.items()}
        return self.http.get(f"{self.url}/object-query/accounts", params=named, headers=headers)

    def token(self, **changed: str) -> requests.Response:
        form = (
            {"grant_type": "client_credentials"} | {k: self.login[k] for k in ("client_id", "client_secret")} | changed
        )
        return requests.post(f"{self.url}/oauth/token", data=form, verify=self.http.verify)

    def all(self, **parameters: Any) -> list[dict[str, Any]]:
        found, cursor = [], {}
        while True:
            answer = self.get(pageSize=50, **parameters, **cursor)
            assert answer.status_code == 200, answer.text
            found += answer.json()["data"]
            if "nextPage" not in answer.json():
                return found
            cursor = {"cursor": answer.json()["nextPage"]}


@pytest.fixture
def zuora(sandbox: SandboxFactory) -> Zuora:
    return Zuora(sandbox(accounts=300, billing=["zuora"]))


def test_every_answer_keeps_zuora_s_contracts_and_a_wrong_one_does_not(zuora: Zuora) -> None:
    listing, login = Contract(specification(LIST), zuora.url), Contract(specification(LOGIN), zuora.url)
    first = zuora.get(pageSize=50, sort="id.ASC", expand="billto")
    answers = [
        first,
        zuora.get(pageSize=50, sort="id.ASC", expand="billto", cursor=first.json()["nextPage"]),
        zuora.get(filter="updateddate.GT:2999-01-01T00:00:00Z"),
        zuora.get(expand=["billto", "soldto"], sort="updateddate.ASC"),
    ]
    for answer in answers:
        assert answer.status_code == 200
        listing.hold_answer(answer)
        listing.hold_request(answer.request)
    assert answers[2].json() == {"data": []}
    listing.refuse(first, lambda body: body["data"][0].update(balance="much"))
    listing.refuse(answers[3], lambda body: body.update(data={}))
    given = zuora.token()
    login.hold_answer(given)
    login.refuse(given, lambda body: body.update(expires_in="an hour"))


def test_every_request_of_the_connector_keeps_the_contracts(
    sandbox: SandboxFactory, zuora: Zuora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contracts = {
        "/oauth/token": Contract(specification(LOGIN), zuora.url),
        "/object-query/accounts": Contract(specification(LIST), zuora.url),
    }
    org = organization(sandbox(accounts=300, billing=["zuora"]), tmp_path, monkeypatch)
    with recorded() as answers, Warehouse(tmp_path / "warehouse", org.name).connect() as con:
        load_customers(con, org)
    paths = [str(answer.request.path_url).partition("?")[0] for answer in answers]
    assert set(paths) == set(contracts)
    assert paths.count("/oauth/token") == 1
    for path, answer in zip(paths, answers, strict=True):
        contracts[path].hold_request(answer.request)
        contracts[path].hold_answer(answer)
    asked = answers[-1].request.copy()
    asked.url = f"{zuora.url}/object-query/accounts?pageSize=100"
    with pytest.raises(Exception, match="pageSize"):
        contracts["/object-query/accounts"].hold_request(asked)


def test_orders_and_cursors(zuora: Zuora) -> None:
    by_id = [one["id"] for one in zuora.all(sort="id.ASC")]
    assert by_id == sorted(set(by_id))
    assert [one["id"] for one in zuora.all(sort="ID.desc")] == by_id[::-1]
    newest = zuora.all()
    assert {one["id"] for one in newest} == set(by_id)
    assert [one["updatedDate"] for one in newest] == sorted((one["updatedDate"] for one in newest), reverse=True)
    assert {one["status"] for one in newest} == {"Active", "Draft", "Canceled"}
    assert len(zuora.get().json()["data"]) == 10
    assert not any(value is None for one in newest for value in one.values())
    assert not any("billTo" in one for one in newest)
    assert all(one["billTo"]["id"] == one["billToId"] for one in zuora.get(expand="BillTo").json()["data"])


def test_a_deleted_account_leaves_the_list_and_a_page_that_ended_with_it_goes_on(fresh_sandbox: SandboxFactory) -> None:
    sandbox = fresh_sandbox(accounts=40, billing=["zuora"])
    zuora = Zuora(sandbox)
    ids = [one["id"] for one in zuora.all(sort="id.ASC")]
    cursor = zuora.get(pageSize=5, sort="id.ASC").json()["nextPage"]
    sandbox.change("UPDATE billing_customer SET deleted = 1 WHERE customer_id = ?", ids[4])
    following = zuora.get(pageSize=5, sort="id.ASC", cursor=cursor).json()["data"]
    assert [one["id"] for one in following] == ids[5:10]
    assert len(zuora.all()) == len(ids) - 1


def test_filters(zuora: Zuora) -> None:
    one = zuora.get(pageSize=1, sort="accountnumber.DESC").json()["data"][0]
    assert [found["id"] for found in zuora.all(filter=f"id.EQ:{one['id']}")] == [one["id"]]
    later = zuora.all(filter=f"updatedDate.GT:{one['updatedDate']}")
    same = zuora.all(filter=[f"updatedDate.GE:{one['updatedDate']}", f"updatedDate.LE:{one['updatedDate']}"])
    assert one["id"] in {found["id"] for found in same}
    assert one["id"] not in {found["id"] for found in later}


@pytest.mark.parametrize(
    ("parameters", "category"),
    [
        ({"pageSize": 0}, 27),
        ({"pageSize": 51}, 27),
        ({"pageSize": "ten"}, 27),
        ({"sort": "shoe.ASC"}, 27),
        ({"sort": "id.UP"}, 27),
        ({"sort": ["id.ASC", "updateddate.ASC"]}, 27),
        ({"expand": "shoes"}, 27),
        ({"filter": "name.XX:1"}, 27),
        ({"filter": "shoe.EQ:1"}, 27),
        ({"filter": "id.GT:1"}, 27),
        ({"filter": "updateddate.GT:soon"}, 20),
        ({"filter": "no filter"}, 27),
        ({"cursor": "nonsense"}, 27),
        ({"cursor": "W10="}, 27),
        (
            {
                "cursor": "W3sidmFsdWUiOiBbXSwgIm9yZGVyQnkiOiB7ImZpZWxkIjogImlkIiwgIm9yZGVyIjogIkFTQyJ9fV0=",
                "sort": "id.ASC",
            },
            27,
        ),
    ],
)
def test_refused_parameters(zuora: Zuora, parameters: dict[str, Any], category: int) -> None:
    answer = zuora.get(**parameters)
    body = answer.json()
    assert (answer.status_code, body["success"], body["reasons"][0]["code"] % 100) == (400, False, category)


def test_refused_callers(zuora: Zuora) -> None:
    for wrong in ("", "Bearer x", "Basic eDp5"):
        answer = zuora.get({"Authorization": wrong})
        assert (answer.status_code, answer.json()) == (401, {"message": "Authentication error"})
    assert zuora.get({"Zuora-Entity-Ids": zuora.login["entity_id"]}).status_code == 200
    assert zuora.get({"Zuora-Entity-Ids": "other"}).json()["reasons"][0]["code"] == 90000010
    assert zuora.http.get(f"{zuora.url}/v1/accounts").json()["reasons"][0]["code"] == 50000040
    assert zuora.http.post(f"{zuora.url}/object-query/accounts").status_code == 405
    for wrong_form in ({"client_secret": "é"}, {"client_id": "other"}):
        assert zuora.token(**wrong_form).json()["error"] == "invalid_client"
    assert zuora.token(grant_type="password").json() == {"error": "unsupported_grant_type"}
    keys = {name: zuora.login[name] for name in ("client_id", "client_secret")}
    as_json = requests.post(f"{zuora.url}/oauth/token", json=keys, verify=zuora.http.verify)
    assert as_json.status_code == 415


def test_headers(zuora: Zuora) -> None:
    told = zuora.get({"Zuora-Track-Id": "mine"}).headers
    assert told["Zuora-Track-Id"] == "mine"
    assert len(told["Zuora-Request-Id"]) == 36
    assert int(told["ratelimit-remaining"]) < 50_000
    assert told["ratelimit-limit"].startswith("50000, 50000;w=60")


def test_the_connector_reads_what_is_there_with_few_requests_and_never_too_many(
    sandbox: SandboxFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = sandbox(accounts=300, billing=["zuora"])
    org = organization(shared, tmp_path, monkeypatch)
    with recorded() as answers, Warehouse(tmp_path / "warehouse", org.name).connect() as con:
        count = load_customers(con, org)
        found = con.execute(
            "SELECT customer_id, identifier, parent_id, currency, status = 'archived', epoch(updated_at), primary_email,"
            " balance > 0 FROM billing_customers ORDER BY 1"
        ).fetchall()
    there = shared.rows("SELECT * FROM billing_customer WHERE NOT deleted ORDER BY customer_id")
    assert found == [
        (
            *(row["customer_id"], row["identifier"], row["parent_id"], row["currency"].upper(), bool(row["archived"])),
            *(row["updated"], row["email"], row["minor_units"] > 0),
        )
        for row in there
    ]
    assert count == len(there)
    assert len(answers) <= -(-count // 50) + 3
    assert {answer.status_code for answer in answers} == {200}
    url = customer_url(org, there[0]["customer_id"])
    assert url
    assert shared.http().get(url).status_code == 200
    assert shared.http().get(f"{url}0").status_code == 404


def test_what_changes_between_pages_is_read_once_and_not_missed(
    fresh_sandbox: SandboxFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = fresh_sandbox(accounts=150, billing=["zuora"])
    org = organization(world, tmp_path, monkeypatch)
    ids = [
        row["customer_id"]
        for row in world.rows("SELECT customer_id FROM billing_customer WHERE NOT deleted ORDER BY 1")
    ]
    send, pages = requests.Session.send, 0

    def between(self: requests.Session, *args: Any, **kwargs: Any) -> requests.Response:
        nonlocal pages
        answer = send(self, *args, **kwargs)
        pages += "pageSize" in str(answer.url)
        if pages == 1 and "pageSize" in str(answer.url):
            now = int(time.time())
            rename = "UPDATE billing_customer SET name = 'new', updated = ? WHERE customer_id IN (?, ?)"
            world.change(rename, now, ids[0], ids[-1])
            world.change("UPDATE billing_customer SET deleted = 1 WHERE customer_id IN (?, ?)", ids[49], ids[60])
            world.change(
                "UPDATE billing_customer SET customer_id = '0', updated = ? WHERE customer_id = ?", now, ids[70]
            )  # as if one had come, with an id before all others
        return answer

    monkeypatch.setattr("requests.Session.send", between)
    with Warehouse(tmp_path / "warehouse", org.name).connect() as con:
        count = load_customers(con, org)
        found = con.execute("SELECT customer_id, name = 'new' FROM billing_customers ORDER BY 1").fetchall()
    assert [row[0] for row in found] == ["0", *(one for nth, one in enumerate(ids) if nth not in (60, 70))]
    assert [row[0] for row in found if row[1]] == [ids[0], ids[-1]]
    assert count == len(ids) - 1


def test_a_revoked_token_a_wrong_secret_and_a_limit(
    fresh_sandbox: SandboxFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = fresh_sandbox(accounts=120, billing=["zuora"])
    org = organization(world, tmp_path, monkeypatch)
    send, revoked = requests.Session.send, 0

    def revoking(self: requests.Session, *args: Any, **kwargs: Any) -> requests.Response:
        nonlocal revoked
        answer = send(self, *args, **kwargs)
        revoked += "pageSize" in str(answer.url) and revoked == 0
        if revoked == 1:
            revoked = 1 + world.change("UPDATE billing_token SET revoked = 1")
        return answer

    with Warehouse(tmp_path / "warehouse", org.name).connect() as con:
        with monkeypatch.context() as patch:
            patch.setattr("requests.Session.send", revoking)
            assert load_customers(con, org) > 100
        assert revoked == 2
        monkeypatch.setenv("ZUORA_SECRET", "wrong")
        with pytest.raises(ReconnectError, match=r"Zuora refuses the login \(invalid_client: Bad client credentials\)"):
            load_customers(con, org)
        world.stop()
        again = world.restart("--billing-per-minute", "2")
        org = organization(again, tmp_path, monkeypatch)
        monkeypatch.setattr("sync_pipeline.http.LONGEST_RETRY_AFTER", 0.0)
        monkeypatch.setattr("sync_pipeline.billing.systems.zuora.LEFT_FOR_OTHERS", 0)
        with pytest.raises(
            TransientError, match=r"Zuora can't answer now: Request exceeded limit \(50000070\) \(HTTP 429\)"
        ):
            load_customers(con, org)


def organization(shared: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Organization:
    ready = shared.organization("zuora")["billing"]
    monkeypatch.setenv("ZUORA_SECRET", ready["client_secret"])
    login = {"method": "client_credentials", "client_id": ready["client_id"], "client_secret": {"env": "ZUORA_SECRET"}}
    billing = {"system": "zuora", "login": login, "url": ready["url"], "ca_file": shared["ca_file"]}
    return make_organization(folder=folder, billing=billing, identifier__billing_field=ready["field"])
