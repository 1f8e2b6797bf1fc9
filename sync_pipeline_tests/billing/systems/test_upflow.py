"""Upflow's customers over real HTTP: the stand-in whole, a list that changes while it is read, and odd answers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline.billing import load_customers
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.billing.systems.scripted import Answer, Asked, Server, said, serving
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.orgs.factory import make_organization

Records = list[dict[str, Any]]
Make = Callable[..., Organization]
Read = Callable[[Organization], list[tuple[Any, ...]]]
CUSTOMERS, FIELDS = "/v1/customers", "/v1/custom_fields"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("sync_pipeline.http.BACKOFF_SECONDS", 0.001)
    with serving() as found:
        serve(found, [])
        yield found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for Upflow's limit where a test asks very often."""
    monkeypatch.setattr("sync_pipeline.billing.systems.upflow.PER_MINUTE", 60_000)


@pytest.fixture
def org(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Make:
    def make(field: str = "externalId", url: str | None = None, **login: str) -> Organization:
        monkeypatch.setenv("UPFLOW_KEY", login.get("api_key", "key-1"))
        monkeypatch.setenv("UPFLOW_SECRET", login.get("api_secret", "geheim-1"))
        billing = {"system": "upflow", "api_key": {"env": "UPFLOW_KEY"}, "api_secret": {"env": "UPFLOW_SECRET"}}
        billing |= {"url": url or f"{server.url}/v1"} | ({"ca_file": login["ca_file"]} if "ca_file" in login else {})
        return make_organization(folder=tmp_path / "config", billing=billing, identifier__billing_field=field)

    return make


def customer(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"u-{number:05d}", "name": f"Name {number}", "externalId": f"E{number:05d}", "balance": 0} | more


def serve(
    server: Server,
    customers: Records,
    fields: Records | None = None,
    *,
    between: Callable[[int], None] = lambda offset: None,
    total: Callable[[], int | None] | None = None,
    most: int = 500,
) -> None:
    """Page as Upflow does; `between` is called after each page of customers with its offset."""

    def paged(asked: Asked, items: Records, name: str) -> Answer:
        offset, limit = int(asked.query["offset"]), min(int(asked.query["limit"]), most)
        page = {name: items[offset : offset + limit], "offset": offset, "limit": limit, "total": len(items)}
        if total and name == "customers":
            page |= {"total": total()}
        answer = said(page)
        if name == "customers":
            between(offset)
        return answer

    server.at = {
        CUSTOMERS: lambda asked: paged(asked, customers, "customers"),
        FIELDS: lambda asked: paged(asked, fields or [], "customFields"),
    }


def test_a_customer_becomes_a_row(org: Make, server: Server, con: duckdb.DuckDBPyConnection) -> None:
    fields = [
        {"id": "f1", "name": "Salesforce", "type": "STRING", "entity": "CUSTOMER"},
        {"id": "f2", "name": "Region", "entity": "CUSTOMER"},
        {"id": "f3", "name": "Region", "entity": None},
        {"id": "f4", "name": "Salesforce", "entity": "CONTACT"},
        {"id": "f5", "name": "v1.Tier", "entity": "customer"},
    ]
    values = {"f1": "001", "f2": "N", "f3": None, "f5": "gold", "f9": "gone"}
    full = customer(
        1,
        accountingRef="ACC-1",
        balance=-1250,
        customFields=[{"id": field, "value": value} for field, value in values.items()],
        parent={"id": "u-00002"},
        surprise={"new": [1], "none": None},
    )
    bare = {"id": "u-00002", "name": None, "externalId": " ", "balance": None, "customFields": None, "parent": None}
    serve(server, [full, bare, customer(3, parent={"id": "u-00001"}), customer(4, parent={"externalId": "E9"})], fields)
    assert load_customers(con, org("customFields.Salesforce")) == 4
    first, second, third, fourth = con.execute(
        "SELECT customer_id, identifier, display_id, name, currency, balance::VARCHAR, status, parent_id,"
        " custom_fields FROM billing_customers ORDER BY custom_fields->>'id'"
    ).fetchall()
    assert first[:8] == ("E00001", "001", "ACC-1", "Name 1", None, "-12.500000", "active", "u-00002")
    custom = json.loads(first[8])
    named = {"Salesforce": "001", "Region (f2)": "N", "Region (f3)": None, "v1.Tier": "gold", "f9": "gone"}
    assert custom["customFields"] == named, "none is lost, and a name that two have is nobody's alone"
    assert (custom["id"], custom["surprise"]) == ("u-00001", {"new": [1], "none": None})
    assert second[:8] == ("u-00002", None, None, None, None, None, "active", None)
    assert (third[7], fourth[7]) == ("E00001", "E9"), "a parent has the id that its own row has"
    assert {asked.headers["X-Api-Secret"] for asked in server.asked} == {"geheim-1"}
    assert {row[1] for row in con.execute("SELECT customer_id, identifier FROM billing_customers").fetchall()} == {
        "001",
        None,
    }


@pytest.mark.parametrize("field", ["accountingRef", "id", "externalId", "customFields.v1.Tier"])
def test_identifiers(*, org: Make, server: Server, read: Read, field: str) -> None:
    value = "00411000000012345678901"
    tier = [{"id": "f5", "value": value}]
    made = customer(1, id=value, externalId=value, accountingRef=value, customFields=tier)
    serve(server, [made], [{"id": "f5", "name": "v1.Tier", "entity": "CUSTOMER"}])
    assert read(org(field))[0][1] == value


def test_a_number_as_external_id_keeps_its_digits(org: Make, server: Server, read: Read) -> None:
    serve(server, [customer(1, externalId=12345678901234567890)])
    assert read(org())[0][:2] == ("12345678901234567890", "12345678901234567890")


@pytest.mark.parametrize(("count", "requests"), [(0, 1), (1, 1), (500, 1), (501, 2), (1500, 4)])
def test_pages_to_the_end(*, org: Make, server: Server, read: Read, count: int, requests: int) -> None:
    serve(server, [customer(n) for n in range(count)])
    assert [row[0] for row in read(org())] == [f"E{n:05d}" for n in range(count)]
    assert len(server.of(CUSTOMERS)) == requests
    assert len(server.of(FIELDS)) == 1


@pytest.mark.parametrize("count", [0, 1, 100, 101, 250])
def test_a_list_without_a_total_and_with_smaller_pages(*, org: Make, server: Server, read: Read, count: int) -> None:
    serve(server, [customer(n) for n in range(count)], total=lambda: None, most=100)
    assert [row[0] for row in read(org())] == [f"E{n:05d}" for n in range(count)]


@pytest.mark.parametrize("gone", [range(1), range(3), range(497, 500), range(500), range(200, 700)])
def test_nobody_is_missed_when_customers_are_deleted(*, org: Make, server: Server, read: Read, gone: range) -> None:
    """Deleted ones let the others move up, over the beginning of the next page; a new one hides that in the total."""
    customers = [customer(n) for n in range(1300)]
    doomed = {f"u-{n:05d}" for n in gone}

    def delete(offset: int) -> None:
        if offset == 0 and doomed:
            customers[:] = [one for one in customers if one["id"] not in doomed]
            customers.extend(customer(2000 + n) for n in range(len(doomed)))
            doomed.clear()

    serve(server, customers, between=delete)
    found = [row[0] for row in read(org())]
    assert {one["externalId"] for one in customers} <= set(found)
    assert len(found) == len(set(found))


def test_new_customers_at_the_beginning(org: Make, server: Server, read: Read) -> None:
    customers = [customer(n) for n in range(1200)]
    new = [customer(n) for n in range(5000, 5010)]

    def insert(offset: int) -> None:
        customers[:0] = new
        new.clear()

    serve(server, customers, between=insert)
    found = [row[0] for row in read(org())]
    assert sorted(found) == sorted(one["externalId"] for one in customers), "fewer than the total: read again"


@pytest.mark.parametrize("changes", [{"name": "New"}, {"externalId": "NEW"}])
def test_a_customer_that_changes_while_it_is_read(
    *, org: Make, server: Server, con: duckdb.DuckDBPyConnection, changes: dict[str, str]
) -> None:
    """Another one moves to the front meanwhile, so all are read a second time, and the later counts."""
    customers = [customer(n) for n in range(1200)]

    def change(offset: int) -> None:
        if offset == 0 and customers[0]["id"] == "u-00000":
            customers[300] |= changes
            customers.insert(0, customers.pop(1100))

    serve(server, customers, between=change)
    if "externalId" in changes:
        with pytest.raises(TransientError, match="another externalId while the list was read"):
            load_customers(con, org())
    assert load_customers(con, org()) == 1200
    found = con.execute("SELECT customer_id, name FROM billing_customers ORDER BY ALL").fetchall()
    assert found == sorted((one["externalId"], one["name"]) for one in customers)


def test_a_list_that_never_rests(org: Make, server: Server, read: Read) -> None:
    customers = [customer(n) for n in range(600)]
    serve(server, customers, between=lambda offset: customers.insert(0, customer(10_000 + len(customers))))
    with pytest.raises(TransientError, match="came and went in Upflow"):
        read(org())


def test_customers_that_disappear_for_ever(quick: None, org: Make, server: Server, read: Read) -> None:
    customers = [customer(n) for n in range(900)]

    def drop(offset: int) -> None:
        del customers[:12]

    serve(server, customers, between=drop, most=10)
    with pytest.raises(TransientError, match="came and went in Upflow"):
        read(org())
    assert len(server.of(CUSTOMERS)) < 50


def test_the_same_customer_on_two_pages_is_one(org: Make, server: Server, read: Read) -> None:
    customers = [customer(n) for n in range(600)]
    serve(server, [*customers[:500], customers[3], *customers[500:]])
    assert [row[0] for row in read(org())] == [one["externalId"] for one in customers]


def test_a_list_that_ignores_where_it_should_begin(quick: None, org: Make, server: Server, read: Read) -> None:
    page = {"customers": [customer(n) for n in range(5)]}
    server.at[CUSTOMERS] = [said(page | {"total": 7})]
    with pytest.raises(DataError, match=r"acme\.yaml:\d+: Upflow counts 7 customers, but lists 5\."):
        read(org())
    server.at[CUSTOMERS] = [said(page)]
    with pytest.raises(DataError, match=r"acme\.yaml:\d+.*the same customers on every page"):
        read(org())


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_total_that_is_more_than_there_are(*, org: Make, server: Server, read: Read, count: int) -> None:
    serve(server, [customer(n) for n in range(count)], total=lambda: 99)
    with pytest.raises(DataError, match=f"Upflow counts 99 customers, but lists {count}"):
        read(org())


def test_two_customers_with_one_external_id(org: Make, server: Server, con: duckdb.DuckDBPyConnection) -> None:
    serve(server, [customer(9)])
    load_customers(con, org())
    serve(
        server,
        [customer(1), customer(2, externalId="E00001"), customer(3, externalId=""), customer(4, externalId="u-00003")],
    )
    with pytest.raises(
        DataError, match=r"same externalId: 'E00001' \(u-00001, u-00002\); 'u-00003' \(u-00003, u-00004\)"
    ):
        load_customers(con, org())
    assert con.execute("SELECT customer_id FROM billing_customers").fetchall() == [("E00009",)], "kept as they were"


def test_a_field_on_no_customer(org: Make, server: Server, read: Read) -> None:
    fields = [{"id": "f1", "name": "Salesforce Id", "entity": "CUSTOMER"}]
    serve(server, [customer(1, customFields=[{"id": "f1", "value": "x"}])], fields)
    with pytest.raises(
        ConfigurationError, match=r"acme\.yaml:\d+.*has 'customFields.Salesforce'.*Salesforce Id"
    ) as caught:
        read(org("customFields.Salesforce"))
    assert "It has: 'balance', 'customFields.Salesforce Id', 'externalId', 'id', 'name'." in str(caught.value)
    with pytest.raises(ConfigurationError, match="is no single value"):
        read(org("customFields"))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (said({"message": "Unauthorized: geheim-1 of key-1"}, 401), ReconnectError),
        (said({"error": "Forbidden"}, 403), ReconnectError),
        (said({}, 429), TransientError),
        ((503, {}, b""), TransientError),
        ((200, {}, b"<html>Sign in</html>"), DataError),
        ((200, {}, b'{"customers": [{"id": "u-1", "na'), TransientError),
        ((200, {"Content-Length": "9999"}, b'{"customers": [{"id": "u-1", "na'), TransientError),
        (said({"customers": None, "customFields": None, "total": 1}), DataError),
        (said({"customers": [{"id": None}], "customFields": [], "total": 1}), DataError),
        (said({"customers": [customer(1, customFields=[1])], "customFields": [], "total": 1}), DataError),
        (said({"customers": [customer(1, balance="a lot")], "customFields": [], "total": 1}), DataError),
        (said({"message": "Not found"}, 404), ConfigurationError),
    ],
)
def test_other_answers(*, org: Make, server: Server, read: Read, answer: Answer, error: type[SyncError]) -> None:
    server.at = {CUSTOMERS: [answer], FIELDS: [answer]}
    with pytest.raises(error, match=r"acme\.yaml:\d+") as caught:
        read(org())
    assert not {"geheim-1", "key-1"} & {word.strip(".:") for word in str(caught.value).split()}


