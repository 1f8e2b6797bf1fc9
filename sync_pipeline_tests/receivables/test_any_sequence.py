"""Whatever happens at the sources, in whatever order: after a sync each platform holds what it should, and a second
one has nothing to do. What it should hold is worked out here again, in plain Python.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync_pipeline import http
from sync_pipeline.errors import SyncError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.orgs.factory import make_organization
from sync_pipeline_tests.receivables.faulty_upflow import FaultyUpflow, serving
from sync_pipeline_tests.receivables.world import Contact, User, World, sync, table

CUSTOMERS = ["1", "2", "3", "4"]
ACCOUNTS = ["A1", "A2", "A3", "A4", "A5"]
USERS = ["U1", "U2", "U3"]
IDS = [f"003{n:012d}" for n in range(8)]
NOTHING = {"owners": 0, "contacts": 0, "custom_fields": 0, "portal_links": 0}

addresses = st.sampled_from(
    ["a@x.example", "B@x.example", " b@x.example", "c@x.example", "d@x.example", "e@x.example", None, "no"]
)
texts = st.sampled_from([None, "", "x", "y"])
contact = st.builds(
    Contact,
    id=st.sampled_from(IDS),
    account=st.sampled_from(ACCOUNTS),
    email=addresses,
    age=st.integers(0, 3),
    phone=texts,
    title=texts,
    language=texts,
)
user = st.builds(
    User, id=st.sampled_from(USERS), email=st.sampled_from(["o@s.example", "p@s.example", None]), active=st.booleans()
)
account = st.tuples(
    st.sampled_from(ACCOUNTS), st.sampled_from([*USERS, None, "U9"]), st.fixed_dictionaries({"Industry": texts})
)


@st.composite
def pairs(draw: st.DrawFn, *, everybody: bool) -> dict[str, str]:
    customers = CUSTOMERS if everybody else draw(st.lists(st.sampled_from(CUSTOMERS), unique=True))
    return dict(zip(customers, draw(st.permutations(ACCOUNTS)), strict=False))


@st.composite
def world(draw: st.DrawFn, *, everybody: bool) -> World:
    return World(
        customers={c: [f"bill{c}@x.example"] for c in CUSTOMERS},
        accounts={
            a: (o, f)
            for a, o, f in draw(
                st.lists(account, unique_by=lambda x: x[0], min_size=len(ACCOUNTS), max_size=len(ACCOUNTS))
            )
        },
        pairs=draw(pairs(everybody=everybody)),
        users=draw(st.lists(user, unique_by=lambda u: u.id, max_size=3)),
        contacts=draw(st.lists(contact, unique_by=lambda c: c.id, max_size=6)),
    )


@st.composite
def history(draw: st.DrawFn, *, everybody: bool) -> list[World]:
    """A world and what became of it, a few parts replaced at a time."""
    worlds = [draw(world(everybody=everybody))]
    for _ in range(draw(st.integers(1, 3))):
        other = draw(world(everybody=everybody))
        parts = draw(st.lists(st.sampled_from(["accounts", "pairs", "users", "contacts"]), min_size=1, unique=True))
        worlds.append(replace(worlds[-1], **{part: getattr(other, part) for part in parts}))
    return worlds


def clean(text: str | None) -> str | None:
    return (text or "").strip() or None


def contacts_of(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """(id, address, main, phone, title, language) of every matched customer that has usable contacts."""
    customer = {a: c for c, a in world.pairs.items()}
    taken: set[str] = set()
    found: dict[str, list[tuple[Any, ...]]] = {}
    for one in sorted(world.contacts, key=lambda c: (c.age, c.id)):
        email = (clean(one.email) or "").lower()
        if one.account in customer and "@" in email and email not in taken:
            taken.add(email)
            own = found.setdefault(customer[one.account], [])
            own.append((one.id, email, not own, clean(one.phone), clean(one.title), one.language or None))
    return {c: sorted(own, key=str) for c, own in found.items()}


class Model:
    """What the platform should hold: of matched customers what the rules say, of the others what they had before."""

    def __init__(self) -> None:
        self.contacts: dict[str, list[tuple[Any, ...]]] = {c: [] for c in CUSTOMERS}
        self.owners: dict[str, str | None] = dict.fromkeys(CUSTOMERS)
        self.values: dict[str, str | None] = dict.fromkeys(CUSTOMERS)

    def sync(self, world: World) -> None:
        imported = contacts_of(world)
        users = {u.id: u for u in world.users}
        for customer, account in world.pairs.items():
            owner, fields = world.accounts[account]
            self.contacts[customer] = imported.get(customer, [])
            self.values[customer] = (fields or {})["Industry"] or None
            assignable = users.get(owner or "")
            if assignable and assignable.active and assignable.email:
                self.owners[customer] = assignable.email


def in_warehouse(con: duckdb.DuckDBPyConnection) -> Model:
    model = Model()
    language = """(SELECT value FROM receivables_field_values v JOIN receivables_fields USING (field_id)
        WHERE v.contact_id = c.contact_id AND entity = 'CONTACT')
    """
    for customer, source, *own in table(
        con,
        f"customer_id, source, salesforce_contact_id, email, is_main, phone, job_title, {language}",
        "receivables_contacts c",
    ):
        if source == "salesforce":
            model.contacts[customer].append(tuple(own))
        else:
            assert own == [None, f"bill{customer}@x.example", True, None, None, None]
    assert {c for (c,) in table(con, "customer_id", "receivables_contacts")} == set(CUSTOMERS), (
        "nobody is without contacts"
    )
    model.contacts = {c: sorted(own, key=str) for c, own in model.contacts.items()}
    model.owners |= dict(
        table(con, "customer_id, email", "receivables_assignments JOIN receivables_users USING (user_id)")
    )
    model.values |= dict(table(con, "customer_id, value", "receivables_field_values WHERE contact_id IS NULL"))
    return model


def in_upflow(upflow: FaultyUpflow) -> Model:
    model = Model()
    emails = {u["id"]: u["email"] for u in upflow.users}
    for customer, own in upflow.contacts.items():
        assert own, "nobody is without contacts"
        for one in own.values():
            values = {f["id"]: f["value"] or None for f in one.get("customFields") or []}
            row = (one.get("externalId"), one["email"], one["isMain"], one.get("phone"), one.get("jobTitle"))
            if row[0]:
                model.contacts[customer].append((*row, next(iter(values.values()), None)))
            else:
                assert row == (None, f"bill{customer}@x.example", True, None, None)
        model.contacts[customer].sort(key=str)
        model.owners[customer] = emails.get(upflow.customers[customer].get("accountManagerId") or "")
        fields = upflow.customers[customer].get("customFields") or [{}]
        model.values[customer] = fields[0].get("value") or None
    return model


def the_same(found: Model, wanted: Model) -> None:
    assert found.contacts == wanted.contacts
    assert found.owners == wanted.owners
    assert found.values == wanted.values


def links_of(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    return dict(table(con, "billing_customer_id, salesforce_account_id", "portal_links WHERE status = 'live'"))


relaxed = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


@relaxed
@given(history(everybody=False))
def test_warehouse(worlds: list[World]) -> None:
    org = make_organization()
    model = Model()
    with tempfile.TemporaryDirectory() as folder, Warehouse(Path(folder), "acme").connect() as con:
        for world in worlds:
            world.load(con)
            sync(con, org)
            model.sync(world)
            the_same(in_warehouse(con), model)
            assert links_of(con) == world.pairs
            assert sync(con, org) == NOTHING


@pytest.fixture(scope="module")
def upflow_org() -> Any:
    with pytest.MonkeyPatch.context() as patch, serving(FaultyUpflow()) as upflow:
        patch.setenv("UPFLOW_KEY", "k")
        patch.setenv("UPFLOW_SECRET", "s")
        patch.setattr(http, "BACKOFF_SECONDS", 0.002)
        receivables = {
            "platform": "upflow",
            "api_key": {"env": "UPFLOW_KEY"},
            "api_secret": {"env": "UPFLOW_SECRET"},
            "url": upflow.url,
            "requests_per_minute": 100_000,
        }
        yield upflow, make_organization(receivables=receivables)


@relaxed
@given(history(everybody=True), st.lists(st.tuples(st.integers(0, 25), st.sampled_from([401, "lost"])), max_size=4))
def test_upflow_with_syncs_that_break_off(
    upflow_org: tuple[FaultyUpflow, Organization], worlds: list[World], breaks: list[tuple[int, int | str]]
) -> None:
    """`breaks`: a sync ends after so many writes, by a refused login, or by answers that are lost from then on."""
    upflow, org = upflow_org
    upflow.reset()
    for customer in CUSTOMERS:
        upflow.add_customer(customer, f"bill{customer}@x.example")
    model = Model()
    with tempfile.TemporaryDirectory() as folder, Warehouse(Path(folder), "acme").connect() as con:
        for number, world in enumerate(worlds):
            world.load(con)
            if number < len(breaks):
                upflow.faults = _breaking(upflow, *breaks[number])
            try:
                sync(con, org)
            except SyncError:
                assert number < len(breaks)
            upflow.faults = lambda method, path: None
            if number >= len(breaks) or number == len(worlds) - 1:
                sync(con, org)
                model.sync(world)
                found = in_upflow(upflow)
                # Whom a sync that broke off assigned stays assigned where the next world has nobody to assign.
                for one in (found, model):
                    one.owners = {c: owner for c, owner in one.owners.items() if _assignable(world, c)}
                the_same(found, model)
                model.owners = in_upflow(upflow).owners
                assert links_of(con) == world.pairs
                upflow.calls.clear()
                assert sync(con, org) == NOTHING
                assert upflow.writes() == 0
    assert not upflow.clashes


def _assignable(world: World, customer: str) -> bool:
    owner, _ = world.accounts[world.pairs[customer]]
    return any(u.id == owner and u.active and u.email for u in world.users)


def _breaking(upflow: FaultyUpflow, after: int, fault: int | str) -> Callable[[str, str], Any]:
    limit = upflow.writes() + after
    return lambda method, path: fault if method != "GET" and upflow.writes() > limit else None
