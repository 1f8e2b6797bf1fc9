"""Reading from the stand-in into a warehouse, undisturbed and disturbed."""

from __future__ import annotations

import json
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline import salesforce
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.salesforce import Client
from sync_pipeline.salesforce.reads import pages
from sync_pipeline.salesforce.reads.pages import Result
from sync_pipeline_tests.salesforce.conftest import Served
from sync_pipeline_tests.salesforce.organizations import connected
from sync_pipeline_tests.sandbox.salesforce import world

IMPORTS = {"account_fields": {"Industry": "Industry", "segment__c": "Segment"}, "contact_fields": {"Language__c": "L"}}
HEADER = '"Id","Name","Billing_Id__c","OwnerId","CreatedDate","SystemModstamp"\n'
EXPORT = {"portal_link": {"salesforce_field": "Portal_Link__c"}}


def forget(con: duckdb.DuckDBPyConnection) -> None:
    """What is read next is read whole."""
    con.execute("DELETE FROM salesforce_reads")


def rows(con: duckdb.DuckDBPyConnection, table: str, key: str) -> dict[str, dict[str, Any]]:
    found = con.sql(f"FROM {table}")
    return {row[found.columns.index(key)]: dict(zip(found.columns, row, strict=True)) for row in found.fetchall()}


def test_accounts_arrive_as_they_are(con: duckdb.DuckDBPyConnection, served: Served, client: Client) -> None:
    org = connected(served.url, served.ca_file, **{"import": IMPORTS, "export": EXPORT})
    assert salesforce.load_accounts(con, client, org) == 3
    accounts = rows(con, "salesforce_accounts", "account_id")
    assert set(accounts) == {world.ACME, world.BETA, world.GAMMA}
    acme = accounts[world.ACME]
    assert json.loads(acme.pop("custom_fields")) == {"Industry": "Retail", "segment__c": None}
    assert acme == {
        "account_id": world.ACME,
        "name": 'Acme "Rockets", Ltd.\nSecond line',
        "identifier": "0012",
        "owner_id": world.USER,
        "portal_link": "https://old.example/1",
        "created_at": datetime(2024, 1, 31, 10, 11, 12),
        "modified_at": datetime(2024, 1, 31, 10, 11, 12),
    }
    assert accounts[world.BETA]["name"] == "ÉTÉ & Söhne 🚀"
    assert accounts[world.BETA]["portal_link"] is None


def test_without_custom_fields_and_export_those_columns_are_null(
    con: duckdb.DuckDBPyConnection, client: Client, org: Organization
) -> None:
    salesforce.load_accounts(con, client, org)
    assert con.sql("SELECT count(portal_link), count(custom_fields) FROM salesforce_accounts").fetchall() == [(0, 0)]


def test_a_field_may_serve_twice(con: duckdb.DuckDBPyConnection, served: Served, client: Client) -> None:
    twice = {"account_fields": {"Billing_Id__c": "Number", "Id": "Salesforce"}}
    org = connected(served.url, served.ca_file, **{"import": twice})
    salesforce.load_accounts(con, client, org)
    acme = rows(con, "salesforce_accounts", "account_id")[world.ACME]
    assert json.loads(acme["custom_fields"]) == {"Billing_Id__c": acme["identifier"], "Id": world.ACME}


def test_no_text_is_changed_on_the_way(con: duckdb.DuckDBPyConnection, served: Served, client: Client) -> None:
    chance = random.Random(7)
    parts = [
        '"',
        ",",
        "\n",
        "\r\n",
        "'",
        "é",
        "😀",
        '","',
        '"\n"',
        '\n"001","x"\n',
        "\\",
        "#N/A",
        "NULL",
        "a",
        "A" * 40,
    ]
    names = ["x" + "".join(chance.choices(parts, k=chance.randint(0, 12)))[:254] for _ in range(300)]
    names += ["n" * 255, "😀" * 255]
    notes = {name: chance.choice(["", "long " * 6000]) for name in names}
    for number, name in enumerate(names):
        world.add_account(served.state, world.make_id("001", 500 + number), name, Notes__c=notes[name])
    org = connected(served.url, served.ca_file, **{"import": {"account_fields": {"Notes__c": "Notes"}}})
    assert salesforce.load_accounts(con, client, org) == len(names) + 3
    got = con.sql("SELECT name, custom_fields ->> 'Notes__c' FROM salesforce_accounts").fetchall()
    assert {(name, notes[name] or None) for name in names} <= set(got)


