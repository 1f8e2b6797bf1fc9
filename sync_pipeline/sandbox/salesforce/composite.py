"""sObject collections: up to 200 records in one request, each with its own result, in the order of the request."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from sync_pipeline.sandbox.salesforce.api import Call, Json
from sync_pipeline.sandbox.salesforce.errors import ApiError, RowError
from sync_pipeline.sandbox.salesforce.saving import Saver

MOST_RECORDS = 200


async def update(call: Call) -> Response:
    """PATCH composite/sobjects: HTTP 200 even when every record was refused."""
    body = await call.json_object()
    records = body.get("records")
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ApiError("JSON_PARSER_ERROR", "The property 'records' must be a list of sObjects.")
    if len(records) > MOST_RECORDS:
        raise ApiError("EXCEEDED_ID_LIMIT", "record limit reached. cannot submit more than 200 records into this call")
    all_or_none = body.get("allOrNone") is True
    try:
        with call.api.state.transaction():
            results = [_update(call, record) for record in records]
            if all_or_none and not all(result["success"] for result in results):
                raise _RolledBack(results)
    except _RolledBack as rolled_back:
        results = [_undone(result) for result in rolled_back.results]
    return Json(results)


class _RolledBack(Exception):
    def __init__(self, results: list[dict[str, Any]]) -> None:
        super().__init__()
        self.results = results


def _update(call: Call, record: dict[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in record.items() if name != "attributes" and name.lower() != "id"}
    record_id = next((value for name, value in record.items() if name.lower() == "id"), None)
    attributes = record.get("attributes")
    type_name = attributes.get("type") if isinstance(attributes, dict) else None
    try:
        entity = call.catalog.get(str(type_name))
        if entity is None:
            raise RowError("INVALID_TYPE", f"sObject type '{type_name}' is not supported.")
        whole_id = Saver(call.api, call.org, entity).update(str(record_id or ""), values)
    except RowError as error:
        return (
            {"id": record_id, "success": False, "errors": [error.body()]}
            if record_id
            else {"success": False, "errors": [error.body()]}
        )
    return {"id": whole_id, "success": True, "errors": []}


def _undone(result: dict[str, Any]) -> dict[str, Any]:
    """A good record of a request that was all or none."""
    if not result["success"]:
        return result
    error = RowError(
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "Record rolled back because not all records were valid and the request was using AllOrNone header",
    )
    return {"id": result["id"], "success": False, "errors": [error.body()]}
