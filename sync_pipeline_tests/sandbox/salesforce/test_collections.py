"""sObject collections: many records in one request, each with an answer of its own."""

from __future__ import annotations

from typing import Any

from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.conftest import Served
from sync_pipeline_tests.sandbox.salesforce.world import ACME, BETA, DELETED, GAMMA, LOSER

ACCOUNT, CONTACT = {"attributes": {"type": "Account"}}, {"attributes": {"type": "Contact"}}


def codes(answer: list[dict[str, Any]]) -> list[str | None]:
    return [result["errors"][0]["statusCode"] if result["errors"] else None for result in answer]


def test_collections_answer_each_record_in_order(served: Served) -> None:
    def item(record_id: object, **values: object) -> dict[str, object]:
        return {"attributes": {"type": "Account"}, "id": record_id, **values}

    served.fault(action="refuse", ids=[GAMMA], code="UNABLE_TO_LOCK_ROW", message="unable to obtain exclusive access")
    records = [
        item(BETA[:15], Portal_Link__c="https://new.example/2"),
        item(GAMMA, Portal_Link__c="x"),
        item(DELETED, Portal_Link__c="x"),
        item(world.make_id("001", 99), Portal_Link__c="x"),
        item(ACME, Portal_Url__c="https://x.example/" + "x" * 255),
        item(ACME, Score__c=1),
        item(ACME, Nope__c=1),
        item(ACME, AnnualRevenue="many"),
        item(ACME, OwnerId=ACME),
        item("nonsense", Portal_Link__c="x"),
        item(None, Portal_Link__c="x"),
        {"id": ACME, "Portal_Link__c": "x"},
        item(ACME, Name=None),
        item(ACME, Portal_Link__c=None),
        item(ACME, Notes__c="\ud800"),
    ]
    answer = served.http.patch(served.data("composite/sobjects"), json={"allOrNone": False, "records": records})
    assert answer.status_code == 200
    codes = [result["errors"][0]["statusCode"] if result["errors"] else None for result in answer.json()]
    assert codes == [
        None,
        "UNABLE_TO_LOCK_ROW",
        "ENTITY_IS_DELETED",
        "INVALID_CROSS_REFERENCE_KEY",
        "STRING_TOO_LONG",
        "INVALID_FIELD_FOR_INSERT_UPDATE",
        "INVALID_FIELD",
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
        "MALFORMED_ID",
        "MALFORMED_ID",
        "MISSING_ARGUMENT",
        "INVALID_TYPE",
        "REQUIRED_FIELD_MISSING",
        None,
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
    ]
    assert answer.json()[0] == {"id": BETA, "success": True, "errors": []}
    again = served.http.patch(served.data("composite/sobjects"), json={"records": records[1:2]})
    assert again.json()[0]["success"] is True  # the row was locked once
    found = served.query("SELECT Portal_Link__c, SystemModstamp FROM Account ORDER BY Id")
    assert [r["Portal_Link__c"] for r in found] == [None, "https://new.example/2", "x"]
    assert all(str(r["SystemModstamp"]) > "2024-02" for r in found)


def test_collections_all_or_none(served: Served) -> None:
    records = [
        {"attributes": {"type": "Account"}, "id": ACME, "Segment__c": "Gold"},
        {"attributes": {"type": "Account"}, "id": DELETED, "Segment__c": "Gold"},
    ]
    answer = served.http.patch(served.data("composite/sobjects"), json={"allOrNone": True, "records": records}).json()
    assert [r["errors"][0]["statusCode"] for r in answer] == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "ENTITY_IS_DELETED"]
    assert served.query(f"SELECT Segment__c FROM Account WHERE Id = '{ACME}'") == [{"Segment__c": None}]
    too_many = served.http.patch(served.data("composite/sobjects"), json={"records": records[:1] * 201})
    assert (too_many.status_code, too_many.json()[0]["errorCode"]) == (400, "EXCEEDED_ID_LIMIT")


