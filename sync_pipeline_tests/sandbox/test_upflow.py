"""The Upflow stand-in: what the facts say, and how it refuses what a client gets wrong."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests

from sync_pipeline_tests.conftest import Sandbox

SandboxFactory = Callable[..., Sandbox]


class Upflow:
    """A session with an organization's keys."""

    def __init__(self, sandbox: Sandbox, org: str = "stripe") -> None:
        self.sandbox = sandbox
        self.url = sandbox["upflow"]["url"]
        self.http = sandbox.upflow(org)

    def call(self, method: str, path: str, body: Any = None, status: int = 200, **parameters: Any) -> Any:
        answer = self.http.request(method, f"{self.url}{path}", json=body, params=parameters)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        answer = self.http.request(method, f"{self.url}{path}", json=body)
        assert set(answer.json()) == {"message"}
        return answer.status_code, answer.json()["message"]

    def customer(self, number: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", "/customers", offset=number, limit=1)["customers"][0]
        return found


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxFactory]:
    """A sandbox that the tests of this module write to, each to customers of its own."""
    from sync_pipeline_tests import conftest

    started: list[Sandbox] = []

    def get() -> Sandbox:
        folder = tmp_path_factory.mktemp("upflow") / "world"
        return started[0] if started else conftest.start(folder, conftest.arguments_of(accounts=120), started)

    yield get
    for one in started:
        one.stop()


@pytest.fixture
def upflow(own: SandboxFactory) -> Upflow:
    return Upflow(own())


def test_wrong_keys_are_refused_before_anything_else(upflow: Upflow) -> None:
    for headers in ({}, {"X-Api-Key": "x"}, {**upflow.http.headers, "X-Api-Secret": "wrong"}, {"X-Api-Key": b"\xe9"}):
        for path in ("/customers", "/nowhere"):
            answer = requests.get(upflow.url + path, headers=headers, verify=upflow.http.verify)
            assert answer.status_code == 401
            assert list(answer.json()) == ["message"]


def test_the_key_of_one_organization_with_the_secret_of_another(upflow: Upflow) -> None:
    secret = upflow.sandbox.organization("file")["upflow"]["api_secret"]
    headers = {**upflow.http.headers, "X-Api-Secret": secret}
    assert requests.get(f"{upflow.url}/users", headers=headers, verify=upflow.http.verify).status_code == 401


def test_the_list_pages_to_its_end_by_offset_and_by_page(upflow: Upflow) -> None:
    whole = upflow.call("GET", "/customers", limit=500)
    total = whole["total"]
    assert len(whole["customers"]) == total > 100
    by_offset = [
        c for at in range(0, total, 50) for c in upflow.call("GET", "/customers", offset=at, limit=50)["customers"]
    ]
    by_page = [c for page in range(1, 4) for c in upflow.call("GET", "/customers", page=page, limit=50)["customers"]]
    assert by_offset == by_page == whole["customers"]
    assert upflow.call("GET", "/customers", offset=total, limit=50)["customers"] == []


@pytest.mark.parametrize("query", ["limit=501", "limit=0", "limit=x", "offset=-1", "page=0", f"offset={2**64}"])
def test_refused_pages(upflow: Upflow, query: str) -> None:
    assert upflow.refused("GET", f"/customers?{query}")[0] == 400


def test_filters_are_overlooked(upflow: Upflow) -> None:
    assert len(upflow.call("GET", "/customers", externalId="cus_none", limit=5)["customers"]) == 5


def test_a_customer_by_its_id_and_by_its_external_id(upflow: Upflow) -> None:
    customer = upflow.customer()
    assert upflow.call("GET", f"/customers/{customer['id']}") == customer
    assert upflow.call("GET", f"/customers/external:{customer['externalId']}") == customer
    assert upflow.refused("GET", "/customers/external:cus_none") == (404, "Customer not found")
    assert upflow.refused("GET", "/customers/external:") == (404, "Customer not found")


def test_external_ids_with_every_awkward_character(upflow: Upflow) -> None:
    for external in ("a/b", " 00-é ", "x%2Fy", "q?r#s", "\u00a0🚀", "external:1"):
        upflow.call("POST", "/customers", {"name": "Odd", "externalId": external}, 201)
        found = upflow.call("GET", f"/customers/external:{quote(external, safe='')}")
        assert found["externalId"] == external


