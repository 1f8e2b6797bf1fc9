"""What the connected user of an organization may do, and the objects that Salesforce shows its rights in.

The user of a new world is an administrator, so that every client may try everything. `POST /sandbox/permissions` takes
rights away (see `admin`); they are kept in the state and have their consequences: a request without API Enabled is
refused, an object without read is not there, accounts without View All are the user's own, a record may be edited by
whom it belongs to, and what tells of rights is itself shown only to those with View Setup and Configuration.

Source: Salesforce Object Reference, "UserPermissionAccess", "PermissionSetAssignment", "ObjectPermissions",
"UserRecordAccess", each with its special access rules.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sync_pipeline.sandbox.salesforce.errors import ApiError, RowError
from sync_pipeline.sandbox.salesforce.ids import make_id
from sync_pipeline.sandbox.salesforce.objects import OBJECTS, Field, SObject
from sync_pipeline.sandbox.state import State

Rights = dict[str, dict[str, Any]]

USER_RIGHTS = ("ApiEnabled", "ModifyAllData", "ViewAllData", "ViewSetup")
OBJECT_RIGHTS = ("Read", "Edit", "ViewAllRecords", "ModifyAllRecords", "ViewAllFields")
LIMITED = ("Account", "Contact")
"""Objects whose rights can be taken away."""

SHARING = {"Account": ("None", "Read", "Edit"), "Contact": ("None", "Read", "Edit", "ControlledByParent")}
"""Organization-wide defaults: what everybody may do with records of others. Contacts follow their account here."""

_PRIVATE = {"Account": "None", "Contact": "ControlledByParent"}
ADMINISTRATOR: Rights = {
    "user": dict.fromkeys(USER_RIGHTS, True),
    "objects": {name: dict.fromkeys(OBJECT_RIGHTS, True) for name in LIMITED},
    "sharing": _PRIVATE,
}
INTEGRATION: Rights = {
    "user": {name: name == "ApiEnabled" for name in USER_RIGHTS},
    "objects": {
        name: {right: right in granted for right in OBJECT_RIGHTS}
        for name, granted in (("Account", ("Read", "Edit", "ViewAllRecords")), ("Contact", ("Read", "ViewAllRecords")))
    },
    "sharing": _PRIVATE,
}
"""The least that a sync is told to have."""

_SEEN = "_seen"
_PROFILE, _PERMISSION_SET = make_id("0PS", 1), make_id("0PS", 2)
_NO_ID = "000000000000000AAA"


def _flag(path: str, name: str) -> str:
    return f"json_extract(rights, '$.{path}') AS \"Permissions{name}\""


def _object_permission(number: int, parent: str, name: str, stored: tuple[str, ...]) -> str:
    """One row: what a permission set stores about an object. There is none without read."""
    flags = [
        _flag(f"objects.{name}.{right}", right) if right in stored else f'0 AS "Permissions{right}"'
        for right in OBJECT_RIGHTS
    ]
    return (
        f"SELECT org, '{make_id('110', number)}' AS \"Id\", '{parent}' AS \"ParentId\", '{name}' AS \"SobjectType\", "
        f"{', '.join(flags)} FROM salesforce_granted WHERE json_extract(rights, '$.objects.{name}.Read')"
    )


_VIEWS = {
    "salesforce_granted": f"""
        SELECT o.org, o.user_id, coalesce(r.rights, '{json.dumps(ADMINISTRATOR)}') AS rights
        FROM organizations o LEFT JOIN salesforce_rights r ON r.org = o.org""",
    "account_seen": 'SELECT a.* FROM account a JOIN organizations o ON o.org = a.org AND o.user_id = a."OwnerId"',
    # Those without an account are their owner's, and nobody here owns one.
    "contact_seen": """
        SELECT c.* FROM contact c
        WHERE EXISTS (SELECT 1 FROM account_seen a WHERE a.org = c.org AND a."Id" = c."AccountId")""",
    "salesforce_user_permission": f"""
        SELECT org, '{_NO_ID}' AS "Id", {", ".join(_flag(f"user.{name}", name) for name in USER_RIGHTS)}
        FROM salesforce_granted""",
    "salesforce_assignment": " UNION ALL ".join(
        f"""SELECT org, '{make_id("0Pa", number)}' AS "Id", user_id AS "AssigneeId", '{assigned}' AS "PermissionSetId",
            NULL AS "PermissionSetGroupId", NULL AS "ExpirationDate", 1 AS "IsActive" FROM salesforce_granted"""
        for number, assigned in enumerate((_PROFILE, _PERMISSION_SET), 1)
    ),
    # The profile lets read and edit, the permission set adds the rest: a client has to look at both.
    "salesforce_object_permission": " UNION ALL ".join(
        _object_permission(2 * number + second, parent, name, stored)
        for number, name in enumerate(LIMITED)
        for second, (parent, stored) in enumerate(
            ((_PROFILE, ("Read", "Edit")), (_PERMISSION_SET, ("Read", *OBJECT_RIGHTS[2:])))
        )
    ),
    "salesforce_record_access": """
        SELECT a.org, a."Id" AS "RecordId", g.user_id AS "UserId",
            rights ->> '$.user.ViewAllData' OR rights ->> '$.objects.Account.ViewAllRecords'
                OR rights ->> '$.sharing.Account' <> 'None' OR a."OwnerId" = g.user_id AS "HasReadAccess",
            rights ->> '$.user.ModifyAllData' OR (rights ->> '$.objects.Account.Edit' AND (
                rights ->> '$.objects.Account.ModifyAllRecords' OR rights ->> '$.sharing.Account' = 'Edit'
                OR a."OwnerId" = g.user_id)) AS "HasEditAccess"
        FROM account a JOIN salesforce_granted g ON g.org = a.org WHERE a."IsDeleted" = 0""",
}
DDL = (
    "CREATE TABLE IF NOT EXISTS salesforce_rights (org TEXT PRIMARY KEY, rights TEXT NOT NULL) WITHOUT ROWID",
    *(f"DROP VIEW IF EXISTS {name}" for name in _VIEWS),
    *(f"CREATE VIEW {name} AS {sql}" for name, sql in _VIEWS.items()),
)


def _shown(name: str, type_: str = "boolean", **others: Any) -> Field:
    return Field(
        name, type_, name, 18 if type_ in ("id", "reference") else 0, updateable=False, createable=False, **others
    )


def _told(name: str, prefix: str, table: str, *fields: Field) -> SObject:
    """An object that only tells of rights."""
    by_name = MappingProxyType({f.name.lower(): f for f in fields})
    return SObject(name, name, name, prefix, table, by_name, updateable=False, deletable=False)


_OPEN = (
    _told(
        "UserPermissionAccess",
        "000",
        "salesforce_user_permission",
        _shown("Id", "id"),
        *(_shown(f"Permissions{name}") for name in USER_RIGHTS),
    ),
    _told(
        "UserRecordAccess",
        "000",
        "salesforce_record_access",
        _shown("Id", "id", sql='{t}."RecordId"'),
        _shown("RecordId", "id"),
        _shown("UserId", "id"),
        _shown("HasReadAccess"),
        _shown("HasEditAccess"),
    ),
)
_SETUP = (
    _told(
        "PermissionSetAssignment",
        "0Pa",
        "salesforce_assignment",
        _shown("Id", "id"),
        _shown("AssigneeId", "reference", parent="User", relationship="Assignee"),
        _shown("PermissionSetId", "reference"),
        _shown("PermissionSetGroupId", "reference"),
        _shown("ExpirationDate", "datetime"),
        _shown("IsActive"),
    ),
    _told(
        "ObjectPermissions",
        "110",
        "salesforce_object_permission",
        _shown("Id", "id"),
        _shown("ParentId", "reference"),
        Field("SobjectType", "picklist", "SObject Type Name", 40, updateable=False, createable=False, picklist=LIMITED),
        *(_shown(f"Permissions{name}") for name in OBJECT_RIGHTS),
    ),
)
_DEFAULTS = tuple(
    Field(
        f"Default{name}Access",
        "picklist",
        f"Default {name} Access",
        40,
        updateable=False,
        createable=False,
        picklist=values,
        sql=f"(SELECT json_extract(g.rights, '$.sharing.{name}') FROM salesforce_granted g WHERE g.org = {{t}}.org)",
    )
    for name, values in SHARING.items()
)


def rights_of(state: State, org: str) -> Rights:
    """What the connected user of an organization may do."""
    row = state.row("SELECT rights FROM salesforce_rights WHERE org = ?", org)
    return json.loads(row["rights"]) if row else deepcopy(ADMINISTRATOR)


def keep(state: State, org: str, rights: Rights) -> None:
    """Let the connected user of an organization have these rights from now on."""
    state.db.execute("INSERT OR REPLACE INTO salesforce_rights VALUES (?, ?)", (org, json.dumps(rights)))


def changed(rights: Rights, given: dict[str, Any]) -> Rights:
    """`rights` with what `given` says otherwise.

    Raises:
        ValueError: with what is wrong with it.
    """
    start = {"administrator": ADMINISTRATOR, "integration": INTEGRATION}
    if "as" in given and given["as"] not in start:
        raise ValueError(f"as is one of {', '.join(start)}")
    result = deepcopy(start[given["as"]] if "as" in given else rights)
    for part, values in given.items():
        if part in ("org", "as"):
            continue
        if part not in result or not isinstance(values, dict):
            raise ValueError(f"{part!r} is none of the objects {', '.join(result)}")
        for name, value in values.items():
            if name not in result[part]:
                raise ValueError(f"{name!r} is none of {', '.join(result[part])}")
            result[part][name] = _value(result[part][name], name, value)
    return result


def _value(now: Any, name: str, value: Any) -> Any:
    if isinstance(now, dict):
        if not isinstance(value, dict) or not value.keys() <= now.keys():
            raise ValueError(f"the rights on {name} are {', '.join(now)}")
        return {**now, **{right: bool(granted) for right, granted in value.items()}}
    if name in SHARING:
        if value not in SHARING[name]:
            raise ValueError(f"sharing of {name} is one of {', '.join(SHARING[name])}")
        return value
    return bool(value)


def objects_for(rights: Rights) -> tuple[SObject, ...]:
    """The objects that a user with these rights is shown."""
    shown = [_limited(entity, rights) for entity in OBJECTS]
    told = (*_OPEN, *_SETUP) if rights["user"]["ViewSetup"] else _OPEN
    return (*(entity for entity in shown if entity), *told)


def _limited(entity: SObject, rights: Rights) -> SObject | None:
    if entity.name == "Organization":
        fields = {**entity.fields, **{f.name.lower(): f for f in _DEFAULTS}}
        return replace(entity, fields=MappingProxyType(fields))
    if entity.name not in LIMITED or rights["user"]["ModifyAllData"]:
        return entity
    granted = rights["objects"][entity.name]
    if not granted["Read"]:
        return None
    if not _sees_all(entity.name, rights):
        entity = replace(entity, table=f"{entity.table}{_SEEN}")
    if granted["Edit"]:
        return entity
    # † That fields then say so too is what describe's own documentation implies; no source shows an answer.
    closed = {key: replace(field, updateable=False, createable=False) for key, field in entity.fields.items()}
    return replace(entity, updateable=False, fields=MappingProxyType(closed))


def _sees_all(name: str, rights: Rights) -> bool:
    granted, sharing = rights["objects"][name], rights["sharing"][name]
    if rights["user"]["ViewAllData"] or granted["ViewAllRecords"] or granted["ModifyAllRecords"]:
        return True
    return _sees_all("Account", rights) if sharing == "ControlledByParent" else sharing != "None"


def require_api(rights: Rights) -> None:
    """Refuse every request of a user without API Enabled."""
    if not rights["user"]["ApiEnabled"]:
        raise ApiError("API_DISABLED_FOR_ORG", "The REST API is not enabled for this Organization.", 403)


def require_setup(rights: Rights) -> None:
    """Refuse what only users with View Setup and Configuration may ask, such as the limits.

    † The code is the usual one for a missing right; no source shows this answer.
    """
    if not rights["user"]["ViewSetup"]:
        raise ApiError(
            "INSUFFICIENT_ACCESS", "You do not have the required permission: View Setup and Configuration", 403
        )


def written(entity: SObject) -> SObject:
    """The object on the table that holds all its records; `entity.table` may show only those that the user sees."""
    return replace(entity, table=entity.table.removesuffix(_SEEN))


def require_edit(state: State, org: str, rights: Rights, entity: SObject, record_id: str) -> None:
    """Refuse to save a record that is not the user's to edit."""
    if entity.name not in LIMITED or rights["user"]["ModifyAllData"]:
        return
    refused = RowError("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id")
    granted, sharing = rights["objects"][entity.name], rights["sharing"][entity.name]
    if not granted["Edit"]:
        raise refused
    table = written(entity).table
    if (
        entity.table != table
        and state.row(f'SELECT 1 FROM "{table}" WHERE org = ? AND "Id" = ?', org, record_id)
        and not state.row(f'SELECT 1 FROM "{entity.table}" WHERE org = ? AND "Id" = ?', org, record_id)
    ):
        raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
    shared = rights["sharing"]["Account"] if sharing == "ControlledByParent" else sharing
    own = state.row(f'SELECT 1 FROM "{table}{_SEEN}" WHERE org = ? AND "Id" = ?', org, record_id)
    if not (granted["ModifyAllRecords"] or shared == "Edit" or own):
        raise refused
