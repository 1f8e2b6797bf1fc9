from __future__ import annotations

from typing import Any

import duckdb
import pytest

from sync_pipeline import salesforce
from sync_pipeline.salesforce import Client, FieldFact, inspect_fields
from sync_pipeline_tests.salesforce.conftest import Served
from sync_pipeline_tests.salesforce.organizations import connected


def identifier(served: Served, client: Client, field: str) -> FieldFact:
    org = connected(served.url, served.ca_file, identifier={"billing_field": "id", "salesforce_field": field})
    (fact,) = inspect_fields(client, org)
    return fact


def export(served: Served, client: Client, field: str, **sections: Any) -> str | None:
    org = connected(served.url, served.ca_file, export={"portal_link": {"salesforce_field": field}}, **sections)
    _, fact = inspect_fields(client, org)
    return fact.problem


@pytest.mark.parametrize(
    ("field", "type_"),
    [("Id", "id"), ("Billing_Id__c", "string"), ("Notes__c", "textarea"), ("ParentId", "reference"), ("id", "id")],
)
def test_fields_that_can_be_the_identifier(field: str, type_: str, served: Served, client: Client) -> None:
    fact = identifier(served, client, field)
    assert (fact.field, fact.type, fact.problem) == (field, type_, None)


def test_a_number_cannot_be_the_identifier(served: Served, client: Client) -> None:
    fact = identifier(served, client, "Legacy_Number__c")
    assert fact.type == "double"
    assert "is a number field (type double)" in str(fact.problem)
    assert "Make a text field, copy Account.Legacy_Number__c into it" in str(fact.problem)


@pytest.mark.parametrize("field", ["Industry", "Website", "CreatedDate", "BillingAddress"])
def test_other_types_cannot_be_the_identifier(field: str, served: Served, client: Client) -> None:
    problem = str(identifier(served, client, field).problem)
    assert "must be the Account Id or a field of type string, textarea or reference" in problem


@pytest.mark.parametrize(
    "field", ["Hidden__c", "Nothing__c", "Billing_Id__d", "Billing Id", "Id FROM User --", "x'; DROP"]
)
def test_a_missing_and_a_hidden_field_are_told_alike(field: str, served: Served, client: Client) -> None:
    org = connected(served.url, served.ca_file)
    # The models refuse most of these; what they let through is checked again before it reaches any query.
    org = org.model_copy(update={"identifier": org.identifier.model_copy(update={"salesforce_field": field})})
    problem = str(inspect_fields(client, org)[0].problem)
    assert "Account has no field" in problem
    assert "field-level security hides it" in problem
    assert served.calls("GET", "%query%") == 0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Biling_Id__c", "Billing_Id__c"),
        ("Company_Number", "Company_Number__c"),
        ("Segment", "Segment__c"),
        ("Company_Nr__c", "Company_Number__c"),
    ],
)
def test_a_near_name_is_suggested(written: str, meant: str, served: Served, client: Client) -> None:
    assert f"Is it {meant}" in str(identifier(served, client, written).problem)


def test_fields_that_can_hold_the_link(served: Served, client: Client) -> None:
    assert [export(served, client, field) for field in ("Portal_Link__c", "portal_url__c", "Segment__c")] == [None] * 3


@pytest.mark.parametrize(
    ("field", "change_", "problem"),
    [
        ("Nowhere__c", {}, "no field Nowhere__c"),
        ("Score__c", {}, "is a formula"),
        ("Industry", {}, "is of type picklist; a link needs textarea, string or url"),
        ("Portal_Link__c", {"updateable": False}, "may not be edited by the connected user"),
        ("Portal_Link__c", {"hidden": True}, "field-level security hides it"),
        ("Short_Link__c", {}, "holds 20 characters, a portal link has at least 25"),
        ("Billing_Id__c", {}, "is the shared identifier; the portal link would overwrite it"),
    ],
)
def test_fields_that_cannot_hold_the_link(
    field: str, change_: dict[str, Any], problem: str, served: Served, client: Client
) -> None:
    if change_:
        served.change("Account", field, **change_)
    assert problem in str(export(served, client, field))


def test_every_problem_is_told_at_once(con: duckdb.DuckDBPyConnection, served: Served, client: Client) -> None:
    org = connected(
        served.url,
        served.ca_file,
        identifier={"billing_field": "id", "salesforce_field": "Legacy_Number__c"},
        export={"portal_link": {"salesforce_field": "Score__c"}},
        **{"import": {"account_fields": {"BillingAddress": "A", "Industry": "I"}, "contact_fields": {"Nope__c": "B"}}},
    )
    assert salesforce.load_fields(con, client, org) == 5
    found = con.sql("SELECT object, field, purpose, type, problem IS NULL FROM salesforce_fields").fetchall()
    assert found == [
        ("Account", "Legacy_Number__c", "identifier", "double", False),
        ("Account", "BillingAddress", "import", "address", False),
        ("Account", "Industry", "import", "picklist", True),
        ("Contact", "Nope__c", "import", None, False),
        ("Account", "Score__c", "export", "double", False),
    ]


@pytest.mark.parametrize(("field", "expected"), [("Id", True), ("ParentId", True), ("Billing_Id__c", False)])
def test_whether_the_identifier_is_a_salesforce_id(
    field: str, expected: bool, con: duckdb.DuckDBPyConnection, served: Served, client: Client
) -> None:
    assert salesforce.identifier_is_salesforce_id(con) is False
    salesforce.load_fields(
        con,
        client,
        connected(served.url, served.ca_file, identifier={"billing_field": "id", "salesforce_field": field}),
    )
    assert salesforce.identifier_is_salesforce_id(con) is expected
