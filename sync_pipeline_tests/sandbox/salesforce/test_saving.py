"""What a save is refused for beyond its own values: unique fields and validation rules."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.conftest import Served
from sync_pipeline_tests.sandbox.salesforce.world import ACME, BETA, GAMMA


def override(served: Served, field: str, **attributes: Any) -> None:
    given = {"org": world.ORG, "object": "Account", "field": field, **attributes}
    assert served.http.post(f"{served.url}/sandbox/fields", json=given).status_code == 200


def rule(served: Served, **given: Any) -> tuple[int, str]:
    body = {"org": world.ORG, "object": "Account", "message": "Retailers get no link.", **given}
    answer = served.http.post(f"{served.url}/sandbox/validation", json=[body])
    return answer.status_code, answer.json().get("message", "")


def test_unique_fields(served: Served) -> None:
    override(served, "Billing_Id__c", unique=True)
    address = served.data(f"sobjects/Account/{BETA}")
    refused = served.http.patch(address, json={"Billing_Id__c": "0012"}).json()
    assert refused == [
        {
            "message": f"duplicate value found: Billing_Id__c duplicates value on record with id: {ACME}",
            "errorCode": "DUPLICATE_VALUE",
            "fields": [],
        }
    ]
    assert served.http.patch(address, json={"Billing_Id__c": "0013", "Name": "Beta"}).status_code == 204
    assert served.http.patch(address, json={"Billing_Id__c": "0013"}).status_code == 204  # its own
    assert served.http.patch(address, json={"Billing_Id__c": None}).status_code == 204
    made = served.http.post(served.data("sobjects/Account"), json={"Name": "x", "Billing_Id__c": "TWIN"})
    assert made.json()[0]["errorCode"] == "DUPLICATE_VALUE"
    served.http.delete(served.data(f"sobjects/Account/{ACME}"))
    assert served.http.patch(address, json={"Billing_Id__c": "0012"}).status_code == 204  # it was freed


def test_validation_rules(served: Served) -> None:
    when = "Industry = 'Retail' AND Segment__c != null"
    assert rule(served, when=when, field="segment__c") == (200, "")
    address = served.data(f"sobjects/Account/{ACME}")
    before = served.http.get(address).json()
    refused = served.http.patch(address, json={"Segment__c": "Gold"}).json()
    assert refused == [
        {
            "message": "Retailers get no link.",
            "errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            "fields": ["Segment__c"],
        }
    ]
    assert served.http.get(address).json() == before
    assert served.http.patch(address, json={"Segment__c": "Gold", "Industry": "Energy"}).status_code == 204
    made = served.http.post(
        served.data("sobjects/Account"), json={"Name": "x", "Industry": "Retail", "Segment__c": "x"}
    )
    assert made.json()[0]["errorCode"] == "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    records = [
        {"attributes": {"type": "Account"}, "id": record_id, "Segment__c": "Gold", "Industry": industry}
        for record_id, industry in ((BETA, "Retail"), (GAMMA, "Banking"))
    ]
    answer = served.http.patch(served.data("composite/sobjects"), json={"records": records}).json()
    assert [result["success"] for result in answer] == [False, True]
    assert served.query("SELECT Segment__c FROM Account ORDER BY Id") == [
        {"Segment__c": "Gold"},
        {"Segment__c": None},
        {"Segment__c": "Gold"},
    ]
    served.http.delete(f"{served.url}/sandbox/validation")
    assert served.http.patch(address, json={"Industry": "Retail"}).status_code == 204


def test_dates(served: Served) -> None:
    override(served, "Segment__c", type="date")
    address = served.data(f"sobjects/Account/{ACME}")
    assert served.http.patch(address, json={"Segment__c": "2024-02-30"}).json()[0]["errorCode"] == (
        "INVALID_TYPE_ON_FIELD_IN_RECORD"
    )
    assert served.http.patch(address, json={"Segment__c": "2024-02-29"}).status_code == 204
    assert served.query("SELECT Segment__c FROM Account WHERE Segment__c = 2024-02-29") == [
        {"Segment__c": "2024-02-29"}
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"when": "Nope__c = null"}, "No such column 'Nope__c'"),
        ({"when": "Industry ="}, "unexpected token"),
        ({"when": "Industry = null) OR (Name != null", "field": "Nope__c"}, "no field 'Nope__c' of 'Account'"),
        ({"when": "Industry = null", "object": "Lead"}, "no object 'Lead'"),
        ({"when": "Industry = null", "org": "none"}, "no organization 'none'"),
        ({"when": 5}, "a validation rule has"),
        ({"when": "Industry = null", "severity": "high"}, "a validation rule has"),
    ],
)
def test_rules_that_are_none(served: Served, given: dict[str, Any], words: str) -> None:
    status, message = rule(served, **given)
    assert (status, words in message) == (400, True), message
