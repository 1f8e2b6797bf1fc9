"""The sandbox's own addresses, for tests: faults and field overrides. Salesforce has nothing like them."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sync_pipeline.sandbox.salesforce.api import Api
from sync_pipeline.sandbox.salesforce.faults import read_fault
from sync_pipeline.sandbox.salesforce.objects import CHANGEABLE


async def faults(api: Api, request: Request) -> Response:
    """GET, POST, DELETE /sandbox/faults; see `faults`."""
    if request.method == "DELETE":
        api.faults.clear()
    if request.method == "POST":
        try:
            api.faults.add([read_fault(given) for given in _items(await request.body())])
        except ValueError as error:
            return _wrong(error)
    return JSONResponse(api.faults.listed())


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


def _change(api: Api, given: Any) -> tuple[str, str, str, dict[str, Any]]:
    if not isinstance(given, dict):
        raise ValueError("a field override is a JSON object")
    attributes = {name: value for name, value in given.items() if name not in {"org", "object", "field"}}
    unknown = attributes.keys() - set(CHANGEABLE)
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}; a field override may set {', '.join(CHANGEABLE)}")
    org, object_name, field_name = (str(given.get(key, "")) for key in ("org", "object", "field"))
    if api.state.row("SELECT 1 FROM organizations WHERE org = ?", org) is None:
        raise ValueError(f"no organization {org!r}")
    if not api.declares(object_name, field_name):
        raise ValueError(f"no field {field_name!r} of {object_name!r}")
    return org, object_name, field_name, attributes


def _items(body: bytes) -> list[Any]:
    given = json.loads(body)
    return given if isinstance(given, list) else [given]


def _wrong(error: ValueError) -> Response:
    return JSONResponse({"message": str(error)}, status_code=400)
