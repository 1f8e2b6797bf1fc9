"""Rights of the connected user: what Salesforce tells of them, and what follows when one is taken away."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.conftest import Served

ALL = "SELECT PermissionsApiEnabled, PermissionsModifyAllData, PermissionsViewSetup FROM UserPermissionAccess"


def permit(served: Served, **given: Any) -> None:
    answer = served.http.post(f"{served.url}/sandbox/permissions", json={"org": world.ORG, **given})
    assert answer.status_code == 200, answer.text


def refused(served: Served, path: str, **arguments: Any) -> tuple[int, str]:
    answer = served.http.get(served.data(path), **arguments)
    return answer.status_code, answer.json()[0]["errorCode"]


def ids(served: Served, object_name: str) -> set[object]:
    return {record["Id"] for record in served.query(f"SELECT Id FROM {object_name}")}


def save(served: Served, record_id: str) -> str | None:
    """The code of a refusal, by a single record; the same by a collection."""
    answer = served.http.patch(served.data(f"sobjects/Account/{record_id}"), json={"Segment__c": "A"})
    record = {"attributes": {"type": "Account"}, "id": record_id, "Segment__c": "A"}
    (item,) = served.http.patch(served.data("composite/sobjects"), json={"records": [record]}).json()
    code = item["errors"][0]["statusCode"] if item["errors"] else None
    if answer.status_code == 204:
        assert code is None
    else:
        assert answer.json()[0]["errorCode"] in {code, "NOT_FOUND"}
    return None if code is None else str(code)


def test_a_new_world_has_an_administrator(served: Served) -> None:
    (rights,) = served.query(ALL)
    assert set(rights.values()) == {True}
    assert save(served, world.BETA) is None


def test_rights_lie_in_the_profile_and_in_a_permission_set(served: Served) -> None:
    permit(served, **{"as": "integration"}, user={"ViewSetup": True})
    where = f"WHERE AssigneeId = '{world.USER}' AND IsActive = true"
    sets = [
        row["PermissionSetId"] for row in served.query(f"SELECT PermissionSetId FROM PermissionSetAssignment {where}")
    ]
    assert len(sets) == 2
    rows = served.query(
        "SELECT SobjectType, PermissionsRead, PermissionsEdit, PermissionsViewAllRecords FROM ObjectPermissions "
        f"WHERE ParentId IN ('{sets[0]}', '{sets[1]}') ORDER BY SobjectType, ParentId"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("Account", True, True, False),
        ("Account", True, False, True),
        ("Contact", True, False, False),
        ("Contact", True, False, True),
    ]
    assert refused(served, "query", params={"q": "SELECT Id FROM FieldPermissions"}) == (400, "INVALID_TYPE")


def test_without_api_enabled_nothing_is_answered(served: Served) -> None:
    permit(served, user={"ApiEnabled": False})
    for path in ("", "sobjects/Account/describe", "limits"):
        assert refused(served, path) == (403, "API_DISABLED_FOR_ORG")


def test_without_view_setup_nobody_looks_at_permission_sets(served: Served) -> None:
    permit(served, **{"as": "integration"})
    for name in ("ObjectPermissions", "PermissionSetAssignment"):
        assert refused(served, "query", params={"q": f"SELECT Id FROM {name}"}) == (400, "INVALID_TYPE")
    assert refused(served, "limits") == (403, "INSUFFICIENT_ACCESS")
    assert served.query(ALL) == [
        {"PermissionsApiEnabled": True, "PermissionsModifyAllData": False, "PermissionsViewSetup": False}
    ]


def test_without_read_the_object_is_not_there(served: Served) -> None:
    permit(served, **{"as": "integration"}, objects={"Contact": {"Read": False}})
    assert refused(served, "sobjects/Contact/describe") == (404, "NOT_FOUND")
    assert refused(served, "query", params={"q": "SELECT Id FROM Contact"}) == (400, "INVALID_TYPE")
    assert ids(served, "Account")


def test_without_view_all_the_records_of_others_are_missing(served: Served) -> None:
    everything, contacts = ids(served, "Account"), ids(served, "Contact")
    none = {name: {"ViewAllRecords": False} for name in ("Account", "Contact")}
    permit(served, **{"as": "integration"}, objects=none)
    assert ids(served, "Account") == everything - {world.BETA}
    assert ids(served, "Contact") < contacts
    assert refused(served, f"sobjects/Account/{world.BETA}") == (404, "NOT_FOUND")
    assert save(served, world.BETA) == "INVALID_CROSS_REFERENCE_KEY"
    permit(served, sharing={"Account": "Read"})
    assert ids(served, "Account") == everything
    assert ids(served, "Contact") == contacts
    permit(served, sharing={"Account": "None"}, user={"ViewAllData": True})
    assert ids(served, "Account") == everything


def test_without_modify_all_a_record_is_edited_by_its_owner(served: Served) -> None:
    permit(served, **{"as": "integration"})
    assert save(served, world.BETA) == "INSUFFICIENT_ACCESS_OR_READONLY"
    assert save(served, world.ACME) is None
    access = served.query(
        "SELECT RecordId, HasReadAccess, HasEditAccess FROM UserRecordAccess "
        f"WHERE UserId = '{world.USER}' AND RecordId IN ('{world.ACME}', '{world.BETA}') ORDER BY RecordId"
    )
    assert [tuple(row.values())[1:] for row in access] == [(True, True), (True, False)]
    for shared in ({"objects": {"Account": {"ModifyAllRecords": True}}}, {"sharing": {"Account": "Edit"}}):
        permit(served, **{"as": "integration"}, **shared)
        assert save(served, world.BETA) is None


def test_without_edit_nothing_is_saved(served: Served) -> None:
    permit(served, **{"as": "integration"}, objects={"Account": {"Edit": False}})
    described = served.http.get(served.data("sobjects/Account/describe")).json()
    assert described["updateable"] is False
    assert not any(field["updateable"] for field in described["fields"])
    assert save(served, world.ACME) == "INSUFFICIENT_ACCESS_OR_READONLY"


def test_one_organization_says_nothing_about_another(served: Served) -> None:
    permit(served, **{"as": "integration"}, user={"ApiEnabled": False})
    served.http.headers["Authorization"] = f"Bearer {world.OTHER_TOKEN}"
    assert served.query("SELECT Id FROM PermissionSetAssignment")
    assert served.http.get(f"{served.url}/sandbox/permissions", params={"org": world.ORG}).json()["user"] == {
        "ApiEnabled": False,
        "ModifyAllData": False,
        "ViewAllData": False,
        "ViewSetup": False,
    }


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"org": "nobody"},
        {"org": world.ORG, "as": "king"},
        {"org": world.ORG, "user": {"Fly": True}},
        {"org": world.ORG, "objects": {"Lead": {"Read": True}}},
        {"org": world.ORG, "objects": {"Account": {"Sing": True}}},
        {"org": world.ORG, "sharing": {"Account": "ControlledByParent"}},
        {"org": world.ORG, "fields": {}},
        [],
    ],
)
def test_what_the_address_does_not_understand(served: Served, given: object) -> None:
    answer = served.http.post(f"{served.url}/sandbox/permissions", json=given)
    assert (answer.status_code, set(answer.json())) == (400, {"message"})
