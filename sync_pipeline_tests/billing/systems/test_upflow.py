"""Upflow's customers over real HTTP: the stand-in whole, and a list that changes while it is read."""

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
from sync_pipeline_tests.billing.systems.answering import Answer, Answering, Asked, answering
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.orgs.factory import make_organization

Records = list[dict[str, Any]]
Read = Callable[[Organization], list[tuple[Any, ...]]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    monkeypatch.setattr("sync_pipeline.http.BACKOFF_SECONDS", 0.001)
    with answering() as served:
        yield served


@pytest.fixture
def org(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Answering) -> Callable[..., Organization]:
    def make(field: str = "externalId", url: str | None = None, **login: str) -> Organization:
        monkeypatch.setenv("UPFLOW_KEY", login.get("api_key", "key-1"))
        monkeypatch.setenv("UPFLOW_SECRET", login.get("api_secret", "geheim-1"))
        billing = {"system": "upflow", "api_key": {"env": "UPFLOW_KEY"}, "api_secret": {"env": "UPFLOW_SECRET"}}
        billing |= {"url": url or server.url} | ({"ca_file": login["ca_file"]} if "ca_file" in login else {})
        return make_organization(folder=tmp_path / "config", billing=billing, identifier__billing_field=field)

    return make


def customer(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"u-{number:05d}", "name": f"Name {number}", "externalId": f"E{number:05d}", "balance": 0} | more


def serve(
    customers: Records, fields: Records | None = None, between: Callable[[int], None] | None = None
) -> Callable[[Asked], Answer]:
    """Page as Upflow does; `between` is called after each page of customers with its offset."""

    def answer(asked: Asked) -> Answer:
        items, name = (
            (fields or [], "customFields") if asked.path.endswith("/custom_fields") else (customers, "customers")
        )
        offset, limit = int(asked.params["offset"]), int(asked.params["limit"])
        page = {name: items[offset : offset + limit], "offset": offset, "limit": limit, "total": len(items)}
        said = json.dumps(page).encode()
        if between and name == "customers":
            between(offset)
        return 200, said

    return answer


def test_a_customer_becomes_a_row(
    org: Callable[..., Organization], server: Answering, con: duckdb.DuckDBPyConnection
) -> None:
    fields = [
        {"id": "f1", "name": "Salesforce", "type": "STRING", "entity": "CUSTOMER"},
        {"id": "f2", "name": "Region", "entity": "CUSTOMER"},
        {"id": "f3", "name": "Region", "entity": "CUSTOMER"},
        {"id": "f4", "name": "Salesforce", "entity": "CONTACT"},
    ]
    full = customer(
        1,
        accountingRef="ACC-1",
        balance=-1250,
        customFields=[{"id": "f1", "value": "001"}, {"id": "f2", "value": "N"}, {"id": "f3", "value": "S"}],
        parent={"id": "u-00002", "externalId": "E00002"},
        surprise={"new": [1]},
    )
    bare = {"id": "u-00002", "name": None, "externalId": " ", "balance": None, "customFields": None, "parent": None}
    server.answer = serve([full, bare], fields)
    assert load_customers(con, org("customFields.Salesforce")) == 2
    first, second = con.execute(
        "SELECT source, customer_id, identifier, display_id, name, currency, balance::VARCHAR, status, parent_id,"
        " custom_fields FROM billing_customers ORDER BY customer_id"
    ).fetchall()
    assert first[:9] == ("upflow", "E00001", "001", "ACC-1", "Name 1", None, "-12.500000", "active", "E00002")
    custom = json.loads(first[9])
    assert custom["customFields"] == {"Salesforce": "001", "f2": "N", "f3": "S"}, "a name that two have is nobody's"
    assert (custom["id"], custom["externalId"], custom["surprise"]) == ("u-00001", "E00001", {"new": [1]})
    assert second[:9] == ("upflow", "u-00002", None, None, None, None, None, "active", None)
    assert {asked.headers["X-Api-Secret"] for asked in server.asked} == {"geheim-1"}


@pytest.mark.parametrize(("count", "requests"), [(0, 1), (1, 1), (500, 1), (501, 2), (1500, 4)])
def test_pages_to_the_end(
    *, org: Callable[..., Organization], server: Answering, read: Read, count: int, requests: int
) -> None:
    server.answer = serve([customer(n) for n in range(count)])
    assert [row[0] for row in read(org())] == [f"E{n:05d}" for n in range(count)]
    assert len(server.asked) == requests + 1


@pytest.mark.parametrize("gone", [range(1), range(3), range(497, 500), range(500), range(200, 700)])
def test_nobody_is_missed_when_customers_are_deleted(
    *, org: Callable[..., Organization], server: Answering, read: Read, gone: range
) -> None:
    """Deleted ones let the others move up, over the beginning of the next page; a new one hides that in the total."""
    customers = [customer(n) for n in range(1300)]
    doomed = {f"u-{n:05d}" for n in gone}

    def delete(offset: int) -> None:
        if offset == 0 and len(customers) == 1300 and doomed:
            customers[:] = [one for one in customers if one["id"] not in doomed]
            customers.extend(customer(2000 + n) for n in range(len(doomed)))
            doomed.clear()

    server.answer = serve(customers, between=delete)
    found = [row[0] for row in read(org())]
    assert {one["externalId"] for one in customers} <= set(found)
    assert len(found) == len(set(found))


def test_new_customers_at_the_beginning(org: Callable[..., Organization], server: Answering, read: Read) -> None:
    customers = [customer(n) for n in range(1200)]
    new = [customer(n) for n in range(5000, 5010)]

    def insert(offset: int) -> None:
        if new:
            customers[:0] = new
            new.clear()

    server.answer = serve(customers, between=insert)
    found = [row[0] for row in read(org())]
    assert sorted(found) == sorted(one["externalId"] for one in customers), "fewer than the total: read again"


def test_a_list_that_never_rests(org: Callable[..., Organization], server: Answering, read: Read) -> None:
    customers = [customer(n) for n in range(600)]
    server.answer = serve(customers, between=lambda offset: customers.insert(0, customer(10_000 + len(customers))))
    with pytest.raises(TransientError, match="came and went in Upflow"):
        read(org())


def test_the_same_customer_on_two_pages_is_one(org: Callable[..., Organization], server: Answering, read: Read) -> None:
    customers = [customer(n) for n in range(600)]
    server.answer = serve([*customers[:500], customers[3], *customers[500:]])
    with pytest.raises(TransientError):  # a list that counts somebody twice can't be told from one that misses somebody
        read(org())


def test_two_customers_with_one_external_id(org: Callable[..., Organization], server: Answering, read: Read) -> None:
    server.answer = serve([customer(1), customer(2, externalId="E00001")])
    with pytest.raises(DataError, match="same externalId: those with the ids u-00001 and u-00002"):
        read(org())


def test_a_field_on_no_customer(org: Callable[..., Organization], server: Answering, read: Read) -> None:
    fields = [{"id": "f1", "name": "Salesforce Id", "entity": "CUSTOMER"}]
    server.answer = serve([customer(1, customFields=[{"id": "f1", "value": "x"}])], fields)
    with pytest.raises(ConfigurationError, match=r"acme\.yaml:\d+.*has 'customFields.Salesforce'.*Salesforce Id"):
        read(org("customFields.Salesforce"))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((401, {"message": "Unauthorized: geheim-1"}), ReconnectError),
        ((403, {"error": "Forbidden"}), ReconnectError),
        ((429, {}), TransientError),
        ((503, b""), TransientError),
        ((200, b"<html>Sign in</html>"), DataError),
        ((200, b'{"customers": [{"id": "u-1", "na'), TransientError),
        ((200, {"customers": []}), DataError),
        ((200, {"customers": None, "customFields": None, "total": 1}), DataError),
        ((200, {"customers": [{"id": None}], "customFields": [], "total": 1}), DataError),
        ((200, {"customers": [customer(1, customFields=[1])], "customFields": [], "total": 1}), DataError),
        ((200, {"customers": [customer(1)], "customFields": [], "total": 99}), DataError),
        ((404, {"message": "Not found"}), ConfigurationError),
    ],
)
def test_other_answers(
    *, org: Callable[..., Organization], server: Answering, read: Read, answer: Answer, error: type[SyncError]
) -> None:
    server.answer = lambda asked: answer
    with pytest.raises(error, match=r"acme\.yaml:\d+") as caught:
        read(org())
    assert "geheim-1" not in str(caught.value)


def test_every_customer_of_the_sandbox(
    *,
    org: Callable[..., Organization],
    sandbox: Callable[..., Sandbox],
    con: duckdb.DuckDBPyConnection,
) -> None:
    world = sandbox(accounts=300, billing=["upflow"])
    login = world.organization("upflow")["billing"]
    field = login.pop("field")
    count = load_customers(con, org(field, ca_file=world["ca_file"], **login))
    with world.truth["upflow"].open(newline="") as file:
        truth = {row["record_id"] for row in csv.DictReader(file) if row["side"] == "billing"}
    found = con.execute("SELECT customer_id, identifier FROM billing_customers").fetchall()
    assert {row[0] for row in found} == truth
    assert count == len(truth)
    assert all(identifier == customer_id for customer_id, identifier in found)
    with pytest.raises(ReconnectError, match="no known pair"):
        load_customers(con, org(field, ca_file=world["ca_file"], **login | {"api_secret": "wrong"}))
