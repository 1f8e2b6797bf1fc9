"""What the Upflow client does when Upflow does not answer as it should, and that nothing is lost or written twice by
it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline import http
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.receivables import contacts, open_platform, owners, portal_links
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.orgs.factory import make_organization
from sync_pipeline_tests.receivables.faulty_upflow import FaultyUpflow, serving
from sync_pipeline_tests.receivables.world import Contact, User, World, sync, table

NOTHING = {"owners": 0, "contacts": 0, "custom_fields": 0, "portal_links": 0}


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with Warehouse(tmp_path, "acme").connect() as con:
        yield con


@pytest.fixture
def upflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyUpflow]:
    monkeypatch.setenv("UPFLOW_KEY", "key-1234")
    monkeypatch.setenv("UPFLOW_SECRET", "secret-5678")
    monkeypatch.setattr(http, "BACKOFF_SECONDS", 0.005)  # the waits themselves are http's, and tested there
    with serving(FaultyUpflow()) as upflow:
        for number in range(1, 8):
            upflow.add_customer(str(number), f"bill{number}@x.example", vatNumber=f"v{number}")
        yield upflow


@pytest.fixture
def org(upflow: FaultyUpflow) -> Organization:
    return organization(upflow)


def organization(upflow: FaultyUpflow, **more: Any) -> Organization:
    settings = {
        "platform": "upflow",
        "api_key": {"env": "UPFLOW_KEY"},
        "api_secret": {"env": "UPFLOW_SECRET"},
        "url": upflow.url,
        "requests_per_minute": 100_000,
    }
    return make_organization(receivables=settings, **more)


@pytest.fixture
def world(con: duckdb.DuckDBPyConnection) -> World:
    numbers = range(1, 7)
    world = World(
        customers={str(n): [] for n in range(1, 8)},
        accounts={f"A{n}": ("U1" if n % 2 else "U2", {"Industry": f"i{n}"}) for n in numbers},
        pairs={str(n): f"A{n}" for n in numbers},
        users=[User("U1", "otto@sales.example"), User("U2", "una@sales.example", name="Una Doe")],
        contacts=[
            Contact(f"003{n:012d}", f"A{n % 6 + 1}", f"c{n}@x.example", age=n, language="fr" if n % 2 else None)
            for n in range(1, 10)
        ],
    )
    world.load(con)
    return world


def held(upflow: FaultyUpflow) -> dict[str, list[tuple[Any, ...]]]:
    """The contacts that Upflow holds, as the rules of the guide see them."""
    return {
        customer: sorted((c.get("externalId"), c["email"], c["isMain"]) for c in own.values())
        for customer, own in upflow.contacts.items()
    }


def wanted(world: World) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {c: [(None, f"bill{c}@x.example", True)] for c in world.customers}
    for customer, account in world.pairs.items():
        own = sorted((c for c in world.contacts if c.account == account), key=lambda c: c.age)
        if own:
            found[customer] = sorted((c.id, c.email, c is own[0]) for c in own)
    return found


def test_everything_arrives_and_a_second_sync_writes_nothing_and_reads_little(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    sync(con, org)
    assert held(upflow) == wanted(world)
    assert sorted(user["email"] for user in upflow.users) == ["otto@sales.example", "una@sales.example"]
    assert [upflow.customers[str(n)].get("accountManagerId") for n in range(1, 8)] == [
        *[upflow.customers[str(2 - n % 2)]["accountManagerId"] for n in range(1, 7)],
        None,
    ]
    assert {c["vatNumber"] for c in upflow.customers.values()} == {f"v{n}" for n in range(1, 8)}, "PUT lost nothing"
    values = {
        c["externalId"]: c["customFields"][0]["value"] for c in upflow.customers.values() if c.get("customFields")
    }
    assert values == {str(n): f"i{n}" for n in range(1, 7)}
    assert {c.get("invited") for c in upflow.users} == {None}
    assert not upflow.clashes
    assert 2 <= upflow.most_at_once <= 5
    upflow.calls.clear()
    assert sync(con, org) == NOTHING
    assert upflow.writes() == 0
    assert sum(upflow.calls.values()) == 8, "users, custom fields, and the customers twice, in pages of 3"
    assert table(con, "DISTINCT status", "imported_contacts") == [("imported",)]
    assert table(con, "*", "receivables_unsettled") == []


def test_a_lost_answer_never_makes_two(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    """Each writing request is carried out and its answer lost, once, and then each is answered by 503 once."""
    seen: set[str] = set()

    def faults(method: str, path: str) -> str | int | None:
        for fault in ("lost", 503):
            if method != "GET" and f"{fault} {method} {path}" not in seen:
                seen.add(f"{fault} {method} {path}")
                return fault
        return None

    upflow.faults = faults
    sync(con, org)
    assert held(upflow) == wanted(world)
    assert len(upflow.users) == 2
    assert sorted(f["name"] for f in upflow.fields) == ["Industry", "Language"]
    assert sync(con, org) == NOTHING


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_login_keeps_what_was_answered_before(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World, status: int
) -> None:
    upflow.faults = lambda method, path: status if upflow.writes() > 3 else None
    platform = open_platform(con, org)
    with pytest.raises(ReconnectError, match="refused the login") as caught:
        owners.apply(con, org, platform, owners.plan(con, org, platform))
    assert "UPFLOW_KEY" in str(caught.value)
    assert "key-1234" not in str(caught.value)
    assert table(con, "count(*)", "imported_owners WHERE status = 'assigned'") == [(3,)]
    upflow.faults = lambda method, path: None
    before = upflow.writes()
    sync(con, org)
    assert upflow.calls["POST /v1/customers/external:1/account-managers"] <= 2
    assert held(upflow) == wanted(world)
    assert upflow.writes() > before


def test_a_refused_row_is_recorded_and_tried_again(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    upflow.faults = lambda method, path: 400 if "external:3" in path else None
    sync(con, org)
    assert table(con, "status, code, reason", "imported_owners WHERE billing_customer_id = '3'") == [
        ("refused", "400", "told to fail")
    ]
    for ledger in ("imported_owners", "imported_contacts", "portal_links"):
        assert table(con, "DISTINCT billing_customer_id", f"{ledger} WHERE status = 'refused'") == [("3",)]
    ((calls, times),) = [item for item in upflow.calls.items() if item[0].endswith("external:3/portal")]
    assert (calls, times) == ("POST /v1/customers/external:3/portal", 1), "40x is never retried"
    upflow.faults = lambda method, path: None
    assert sync(con, org)["owners"] == 1
    assert held(upflow) == wanted(world)
    assert sync(con, org) == NOTHING


def test_a_refused_contact_leaves_the_billing_contacts_in_place(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    upflow.faults = lambda method, path: 422 if method == "POST" and "external:1/contacts" in path else None
    sync(con, org)
    assert held(upflow)["1"] == [(None, "bill1@x.example", True)]


def test_the_words_of_a_refusal_carry_no_address_and_no_secret(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    upflow.add_customer("9", "c1@x.example", "secret-5678@x.example")
    sync(con, org)
    ((reason,),) = table(con, "reason", "imported_contacts WHERE status = 'refused'")
    assert reason == "(address) is taken"


def test_too_many_requests_are_waited_for(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    seen: set[str] = set()

    def faults(method: str, path: str) -> tuple[int, dict[str, str]] | None:
        if path in seen:
            return None
        seen.add(path)
        return 429, {"Retry-After": "0"}

    upflow.faults = faults
    sync(con, org)
    assert held(upflow) == wanted(world)


def test_a_platform_that_is_down_ends_the_sync(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    platform = open_platform(con, org)
    for n in range(10, 60):
        world.customers[str(n)], world.accounts[f"A{n}"], world.pairs[str(n)] = [], (None, None), f"A{n}"
    world.load(con)
    plan = portal_links.plan(con, org, platform)
    upflow.faults = lambda method, path: 503
    with pytest.raises(TransientError, match="in a row"):
        portal_links.apply(con, org, platform, plan)
    assert len(upflow.calls) < 25


def test_a_link_that_is_no_web_address_is_refused(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    plain = upflow.handle
    upflow.handle = lambda method, path, query, body: (  # type: ignore[method-assign]
        (200, {"url": "javascript:alert(1)"}) if path.endswith("1/portal") else plain(method, path, query, body)
    )
    sync(con, org)
    assert table(con, "url, status, code", "portal_links WHERE billing_customer_id = '1'") == [
        (None, "refused", "no_link")
    ]


def test_addresses_swap_and_move_between_customers(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    sync(con, org)
    ids = [c.id for c in world.contacts]
    world.change(ids[0], email="c2@x.example")
    world.change(ids[1], email="c1@x.example")
    world.change(ids[6], email="c3@x.example")  # a chain: 7 takes 3's address, 3 takes 9's, 9 leaves
    world.change(ids[2], email="c9@x.example")
    world.contacts.pop()
    world.load(con)
    sync(con, org)
    assert held(upflow) == wanted(world)
    assert table(con, "count(*)", "imported_contacts WHERE status <> 'imported'") == [(0,)]
    assert sync(con, org) == NOTHING


def test_an_address_held_by_a_billing_contact_elsewhere_is_taken_in_the_same_sync(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    """Customer 1's contact has the address that the billing system gave to customers 2 to 5, in a chain."""
    for n in range(1, 5):
        own = next(c for c in world.contacts if c.account == f"A{n}")
        world.change(own.id, email=f"bill{n + 1}@x.example")
    world.load(con)
    sync(con, org)
    assert held(upflow) == wanted(world)
    assert sync(con, org) == NOTHING


