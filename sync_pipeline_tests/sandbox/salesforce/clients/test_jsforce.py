"""jsforce, as published, against the stand-in over TLS."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.clients.conftest import Node, StandIn
from sync_pipeline_tests.sandbox.salesforce.world import ACME, BETA, DELETED, GAMMA, LOSER

Call = Callable[..., Any]


@pytest.fixture
def jsforce(node: Node, stand_in: StandIn, tmp_path: Path) -> Call:
    """Make one call of jsforce_calls.cjs; its result, or {"code", "message"} of its error."""

    def call(name: str, *arguments: Any) -> Any:
        asked = {"url": stand_in.https, "token": world.TOKEN, "call": name, "arguments": arguments}
        script = Path(__file__).with_name("jsforce_calls.cjs")
        environment = {"HOME": str(tmp_path), "NODE_EXTRA_CA_CERTS": str(stand_in.ca_file)}
        done = node.run(script, stdin=json.dumps(asked), **environment)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        return answer.get("error") or answer.get("result")

    return call


def codes(answers: list[dict[str, Any]]) -> list[str | None]:
    return [answer["errors"][0]["statusCode"] if answer["errors"] else None for answer in answers]


def test_queries(jsforce: Call, stand_in: StandIn) -> None:
    more = world.many_accounts(stand_in.state, 4_100, first=10**7)
    soql = "SELECT Id FROM Account WHERE Name LIKE 'Many %'"
    fetched = jsforce("autofetch", soql)
    assert fetched == {"ids": sorted([*stand_in.many, *more]), "totalSize": 4_100 + len(stand_in.many), "done": True}
    assert jsforce("queryMore", soql) == [2_000, 2_000, 100 + len(stand_in.many)]
    deleted = jsforce("scanAll", "SELECT Id, MasterRecordId FROM Account WHERE IsDeleted = true")
    assert {(r["Id"], r["MasterRecordId"]) for r in deleted} >= {(DELETED, None), (LOSER, ACME)}
    found = jsforce("find", {"Industry": {"$in": ["Retail", "Banking"]}, "Name": {"$like": "é%"}})
    assert [(r["Id"], r["Owner"]["Name"]) for r in found] == [(BETA, "Leo Leaver")]
    assert jsforce("count", {"Industry": None, "Name": {"$like": "50\\%%"}}) == 1
    refused = jsforce("autofetch", "SELECT Id FROM Account WHERE")
    assert (refused["code"], "unexpected token: '<EOF>'" in refused["message"]) == ("MALFORMED_QUERY", True)


def test_metadata(jsforce: Call) -> None:
    assert jsforce("identity")["organization_id"] == world.ORGANIZATION_ID
    fields = jsforce("describe")
    assert ("Portal_Link__c" in fields, "Hidden__c" in fields) == (True, False)
    assert {"Account", "Contact", "User"} <= set(jsforce("describeGlobal"))
    found = jsforce("limits")
    assert found["seen"]["apiUsage"]["limit"] == found["limits"]["DailyApiRequests"]["Max"]


def test_collections(jsforce: Call, stand_in: StandIn) -> None:
    made = jsforce("create", [{"Name": "js 1", "Billing_Id__c": "js-1"}, {"Name": "js 2"}, {"Industry": "Retail"}])
    assert codes(made) == [None, None, "REQUIRED_FIELD_MISSING"]
    first, second = made[0]["id"], made[1]["id"]
    changes = [{"Id": first, "Segment__c": "Gold"}, {"Id": DELETED, "Segment__c": "Gold"}]
    assert codes(jsforce("update", changes)) == [None, "ENTITY_IS_DELETED"]
    undone = jsforce("update", [{"Id": first, "Segment__c": "Silver"}, changes[1]], {"allOrNone": True})
    assert codes(undone)[0] == "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    assert stand_in.account(first)["Segment__c"] == "Gold"
    upserted = jsforce(
        "upsert", [{"Billing_Id__c": "js-1", "Name": "js one"}, {"Billing_Id__c": "js-3", "Name": "js 3"}]
    )
    assert [(answer["created"], answer["id"] == first) for answer in upserted] == [(False, True), (True, False)]
    assert jsforce("upsert", {"Billing_Id__c": "js-3", "Name": "js three"})["created"] is False
    found = jsforce("retrieve", [second, ACME, world.make_id("001", 99)], {"fields": ["Id", "Name"]})
    assert [record and record["Id"] for record in found] == [second, ACME, None]
    assert jsforce("retrieve", first)["Name"] == "js one"
    assert codes(jsforce("destroy", [first, second, LOSER])) == [None, None, "ENTITY_IS_DELETED"]
    assert {first, second} <= set(jsforce("deleted"))
    assert upserted[1]["id"] in jsforce("updated")
    assert upserted[1]["id"] in [record["Id"] for record in jsforce("findSince")]


def test_bulk(jsforce: Call, stand_in: StandIn) -> None:
    """One page at a time: jsforce 3 breaks off its own stream on a second one."""
    soql = f"SELECT Id, Name, Owner.Name FROM Account WHERE Id IN ('{ACME}', '{BETA}', '{DELETED}')"
    assert [r["Owner.Name"] for r in jsforce("bulkQuery", soql, False)] == ["Ada Admin", "Leo Leaver"]
    assert [r["Id"] for r in jsforce("bulkQuery", soql, True)] == [ACME, BETA, DELETED]
    rows = [{"Id": ACME, "Segment__c": "Bulk"}, {"Id": GAMMA, "Segment__c": "x" * 81}, {"Id": LOSER, "Segment__c": "x"}]
    answers = jsforce("bulkLoad", {"operation": "update", "input": rows})
    assert [row["sf__Id"] for row in answers["successfulResults"]] == [ACME]
    errors = [row["sf__Error"].partition(":")[0] for row in answers["failedResults"]]
    assert errors == ["STRING_TOO_LONG", "ENTITY_IS_DELETED"]
    assert stand_in.account(ACME)["Segment__c"] == "Bulk"
    load = {"operation": "upsert", "externalIdFieldName": "Billing_Id__c", "input": "Billing_Id__c,Name\njs-9,New\n"}
    assert [row["sf__Created"] for row in jsforce("bulkLoad", load)["successfulResults"]] == ["true"]