def test_making_many(served: Served) -> None:
    records = [ACCOUNT | {"Name": "One"}, CONTACT | {"FirstName": "Two"}, CONTACT | {"LastName": "Three"}]
    address = served.data("composite/sobjects")
    undone = served.http.post(address, json={"allOrNone": True, "records": records}).json()
    rolled_back = "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    assert codes(undone) == [rolled_back, "REQUIRED_FIELD_MISSING", rolled_back]
    assert not any("id" in result for result in undone)
    assert served.query("SELECT Id FROM Account WHERE Name = 'One'") == []

    made = served.http.post(address, json={"allOrNone": False, "records": records}).json()
    assert codes(made) == [None, "REQUIRED_FIELD_MISSING", None]
    assert [result.get("id", "")[:3] for result in made] == ["001", "", "003"]
    assert served.query("SELECT Id FROM Account WHERE Name = 'One'") == [{"Id": made[0]["id"]}]


def test_upserting_many(served: Served) -> None:
    records = [
        ACCOUNT | {"Billing_Id__c": "0012", "Segment__c": "Gold"},
        ACCOUNT | {"billing_id__c": "new", "Name": "New"},
        ACCOUNT | {"Billing_Id__c": "twin", "Name": "Which?"},
        ACCOUNT | {"Name": "No key"},
        CONTACT | {"Billing_Id__c": "x", "LastName": "x"},
    ]
    address = served.data("composite/sobjects/Account/Billing_Id__c")
    answer = served.http.patch(address, json={"allOrNone": False, "records": records}).json()
    assert codes(answer) == [None, None, "DUPLICATE_EXTERNAL_ID", "MISSING_ARGUMENT", "INVALID_TYPE"]
    assert (answer[0]["id"], answer[0]["created"], answer[1]["created"]) == (ACME, False, True)
    by_id = [ACCOUNT | {"Id": ACME, "Segment__c": "Silver"}, ACCOUNT | {"Name": "Made"}]
    made = served.http.patch(served.data("composite/sobjects/Account/Id"), json={"records": by_id}).json()
    assert [result["created"] for result in made] == [False, True]
    names = [r["Name"] for r in served.query("SELECT Name FROM Account WHERE Name IN ('New', 'Made') ORDER BY Name")]
    assert names == ["Made", "New"]
    too_many = served.http.patch(address, json={"records": records[:1] * 201})
    assert too_many.json()[0]["errorCode"] == "EXCEEDED_ID_LIMIT"
    assert served.http.patch(served.data("composite/sobjects/Account/Name"), json={"records": []}).status_code == 404


def test_deleting_many(served: Served) -> None:
    address = served.data("composite/sobjects")
    ids = ",".join([BETA, world.make_id("003", 1), DELETED, "nonsense"])
    undone = served.http.delete(address, params={"ids": ids, "allOrNone": "true"}).json()
    assert codes(undone)[2:] == ["ENTITY_IS_DELETED", "MALFORMED_ID"]
    assert served.query(f"SELECT Id FROM Account WHERE Id = '{BETA}'") == [{"Id": BETA}]
    assert codes(served.http.delete(address, params={"ids": ids}).json()) == [
        None,
        None,
        "ENTITY_IS_DELETED",
        "MALFORMED_ID",
    ]
    assert served.query(f"SELECT Id FROM Account WHERE Id = '{BETA}'") == []


def test_reading_many(served: Served) -> None:
    ids = [GAMMA, ACME[:15], world.make_id("001", 99), DELETED, LOSER, "nonsense", ACME]
    address = served.data("composite/sobjects/Account")
    expected = [GAMMA, ACME, None, None, None, None, ACME]
    answers = [
        served.http.post(address, json={"ids": ids, "fields": ["Id", "Name", "id"]}),
        served.http.get(address, params={"ids": ",".join(ids), "fields": "Id,Name"}),
    ]
    for answer in answers:
        assert [record and record["Id"] for record in answer.json()] == expected
        assert answer.json()[1].keys() == {"attributes", "Id", "Name"}
    nothing = served.http.post(address, json={"ids": ["nonsense"], "fields": ["Name"]})
    assert nothing.json() == [None]
    wrong = [
        ({"ids": [ACME], "fields": ["Hidden__c"]}, "INVALID_FIELD"),
        ({"ids": [ACME]}, "MISSING_ARGUMENT"),
        ({"ids": "x", "fields": ["Id"]}, "MISSING_ARGUMENT"),
        ({"ids": [ACME] * 2001, "fields": ["Id"]}, "EXCEEDED_ID_LIMIT"),
    ]
    for body, code in wrong:
        assert served.http.post(address, json=body).json()[0]["errorCode"] == code
