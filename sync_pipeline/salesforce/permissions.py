"""What the connected user may do, asked in few calls; what the user can't be asked is said, and not taken for a refusal.

What tells of a user's rights, whichever profile, permission set or group grants them (Salesforce Object Reference, and
each object's "Special Access Rules"):

    UserPermissionAccess   its system permissions; every user of the API may ask
    describe               read and edit of an object and of each of its fields; likewise
    Organization           what everybody may do with records of others; likewise
    UserRecordAccess       what the user may do with single records; likewise
    ObjectPermissions      View All and Modify All Records, for each permission set: asked only with View Setup and
                           Configuration. A profile has such a set; that of a group leaves out what the group mutes

A user with the least rights lacks View Setup and Configuration, so that its own View All Records can't be asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sync_pipeline.errors import DataError, ReconnectError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.salesforce.client import Client
from sync_pipeline.salesforce.describe import ACCOUNT, CONTACT, USER, objects_read
from sync_pipeline.salesforce.session import ApiRefusal

SAMPLE = 200
"""Records that `UserRecordAccess` tells of at once, at most."""

_SYSTEM_PERMISSIONS = ("ModifyAllData", "ViewAllData", "ViewSetup")
_SETS_AT_ONCE = 300
"""Ids in one condition; a request line takes 16,384 bytes."""

_SHARING_DEFAULTS = {"None": "Private", "Read": "Public Read Only", "Edit": "Public Read/Write"}
_READ_BY_ALL = frozenset({"Read", "Edit", "ReadEditTransfer", "All"})
_EDITED_BY_ALL = _READ_BY_ALL - {"Read"}
_USER_ID = re.compile(r"005[A-Za-z0-9]{12,15}")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found out about rights.

    Attributes:
        text: what was found, and where it is not well, what to do.
        ok: whether it is as a sync needs it.
        sure: false where Salesforce does not tell this user, and a person has to look.
    """

    text: str
    ok: bool = True
    sure: bool = True


def connected_user(client: Client) -> str:
    """The id of the user whom the login works as; one call.

    Raises:
        DataError: Salesforce names no user.
    """
    user = str(client.call("GET", "").get("identity")).rpartition("/")[2]
    if not _USER_ID.fullmatch(user):
        raise DataError(f"Salesforce ({client.instance_url}) names no user behind this login.")
    return user


def refused_objects(client: Client, org: Organization) -> dict[str, ReconnectError | None]:
    """Every object that a sync of this organization reads, with Salesforce's refusal where the user may not read it."""
    found: dict[str, ReconnectError | None] = {}
    for name in (*objects_read(org), *((USER,) if org.imports.owners else ())):
        try:
            queryable = client.describe(name).get("queryable", True)
            found[name] = None if queryable else ReconnectError(f"The connected user may not query {name}.")
        except ReconnectError as refusal:
            found[name] = refusal
    return found


def inspect_permissions(
    client: Client, org: Organization, user: str, objects: dict[str, ReconnectError | None]
) -> Iterator[Finding]:
    """Everything the connected user lacks for a sync, what can't be asked, and last what it has.

    Costs one call for an administrator, and at most five for others. A refused question is an open one, not an error.

    Args:
        client: a connected client.
        org: its organization.
        user: the id that `connected_user` found.
        objects: what `refused_objects` found.
    """
    for refusal in filter(None, objects.values()):
        yield Finding(f"{refusal} {_granting(org)}", ok=False)
    asked = _Asked(client, user)
    readable = [name for name, refusal in objects.items() if refusal is None]
    exports = org.export.portal_link is not None and ACCOUNT in readable
    edits = exports and client.describe(ACCOUNT).get("updateable", True)
    if exports and not edits:
        yield _no_edit(org)
    if asked.has("ModifyAllData"):
        yield Finding(
            "The connected user is an administrator (Modify All Data): it reads and edits every record. Field-level "
            "security holds for it too."
        )
        return
    for name in (ACCOUNT, CONTACT):
        if name in readable:
            yield from _reads_all(org, asked, name)
    if edits:
        yield from _edits_all(org, asked)
    may = ["use the API", *(f"read {name}" for name in readable), *(["edit Account"] if edits else [])]
    known = "The connected user is no administrator, and may"
    unknown = "Whether the connected user is an administrator can't be asked; it may"
    yield Finding(f"{known if asked.system_permissions is not None else unknown} {_listed(may)}.")


