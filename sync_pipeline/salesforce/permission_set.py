"""The least permission set that a sync of an organization needs, as Salesforce metadata, ready to deploy.

Source: Salesforce Metadata API Developer Guide, "PermissionSet". Elements of one name stand together, all in the order of
the alphabet, as Salesforce itself writes them. What must not be listed fails the whole deployment ("You cannot deploy to
a required field"): fields that are required, or whose access is not Salesforce's to give (Id, Name, OwnerId, ...).

The set grants no View All Fields: the fields are known, and listed. It names no license, so that it can be assigned to
users of any that has accounts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from sync_pipeline.orgs.models import Organization
from sync_pipeline.salesforce.describe import ACCOUNT, CONTACT, STANDARD_FIELDS, objects_read

SUFFIX = ".permissionset-meta.xml"
"""Ending of the file's name; what stands before it is the permission set's API name."""

API_NAME = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*")
LONGEST_NAME, LONGEST_LABEL, LONGEST_DESCRIPTION = 80, 80, 255

_NEVER_LISTED = frozenset(
    {"id", "name", "ownerid", "isdeleted", "masterrecordid", "recordtypeid", "currencyisocode", "ispersonaccount"}
    | {"createdbyid", "createddate", "lastmodifiedbyid", "lastmodifieddate", "systemmodstamp", "photourl"}
    | {"lastactivitydate", "lastvieweddate", "lastreferenceddate"}
    | {"firstname", "lastname", "middlename", "salutation", "suffix"}
)
"""Standard fields that are never listed, in lower case; describe calls them not permissionable."""

_ADDRESS_PART = re.compile(
    "(Billing|Shipping|Mailing|Other|Person(?:Mailing|Other))"
    "(?:Street|City|State|StateCode|PostalCode|Country|CountryCode|Latitude|Longitude|GeocodeAccuracy)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class PermissionSet:
    """A permission set as far as a sync needs one.

    Attributes:
        label: what people see in Setup.
        description: likewise.
        objects: object to whether it may be edited; every record of it may be read.
        fields: "Object.Field" to whether it may be edited.
    """

    label: str
    description: str
    objects: Mapping[str, bool]
    fields: Mapping[str, bool]

    def xml(self) -> str:
        """The file's text."""
        parts = [
            _element("description", self.description),
            *(
                _group("fieldPermissions", editable=editable, field=field, readable=True)
                for field, editable in sorted(self.fields.items())
            ),
            _element("hasActivationRequired", False),
            _element("label", self.label),
            *(
                _group(
                    "objectPermissions",
                    allowCreate=False,
                    allowDelete=False,
                    allowEdit=editable,
                    allowRead=True,
                    modifyAllRecords=False,
                    object=name,
                    viewAllRecords=True,
                )
                for name, editable in sorted(self.objects.items())
            ),
            _group("userPermissions", enabled=True, name="ApiEnabled"),
        ]
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<PermissionSet xmlns="http://soap.sforce.com/2006/04/metadata">\n'
            f"{''.join(parts)}</PermissionSet>\n"
        )


def default_name(org: Organization) -> str:
    """An API name for the organization's permission set: letters, digits and single underscores."""
    return re.sub("_+", "_", f"Sync_Pipeline_{org.name}").rstrip("_")[:LONGEST_NAME].rstrip("_")


def least_permission_set(org: Organization, described: Mapping[str, Mapping[str, Any]]) -> PermissionSet:
    """What a sync of `org` reads and writes, and no more.

    Args:
        org: the organization.
        described: object to what describe says of it, of those objects that could be asked for. Fields that are not in
            it (it shows none that are hidden from the user, who is about to be given them) and objects that are not
            are taken from the YAML file as they are written there.
    """
    fields: dict[str, bool] = {}
    for object_name, field, editable in _used(org):
        listed = _listed(field, described.get(object_name))
        if listed is not None:
            whole = f"{object_name}.{listed}"
            fields[whole] = fields.get(whole, False) or editable
    return PermissionSet(
        label=f"Sync Pipeline: {org.label or org.name}"[:LONGEST_LABEL],
        description=(
            f"The least that sync-pipeline needs for the organization {org.name}: reads what its YAML file names"
            f"{', writes the portal link' if org.export.portal_link else ''}. Made by sync-pipeline check."
        )[:LONGEST_DESCRIPTION],
        objects={name: name == ACCOUNT and org.export.portal_link is not None for name in objects_read(org)},
        fields=fields,
    )


def _used(org: Organization) -> Iterator[tuple[str, str, bool]]:
    """(object, field, whether it is written) of every field that a sync reads or writes."""
    for object_name in objects_read(org):
        for field in STANDARD_FIELDS[object_name]:
            yield object_name, field, False
    yield ACCOUNT, org.identifier.salesforce_field, False
    for field in org.imports.account_fields:
        yield ACCOUNT, field, False
    for field in org.imports.contact_fields:
        yield CONTACT, field, False
    if org.export.portal_link is not None:
        yield ACCOUNT, org.export.portal_link.salesforce_field, True


def _listed(field: str, described: Mapping[str, Any] | None) -> str | None:
    """The name under which access to a field is given; None where it is not given field by field."""
    fields = {entry["name"].lower(): entry for entry in (described or {}).get("fields", ())}
    entry = fields.get(field.lower())
    if entry is None:
        return _listed_by_name(field)
    # † Access is given to an address as a whole: so do Salesforce's own files. To a person's name it is never given.
    whole = fields.get(str(entry.get("compoundFieldName")).lower(), entry)
    return str(whole["name"]) if whole.get("permissionable") and field.lower() not in _NEVER_LISTED else None


def _listed_by_name(field: str) -> str | None:
    part = _ADDRESS_PART.fullmatch(field)
    if part:
        return f"{part[1]}Address"
    if field.lower().endswith("__s"):
        return f"{field.rsplit('__', 2)[0]}__c"  # Home__Street__s is part of Home__c
    return None if field.lower() in _NEVER_LISTED else field


def _element(name: str, value: str | bool, indent: str = "    ") -> str:
    text = str(value).lower() if isinstance(value, bool) else escape(value)
    return f"{indent}<{name}>{text}</{name}>\n"


def _group(kind: str, /, **elements: str | bool) -> str:
    inside = "".join(_element(key, value, " " * 8) for key, value in elements.items())
    return f"    <{kind}>\n{inside}    </{kind}>\n"