def test_put_replaces_and_clears_what_it_leaves_out(upflow: Upflow) -> None:
    before = next(
        c for c in upflow.call("GET", "/customers", limit=100)["customers"] if c["customFields"] and c["vatNumber"]
    )
    path = f"/customers/{before['id']}"
    assert upflow.call("PUT", path, before) == before, "what was read may be written back whole"
    after = upflow.call("PUT", path, {"name": "Só 🚀", "externalId": before["externalId"]})
    assert (after["name"], after["vatNumber"], after["address"], after["customFields"]) == ("Só 🚀", None, None, [])
    assert after["balance"] == before["balance"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "name is required"),
        ({"name": "  "}, "name is required"),
        ({"name": 7}, "name must be a string"),
        ({"name": "x", "vatnumber": "y"}, "Unknown property: vatnumber"),
        ({"name": "x", "address": "y"}, "address must be an object"),
        ({"name": "x", "accountManagerId": "y"}, "accountManagerId is not the id of a user"),
        ({"name": "x", "customFields": [{"id": "y", "value": "z"}]}, "Custom field y does not exist for customers"),
        ({"name": "x", "customFields": {"y": "z"}}, "customFields must be a list of {id, value}"),
        ([1], "The body must be a JSON object"),
    ],
)
def test_refused_customers(upflow: Upflow, body: Any, message: str) -> None:
    path = f"/customers/{upflow.customer(1)['id']}"
    before = upflow.call("GET", path)
    assert upflow.refused("PUT", path, body) == (400, message)
    assert upflow.call("GET", path) == before


def test_a_body_that_is_no_json(upflow: Upflow) -> None:
    answer = upflow.http.put(f"{upflow.url}/customers/{upflow.customer()['id']}", data=b'{"name": ')
    assert (answer.status_code, answer.json()) == (400, {"message": "The body is not valid JSON"})


def test_an_external_id_belongs_to_one_customer(upflow: Upflow) -> None:
    one, other = upflow.customer(2), upflow.customer(3)
    status, message = upflow.refused("PUT", f"/customers/{one['id']}", {**one, "externalId": other["externalId"]})
    assert (status, message) == (400, "externalId is already used by another customer")
    again = upflow.call("POST", "/customers", {"name": "Renamed", "externalId": other["externalId"]})
    assert again["id"] == other["id"], "POST updates the customer that has the external id"


def test_contacts_from_birth_to_death(upflow: Upflow) -> None:
    path = f"/customers/{upflow.customer(4)['id']}/contacts"
    there = upflow.call("GET", path)["contacts"]
    assert there[0]["isMain"] is True
    body = {"email": "Anna@new.example", "firstName": "Anna", "jobTitle": "CFO", "externalId": "003x", "isMain": True}
    made = upflow.call("POST", path, body, 201)
    contacts = upflow.call("GET", path)["contacts"]
    assert [contact["id"] for contact in contacts if contact["isMain"]] == [made["id"]], "one contact is the main one"
    changed = upflow.call("PUT", f"{path}/{made['id']}", {"email": "anna@new.example", "position": "PAYER"})
    assert (changed["firstName"], changed["position"], changed["isMain"]) == (None, "PAYER", False)
    upflow.call("DELETE", f"{path}/{made['id']}", status=204)
    assert upflow.refused("GET", f"{path}/{made['id']}") == (404, "Contact not found")


def test_an_address_is_unique_in_the_organization_in_any_case(upflow: Upflow) -> None:
    one, other = upflow.customer(5), upflow.customer(6)
    taken = upflow.call("GET", f"/customers/{other['id']}/contacts")["contacts"][0]["email"]
    path = f"/customers/{one['id']}/contacts"
    before = upflow.call("GET", path)
    exists = (400, "A contact with this email already exists")
    assert upflow.refused("POST", path, {"email": taken.upper(), "isMain": True}) == exists
    assert upflow.refused("PUT", f"{path}/{before['contacts'][0]['id']}", {"email": taken}) == exists
    assert upflow.call("GET", path) == before, "also the main contact is who it was"


