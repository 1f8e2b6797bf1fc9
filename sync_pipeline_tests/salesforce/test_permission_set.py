"""The least permission set, held against Salesforce's own description of such a file.

`TYPES` is the part of the Metadata API's type PermissionSet that is used here, as Salesforce publishes it for version 66
(npm package @salesforce/types, metadata.d.ts): element names with what they hold, and those that may be left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from sync_pipeline.orgs import load_organizations
from sync_pipeline.orgs.models import Organization
from sync_pipeline.salesforce import Client, least_permission_set
from sync_pipeline.salesforce.permission_set import API_NAME, default_name
from sync_pipeline_tests.paths import CONFIG
from sync_pipeline_tests.salesforce.conftest import Served
from sync_pipeline_tests.salesforce.organizations import connected, organization

GOLDEN = Path(__file__).parent / "golden"
SPACE = "{http://soap.sforce.com/2006/04/metadata}"
TYPES: dict[str, dict[str, str]] = {
    "PermissionSet": {
        "description?": "string",
        "fieldPermissions": "fieldPermissions",
        "hasActivationRequired?": "boolean",
        "label": "string",
        "objectPermissions": "objectPermissions",
        "userPermissions": "userPermissions",
    },
    "fieldPermissions": {"editable": "boolean", "field": "string", "readable?": "boolean"},
    "objectPermissions": {
        "allowCreate": "boolean",
        "allowDelete": "boolean",
        "allowEdit": "boolean",
        "allowRead": "boolean",
        "modifyAllRecords": "boolean",
        "object": "string",
        "viewAllRecords": "boolean",
    },
    "userPermissions": {"enabled": "boolean", "name": "string"},
}


def parsed(xml: str) -> ElementTree.Element:
    """The file, after everything that the vendor's type and its documented rules say has been looked at."""
    root = ElementTree.fromstring(xml.encode())
    assert root.tag == f"{SPACE}PermissionSet"
    _fits(root, "PermissionSet")
    fields = [text(element, "field") for element in root.iter(f"{SPACE}fieldPermissions")]
    assert fields == sorted(set(fields))
    objects = {text(element, "object") for element in root.iter(f"{SPACE}objectPermissions")}
    assert {field.partition(".")[0] for field in fields} <= objects
    for element in root.iter(f"{SPACE}fieldPermissions"):
        assert text(element, "readable") == "true"  # editing requires reading
    for element in root.iter(f"{SPACE}objectPermissions"):
        assert text(element, "allowRead") == "true"  # View All Records and editing require reading
    assert len(text(root, "description")) <= 255
    assert len(text(root, "label")) <= 80
    return root


def _fits(element: ElementTree.Element, kind: str) -> None:
    declared = {name.rstrip("?"): type_ for name, type_ in TYPES[kind].items()}
    names = [child.tag.removeprefix(SPACE) for child in element]
    assert names == sorted(names), "Salesforce wants elements of one name together"
    assert set(names) <= set(declared)
    if kind != "PermissionSet":
        assert len(names) == len(set(names))
        assert {name for name in TYPES[kind] if not name.endswith("?")} <= set(names)
    for child, name in zip(element, names, strict=True):
        if declared[name] in TYPES:
            _fits(child, declared[name])
        elif declared[name] == "boolean":
            assert child.text in ("true", "false")
        else:
            assert child.text


def text(element: ElementTree.Element, name: str) -> str:
    found = element.find(f"{SPACE}{name}")
    assert found is not None
    return str(found.text)


def fields(org: Organization, described: dict[str, Any] | None = None) -> dict[str, bool]:
    return dict(least_permission_set(org, described or {}).fields)