class _Asked:
    """What Salesforce tells of the user, each thing asked for when it is first needed."""

    def __init__(self, client: Client, user: str) -> None:
        self._client = client
        self._user = user

    def has(self, permission: str) -> bool:
        """Whether the user is known to have one of `_SYSTEM_PERMISSIONS`."""
        return permission in (self.system_permissions or ())

    @cached_property
    def system_permissions(self) -> frozenset[str] | None:
        """Those of `_SYSTEM_PERMISSIONS` that the user has; None where it may not ask."""
        fields = ", ".join(f"Permissions{name}" for name in _SYSTEM_PERMISSIONS)
        rows = self._rows(f"SELECT {fields} FROM UserPermissionAccess")
        if not rows:
            return None
        return frozenset(name for name in _SYSTEM_PERMISSIONS if rows[0].get(f"Permissions{name}"))

    @cached_property
    def record_permissions(self) -> dict[str, set[str]] | None:
        """Object to ViewAllRecords, ModifyAllRecords, as far as granted; None where the user may not ask."""
        if not self.has("ViewSetup"):
            return None
        assigned = f"SELECT PermissionSetId FROM PermissionSetAssignment WHERE AssigneeId = '{self._user}'"
        sets = self._rows(f"{assigned} AND IsActive = true")
        if not sets:
            return None  # every user has that of its profile at least
        granted: dict[str, set[str]] = {ACCOUNT: set(), CONTACT: set()}
        for start in range(0, len(sets), _SETS_AT_ONCE):
            parents = ", ".join(f"'{row['PermissionSetId']}'" for row in sets[start : start + _SETS_AT_ONCE])
            rows = self._rows(
                "SELECT SobjectType, PermissionsViewAllRecords, PermissionsModifyAllRecords FROM ObjectPermissions "
                f"WHERE SobjectType IN ('{ACCOUNT}', '{CONTACT}') AND ParentId IN ({parents})"
            )
            if rows is None:
                return None
            for row in rows:
                names = ("ViewAllRecords", "ModifyAllRecords")
                granted[row["SobjectType"]] |= {name for name in names if row[f"Permissions{name}"]}
        return granted

    @cached_property
    def sharing(self) -> dict[str, str]:
        """Object to what everybody may do with records of others, in the API's words."""
        rows = self._rows("SELECT DefaultAccountAccess, DefaultContactAccess FROM Organization") or [{}]
        return {name: str(rows[0].get(f"Default{name}Access", "unknown")) for name in (ACCOUNT, CONTACT)}

    @cached_property
    def others_accounts(self) -> list[str]:
        """Ids of some accounts that the user sees and does not own."""
        rows = self._rows(f"SELECT Id FROM Account WHERE OwnerId != '{self._user}' LIMIT {SAMPLE}")
        return [str(row["Id"]) for row in rows or ()]

    def editable(self) -> int | None:
        """How many of `others_accounts` the user may edit; None where it may not ask."""
        ids = ", ".join(f"'{one}'" for one in self.others_accounts)
        soql = f"SELECT RecordId, HasEditAccess FROM UserRecordAccess WHERE UserId = '{self._user}' AND RecordId IN"
        rows = self._rows(f"{soql} ({ids})")
        return None if rows is None else sum(bool(row["HasEditAccess"]) for row in rows)

    def _rows(self, soql: str) -> list[dict[str, Any]] | None:
        """The answer to a query; None where Salesforce shows this user no such object or field."""
        try:
            return list(self._client.query(soql))
        except ApiRefusal:
            return None


