"""What is found out about the connected user's rights, each taken away by itself, and all of them at once."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipeline import salesforce
from sync_pipeline.errors import DataError, ReconnectError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.salesforce import Client
from sync_pipeline.salesforce.permissions import Finding
from sync_pipeline_tests.salesforce.conftest import Served
from sync_pipeline_tests.salesforce.organizations import connected
from sync_pipeline_tests.sandbox.salesforce import world

EXPORT = {"portal_link": {"salesforce_field": "Portal_Link__c"}}
LEAST: dict[str, Any] = {"as": "integration", "sharing": {"Account": "None"}}
HINT = "`sync-pipeline check acme --permission-set FOLDER` writes a permission set"


@pytest.fixture
def org(served: Served, monkeypatch: pytest.MonkeyPatch) -> Organization:
    monkeypatch.setenv("ACME_SECRET", f"secret+{world.ORG}/%")
    return connected(served.url, served.ca_file, export=EXPORT)


def inspected(client: Client, org: Organization) -> list[Finding]:
    user = salesforce.connected_user(client)
    return list(salesforce.inspect_permissions(client, org, user, salesforce.refused_objects(client, org)))


def problems(client: Client, org: Organization) -> list[str]:
    return [finding.text for finding in inspected(client, org) if not finding.ok]


def test_who_is_connected(client: Client, served: Served) -> None:
    before = served.calls()
    assert (salesforce.connected_user(client), served.calls() - before) == (world.USER, 1)
    for body in ({}, {"identity": "https://login.example.com/id/00D/me"}):
        served.fault(path=r"/v66\.0$", action="status", status=200, body=body)
        with pytest.raises(DataError):
            salesforce.connected_user(client)


def test_an_administrator(client: Client, org: Organization, served: Served) -> None:
    user, objects = salesforce.connected_user(client), salesforce.refused_objects(client, org)
    before = served.calls()
    (finding,) = salesforce.inspect_permissions(client, org, user, objects)
    assert (finding.ok, finding.sure) == (True, True)
    assert "administrator (Modify All Data)" in finding.text
    assert served.calls() - before == 1


def test_a_user_with_everything_it_needs(client: Client, org: Organization, served: Served) -> None:
    served.permit(**LEAST, user={"ViewSetup": True}, objects={"Account": {"ModifyAllRecords": True}})
    (finding,) = inspected(client, org)
    assert (finding.ok, finding.sure) == (True, True)
    assert (
        "no administrator, and may use the API, read Account, read Contact, read User and edit Account" in finding.text
    )


@pytest.mark.parametrize("right", ["ViewAllRecords", "ModifyAllRecords"])
def test_rights_on_all_records_may_lie_in_any_permission_set(
    right: str, client: Client, org: Organization, served: Served
) -> None:
    only = {name: {"ViewAllRecords": False, right: True} for name in ("Account", "Contact")}
    served.permit(**LEAST, user={"ViewSetup": True}, objects=only)
    assert not [text for text in problems(client, org) if "View All Records on" in text]


def test_without_view_all_it_is_said_what_goes_missing(client: Client, org: Organization, served: Served) -> None:
    served.permit(**LEAST, user={"ViewSetup": True}, objects={"Account": {"ViewAllRecords": False}})
    (text,) = problems(client, org)
    assert "lacks View All Records on Account" in text
    assert "missing from every sync without an error" in text
    assert "their customers look as if they had no account" in text
    assert HINT in text


def test_contacts_follow_their_account_or_need_the_right_themselves(
    client: Client, org: Organization, served: Served
) -> None:
    lacking = {"Account": {"ModifyAllRecords": True}, "Contact": {"ViewAllRecords": False}}
    served.permit(**LEAST, user={"ViewSetup": True}, objects=lacking)
    assert problems(client, org) == []
    served.permit(sharing={"Contact": "None"})
    (text,) = problems(client, org)
    assert "lacks View All Records on Contact: contacts that are not shared" in text


def test_view_all_data_is_view_all(client: Client, org: Organization, served: Served) -> None:
    none = {name: {"ViewAllRecords": False} for name in ("Account", "Contact")}
    served.permit(**LEAST, user={"ViewAllData": True}, objects=none)
    assert not [finding for finding in inspected(client, org) if "View All Records" in finding.text]


def test_where_everybody_reads_everything_the_right_is_not_needed_yet(
    client: Client, org: Organization, served: Served
) -> None:
    served.permit(
        **LEAST | {"sharing": {"Account": "Edit", "Contact": "Read"}},
        user={"ViewSetup": True},
        objects={name: {"ViewAllRecords": False} for name in ("Account", "Contact")},
    )
    accounts, contacts, last = inspected(client, org)
    assert "sees all accounts because everybody does (sharing default Public Read/Write)" in accounts.text
    assert "sees all contacts because everybody does (sharing default Public Read Only)" in contacts.text
    assert all(finding.ok for finding in (accounts, contacts, last))


def test_a_user_that_may_not_ask_is_told_so(client: Client, org: Organization, served: Served) -> None:
    served.permit(**LEAST, objects={"Account": {"ModifyAllRecords": True}})
    open_question, edits, last = inspected(client, org)
    assert (open_question.ok, open_question.sure) == (True, False)
    assert "can't be asked: only users with View Setup and Configuration may" in open_question.text
    assert "may edit all of 1 accounts of other owners" in edits.text
    assert last.ok


def test_a_user_that_may_not_ask_but_sees_nothing_of_others(client: Client, org: Organization, served: Served) -> None:
    served.permit(**LEAST, objects={"Account": {"ViewAllRecords": False}})
    (text,) = problems(client, org)
    assert "sees no account of another owner, so it lacks View All Records on Account" in text


def test_view_all_is_not_edit_all(client: Client, org: Organization, served: Served) -> None:
    served.permit(**LEAST)
    (text,) = problems(client, org)
    assert "may edit 0 of 1 accounts of other owners" in text
    assert "INSUFFICIENT_ACCESS_OR_READONLY; sharing default Private" in text
    record = {"attributes": {"type": "Account"}, "id": world.BETA, "Portal_Link__c": "https://pay.example.com/1"}
    (saved,) = client.call("PATCH", "/composite/sobjects", json={"records": [record]})
    assert saved["errors"][0]["statusCode"] == "INSUFFICIENT_ACCESS_OR_READONLY"
    read_only = connected(served.url, served.ca_file)
    assert problems(client, read_only) == []


def test_without_edit_on_the_object(client: Client, org: Organization, served: Served) -> None:
    served.permit(**LEAST, user={"ViewSetup": True}, objects={"Account": {"Edit": False}})
    (text,) = problems(client, org)
    assert "may not edit Account, so no portal link can be written. Give it Edit on Account." in text
    (export,) = [fact for fact in salesforce.inspect_fields(client, org) if fact.purpose == "export"]
    assert "who may not edit Account at all" in str(export.problem)


@pytest.mark.parametrize("name", ["Account", "Contact"])
def test_without_read_on_an_object(name: str, client: Client, org: Organization, served: Served) -> None:
    served.permit(**LEAST | {"sharing": {"Account": "Edit"}}, objects={name: {"Read": False}})
    (text,) = problems(client, org)
    assert f"shows the connected user no object {name}" in text
    assert HINT in text


def test_an_object_that_can_be_described_but_not_queried(client: Client, org: Organization, served: Served) -> None:
    served.fault(path="User/describe", action="status", status=200, body={"fields": [], "queryable": False})
    assert "The connected user may not query User." in problems(client, org)[0]


def test_everything_at_once(client: Client, org: Organization, served: Served) -> None:
    served.permit(
        **LEAST,
        user={"ViewSetup": True},
        objects={"Account": {"Edit": False, "ViewAllRecords": False}, "Contact": {"Read": False}},
    )
    found = " | ".join(problems(client, org))
    assert found.count(" | ") == 2
    assert all(words in found for words in ("no object Contact", "may not edit Account", "View All Records on Account"))


def test_the_api_itself(org: Organization, client: Client, served: Served) -> None:
    served.permit(user={"ApiEnabled": False})
    with pytest.raises(ReconnectError, match=r"API_DISABLED_FOR_ORG.*permission API Enabled"):
        client.organization()


def test_questions_that_salesforce_refuses_stay_open(client: Client, org: Organization, served: Served) -> None:
    served.permit(**LEAST)
    unknown = [{"errorCode": "INVALID_TYPE", "message": "sObject type is not supported."}]
    for path in ("UserPermissionAccess", "DefaultAccountAccess", "UserRecordAccess"):
        served.fault(path=path, action="status", status=400, body=unknown)
    found = inspected(client, org)
    assert [finding.sure for finding in found if finding.ok] == [False, False, False, True]
    assert "Whether the connected user is an administrator can't be asked" in found[-1].text
    assert served.faults_left() == []


def test_what_is_asked_costs_few_calls(client: Client, org: Organization, served: Served) -> None:
    user, objects = salesforce.connected_user(client), salesforce.refused_objects(client, org)
    for rights in ({}, {"user": {"ViewSetup": True}}):
        served.permit(**LEAST, **rights)
        before = served.calls()
        list(salesforce.inspect_permissions(client, org, user, objects))
        assert served.calls() - before <= 6
