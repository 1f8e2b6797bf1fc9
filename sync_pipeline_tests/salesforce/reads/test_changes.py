"""Reading what changed: after any history the tables are those of a whole read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from sync_pipeline import salesforce
from sync_pipeline.orgs.models import Organization
from sync_pipeline.salesforce import Client
from sync_pipeline.salesforce.reads import changes
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.salesforce.conftest import Served
from sync_pipeline_tests.salesforce.organizations import connected
from sync_pipeline_tests.sandbox.salesforce import world

IMPORT = {
    "account_fields": {"Industry": "Industry", "AnnualRevenue": "Revenue"},
    "contact_fields": {"Language__c": "L"},
}
TABLES = ("salesforce_accounts", "salesforce_contacts", "salesforce_users", "salesforce_merges")


def load(con: duckdb.DuckDBPyConnection, client: Client, org: Organization) -> None:
    salesforce.load_accounts(con, client, org)
    salesforce.load_contacts(con, client, org)
    salesforce.load_users(con, client, org)


def contents(con: duckdb.DuckDBPyConnection) -> dict[str, list[Any]]:
    return {table: sorted(con.execute(f"FROM {table}").fetchall(), key=repr) for table in TABLES}


def how(con: duckdb.DuckDBPyConnection, object_name: str = "Account") -> tuple[str | None, int, int]:
    """Why the last read was whole, how many records it brought, how many it took away."""
    sql = "SELECT why_whole, changed, removed FROM salesforce_reads WHERE object = ?"
    ((why, changed, removed),) = con.execute(sql, [object_name]).fetchall()
    return why, changed, removed


@pytest.fixture
def org(served: Served, monkeypatch: pytest.MonkeyPatch) -> Organization:
    monkeypatch.setenv("ACME_SECRET", f"secret+{world.ORG}/%")
    return connected(served.url, served.ca_file, **{"import": IMPORT})


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A second warehouse, which always reads everything."""
    with Warehouse(tmp_path / "whole", "acme").connect() as connection:
        yield connection