@pytest.mark.parametrize(
    "body", [{}, {"email": "x"}, {"email": ""}, {"email": "a@b.c", "position": "BOSS"}, {"email": "a@b.c", "isMain": 1}]
)
def test_refused_contacts(upflow: Upflow, body: Any) -> None:
    assert upflow.refused("POST", f"/customers/{upflow.customer()['id']}/contacts", body)[0] == 400


def test_a_contact_is_found_only_at_its_own_customer(upflow: Upflow) -> None:
    contact = upflow.call("GET", f"/customers/{upflow.customer(7)['id']}/contacts")["contacts"][0]["id"]
    assert upflow.refused("DELETE", f"/customers/{upflow.customer(8)['id']}/contacts/{contact}")[0] == 404


def test_an_owner_becomes_the_assigned_user_and_is_not_invited(upflow: Upflow) -> None:
    path = f"/customers/{upflow.customer(9)['id']}/account-managers"
    owner = {"email": "New.Owner@sales.example", "firstName": "New", "lastName": "Owner"}
    user = upflow.call("POST", path, owner, 201)
    assert {key: user[key] for key in owner} == owner
    assert upflow.call("POST", path, {**owner, "email": owner["email"].lower()}, 201)["id"] == user["id"]
    assert upflow.call("GET", path) == {"accountManagers": [user]}
    assert upflow.customer(9)["accountManagerId"] == user["id"]
    assert user in upflow.call("GET", "/users")["users"]
    assert [row["invited"] for row in upflow.sandbox.rows("SELECT * FROM upflow_user WHERE id = ?", user["id"])] == [0]


def test_custom_fields(upflow: Upflow) -> None:
    body = {"name": "Segment", "type": "STRING", "entity": "CUSTOMER"}
    field = upflow.call("POST", "/custom_fields", body, 201)
    assert upflow.refused("POST", "/custom_fields", body) == (400, "A custom field with this name already exists")
    upflow.call("POST", "/custom_fields", {**body, "entity": "CONTACT"}, 201)
    assert upflow.refused("POST", "/custom_fields", {**body, "type": "TEXT"})[0] == 400
    names = {(f["name"], f["entity"]) for f in upflow.call("GET", "/custom_fields")["customFields"]}
    assert names == {("Region", "CUSTOMER"), ("Segment", "CUSTOMER"), ("Segment", "CONTACT")}
    customer = upflow.customer(10)
    customer["customFields"] = [*customer["customFields"], {"id": field["id"], "value": 'a "b" 🚀'}]
    assert upflow.call("PUT", f"/customers/{customer['id']}", customer)["customFields"] == customer["customFields"]
    upflow.call("DELETE", f"/custom_fields/{field['id']}", status=204)
    assert field["id"] not in {value["id"] for value in upflow.customer(10)["customFields"]}


def test_a_portal_link_lives_as_long_as_asked(upflow: Upflow) -> None:
    customer = upflow.customer(12)
    path = f"/customers/external:{customer['externalId']}/portal"
    url = upflow.call("POST", path, {"expiresIn": 5_184_000}, 201)["url"]
    assert 20 < len(url) < 200
    shown = upflow.sandbox.http().get(url)
    assert shown.status_code == 200
    assert "Customer portal" in shown.text
    short = upflow.call("POST", path, {"expiresIn": 1}, 201)["url"]
    day = upflow.call("POST", path, status=201)["url"].rsplit("/", 1)[1]
    row = upflow.sandbox.rows("SELECT * FROM upflow_portal_link WHERE token = ?", day)[0]
    assert row["expires_at"] - row["created_at"] == 86_400
    time.sleep(1.05)
    gone = upflow.sandbox.http().get(short)
    assert (gone.status_code, "Invalid link" in gone.text) == (404, True)


@pytest.mark.parametrize("life", [0, -1, "60", 1.5, True, None])
def test_refused_lifetimes(upflow: Upflow, life: object) -> None:
    assert upflow.refused("POST", f"/customers/{upflow.customer()['id']}/portal", {"expiresIn": life})[0] == 400