@pytest.mark.parametrize("name", ["demo_stripe", "demo_database", "demo_file"])
def test_the_demo_organizations(name: str) -> None:
    org = load_organizations(CONFIG / "demo").organizations[name]
    xml = least_permission_set(org, {}).xml()
    assert xml == (GOLDEN / f"{default_name(org)}.permissionset-meta.xml").read_text(encoding="utf-8")
    root = parsed(xml)
    edited = [text(e, "field") for e in root.iter(f"{SPACE}fieldPermissions") if text(e, "editable") == "true"]
    assert edited == ["Account.Portal_Link__c"]
    assert [(text(e, "object"), text(e, "allowEdit")) for e in root.iter(f"{SPACE}objectPermissions")] == [
        ("Account", "true"),
        ("Contact", "false"),
    ]
    assert [text(e, "name") for e in root.iter(f"{SPACE}userPermissions")] == ["ApiEnabled"]


def test_describe_says_the_same_of_the_same_fields(served: Served, client: Client, org: Organization) -> None:
    org = connected(
        served.url,
        served.ca_file,
        export={"portal_link": {"salesforce_field": "portal_link__C"}},
        **{"import": {"account_fields": {"industry": "I", "BillingCountry": "B", "Name": "N"}}},
    )
    described = {name: client.describe(name) for name in ("Account", "Contact")}
    assert fields(org, described) == {
        "Account.Billing_Id__c": False,
        "Account.Industry": False,
        "Account.BillingAddress": False,
        "Account.Portal_Link__c": True,
        "Contact.AccountId": False,
        "Contact.Email": False,
        "Contact.Phone": False,
        "Contact.Title": False,
    }
    assert {name.lower() for name in fields(org)} == {name.lower() for name in fields(org, described)}


def test_a_required_field_is_left_out_once_describe_says_so(served: Served, client: Client) -> None:
    org = connected(served.url, served.ca_file)
    assert "Account.Billing_Id__c" in fields(org)
    served.change("Account", "Billing_Id__c", nillable=False)
    assert "Account.Billing_Id__c" not in fields(org, {"Account": client.describe("Account")})


def test_a_field_that_is_hidden_yet_is_given(served: Served, client: Client) -> None:
    served.change("Account", "Billing_Id__c", hidden=True)
    assert "Account.Billing_Id__c" in fields(
        connected(served.url, served.ca_file), {"Account": client.describe("Account")}
    )


def test_what_is_no_field_to_give_access_to() -> None:
    names = ["Id", "createdDate", "Home__Street__s", "ShippingPostalCode", "PersonMailingCity", "Tax__c"]
    org = organization("https://acme.my.salesforce.com", **{"import": {"account_fields": dict.fromkeys(names, "x")}})
    assert [name for name in fields(org) if name.startswith("Account.")] == [
        "Account.Company_Number__c",
        "Account.Home__c",
        "Account.ShippingAddress",
        "Account.PersonMailingAddress",
        "Account.Tax__c",
    ]


def test_an_organization_that_writes_nothing_and_reads_no_contacts() -> None:
    imports = {"contacts": False, "owners": False}
    org = organization("https://acme.my.salesforce.com", label="A & B <GmbH>", **{"import": imports})
    root = parsed(least_permission_set(org, {}).xml())
    assert [text(e, "object") for e in root.iter(f"{SPACE}objectPermissions")] == ["Account"]
    assert text(root, "label") == "Sync Pipeline: A & B <GmbH>"
    assert not [e for e in root.iter() if e.text == "true" and e.tag.endswith(("Edit", "editable"))]


def test_the_identifier_that_is_written_to_is_listed_once() -> None:
    org = organization(
        "https://acme.my.salesforce.com",
        export={"portal_link": {"salesforce_field": "Company_Number__c"}},
    )
    assert [(k, v) for k, v in fields(org).items() if k.startswith("Account")] == [("Account.Company_Number__c", True)]


@pytest.mark.parametrize("name", ["a", "acme", "acme__eu", "x_", "a" * 63])
def test_every_name_of_an_organization_gives_an_api_name(name: str) -> None:
    org = organization("https://acme.my.salesforce.com", name=name)
    assert API_NAME.fullmatch(default_name(org))
    assert not re.search("__|_$", default_name(org))
