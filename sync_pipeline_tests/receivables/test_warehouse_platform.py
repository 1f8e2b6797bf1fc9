"""The platform `warehouse`, wholly in DuckDB: each rule by example."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from sync_pipeline.errors import GuardStop
from sync_pipeline.orgs.models import Organization
from sync_pipeline.receivables import contacts, open_platform, owners
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.orgs.factory import make_organization
from sync_pipeline_tests.receivables.world import Contact, User, World, sync, table

CONTACTS = "customer_id, source, salesforce_contact_id, email, is_main"
NOTHING = {"owners": 0, "contacts": 0, "custom_fields": 0, "portal_links": 0}


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with Warehouse(tmp_path, "acme").connect() as con:
        yield con


@pytest.fixture
def org() -> Organization:
    return make_organization()


@pytest.fixture
def world() -> World:
    return World(
        customers={
            "1": ["Bill@one.example", "second@one.example"],
            "2": ["bill@two.example"],
            "3": ["bill@three.example"],
        },
        accounts={
            "A1": ("U1", {"Industry": "Shipping"}),
            "A2": ("U1", {"Industry": None}),
            "A3": ("U2", {"Industry": "Art"}),
        },
        pairs={"1": "A1", "2": "A2"},
        users=[User("U1", " Otto@Sales.example "), User("U2", "una@sales.example", name="Una Doe")],
        contacts=[
            Contact("C1", "A1", "Ada@one.example", age=2, language="fr"),
            Contact("C0", "A1", "old@one.example", age=1),
            Contact("C3", "A3", "ada@three.example"),
        ],
    )


def test_a_second_sync_has_nothing_to_do(con: duckdb.DuckDBPyConnection, org: Organization, world: World) -> None:
    world.load(con)
    assert sync(con, org) == {"owners": 2, "contacts": 2, "custom_fields": 4, "portal_links": 2}
    assert sync(con, org) == NOTHING


def test_owners_are_created_once_and_assigned(con: duckdb.DuckDBPyConnection, org: Organization, world: World) -> None:
    world.load(con)
    sync(con, org)
    assert table(con, "email, first_name, last_name, invited", "receivables_users") == [
        ("otto@sales.example", "Otto", "Owner", False)
    ]
    assert table(con, "customer_id, email", "receivables_assignments JOIN receivables_users USING (user_id)") == [
        ("1", "otto@sales.example"),
        ("2", "otto@sales.example"),
    ]
    world.accounts["A1"] = ("U2", {"Industry": "Shipping"})
    world.load(con)
    assert sync(con, org)["owners"] == 1
    assert table(con, "customer_id, email", "receivables_assignments JOIN receivables_users USING (user_id)") == [
        ("1", "una@sales.example"),
        ("2", "otto@sales.example"),
    ]


@pytest.mark.parametrize(
    ("owner", "users", "code"),
    [
        (None, [], "NO_OWNER"),
        ("U9", [], "UNKNOWN_OWNER"),
        ("U1", [User("U1", "o@sales.example", active=False)], "INACTIVE_OWNER"),
        ("U1", [User("U1", "   ")], "NO_ADDRESS"),
        ("U1", [User("U1", None)], "NO_ADDRESS"),
        ("U1", [User("U1", "not an address")], "BAD_ADDRESS"),
    ],
)
def test_an_owner_who_cannot_be_assigned_is_skipped_with_the_reason(
    con: duckdb.DuckDBPyConnection, org: Organization, owner: str | None, users: list[User], code: str
) -> None:
    World(customers={"1": []}, accounts={"A1": (owner, {})}, pairs={"1": "A1"}, users=users).load(con)
    sync(con, org)
    ((status, found, reason),) = table(con, "status, code, reason", "imported_owners")
    assert (status, found) == ("skipped", code)
    assert reason.endswith(".")
    assert table(con, "*", "receivables_users") == []
    assert sync(con, org) == NOTHING


def test_an_owner_who_becomes_inactive_stays_assigned(
    con: duckdb.DuckDBPyConnection, org: Organization, world: World
) -> None:
    world.load(con)
    sync(con, org)
    before = table(con, "*", "receivables_assignments")
    world.users[0] = User("U1", "otto@sales.example", active=False)
    world.load(con)
    sync(con, org)
    assert table(con, "*", "receivables_assignments") == before
    assert table(con, "DISTINCT code", "imported_owners") == [("INACTIVE_OWNER",)]


def test_a_matched_customer_that_the_platform_lacks_is_skipped(
    con: duckdb.DuckDBPyConnection, org: Organization, world: World
) -> None:
    del world.customers["2"]
    world.load(con)
    sync(con, org)
    assert table(con, "billing_customer_id, code", "imported_owners WHERE status = 'skipped'") == [
        ("2", "NOT_ON_PLATFORM")
    ]
    assert sync(con, org) == NOTHING


def test_salesforce_contacts_replace_billing_contacts_and_the_oldest_is_main(
    con: duckdb.DuckDBPyConnection, org: Organization, world: World
) -> None:
    world.load(con)
    sync(con, org)
    assert table(con, CONTACTS, "receivables_contacts") == [
        ("1", "salesforce", "C0", "old@one.example", True),
        ("1", "salesforce", "C1", "ada@one.example", False),
        ("2", "billing", None, "bill@two.example", True),
        ("3", "billing", None, "bill@three.example", True),
    ]
    assert table(con, "billing_customer_id, email", "replaced_contacts") == [
        ("1", "bill@one.example"),
        ("1", "second@one.example"),
    ]


def test_the_oldest_contact_keeps_a_shared_address(
    con: duckdb.DuckDBPyConnection, org: Organization, world: World
) -> None:
    world.contacts += [
        Contact("C2", "A2", "\u00a0OLD@one.example\t", age=5),
        Contact("C4", "A2", "", age=0),
        Contact("C5", "A2", "no-at-sign", age=0),
        Contact("C6", "A2", "c6@two.example", age=7),
    ]
    world.load(con)
    sync(con, org)
    assert table(con, "salesforce_contact_id, status, code", "imported_contacts WHERE billing_customer_id = '2'") == [
        ("C2", "skipped", "SHARED_ADDRESS"),
        ("C4", "skipped", "NO_ADDRESS"),
        ("C5", "skipped", "BAD_ADDRESS"),
        ("C6", "imported", None),
    ]
    ((reason,),) = table(con, "reason", "imported_contacts WHERE code = 'SHARED_ADDRESS'")
    assert "C0" in reason
    assert table(con, "salesforce_contact_id", "imported_contacts WHERE is_main") == [("C0",), ("C6",)]
    assert sync(con, org) == NOTHING


def test_a_freed_address_goes_to_the_next_oldest(
    con: duckdb.DuckDBPyConnection, org: Organization, world: World
) -> None:
    world.contacts.append(Contact("C2", "A2", "old@one.example", age=5))
    world.load(con)
    sync(con, org)
    world.contacts = [c for c in world.contacts if c.id != "C0"]
    world.load(con)
    sync(con, org)
    assert ("2", "salesforce", "C2", "old@one.example", True) in table(con, CONTACTS, "receivables_contacts")
    assert sync(con, org) == NOTHING


def test_without_contacts_in_salesforce_the_billing_contacts_come_back(
    con: duckdb.DuckDBPyConnection, org: Organization, world: World
) -> None:
    world.load(con)
    sync(con, org)
    world.contacts = []
    world.load(con)
    sync(con, org)
    assert table(con, CONTACTS, "receivables_contacts WHERE customer_id = '1'") == [
        ("1", "billing", None, "bill@one.example", True),
        ("1", "billing", None, "second@one.example", False),
    ]
    assert table(con, "*", "imported_contacts") == table(con, "*", "replaced_contacts") == []
    assert sync(con, org) == NOTHING


def test_turning_contacts_off_purges_them(con: duckdb.DuckDBPyConnection, org: Organization, world: World) -> None:
    world.load(con)
    sync(con, org)
    off = make_organization(imports={"contacts": False, "owners": False})
    sync(con, off)
    assert table(con, "DISTINCT source", "receivables_contacts") == [("billing",)]
    assert table(con, "*", "imported_contacts") == table(con, "*", "imported_owners") == []
    assert len(table(con, "*", "receivables_assignments")) == 2, "owners stay as they are"
    assert sync(con, off) == NOTHING
    sync(con, org)
    assert len(table(con, "*", "receivables_contacts WHERE source = 'salesforce'")) == 2


def test_a_customer_set_aside_is_left_alone_and_settled_when_it_is_matched_again(
    con: duckdb.DuckDBPyConnection, org: Organization, world: World
) -> None:
    world.load(con)
    sync(con, org)
    held = [
        table(con, "*", name)
        for name in ("receivables_contacts", "receivables_assignments", "receivables_field_values")
    ]
    del world.pairs["1"]
    world.load(con)
    sync(con, org)
    now = [
        table(con, "*", name)
        for name in ("receivables_contacts", "receivables_assignments", "receivables_field_values")
    ]
    assert now == held
    for ledger in ("imported_owners", "imported_contacts", "imported_custom_fields", "portal_links"):
        assert table(con, "*", f"{ledger} WHERE billing_customer_id = '1'") == []
    assert table(con, "billing_customer_id, what, why", "receivables_unsettled") == [("1", "contacts", "set_aside")]
    assert sync(con, org) == NOTHING

    world.pairs["1"] = "A3"
    world.load(con)
    sync(con, org)
    assert table(con, CONTACTS, "receivables_contacts WHERE customer_id = '1'") == [
        ("1", "salesforce", "C3", "ada@three.example", True)
    ], "nobody of the former account is left"
    assert table(con, "*", "receivables_unsettled") == []
    assert table(con, "value", "receivables_field_values WHERE customer_id = '1' AND contact_id IS NULL") == [("Art",)]
    assert sync(con, org) == NOTHING


def test_a_customer_matched_to_an_account_without_contacts_keeps_none_of_the_former_one(
    con: duckdb.DuckDBPyConnection, org: Organization, world: World
) -> None:
    world.load(con)
    sync(con, org)
    del world.pairs["1"]
    world.load(con)
    sync(con, org)
    world.contacts = [c for c in world.contacts if c.account != "A3"]
    world.pairs["1"] = "A3"
    world.load(con)
    sync(con, org)
    assert table(con, "DISTINCT source", "receivables_contacts WHERE customer_id = '1'") == [("billing",)]
    assert sync(con, org) == NOTHING


def test_values_arrive_change_and_are_emptied(con: duckdb.DuckDBPyConnection, org: Organization, world: World) -> None:
    values = "entity, name, customer_id, value"
    joined = "receivables_field_values JOIN receivables_fields USING (field_id)"
    world.load(con)
    sync(con, org)
    assert table(con, values, joined) == [
        ("CONTACT", "Language", "1", "fr"),
        ("CUSTOMER", "Industry", "1", "Shipping"),
    ]
    world.accounts["A1"] = ("U1", {"Industry": None})
    world.accounts["A2"] = ("U1", {"Industry": "Wine"})
    world.change("C1", language="")
    world.change("C0", language="de")
    world.load(con)
    assert sync(con, org)["custom_fields"] == 4
    assert table(con, values, joined) == [("CONTACT", "Language", "1", "de"), ("CUSTOMER", "Industry", "2", "Wine")]
    assert table(con, "entity, name, type", "receivables_fields") == [
        ("CONTACT", "Language", "STRING"),
        ("CUSTOMER", "Industry", "STRING"),
    ]
    assert sync(con, org) == NOTHING


def test_a_field_that_was_not_downloaded_empties_nothing(
    con: duckdb.DuckDBPyConnection, org: Organization, world: World
) -> None:
    world.load(con)
    sync(con, org)
    world.accounts["A1"] = ("U1", None)
    world.load(con)
    sync(con, org)
    assert table(con, "value", "receivables_field_values WHERE contact_id IS NULL") == [("Shipping",)]


def test_an_existing_field_is_used_whatever_its_case(
    con: duckdb.DuckDBPyConnection, org: Organization, world: World
) -> None:
    con.execute("INSERT INTO receivables_fields VALUES ('f', 'CUSTOMER', ' industry', 'STRING')")
    world.load(con)
    sync(con, org)
    assert table(con, "field_id, value", "receivables_field_values WHERE contact_id IS NULL") == [("f", "Shipping")]


def test_links_are_kept_while_they_live_and_renewed_before_they_expire(
    con: duckdb.DuckDBPyConnection, org: Organization, world: World
) -> None:
    world.customers = {"1": [], "a/../b?c d&é": []}
    world.pairs = {"a/../b?c d&é": "A1"}
    world.load(con)
    start = datetime(2025, 6, 1)
    sync(con, org, now=start)
    columns = "billing_customer_id, salesforce_account_id, url, created_at, expires_at, status"
    url = "https://pay.example.com/a%2F..%2Fb%3Fc%20d%26%C3%A9"
    assert table(con, columns, "portal_links") == [
        ("a/../b?c d&é", "A1", url, start, start + timedelta(days=60), "live")
    ]
    almost = start + timedelta(days=30) - timedelta(seconds=1)
    assert sync(con, org, now=almost) == NOTHING
    later = start + timedelta(days=30)
    assert sync(con, org, now=later)["portal_links"] == 1
    assert table(con, "created_at", "portal_links") == [(later,)]
    world.pairs = {"a/../b?c d&é": "A2"}
    world.load(con)
    assert sync(con, org, now=later)["portal_links"] == 1
    assert table(con, "salesforce_account_id, created_at", "portal_links") == [("A2", later)]
    world.pairs = {}
    world.load(con)
    sync(con, org, now=later)
    assert table(con, "*", "portal_links") == []


def test_links_follow_the_template(con: duckdb.DuckDBPyConnection, org: Organization, world: World) -> None:
    world.load(con)
    sync(con, org)
    moved = make_organization(
        receivables={"platform": "warehouse", "portal_link_template": "https://new.example.com/?c={customer_id}"}
    )
    assert sync(con, moved)["portal_links"] == 2
    assert table(con, "url", "portal_links") == [("https://new.example.com/?c=1",), ("https://new.example.com/?c=2",)]


def test_no_link_is_made_where_none_is_exported(con: duckdb.DuckDBPyConnection, world: World) -> None:
    world.load(con)
    assert sync(con, make_organization(export=None))["portal_links"] == 0


@pytest.mark.parametrize("rows", [[("1", "A1"), ("1", "A2")], [("1", "A1"), ("2", "A1")], [("1", "A1"), (None, "A2")]])
def test_a_mapping_that_is_not_one_to_one_stops_everything(
    con: duckdb.DuckDBPyConnection, org: Organization, rows: list[tuple[str | None, str]]
) -> None:
    con.executemany(
        "INSERT INTO account_mapping (billing_customer_id, salesforce_account_id, verdict) VALUES (?, ?, 'matched')",
        rows,
    )
    for module in (owners, contacts):
        with pytest.raises(GuardStop, match="not one to one"):
            module.plan(con, org, open_platform(con, org))


def test_changed_billing_contacts_are_taken_over_without_a_plan(
    con: duckdb.DuckDBPyConnection, org: Organization, world: World
) -> None:
    world.load(con)
    sync(con, org)
    world.customers["3"] = ["new@three.example", "not an address"]
    world.load(con)
    assert sync(con, org) == NOTHING
    assert table(con, "email", "receivables_contacts WHERE customer_id = '3'") == [("new@three.example",)]


def test_names_are_only_ever_values(con: duckdb.DuckDBPyConnection, world: World) -> None:
    """Quotes, wildcards and path characters in field names reach neither SQL nor JSON paths."""
    evil = "x'); DROP TABLE account_mapping; --\""
    org = make_organization(imports={"account_fields": {"Industry": evil}, "contact_fields": {}})
    world.accounts["A1"] = ("U1", {"Industry": evil * 3})
    world.load(con)
    sync(con, org)
    assert table(con, "name, value", "receivables_field_values JOIN receivables_fields USING (field_id)") == [
        (evil, evil * 3)
    ]
    assert sync(con, org) == NOTHING


def test_a_value_left_behind_is_emptied_when_the_customer_matches_again(
    con: duckdb.DuckDBPyConnection, org: Organization, world: World
) -> None:
    world.load(con)
    sync(con, org)
    pairs, world.pairs = world.pairs, {}
    world.load(con)
    sync(con, org)
    world.pairs = pairs
    world.change("C1", language=None)
    world.load(con)
    sync(con, org)
    assert table(con, "value", "receivables_field_values WHERE contact_id IS NOT NULL") == []
    assert sync(con, org) == NOTHING