def test_the_first_read_is_whole_and_the_second_reads_what_changed(
    con: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    load(con, client, org)
    assert how(con) == ("it was not read before", 3, 0)
    served.state.db.execute(
        'UPDATE account SET "Name" = \'Renamed\' WHERE org = ? AND "Id" = ?', (world.ORG, world.BETA)
    )
    load(con, client, org)
    assert how(con) == (None, 1, 0)
    assert ("Renamed",) in con.execute("SELECT name FROM salesforce_accounts").fetchall()


def test_where_nothing_changed_two_requests_an_object_tell(
    con: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    load(con, client, org)
    before = served.calls()
    client.session.budget.calls = 0
    load(con, client, org)
    assert served.calls("POST", "%jobs%") == 2
    # Accounts and contacts: deletions, number of changes. Users: the changes themselves.
    assert (served.calls() - before, client.session.budget.calls) == (5, 5)


@pytest.mark.parametrize("gone", ["delete", "merge", "move", "purge"])
def test_what_is_gone_goes(
    gone: str,
    con: duckdb.DuckDBPyConnection,
    whole: duckdb.DuckDBPyConnection,
    served: Served,
    client: Client,
    org: Organization,
) -> None:
    load(con, client, org)
    data = f"{served.url}/services/data/v66.0"
    authorized = {"Authorization": f"Bearer {world.TOKEN}"}
    where = {"org": world.ORG, "object": "Account"}
    if gone == "delete":
        assert served.http.delete(f"{data}/sobjects/Account/{world.ACME}", headers=authorized).ok
    elif gone == "merge":
        merge = {**where, "winner": world.BETA, "losers": [world.ACME]}
        assert served.http.post(f"{served.url}/sandbox/merge", json=merge).ok
    elif gone == "purge":
        assert served.http.post(f"{served.url}/sandbox/purge", json={**where, "ids": [world.ACME]}).ok
    else:
        served.state.db.execute('UPDATE contact SET "AccountId" = NULL WHERE org = ?', (world.ORG,))
    load(con, client, org)
    load(whole, client, org)
    assert contents(con) == contents(whole)
    accounts = {account for (account,) in con.execute("SELECT account_id FROM salesforce_accounts").fetchall()}
    assert (world.ACME in accounts) == (gone == "move")
    assert how(con, "Contact")[2] == (0 if gone in ("merge", "purge") else 1)


@pytest.mark.parametrize("first", ["accounts", "contacts"])
def test_contacts_follow_a_merge_that_does_not_move_their_stamps(
    first: str, con: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    load(con, client, org)
    ((contact, stamp),) = served.state.rows(
        'SELECT "Id", "SystemModstamp" FROM contact WHERE org = ? AND "AccountId" = ?', world.ORG, world.ACME
    )
    merge = {"org": world.ORG, "object": "Account", "winner": world.BETA, "losers": [world.ACME]}
    assert served.http.post(f"{served.url}/sandbox/merge", json=merge).ok
    served.state.db.execute('UPDATE contact SET "SystemModstamp" = ? WHERE "Id" = ?', (stamp, contact))
    steps = [salesforce.load_accounts, salesforce.load_contacts]
    for step in steps if first == "accounts" else reversed(steps):
        step(con, client, org)
    owner = con.execute("SELECT account_id FROM salesforce_contacts WHERE contact_id = ?", [contact]).fetchall()
    assert owner == [(world.BETA,)]


def test_what_salesforce_does_not_know_yet_is_asked_for_again(
    con: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    load(con, client, org)
    covered = "2026-01-01T00:00:00.000+0000"
    body = {"deletedRecords": [], "earliestDateAvailable": None, "latestDateCovered": covered}
    served.fault(action="status", status=200, body=body, path="Account/deleted")
    load(con, client, org)
    until = con.execute("SELECT read_until FROM salesforce_reads WHERE object = 'Account'").fetchall()
    assert until == [(datetime(2026, 1, 1),)]


def test_the_ledger_outlives_the_recycle_bin(
    con: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    load(con, client, org)
    served.state.db.execute('DELETE FROM account WHERE "IsDeleted"')
    con.execute("DELETE FROM salesforce_reads")
    load(con, client, org)
    ledger = con.execute("SELECT merged_account_id, survivor_id FROM salesforce_merges").fetchall()
    assert ledger == [(world.LOSER, world.ACME)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"import": {**IMPORT, "account_fields": {"Segment__c": "Segment"}}}, "other fields are asked for"),
        ({"import": {**IMPORT, "account_fields": {"Score__c": "Score"}}}, "other fields are asked for"),
    ],
)
def test_other_fields_make_a_whole_read(
    change: dict[str, Any], why: str, con: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    load(con, client, org)
    other = connected(served.url, served.ca_file, **change)
    salesforce.load_accounts(con, client, other)
    assert why in (how(con)[0] or "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            {"identifier": {"billing_field": "id", "salesforce_field": "Name"}},
            {"identifier": {"billing_field": "id", "salesforce_field": "Id"}},
        ),
        (
            {"import": {"account_fields": {"Website": "W"}}},
            {
                "import": {"account_fields": {"Website": "W"}},
                "export": {"portal_link": {"salesforce_field": "Website"}},
            },
        ),
    ],
)
def test_the_same_fields_in_other_columns_make_a_whole_read(
    before: dict[str, Any],
    after: dict[str, Any],
    con: duckdb.DuckDBPyConnection,
    whole: duckdb.DuckDBPyConnection,
    served: Served,
    client: Client,
) -> None:
    with served.state.transaction() as db:  # longer ago than the overlap, so that reading changes would not bring them
        db.execute('UPDATE account SET "Website" = \'https://acme.example\' WHERE "Id" = ?', (world.ACME,))
        db.execute("UPDATE account SET \"SystemModstamp\" = '2024-02-01T00:00:00.000Z'")
    salesforce.load_accounts(con, client, connected(served.url, served.ca_file, **before))
    other = connected(served.url, served.ca_file, **after)
    salesforce.load_accounts(con, client, other)
    salesforce.load_accounts(whole, client, other)
    assert contents(con) == contents(whole)
    assert "other fields are asked for" in (how(con)[0] or "")


def test_formula_fields_are_read_whole_every_time(
    con: duckdb.DuckDBPyConnection, served: Served, client: Client
) -> None:
    org = connected(served.url, served.ca_file, **{"import": {"account_fields": {"Score__c": "Score"}}})
    salesforce.load_accounts(con, client, org)
    stamp = served.state.rows('SELECT "SystemModstamp" FROM account WHERE "Id" = ?', world.ACME)[0][0]
    with served.state.transaction() as db:
        db.execute('UPDATE account SET "Score__c" = 99 WHERE "Id" = ?', (world.ACME,))
        db.execute('UPDATE account SET "SystemModstamp" = ? WHERE "Id" = ?', (stamp, world.ACME))
    salesforce.load_accounts(con, client, org)
    assert "Account.Score__c is a formula field" in (how(con)[0] or "")
    scores = con.execute(
        "SELECT custom_fields ->> 'Score__c' FROM salesforce_accounts WHERE account_id = ?", [world.ACME]
    )
    assert scores.fetchall() == [("99.0",)]


@pytest.mark.parametrize(
    ("column", "days", "why"),
    [
        ("whole_read_at", 8, "the last whole read was 8 days ago (salesforce.full_read_days)"),
        ("read_until", 15, "the last read was 15 days ago"),
    ],
)
def test_an_old_read_makes_a_whole_one(
    column: str, days: int, why: str, con: duckdb.DuckDBPyConnection, client: Client, org: Organization
) -> None:
    load(con, client, org)
    con.execute(f"UPDATE salesforce_reads SET {column} = {column} - to_days({days})")
    load(con, client, org)
    assert why in (how(con)[0] or "")


def test_another_organization_makes_a_whole_read(
    con: duckdb.DuckDBPyConnection, client: Client, org: Organization
) -> None:
    load(con, client, org)
    salesforce.load_organization(con, client, org)
    load(con, client, org)
    assert how(con)[0] == "the last read was of another Salesforce organization"


def test_another_user_makes_a_whole_read(con: duckdb.DuckDBPyConnection, client: Client, org: Organization) -> None:
    load(con, client, org)
    assert client.session.user_id == world.USER
    con.execute("UPDATE salesforce_reads SET user_id = ?", [world.LEAVER])
    load(con, client, org)
    assert how(con)[0] == "the last read was as another user, who may see other records"


def test_the_ledger_of_another_organization_is_emptied(
    con: duckdb.DuckDBPyConnection, client: Client, org: Organization
) -> None:
    salesforce.load_organization(con, client, org)
    load(con, client, org)
    stranger = "INSERT INTO salesforce_merges (merged_account_id, survivor_id) VALUES ('001x', '001y')"
    con.execute(stranger)
    con.execute("DELETE FROM salesforce_reads")  # read whole again, of the same organization: it remembers
    load(con, client, org)
    assert con.execute("SELECT count(*) FROM salesforce_merges").fetchall() == [(2,)]
    con.execute("UPDATE salesforce_reads SET organization_id = '00Dother'")
    load(con, client, org)
    assert con.execute("SELECT merged_account_id FROM salesforce_merges").fetchall() == [(world.LOSER,)]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"status": 404, "body": [{"errorCode": "NOT_FOUND", "message": "none"}]}, "does not say what was deleted"),
        (
            {"status": 200, "body": {"deletedRecords": [], "earliestDateAvailable": "2999-01-01T00:00:00.000+0000"}},
            "no longer",
        ),
    ],
)
def test_where_deletions_are_not_known_all_is_read(
    answer: dict[str, Any], why: str, con: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    load(con, client, org)
    served.fault(action="status", path="Account/deleted", **answer)
    load(con, client, org)
    assert why in (how(con)[0] or "")


def test_a_deletion_that_moves_no_stamp_is_noticed(
    con: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    load(con, client, org)
    deleted = {"deletedRecords": [{"id": world.GAMMA, "deletedDate": "x"}], "earliestDateAvailable": None}
    served.fault(action="status", status=200, body=deleted, path="Account/deleted")
    load(con, client, org)
    assert how(con) == (None, 0, 1)
    assert (world.GAMMA,) not in con.execute("SELECT account_id FROM salesforce_accounts").fetchall()


class Histories(RuleBasedStateMachine):
    """People work in Salesforce while hours pass; now and then both warehouses are brought up to date.

    The clock is ours: it starts three days ago, so that nothing is read again merely because it happened just now. A
    transaction may become visible up to ten minutes after its stamp.
    """

    served: Served
    org: Organization
    client: Client
    folder: Path
    runs = 0

    accounts: Bundle[str] = Bundle("accounts")
    contacts: Bundle[str] = Bundle("contacts")
    bin: Bundle[str] = Bundle("bin")

    def __init__(self) -> None:
        super().__init__()
        type(self).runs += 1
        self.number = 0
        self.now = datetime.now(UTC).replace(tzinfo=None, microsecond=0) - timedelta(days=3)
        self.db = self.served.state.db
        for table in ("account", "contact"):
            self.db.execute(f"DELETE FROM {table} WHERE org = ?", (world.ORG,))
        self.open = [Warehouse(self.folder / f"{self.runs}", name).connect() for name in ("changes", "whole")]
        self.con, self.whole = (context.__enter__() for context in self.open)
        self.client.session.server_time = lambda: self.now  # type: ignore[method-assign]

    def teardown(self) -> None:
        for context in self.open:
            context.__exit__(None, None, None)

    @initialize()
    def first_read(self) -> None:
        self.read()

    @rule(minutes=st.integers(1, 300))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(target=accounts, late=st.integers(0, 599), identifier=st.sampled_from(["7", "0012", None]))
    def account_is_made(self, late: int, identifier: str | None) -> str:
        self.number += 1
        record_id = world.make_id("001", 5000 + self.number)
        stamps = dict.fromkeys(("CreatedDate", "LastModifiedDate", "SystemModstamp"), self.stamp(late))
        world.add_account(self.served.state, record_id, f"Made {self.number}", Billing_Id__c=identifier, **stamps)
        return record_id

    @rule(target=contacts, account=accounts, late=st.integers(0, 599))
    def contact_is_made(self, account: str, late: int) -> str:
        self.number += 1
        record_id = world.make_id("003", 5000 + self.number)
        stamps = dict.fromkeys(("CreatedDate", "LastModifiedDate", "SystemModstamp"), self.stamp(late))
        world.insert(
            self.served.state,
            "contact",
            org=world.ORG,
            Id=record_id,
            LastName="Late",
            Name="Late",
            AccountId=account,
            IsDeleted=0,
            **stamps,
        )
        return record_id

    @rule(account=accounts, late=st.integers(0, 599), revenue=st.sampled_from([None, 1.0, 1e7, 12345678.9, 0.1]))
    def account_is_changed(self, account: str, late: int, revenue: float | None) -> None:
        self.change("account", account, late, AnnualRevenue=revenue)

    @rule(contact=contacts, account=accounts | st.none(), late=st.integers(0, 599))
    def contact_moves(self, contact: str, account: str | None, late: int) -> None:
        self.change("contact", contact, late, AccountId=account)

    @rule(late=st.integers(0, 599), active=st.booleans())
    def user_is_changed(self, late: int, active: bool) -> None:
        self.change("user", world.LEAVER, late, IsActive=int(active))

    @rule(target=bin, account=consumes(accounts), late=st.integers(0, 599))
    def account_is_deleted(self, account: str, late: int) -> str:
        self.change("account", account, late, IsDeleted=1)
        self.db.execute(
            'UPDATE contact SET "IsDeleted" = 1, "SystemModstamp" = ? WHERE org = ? AND "AccountId" = ? AND "IsDeleted" = 0',
            (self.stamp(late), world.ORG, account),
        )
        return account

    @rule(target=accounts, account=consumes(bin), late=st.integers(0, 599))
    def account_comes_back(self, account: str, late: int) -> str:
        self.change("account", account, late, IsDeleted=0, MasterRecordId=None)
        return account

    @rule(target=bin, loser=consumes(accounts), winner=accounts, late=st.integers(0, 599))
    def accounts_are_merged(self, loser: str, winner: str, late: int) -> str:
        if loser != winner:
            self.change("account", loser, late, IsDeleted=1, MasterRecordId=winner)
            self.change("account", winner, late)
            self.db.execute(
                'UPDATE contact SET "AccountId" = ?, "SystemModstamp" = ? WHERE org = ? AND "AccountId" = ?',
                (winner, self.stamp(late), world.ORG, loser),
            )
        return loser

    @rule()
    def read(self) -> None:
        self.now += timedelta(seconds=1)
        for con in (self.con, self.whole):
            salesforce.load_organization(con, self.client, self.org)
        self.whole.execute("DELETE FROM salesforce_reads")
        for con in (self.con, self.whole):
            load(con, self.client, self.org)
        assert contents(self.con) == contents(self.whole)

    @invariant()
    def nothing_is_half_done(self) -> None:
        tables = {name for (name,) in self.con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        assert not tables & {"salesforce_changes", "merges_found"}

    def stamp(self, late: int) -> str:
        """A moment up to ten minutes ago, as a transaction that was open for so long bears it."""
        return f"{self.now - timedelta(seconds=late):%Y-%m-%dT%H:%M:%S}.000Z"

    def change(self, table: str, record_id: str, late: int, **columns: Any) -> None:
        columns["SystemModstamp"] = self.stamp(late)
        assignments = ", ".join(f'"{name}" = ?' for name in columns)
        self.db.execute(
            f'UPDATE "{table}" SET {assignments} WHERE org = ? AND "Id" = ?', (*columns.values(), world.ORG, record_id)
        )


@pytest.mark.slow
def test_after_any_history_both_ways_end_in_the_same_tables(
    served: Served, client: Client, org: Organization, tmp_path: Path
) -> None:
    class Here(Histories):
        pass

    Here.served, Here.org, Here.client, Here.folder = served, org, client, tmp_path
    Here.TestCase.settings = settings(
        max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    Here.TestCase("runTest").runTest()


def test_the_overlap_is_longer_than_a_transaction_may_last() -> None:
    assert timedelta(minutes=10) < changes.OVERLAP
