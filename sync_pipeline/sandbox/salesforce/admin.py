"""The sandbox's own addresses, for tests: faults, calls, limits, fields, rights, and what people do in Salesforce."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sync_pipeline.sandbox.salesforce.api import Api
from sync_pipeline.sandbox.salesforce.errors import RowError
from sync_pipeline.sandbox.salesforce.ids import id18
from sync_pipeline.sandbox.salesforce.objects import CHANGEABLE, SObject
from sync_pipeline.sandbox.salesforce.permissions import written
from sync_pipeline.sandbox.salesforce.recycling import RecycleBin
from sync_pipeline.sandbox.salesforce.validation import ValidationRule, read_rule


async def faults(api: Api, request: Request) -> Response:
    """GET, POST, DELETE /sandbox/faults; see `faults`."""
    if request.method == "DELETE":
        api.faults.clear()
    if request.method == "POST":
        try:
            api.faults.add_given(json.loads(await request.body()))
        except ValueError as error:
            return _wrong(error)
    return JSONResponse(api.faults.listed())


async def calls(api: Api, request: Request) -> Response:
    """GET /sandbox/calls?since=N: the calls from number N on, in order, and the number that the next will have.

    A test that asks before a sync and after it knows each of its calls: a rule with {"path": "", "after": n}, put in force
    at the mark, strikes the n-th of them.
    """
    text = request.query_params.get("since", "0")
    if not (text.isascii() and text.isdigit()):
        return _wrong(ValueError("since is a whole number, 0 or more"))
    return JSONResponse(api.visits.since(int(text)))


async def usage(api: Api, request: Request) -> Response:
    """GET /sandbox/usage: API calls used and the limit, by organization; POST {"org", "used"} says what is used."""
    if request.method == "POST":
        try:
            for given in _items(await request.body()):
                org, used = _usage(api, given)
                api.usage.set(org, used)
        except ValueError as error:
            return _wrong(error)
    orgs = api.state.orgs()
    return JSONResponse({org: {"used": api.usage.used(org), "limit": api.usage.limit} for org in orgs})


def _usage(api: Api, given: Any) -> tuple[str, int]:
    if not isinstance(given, dict) or given.keys() != {"org", "used"}:
        raise ValueError("expected a JSON object with org and used")
    org, used = str(given["org"]), given["used"]
    if api.state.row("SELECT 1 FROM organizations WHERE org = ?", org) is None:
        raise ValueError(f"no organization {org!r}")
    if isinstance(used, bool) or not isinstance(used, int) or used < 0:
        raise ValueError("used is a whole number, 0 or more")
    return org, used


async def fields(api: Api, request: Request) -> Response:
    """POST /sandbox/fields: a list of {"org", "object", "field"} and what differs, see CHANGEABLE.

    An item with nothing that differs takes earlier ones back.
    """
    try:
        changes = [_change(api, given) for given in _items(await request.body())]
    except ValueError as error:
        return _wrong(error)
    for org, object_name, field_name, attributes in changes:
        api.override(org, object_name, field_name, attributes)
    return JSONResponse({"changed": len(changes)})


async def permissions(api: Api, request: Request) -> Response:
    """POST /sandbox/permissions: {"org"} and what differs from now on; GET ?org= shows all; see `permissions`.

    "as" starts from the rights of an "administrator" (what every user of a new world is) or of an "integration" user;
    "user": {"ApiEnabled": false}, "objects": {"Account": {"Read", "Edit", "ViewAllRecords", "ModifyAllRecords",
    "ViewAllFields"}} and "sharing": {"Account": "None" | "Read" | "Edit"} then change single ones.
    """
    try:
        if request.method == "GET":
            return JSONResponse(api.rights(_known(api, request.query_params.get("org"))))
        (given,) = _items(await request.body())
        if not isinstance(given, dict):
            raise ValueError("rights are a JSON object")
        return JSONResponse(api.permit(_known(api, given.get("org")), given))
    except ValueError as error:
        return _wrong(error)


def _known(api: Api, org: Any) -> str:
    if api.state.row("SELECT 1 FROM organizations WHERE org = ?", str(org)) is None:
        raise ValueError(f"no organization {org!r}")
    return str(org)


async def merge(api: Api, request: Request) -> Response:
    """POST /sandbox/merge {"org", "object", "winner", "losers": [...]}: all or nothing, see `RecycleBin.merge`."""
    return await _in_bin(api, request, {"winner", "losers"}, _merge)


async def undelete(api: Api, request: Request) -> Response:
    """POST /sandbox/undelete {"org", "object", "ids": [...]}: all or nothing."""
    return await _in_bin(api, request, {"ids"}, lambda recycle_bin, given: _each(given["ids"], recycle_bin.undelete))


async def purge(api: Api, request: Request) -> Response:
    """POST /sandbox/purge {"org", "object", "ids": [...]}: removed for good; all or nothing."""
    return await _in_bin(api, request, {"ids"}, lambda recycle_bin, given: _each(given["ids"], recycle_bin.purge))


def _merge(recycle_bin: RecycleBin, given: dict[str, Any]) -> int:
    recycle_bin.merge(_whole(given["winner"]), [_whole(loser) for loser in given["losers"]])
    return len(given["losers"])


def _each(ids: list[Any], do: Callable[[str], None]) -> int:
    for record_id in ids:
        do(_whole(record_id))
    return len(ids)


def _whole(record_id: Any) -> str:
    """An id in its 18-character form; what is none stays as it is, and is not found."""
    return id18(str(record_id)) or str(record_id)


async def _in_bin(
    api: Api, request: Request, keys: set[str], do: Callable[[RecycleBin, dict[str, Any]], int]
) -> Response:
    try:
        given = json.loads(await request.body())
        if not isinstance(given, dict) or given.keys() != {"org", "object", *keys}:
            raise ValueError(f"expected a JSON object with org, object, {', '.join(sorted(keys))}")
        if any(key in given and not isinstance(given[key], list) for key in ("ids", "losers")):
            raise ValueError("ids and losers are lists")
        recycle_bin = RecycleBin(api, given["org"], _deletable(api, str(given["org"]), str(given["object"])))
        with api.state.transaction():
            return JSONResponse({"changed": do(recycle_bin, given)})
    except RowError as error:
        return JSONResponse({"message": error.message, "errorCode": error.code}, status_code=400)
    except ValueError as error:
        return _wrong(error)


def _deletable(api: Api, org: str, object_name: str) -> SObject:
    entity = api.catalog(_known(api, org)).get(object_name)
    if entity is None or not entity.deletable:
        raise ValueError(f"records of {object_name!r} can't be deleted")
    return written(entity)


async def validation(api: Api, request: Request) -> Response:
    """POST /sandbox/validation: rules {"org", "object", "when", "message", "field"?}; DELETE forgets all of them."""
    if request.method == "DELETE":
        api.clear_validation_rules()
        return JSONResponse({"changed": 0})
    try:
        rules = [_rule(api, given) for given in _items(await request.body())]
    except ValueError as error:
        return _wrong(error)
    for org, rule in rules:
        api.add_validation_rule(org, rule)
    return JSONResponse({"changed": len(rules)})


def _rule(api: Api, given: Any) -> tuple[str, ValidationRule]:
    if not isinstance(given, dict):
        raise ValueError("a validation rule is a JSON object")
    org = _known(api, str(given.get("org", "")))
    return org, read_rule(given, api.catalog(org), org)


def _change(api: Api, given: Any) -> tuple[str, str, str, dict[str, Any]]:
    if not isinstance(given, dict):
        raise ValueError("a field override is a JSON object")
    attributes = {name: value for name, value in given.items() if name not in {"org", "object", "field"}}
    unknown = attributes.keys() - set(CHANGEABLE)
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}; a field override may set {', '.join(CHANGEABLE)}")
    org, object_name, field_name = (str(given.get(key, "")) for key in ("org", "object", "field"))
    _known(api, org)
    if not api.declares(object_name, field_name):
        raise ValueError(f"no field {field_name!r} of {object_name!r}")
    return org, object_name, field_name, attributes


def _items(body: bytes) -> list[Any]:
    given = json.loads(body)
    return given if isinstance(given, list) else [given]


def _wrong(error: ValueError) -> Response:
    return JSONResponse({"message": str(error)}, status_code=400)