def test_an_empty_organization_is_an_empty_table(
    con: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    salesforce.load_accounts(con, client, org)
    for table in ("account", "contact"):
        served.state.db.execute(f"DELETE FROM {table}")
    forget(con)
    assert salesforce.load_accounts(con, client, org) == salesforce.load_contacts(con, client, org) == 0
    assert con.sql("SELECT count(*) FROM salesforce_accounts").fetchall() == [(0,)]
    assert con.sql("FROM salesforce_accounts").columns[0] == "account_id"


def test_contacts_of_accounts_arrive(con: duckdb.DuckDBPyConnection, served: Served, client: Client) -> None:
    org = connected(served.url, served.ca_file, **{"import": IMPORTS})
    assert salesforce.load_contacts(con, client, org) == 1
    ((contact,)) = rows(con, "salesforce_contacts", "contact_id").values()
    assert (contact["last_name"], contact["email"], contact["account_id"]) == ("O'Neil", "zoe@acme.example", world.ACME)
    assert json.loads(contact["custom_fields"]) == {"Language__c": None}


def test_users_arrive_active_or_not(con: duckdb.DuckDBPyConnection, client: Client, org: Organization) -> None:
    assert salesforce.load_users(con, client, org) == 2
    found = con.sql("SELECT user_id, name, email, is_active FROM salesforce_users ORDER BY name").fetchall()
    assert found == [
        (world.USER, "Ada Admin", "ada@stripe.example", True),
        (world.LEAVER, "Leo Leaver", "leo@stripe.example", False),
    ]


def test_what_is_not_imported_is_not_asked_for(con: duckdb.DuckDBPyConnection, served: Served, client: Client) -> None:
    org = connected(served.url, served.ca_file, **{"import": {"owners": False, "contacts": False}})
    before = served.calls()
    assert salesforce.load_users(con, client, org) == salesforce.load_contacts(con, client, org) == 0
    assert served.calls() == before


def test_the_organization_is_one_row(
    con: duckdb.DuckDBPyConnection, served: Served, client: Client, org: Organization
) -> None:
    assert salesforce.load_organization(con, client, org) == 1
    found = con.sql("SELECT * EXCLUDE (api_requests_used) FROM salesforce_organization").fetchall()
    assert found == [(world.ORGANIZATION_ID, "Company 1", served.url, False, 100_000)]


# -- disturbed ------------------------------------------------------------------------------------------------


@pytest.fixture
def many(served: Served, monkeypatch: pytest.MonkeyPatch) -> int:
    """Accounts on several pages, which the stand-in names."""
    monkeypatch.setattr(pages, "PAGE_RECORDS", 10)
    return len(world.many_accounts(served.state, 40)) + 3


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "expire_session", "path": "locator="},
        {"action": "expire_session", "path": "jobs/query$"},
        {"action": "status", "status": 503, "path": "jobs/query/", "times": 2},
        {"action": "status", "status": 420, "path": "locator="},
        {"action": "status", "status": 406, "path": "describe"},
        {"action": "cut", "bytes": 100, "path": "locator=", "times": 2},
        {"action": "cut", "bytes": 3, "path": "describe"},
        {"action": "cut", "bytes": 0, "path": "results"},
    ],
    ids=str,
)
def test_what_passes_is_survived(
    fault: dict[str, Any], con: duckdb.DuckDBPyConnection, served: Served, many: int, client: Client, org: Organization
) -> None:
    served.fault(**fault)
    assert salesforce.load_accounts(con, client, org) == many
    assert con.sql("SELECT count(DISTINCT account_id) FROM salesforce_accounts").fetchall() == [(many,)]
    assert served.faults_left() == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"action": "status", "status": 503, "path": "locator="}, TransientError),
        ({"action": "cut", "bytes": 100, "path": "locator="}, TransientError),
        ({"action": "expire_session", "path": "locator="}, ReconnectError),
        (
            {
                "action": "status",
                "status": 403,
                "path": "jobs/query$",
                "body": [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}],
            },
            TransientError,
        ),
    ],
    ids=str,
)
def test_what_lasts_is_told_and_leaves_the_old_rows(
    fault: dict[str, Any],
    error: type[Exception],
    con: duckdb.DuckDBPyConnection,
    served: Served,
    many: int,
    client: Client,
    org: Organization,
) -> None:
    salesforce.load_accounts(con, client, org)
    served.state.db.execute("DELETE FROM account WHERE \"Name\" LIKE 'Many%'")
    world.many_accounts(served.state, 20)
    forget(con)
    served.fault(**fault, times=0)
    with pytest.raises(error):
        salesforce.load_accounts(con, client, org)
    assert con.sql("SELECT count(*) FROM salesforce_accounts").fetchall() == [(many,)]
    served.heal()
    assert salesforce.load_accounts(con, client, org) == 23


