"""The recycle bin: deleting with dependents, merging, undeleting, purging, and what getDeleted and getUpdated tell of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.conftest import Served
from sync_pipeline_tests.sandbox.salesforce.world import ACME, BETA, CREATED, DELETED, GAMMA, LOSER

ZOE, NOBODY = world.make_id("003", 1), world.make_id("003", 2)


def everything(served: Served, soql: str) -> list[dict[str, Any]]:
    records = served.http.get(served.data("queryAll"), params={"q": soql}).json()["records"]
    return [{name: value for name, value in record.items() if name != "attributes"} for record in records]


def stamp(served: Served, record_id: str, object_name: str = "Account") -> str:
    soql = f"SELECT LastModifiedDate, SystemModstamp FROM {object_name} WHERE Id = '{record_id}'"
    (found,) = everything(served, soql)
    assert found["LastModifiedDate"] == found["SystemModstamp"]
    return str(found["SystemModstamp"])


def admin(served: Served, what: str, **given: Any) -> dict[str, Any]:
    answer = served.http.post(f"{served.url}/sandbox/{what}", json={"org": world.ORG, "object": "Account", **given})
    return {"status": answer.status_code, **answer.json()}


def replicated(served: Served, what: str, object_name: str = "Account", **span: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    given = {"start": now - timedelta(days=1), "end": now + timedelta(minutes=2)} | span
    parameters = {name: m.isoformat() if isinstance(m, datetime) else m for name, m in given.items()}
    answer = served.http.get(served.data(f"sobjects/{object_name}/{what}/"), params=parameters)
    content = answer.json()
    return content if answer.status_code == 200 else {"status": answer.status_code, **content[0]}


def test_an_account_goes_with_its_contacts_and_comes_back_with_them(served: Served) -> None:
    served.http.delete(served.data(f"sobjects/Contact/{NOBODY}"))
    assert served.http.delete(served.data(f"sobjects/Account/{ACME}")).status_code == 204
    deleted_at = stamp(served, ACME)
    assert deleted_at == stamp(served, ZOE, "Contact") > CREATED
    assert served.query("SELECT Id FROM Contact") == []
    assert [r["id"] for r in replicated(served, "deleted")["deletedRecords"]] == [ACME]
    contacts = {r["id"]: r["deletedDate"] for r in replicated(served, "deleted", "Contact")["deletedRecords"]}
    assert contacts == {NOBODY: stamp(served, NOBODY, "Contact"), ZOE: deleted_at}

    assert admin(served, "undelete", ids=[ACME[:15]]) == {"status": 200, "changed": 1}
    assert [r["Id"] for r in served.query("SELECT Id FROM Contact")] == [ZOE]  # Nobody was deleted alone
    assert stamp(served, ACME) > deleted_at
    assert replicated(served, "deleted")["deletedRecords"] == []
    assert replicated(served, "updated")["ids"] == [ACME]
    assert replicated(served, "updated", "Contact")["ids"] == [ZOE]


def test_a_merge(served: Served) -> None:
    served.http.patch(served.data(f"sobjects/Account/{GAMMA}"), json={"ParentId": ACME})
    assert admin(served, "merge", winner=BETA, losers=[ACME[:15]]) == {"status": 200, "changed": 1}
    moment = stamp(served, BETA)
    assert moment == stamp(served, ACME) == stamp(served, GAMMA) == stamp(served, ZOE, "Contact")
    assert everything(served, f"SELECT IsDeleted, MasterRecordId FROM Account WHERE Id = '{ACME}'") == [
        {"IsDeleted": True, "MasterRecordId": BETA}
    ]
    assert served.query("SELECT Id FROM Contact WHERE AccountId = '" + BETA + "'") == [{"Id": ZOE}]
    assert served.query("SELECT ParentId FROM Account ORDER BY Id") == [{"ParentId": None}, {"ParentId": BETA}]
    assert [r["id"] for r in replicated(served, "deleted")["deletedRecords"]] == [ACME]
    assert set(replicated(served, "updated")["ids"]) == {BETA, GAMMA}

    admin(served, "merge", winner=GAMMA, losers=[BETA])
    masters = everything(served, "SELECT Id, MasterRecordId FROM Account WHERE MasterRecordId != null ORDER BY Id")
    assert [(r["Id"], r["MasterRecordId"]) for r in masters] == [(ACME, BETA), (BETA, GAMMA), (LOSER, ACME)]

    admin(served, "undelete", ids=[ACME])
    assert served.query(f"SELECT MasterRecordId FROM Account WHERE Id = '{ACME}'") == [{"MasterRecordId": None}]
    assert served.query(f"SELECT Id FROM Contact WHERE AccountId = '{ACME}'") == []


def test_a_merge_of_contacts(served: Served) -> None:
    assert admin(served, "merge", object="Contact", winner=ZOE, losers=[NOBODY])["changed"] == 1
    assert everything(served, "SELECT Id, MasterRecordId FROM Contact WHERE IsDeleted = true") == [
        {"Id": NOBODY, "MasterRecordId": ZOE}
    ]


@pytest.mark.parametrize(
    ("what", "given", "words"),
    [
        ("merge", {"winner": ACME, "losers": [BETA, DELETED]}, "entity is deleted"),
        ("merge", {"winner": DELETED, "losers": [BETA]}, "entity is deleted"),
        ("merge", {"winner": ACME, "losers": [world.OTHERS]}, "invalid cross reference id"),
        ("merge", {"winner": ACME, "losers": [ACME]}, "A merge needs a winner"),
        ("merge", {"winner": ACME, "losers": []}, "A merge needs a winner"),
        ("merge", {"winner": ACME}, "expected a JSON object with org, object, losers, winner"),
        ("undelete", {"ids": [DELETED, ACME]}, "Entity is not in the recycle bin"),
        ("undelete", {"ids": ACME}, "ids and losers are lists"),
        ("purge", {"ids": [DELETED, "nonsense"]}, "invalid cross reference id"),
        ("purge", {"ids": [], "org": "none"}, "no organization 'none'"),
        ("purge", {"ids": [world.USER], "object": "User"}, "records of 'User' can't be deleted"),
    ],
)
def test_nothing_happens_when_something_is_wrong(served: Served, what: str, given: dict[str, Any], words: str) -> None:
    before = everything(served, "SELECT Id, IsDeleted, MasterRecordId, SystemModstamp FROM Account")
    answer = admin(served, what, **given)
    assert (answer["status"], words in answer["message"]) == (400, True), answer
    assert everything(served, "SELECT Id, IsDeleted, MasterRecordId, SystemModstamp FROM Account") == before


def test_a_purge_leaves_no_record_but_moves_the_beginning_of_the_log(served: Served) -> None:
    start = datetime.now(UTC) - timedelta(days=1)
    before = replicated(served, "deleted", start=start)
    assert before["earliestDateAvailable"] < start.isoformat()
    served.http.delete(served.data(f"sobjects/Account/{ACME}"))
    deleted_at = stamp(served, ACME)
    assert admin(served, "purge", ids=[ACME])["changed"] == 1
    assert everything(served, f"SELECT Id FROM Account WHERE Id = '{ACME}'") == []
    assert everything(served, f"SELECT Id FROM Contact WHERE Id = '{ZOE}'") == []
    assert replicated(served, "deleted", start=start) == {
        "deletedRecords": [],
        "earliestDateAvailable": deleted_at,
        "latestDateCovered": replicated(served, "deleted")["latestDateCovered"],
    }
    assert replicated(served, "deleted", "Contact", start=start)["earliestDateAvailable"] == deleted_at
    assert admin(served, "purge", ids=[BETA])["changed"] == 1  # a hard delete
    assert [r["Id"] for r in everything(served, "SELECT Id FROM Account")] == [GAMMA, DELETED, LOSER]


def test_the_id_of_a_purged_record_is_never_given_again(served: Served) -> None:
    ids = []
    for _ in range(3):
        ids.append(served.http.post(served.data("sobjects/Account"), json={"Name": "Short-lived"}).json()["id"])
        assert admin(served, "purge", ids=ids[-1:])["status"] == 200
    assert len(set(ids)) == 3


def test_spans(served: Served) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    served.state.db.execute(
        "UPDATE account SET SystemModstamp = ? WHERE Id = ?", ((now - timedelta(days=16)).isoformat(), DELETED)
    )
    covered = replicated(served, "deleted", start=now - timedelta(days=20))
    assert covered["deletedRecords"] == []  # told for fifteen days only
    assert covered["latestDateCovered"] >= now.strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    earlier = replicated(served, "updated", start=now - timedelta(days=3), end=now - timedelta(days=2))
    assert earlier == {"ids": [], "latestDateCovered": (now - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:00.000+0000")}
    wrong: list[dict[str, Any]] = [
        {"start": now, "end": now},
        {"start": now, "end": now - timedelta(days=1)},
        {"start": now - timedelta(days=31)},
        {"start": "yesterday"},
    ]
    for span in wrong:
        for what in ("deleted", "updated"):
            answer = replicated(served, what, **span)
            assert (answer["status"], answer["errorCode"]) == (400, "INVALID_REPLICATION_DATE"), span
    assert replicated(served, "deleted", "Organization")["errorCode"] == "INVALID_TYPE"
    assert replicated(served, "deleted", "Nothing")["status"] == 404
    assert replicated(served, "updated", "User")["ids"] == []
