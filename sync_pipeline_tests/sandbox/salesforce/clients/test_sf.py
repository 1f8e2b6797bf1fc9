"""Salesforce's own command line, as published, against the stand-in: over plain http, and a login over TLS."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.clients.conftest import Node, Sf, StandIn
from sync_pipeline_tests.sandbox.salesforce.conftest import PAGE_ROWS
from sync_pipeline_tests.sandbox.salesforce.world import ACME, BETA, DELETED, GAMMA, LOSER

ORG = ("--target-org", "demo")
BULK = ("--sobject", "Account", "--wait", "1", *ORG)


@pytest.fixture(scope="module")
def sf(node: Node, stand_in: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Sf:
    command = Sf(node, tmp_path_factory.mktemp("home"), stand_in.ca_file)
    login = ("org", "login", "access-token", "--instance-url", stand_in.http, "--no-prompt", "--alias", "demo")
    found = command(*login, SF_ACCESS_TOKEN=world.TOKEN)
    assert (found["orgId"], found["username"]) == (world.ORGANIZATION_ID, "ada@stripe.example")
    return command


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


def rows(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(), newline="")))


def test_the_organization(sf: Sf) -> None:
    shown = sf("org", "display", *ORG)
    assert (shown["id"], shown["connectedStatus"], shown["apiVersion"]) == (world.ORGANIZATION_ID, "Connected", "68.0")
    limits = {limit["name"]: limit for limit in sf("org", "list", "limits", *ORG)}
    assert 0 < limits["DailyApiRequests"]["remaining"] < limits["DailyApiRequests"]["max"]


def test_login_with_a_key_over_tls(sf: Sf, stand_in: StandIn, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text(world.PRIVATE_KEY)
    login = ("org", "login", "jwt", "--username", f"admin@{world.ORG}.example", "--jwt-key-file", str(key))
    found = sf(*login, "--client-id", f"client-{world.ORG}", "--instance-url", stand_in.https, "--alias", "tls")
    assert (found["orgId"], found["instanceUrl"], found["isSandbox"]) == (world.ORGANIZATION_ID, stand_in.https, False)
    soql = "SELECT Id FROM Account WHERE CreatedDate < TODAY AND Industry = 'Retail'"
    assert [r["Id"] for r in sf("data", "query", "--query", soql, "--target-org", "tls")["records"]] == [ACME]


def test_query_as_a_person_sees_it(sf: Sf) -> None:
    soql = f"SELECT Name, Owner.Name, Parent.Owner.Email FROM Account WHERE Id = '{BETA}'"
    shown = sf.run("data", "query", "--query", soql, "--result-format", "csv", *ORG)
    assert shown.stdout.splitlines() == [
        "Name,Owner.Name,Parent.Owner.Email",
        "ÉTÉ & Söhne 🚀,Leo Leaver,ada@stripe.example",
    ]


def test_query_with_deleted_records(sf: Sf) -> None:
    soql = "SELECT Id, MasterRecordId FROM Account WHERE IsDeleted = true"
    found = sf("data", "query", "--query", soql, "--all-rows", *ORG)
    assert [(r["Id"], r["MasterRecordId"]) for r in found["records"]] == [(DELETED, None), (LOSER, ACME)]


def test_query_of_the_tooling_api(sf: Sf) -> None:
    found = sf("data", "query", "--query", "SELECT Id FROM User ORDER BY Name", "--use-tooling-api", *ORG)
    assert [r["Id"] for r in found["records"]] == [world.USER, world.LEAVER]


def test_query_that_is_refused(sf: Sf) -> None:
    refused = sf.refused("data", "query", "--query", "SELECT Hidden__c FROM Account", *ORG)
    assert refused["name"] == "INVALID_FIELD"
    assert "No such column 'Hidden__c' on entity 'Account'." in refused["message"]


def test_export_over_several_pages(sf: Sf, stand_in: StandIn, written: Path) -> None:
    soql = "SELECT Id, Name FROM Account WHERE Name LIKE 'Many %' ORDER BY Id"
    export = ("data", "export", "bulk", "--query", soql, "--output-file", str(written), "--wait", "1", *ORG)
    assert sf(*export)["totalSize"] == len(stand_in.many) > 3 * PAGE_ROWS
    assert [row[0] for row in rows(written)] == ["Id", *stand_in.many]


def test_update_in_bulk(sf: Sf, stand_in: StandIn, written: Path) -> None:
    written.write_text("Id,Segment__c\n" + "".join(f"{record_id},Gold\n" for record_id in stand_in.many))
    done = sf("data", "update", "bulk", "--file", str(written), *BULK)
    assert (done["successfulRecords"], done["failedRecords"]) == (len(stand_in.many), 0)
    assert stand_in.account(stand_in.many[-1])["Segment__c"] == "Gold"

    written.write_text(f"Id,Short_Link__c\n{GAMMA},short\n{DELETED},short\n{BETA},{'x' * 21}\n")
    refused = sf.refused("data", "update", "bulk", "--file", str(written), *BULK)
    assert "2" in refused["message"]
    assert stand_in.account(GAMMA)["Short_Link__c"] == "short"


def test_upsert_and_import_in_bulk(sf: Sf, stand_in: StandIn, written: Path) -> None:
    written.write_text("Billing_Id__c,Name\n0012,Acme\nsf-1,New\ntwin,Which?\n")
    upsert = ("data", "upsert", "bulk", "--file", str(written), "--external-id", "Billing_Id__c", *BULK)
    answers = sf.refused(*upsert)  # one of them is ambiguous
    assert answers["data"]["jobId"].startswith("750")
    assert stand_in.account(ACME)["Name"] == "Acme"

    written.write_text("Name,Billing_Id__c\nImported,sf-2\n")
    assert sf("data", "import", "bulk", "--file", str(written), *BULK)["successfulRecords"] == 1
    found = stand_in.state.rows("SELECT Name FROM account WHERE Billing_Id__c LIKE 'sf-%' ORDER BY Name")
    assert [row["Name"] for row in found] == ["Imported", "New"]


def test_single_records(sf: Sf, stand_in: StandIn) -> None:
    made = sf("data", "create", "record", "--sobject", "Contact", "--values", "LastName='van Dijk' Title=CFO", *ORG)
    where = ("--where", "LastName='van Dijk'")
    assert sf("data", "get", "record", "--sobject", "Contact", *where, *ORG)["Id"] == made["id"]
    sf("data", "update", "record", "--sobject", "Contact", *where, "--values", "Title=CEO", *ORG)
    (found,) = stand_in.state.rows("SELECT Title FROM contact WHERE Id = ?", made["id"])
    assert found["Title"] == "CEO"


def test_objects(sf: Sf) -> None:
    fields = {f["name"]: f for f in sf("sobject", "describe", "--sobject", "Account", *ORG)["fields"]}
    assert (fields["Portal_Url__c"]["type"], "Hidden__c" in fields) == ("url", False)
    assert {"Account", "Contact"} <= set(sf("sobject", "list", "--sobject", "all", *ORG))