def test_portal_access_that_is_off(upflow: Upflow) -> None:
    off = upflow.sandbox.rows("SELECT id FROM upflow_customer WHERE org = 'stripe' AND NOT portal")[0]["id"]
    assert upflow.refused("POST", f"/customers/{off}/portal") == (404, "Portal not found")


def test_pages_escape_what_they_show(upflow: Upflow) -> None:
    made = upflow.call("POST", "/customers", {"name": "<script>alert(1)</script>"}, 201)
    url = upflow.call("POST", f"/customers/{made['id']}/portal", status=201)["url"]
    for address in (url, made["directUrl"]):
        assert "<script" not in upflow.sandbox.http().get(address).text


def test_a_deleted_customer_takes_its_contacts_and_links_along(upflow: Upflow) -> None:
    made = upflow.call("POST", "/customers", {"name": "Short-lived"}, 201)
    upflow.call("POST", f"/customers/{made['id']}/contacts", {"email": "a@short-lived.example"}, 201)
    url = upflow.call("POST", f"/customers/{made['id']}/portal", status=201)["url"]
    upflow.call("DELETE", f"/customers/{made['id']}", status=204)
    assert upflow.refused("GET", f"/customers/{made['id']}")[0] == 404
    assert "Invalid link" in upflow.sandbox.http().get(url).text
    again = upflow.call("POST", "/customers", {"name": "Heir"}, 201)
    upflow.call("POST", f"/customers/{again['id']}/contacts", {"email": "a@short-lived.example"}, 201)


def test_unknown_paths_and_methods(upflow: Upflow) -> None:
    assert upflow.refused("GET", "/invoices") == (404, "Not found")
    assert upflow.refused("PATCH", "/users") == (405, "Method not allowed")


def test_calls_are_counted_by_organization_method_and_route(fresh_sandbox: SandboxFactory) -> None:
    upflow = Upflow(fresh_sandbox(accounts=20))
    customer = upflow.customer()["id"]
    for _ in range(3):
        upflow.refused("POST", f"/customers/{customer}/contacts", {})
    assert upflow.sandbox.calls("upflow") == 4
    assert upflow.sandbox.calls("upflow", "POST", "PUT", "DELETE", org="stripe") == 3
    assert upflow.sandbox.calls("upflow", org="file") == 0
    routes = {row["route"] for row in upflow.sandbox.rows("SELECT * FROM request_log")}
    assert routes == {"/v1/customers", "/v1/customers/{customer}/contacts"}


def test_one_call_too_many_in_a_minute(fresh_sandbox: SandboxFactory) -> None:
    sandbox = fresh_sandbox(accounts=10, upflow_per_minute=5)
    upflow, other = Upflow(sandbox), Upflow(sandbox, "file")
    for _ in range(5):
        upflow.call("GET", "/users")
    status, message = upflow.refused("GET", "/users")
    assert (status, message) == (429, "Too many requests: at most 5 a minute")
    other.call("GET", "/users")


def test_eleven_calls_at_once_are_one_too_many(upflow: Upflow) -> None:
    address = urlsplit(upflow.url)
    assert address.hostname
    tls = ssl.create_default_context(cafile=upflow.sandbox["ca_file"])
    keys = "".join(f"{name}: {upflow.http.headers[name]!s}\r\n" for name in ("X-Api-Key", "X-Api-Secret"))
    with ExitStack() as stack:
        for _ in range(10):  # each sends its headers and half of its body, and waits
            raw = stack.enter_context(socket.create_connection((address.hostname, address.port)))
            waiting = stack.enter_context(tls.wrap_socket(raw, server_hostname=address.hostname))
            waiting.sendall(f"POST /v1/customers HTTP/1.1\r\nHost: x\r\n{keys}Content-Length: 9\r\n\r\n{{".encode())
        deadline = time.monotonic() + 10
        while (answer := upflow.http.get(f"{upflow.url}/users")).status_code == 200 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (answer.status_code, answer.json()) == (429, {"message": "Too many requests: at most 10 at once"})
    while upflow.http.get(f"{upflow.url}/users").status_code == 429 and time.monotonic() < deadline:
        time.sleep(0.02)
    upflow.call("GET", "/users")
