"""The role of the main contact goes back to whoever of the billing system had it, also after syncs that broke off
between taking it and the removal.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from sync_pipeline.errors import ReconnectError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.receivables import contacts, open_platform
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.orgs.factory import make_organization
from sync_pipeline_tests.receivables.faulty_upflow import FaultyUpflow, serving
from sync_pipeline_tests.receivables.world import Contact, World, table

ADA = Contact("003000000000001", "A1", "ada@x.example")
BILL, BOOKS = (None, "bill@x.example"), (None, "books@x.example")
BEFORE = [(*BILL, True), (*BOOKS, False)]
REPLACED = [(ADA.id, ADA.email, True)]


class Stage:
    """One customer with two contacts of the billing system, and a Salesforce contact that comes and goes."""

    def __init__(self, con: duckdb.DuckDBPyConnection, upflow: FaultyUpflow, org: Organization) -> None:
        self.con, self.upflow, self._org = con, upflow, org
        upflow.add_customer("1", str(BILL[1]), str(BOOKS[1]))

    def sync(self, *salesforce: Contact, refuse: str | None = None, after: int = 0) -> int:
        """Sync the contacts with these in Salesforce; the login is refused after so many requests of that method.

        Returns:
            Rows planned.
        """
        World({"1": []}, {"A1": (None, None)}, {"1": "A1"}, contacts=list(salesforce)).load(self.con)
        seen: list[str] = []

        def faults(method: str, path: str) -> int | None:
            seen.append(method)
            return 401 if refuse and seen.count(refuse) > after else None

        self.upflow.faults = faults
        platform = open_platform(self.con, self._org)
        plan = contacts.plan(self.con, self._org, platform)
        if refuse:
            with pytest.raises(ReconnectError):
                contacts.apply(self.con, self._org, platform, plan)
        else:
            contacts.apply(self.con, self._org, platform, plan)
        return len(plan)

    def held(self) -> list[tuple[str | None, str, bool]]:
        """(Salesforce id, address, main) of what the customer has on Upflow."""
        own = [(c.get("externalId"), c["email"], c["isMain"]) for c in self.upflow.contacts["1"].values()]
        return sorted(own, key=lambda row: row[1])


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setenv("UPFLOW_KEY", "k")
    monkeypatch.setenv("UPFLOW_SECRET", "s")
    with serving(FaultyUpflow()) as upflow, Warehouse(tmp_path, "acme").connect() as con:
        receivables = {
            "platform": "upflow",
            "api_key": {"env": "UPFLOW_KEY"},
            "api_secret": {"env": "UPFLOW_SECRET"},
            "url": upflow.url,
            "requests_per_minute": 100_000,
        }
        yield Stage(con, upflow, make_organization(receivables=receivables))


def test_a_contact_that_still_stands_gets_its_role_back(stage: Stage) -> None:
    """The sync broke off when Ada had the role and nobody was removed; then Ada left Salesforce."""
    stage.sync(ADA, refuse="DELETE")
    assert (*BILL, False) in stage.held()
    stage.sync()
    assert stage.held() == BEFORE
    assert stage.sync() == 0


def test_a_role_that_a_broken_sync_took_is_not_saved_as_if_it_had_never_been(stage: Stage) -> None:
    """The next sync finds a billing contact without the role, and removes it."""
    stage.sync(ADA, refuse="DELETE")
    stage.sync(ADA)
    assert stage.held() == REPLACED
    stage.sync()
    assert stage.held() == BEFORE
    assert stage.sync() == 0


def test_a_contact_brought_back_by_a_broken_restore_is_saved_once(stage: Stage) -> None:
    """It stands under a new id when Ada returns, and takes the role from it once more."""
    stage.sync(ADA)
    stage.sync(refuse="POST", after=1)
    assert stage.held() == [(ADA.id, ADA.email, False), (*BILL, True)]
    stage.sync(ADA, refuse="DELETE")
    stage.sync(ADA)
    assert stage.held() == REPLACED
    assert table(stage.con, "email, contact ->> 'isMain'", "replaced_contacts") == [
        ("bill@x.example", "true"),
        ("books@x.example", "false"),
    ]
    stage.sync()
    assert stage.held() == BEFORE
    assert stage.sync() == 0


@pytest.mark.parametrize("broken", [False, True], ids=["removed", "standing"])
def test_the_billing_system_has_the_last_word_on_its_main_contact(stage: Stage, broken: bool) -> None:
    """It gave the role to another of its contacts after a sync that broke off, and that one comes back with it."""
    stage.sync(ADA, refuse="DELETE")
    for contact in stage.upflow.contacts["1"].values():
        contact["isMain"] = contact["email"] == BOOKS[1]
    stage.sync(ADA, refuse="DELETE" if broken else None)
    stage.sync()
    assert stage.held() == [(*BILL, False), (*BOOKS, True)]
    assert stage.sync() == 0


def test_a_role_given_to_another_contact_meanwhile_is_left_to_it(stage: Stage) -> None:
    """The sync broke off, somebody gave the role to another contact, and then Ada left Salesforce."""
    stage.sync(ADA, refuse="DELETE")
    for contact in stage.upflow.contacts["1"].values():
        contact["isMain"] = contact["email"] == BOOKS[1]
    stage.sync()
    assert stage.held() == [(*BILL, False), (*BOOKS, True)]
    assert stage.sync() == 0


def test_the_later_of_two_main_contacts_comes_back_as_the_main_one(stage: Stage) -> None:
    """The billing system got another one while Salesforce's stood; ids on Upflow tell nothing of the order."""
    stage.sync(ADA)
    stage.sync(refuse="POST")
    stage.upflow.contacts["1"]["a"] = {"id": "a", "email": "acc@x.example", "isMain": True}
    stage.sync(ADA)
    assert stage.held() == REPLACED
    stage.sync()
    assert stage.held() == [(None, "acc@x.example", True), (*BILL, False), (*BOOKS, False)]
    assert stage.sync() == 0