@pytest.mark.parametrize(
    ("page", "error"),
    [
        (f'{HEADER}"1","cut', DataError),
        (
            f'{HEADER}"1","n","b","o","yesterday",""\n',
            DataError,
        ),
        (
            f'{HEADER}"1","n","b","o","",""\n',
            TransientError,
        ),
        ('"Id","Name"\n"1","n"\n', TransientError),
        ("", TransientError),
    ],
    ids=["cut in a value", "no time", "a row short", "other columns", "empty"],
)
def test_a_page_that_is_not_what_was_announced_is_not_loaded(
    page: str,
    error: type[Exception],
    con: duckdb.DuckDBPyConnection,
    client: Client,
    org: Organization,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def download(client: Client, soql: str, folder: Path, *, what: str, operation: str) -> Result:
        (folder / "page.csv").write_text(page)
        return Result([folder / "page.csv"], 2)

    salesforce.load_accounts(con, client, org)
    forget(con)
    monkeypatch.setattr("sync_pipeline.salesforce.reads.reading.download", download)
    with pytest.raises(error) as caught:
        salesforce.load_accounts(con, client, org)
    assert "yesterday" not in str(caught.value)
    assert con.sql("SELECT count(*) FROM salesforce_accounts").fetchall() == [(3,)]


def test_nothing_is_left_on_disk(con: duckdb.DuckDBPyConnection, client: Client, org: Organization) -> None:
    salesforce.load_accounts(con, client, org)
    spill = Path(con.sql("SELECT current_setting('temp_directory')").fetchall()[0][0])
    assert list(spill.iterdir()) == []


def test_a_field_that_cannot_be_read_stops_before_the_read(
    con: duckdb.DuckDBPyConnection, served: Served, client: Client
) -> None:
    fields = {"account_fields": {"Industri": "A", "Hidden__c": "B", "BillingAddress": "C"}}
    org = connected(served.url, served.ca_file, **{"import": fields})
    with pytest.raises(ConfigurationError) as caught:
        salesforce.load_accounts(con, client, org)
    message = str(caught.value)
    assert "no field Industri" in message
    assert "Is it Industry?" in message
    assert "no field Hidden__c" in message
    assert "BillingAddress is a compound field" in message
    assert served.calls("POST", "%jobs%") == 0


def test_an_export_field_that_is_missing_does_not_stop_the_read(
    con: duckdb.DuckDBPyConnection, served: Served, client: Client
) -> None:
    org = connected(served.url, served.ca_file, export={"portal_link": {"salesforce_field": "Nowhere__c"}})
    assert salesforce.load_accounts(con, client, org) == 3


def test_a_hidden_standard_field_is_named(con: duckdb.DuckDBPyConnection, served: Served, client: Client) -> None:
    served.change("Contact", "Email", hidden=True)
    org = connected(served.url, served.ca_file)
    with pytest.raises(ConfigurationError, match=r"Contact\.Email is read of every record, but hidden"):
        salesforce.load_contacts(con, client, org)
    assert salesforce.load_accounts(con, client, org) == 3


def test_a_hidden_field_of_users_is_named(con: duckdb.DuckDBPyConnection, served: Served, client: Client) -> None:
    served.change("User", "Email", hidden=True)
    org = connected(served.url, served.ca_file, **{"import": {"owners": True}})
    with pytest.raises(ConfigurationError, match=r"User\.Email is read of every record, but hidden"):
        salesforce.load_users(con, client, org)