def _no_edit(org: Organization) -> Finding:
    return Finding(
        f"{org.where('export', 'portal_link', 'salesforce_field')}: the connected user may not edit Account, so no portal "
        f"link can be written. Give it Edit on Account. {_granting(org)}",
        ok=False,
    )


def _reads_all(org: Organization, asked: _Asked, name: str) -> Iterator[Finding]:
    """Whether the user sees every record. Where it does not, no error ever says so: records are just missing."""
    if asked.has("ViewAllData"):
        return
    granted = asked.record_permissions
    if granted is not None and granted[name]:
        return
    default = asked.sharing[name]
    if name == CONTACT and default == "ControlledByParent":
        # Whoever sees the account sees its contacts, and contacts of no account are not read. That this holds for accounts
        # seen by View All Records alone is not documented (†).
        if granted is not None:
            yield Finding(
                "The connected user lacks View All Records on Contact. Contacts follow their accounts here (sharing default "
                f"{_default(default)}), so it should see them all; to be certain, give it that too. {_granting(org)}",
                sure=False,
            )
        return
    plural = f"{name.lower()}s"
    if default in _READ_BY_ALL:
        yield Finding(
            f"The connected user sees all {plural} because everybody does (sharing default {_default(default)}). Should "
            f"that ever change, it needs View All Records on {name}."
        )
        return
    missing = f"{plural} that are not shared with it are missing from every sync without an error"
    if name == ACCOUNT:
        missing += ", and their customers look as if they had no account"
    step = f"Give it View All Records on {name}. {_granting(org)}"
    if granted is not None:
        yield Finding(f"The connected user lacks View All Records on {name}: {missing}. {step}", ok=False)
    elif name == ACCOUNT and not asked.others_accounts:
        yield Finding(
            f"The connected user sees no account of another owner, so it lacks View All Records on Account: {missing}. "
            f"{step}",
            ok=False,
        )
    else:
        yield Finding(
            f"Whether the connected user has View All Records on {name} can't be asked: only users with View Setup and "
            f"Configuration may, which a sync does not need. Without it, {missing}. Look at the permission sets of the user "
            f"in Setup > Users, or compare the number of {plural} that a sync reads with what an administrator sees.",
            sure=False,
        )


def _edits_all(org: Organization, asked: _Asked) -> Iterator[Finding]:
    """Whether the user may edit accounts of others: Edit on Account and View All Records do not say so."""
    granted = asked.record_permissions
    if (granted is not None and "ModifyAllRecords" in granted[ACCOUNT]) or asked.sharing[ACCOUNT] in _EDITED_BY_ALL:
        return
    sample = len(asked.others_accounts)
    if not sample:
        return
    may = asked.editable()
    if may == sample:
        yield Finding(f"The connected user may edit all of {sample} accounts of other owners that were asked about.")
        return
    if may is None:
        found = "whether the connected user may edit accounts of other owners can't be asked. If not, no link is saved there"
    else:
        found = (
            f"the connected user may edit {may} of {sample} accounts of other owners that were asked about; Salesforce "
            "refuses the portal links of the rest"
        )
    yield Finding(
        f"{org.where('export', 'portal_link', 'salesforce_field')}: {found} (INSUFFICIENT_ACCESS_OR_READONLY; sharing "
        f"default {_default(asked.sharing[ACCOUNT])}). Share accounts with the user for editing by a sharing rule (Setup > "
        "Sharing Settings), or give it Modify All Records on Account.",
        ok=may is None,
        sure=may is not None,
    )


def _default(value: str) -> str:
    return _SHARING_DEFAULTS.get(value, value)


def _granting(org: Organization) -> str:
    return (
        f"`sync-pipeline check {org.name} --permission-set FOLDER` writes a permission set that grants what is needed."
    )


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