def test_the_same_person_is_taken_over_and_comes_back(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    (before,) = upflow.contacts["1"].values()
    before |= {"position": "PAYER", "phone": "1"}
    saved = dict(before)
    own = next(c for c in world.contacts if c.account == "A1")
    world.change(own.id, email="Bill1@x.example")
    world.load(con)
    sync(con, org)
    (now, *_) = upflow.contacts["1"].values()
    assert (now["id"], now["externalId"], now["position"], now.get("phone")) == (saved["id"], own.id, "PAYER", None)
    world.contacts = [c for c in world.contacts if c.account != "A1"]
    world.load(con)
    sync(con, org)
    assert list(upflow.contacts["1"].values()) == [saved]
    assert sync(con, org) == NOTHING


def test_turning_contacts_off_restores_everything(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    before = held(upflow)
    sync(con, org)
    off = organization(upflow, imports={"contacts": False})
    sync(con, off)
    assert held(upflow) == before
    assert table(con, "*", "imported_contacts") == table(con, "*", "replaced_contacts") == []
    assert sync(con, off) == NOTHING


def test_a_contact_added_by_hand_stays(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    sync(con, org)
    upflow.contacts["1"]["hand"] = {"id": "hand", "email": "hand@x.example", "isMain": False}
    own = next(c for c in world.contacts if c.account == "A1")
    world.change(own.id, phone="2")
    world.load(con)
    sync(con, org)
    assert upflow.contacts["1"]["hand"]["email"] == "hand@x.example"
    assert any(c.get("phone") == "2" for c in upflow.contacts["1"].values())


def test_what_a_customer_no_longer_matched_left_behind_is_settled_when_it_matches_again(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    sync(con, org)
    del world.pairs["1"]
    world.load(con)
    writes = upflow.writes()
    sync(con, org)
    assert upflow.writes() == writes
    world.pairs["1"] = "A2"
    world.pairs["2"] = "A1"
    world.load(con)
    sync(con, org)
    assert held(upflow) == wanted(world)
    assert sync(con, org) == NOTHING


def test_an_owner_changed_on_the_platform_is_put_right(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    sync(con, org)
    right = upflow.customers["1"]["accountManagerId"]
    upflow.customers["1"]["accountManagerId"] = None
    upflow.customers["2"]["customFields"] = []
    planned = sync(con, org)
    assert (planned["owners"], planned["custom_fields"]) == (1, 1)
    assert upflow.customers["1"]["accountManagerId"] == right
    assert upflow.customers["2"]["customFields"][0]["value"] == "i2"


def test_two_customers_with_one_external_id_are_not_touched(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    upflow.customers["twin"] = {**upflow.customers["1"], "id": "another"}
    platform = open_platform(con, org)
    plan = owners.plan(con, org, platform)
    assert set(plan[plan["code"] == "AMBIGUOUS_ON_PLATFORM"]["billing_customer_id"]) == {"1"}


def test_a_refused_removal_is_tried_again(
    con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization, world: World
) -> None:
    upflow.faults = lambda method, path: 409 if method == "DELETE" and "external:2/" in path else None
    sync(con, org)
    assert table(con, "billing_customer_id, why, code", "receivables_unsettled") == [("2", "refused", "409")]
    platform = open_platform(con, org)
    assert set(contacts.plan(con, org, platform)["billing_customer_id"]) == {"2"}
    upflow.faults = lambda method, path: None
    sync(con, org)
    assert held(upflow) == wanted(world)
    assert sync(con, org) == NOTHING


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [(404, ConfigurationError, "receivables.url"), (500, TransientError, "later"), (200, DataError, "no list")],
)
def test_an_address_that_is_not_upflows_is_named(
    con: duckdb.DuckDBPyConnection,
    upflow: FaultyUpflow,
    org: Organization,
    world: World,
    status: int,
    error: type[SyncError],
    words: str,
) -> None:
    upflow.faults = lambda method, path: status
    with pytest.raises(error, match=words):
        owners.plan(con, org, open_platform(con, org))
    assert table(con, "*", "imported_owners") == []