def test_a_refused_login_names_both_variables(org: Make, server: Server, read: Read) -> None:
    server.at = {FIELDS: [said({"message": "Unauthorized"}, 401)]}
    with pytest.raises(ReconnectError, match=r"refuses the login: Unauthorized \(HTTP 401\)") as caught:
        read(org())
    assert caught.value.next_step == "Make a new API key in Upflow, and set UPFLOW_KEY and UPFLOW_SECRET."


def test_a_pause_that_upflow_asks_for(org: Make, server: Server, read: Read) -> None:
    serve(server, [customer(1)])
    answers = [said({}, 429, **{"Retry-After": "0"}), said({"customers": [customer(1)], "total": 1})]
    server.at[CUSTOMERS] = answers
    assert len(read(org())) == 1


def test_every_customer_of_the_sandbox(
    *, org: Make, sandbox: Callable[..., Sandbox], con: duckdb.DuckDBPyConnection
) -> None:
    world = sandbox(accounts=300, billing=["upflow"])
    login = world.organization("upflow")["billing"]
    assert {key: login[key] for key in ("url", "api_key", "api_secret")} == world.organization("upflow")["upflow"]
    field = login.pop("field")
    count = load_customers(con, org(field, ca_file=world["ca_file"], **login))
    with world.truth["upflow"].open(newline="") as file:
        truth = {row["record_id"] for row in csv.DictReader(file) if row["side"] == "billing"}
    parents = con.execute("SELECT parent_id FROM billing_customers WHERE parent_id IS NOT NULL").fetchall()
    assert len(parents) > 5
    assert {parent for (parent,) in parents} <= truth
    found = con.execute("SELECT customer_id, identifier, custom_fields FROM billing_customers").fetchall()
    assert {row[0] for row in found} == truth
    assert count == len(truth)
    assert all(identifier == customer_id for customer_id, identifier, _ in found)
    assert {name for *_, custom in found for name in json.loads(custom)["customFields"]} == {"Region"}
    with pytest.raises(ReconnectError, match="no known pair"):
        load_customers(con, org(field, ca_file=world["ca_file"], **login | {"api_secret": "wrong"}))


def test_custom_fields_that_come_again_are_the_end_of_their_list(org: Make, server: Server, read: Read) -> None:
    serve(server, [customer(1)])
    server.at[FIELDS] = [said({"customFields": [{"id": "f1", "name": "F"}], "total": 10**30})]
    assert len(read(org())) == 1
    assert len(server.of(FIELDS)) == 2
