"""sObject collections: many records in one request, each with its own result, in the order of the request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from sync_pipeline.sandbox.salesforce.api import Call, Json
from sync_pipeline.sandbox.salesforce.errors import ApiError, RowError
from sync_pipeline.sandbox.salesforce.ids import id18
from sync_pipeline.sandbox.salesforce.objects import SObject
from sync_pipeline.sandbox.salesforce.records import asked_fields, key_field
from sync_pipeline.sandbox.salesforce.rendering import json_rows_sql
from sync_pipeline.sandbox.salesforce.saving import Saver
from sync_pipeline.sandbox.salesforce.soql import compile_query, install_functions

MOST_RECORDS, MOST_READ = 200, 2000
"""Records that one request may save or delete, and read."""

Result = dict[str, Any]


async def create(call: Call) -> Response:
    """POST composite/sobjects {"allOrNone", "records": [{"attributes": {"type"}, ...}]}."""
    return await _save_each(
        call, lambda record: _result(Saver(call.api, call.org, _type(call, record)).insert(_own(record)))
    )


async def update(call: Call) -> Response:
    """PATCH composite/sobjects {"allOrNone", "records": [{"attributes": {"type"}, "id", ...}]}."""

    def save(record: dict[str, Any]) -> Result:
        values = {name: value for name, value in _own(record).items() if name.lower() != "id"}
        return _result(Saver(call.api, call.org, _type(call, record)).update(str(_id(record) or ""), values))

    return await _save_each(call, save)


async def upsert(call: Call) -> Response:
    """PATCH composite/sobjects/{object}/{field}: the field is an external id, or Id."""
    entity = call.catalog.required(call.path["object"])
    field = key_field(entity, call.path["field"], id_too=True)

    def save(record: dict[str, Any]) -> Result:
        if _type(call, record) is not entity:
            raise RowError("INVALID_TYPE", f"A record's type must be {entity.name}.")
        values = _own(record)
        key = next((values.pop(name) for name in list(values) if name.lower() == field.name.lower()), None)
        saver = Saver(call.api, call.org, entity)
        if field.type == "id" and not key:
            return _result(saver.insert(values), created=True)
        record_id, created = saver.upsert(field.name, key, values)
        return _result(record_id, created=created)

    return await _save_each(call, save)


async def delete(call: Call) -> Response:
    """DELETE composite/sobjects?ids=A,B&allOrNone=false: records of any objects."""

    def remove(record: dict[str, Any]) -> Result:
        record_id = str(record["id"])
        whole_id = id18(record_id)
        entity = call.catalog.by_id(whole_id) if whole_id else None
        if entity is None:
            raise RowError("MALFORMED_ID", f"malformed id {record_id}")
        return _result(Saver(call.api, call.org, entity).delete(record_id))

    records = [{"id": record_id} for record_id in (call.argument("ids") or "").split(",")]
    return _answer(call, records, remove, (call.argument("allOrNone") or "").lower() == "true")


async def retrieve(call: Call) -> Response:
    """GET composite/sobjects/{object}?ids=A,B&fields=X,Y: a list in the order of the ids."""
    ids, fields = (call.argument(name) for name in ("ids", "fields"))
    return await _retrieved(call, ids.split(",") if ids else None, fields.split(",") if fields else None)


async def retrieve_many(call: Call) -> Response:
    """POST composite/sobjects/{object} {"ids": [...], "fields": [...]}."""
    body = await call.json_object()
    return await _retrieved(call, body.get("ids"), body.get("fields"))


# -- saving ---------------------------------------------------------------------------------------------------------


class _RolledBack(Exception):
    def __init__(self, results: list[Result]) -> None:
        super().__init__()
        self.results = results


async def _save_each(call: Call, save: Callable[[dict[str, Any]], Result]) -> Response:
    body = await call.json_object()
    records = body.get("records")
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ApiError("JSON_PARSER_ERROR", "The property 'records' must be a list of sObjects.")
    return _answer(call, records, save, body.get("allOrNone") is True)


def _answer(
    call: Call, records: list[dict[str, Any]], save: Callable[[dict[str, Any]], Result], all_or_none: bool
) -> Response:
    """One result for each record: HTTP 200 even when every one was refused."""
    if len(records) > MOST_RECORDS:
        raise _too_many(MOST_RECORDS)
    try:
        with call.api.state.transaction():
            results = [_tried(record, save) for record in records]
            if all_or_none and not all(result["success"] for result in results):
                raise _RolledBack(results)
    except _RolledBack as rolled_back:
        results = [_undone(*each) for each in zip(records, rolled_back.results, strict=True)]
    return Json(results)


def _tried(record: dict[str, Any], save: Callable[[dict[str, Any]], Result]) -> Result:
    try:
        return save(record)
    except RowError as error:
        record_id = _id(record)
        return {**({"id": record_id} if record_id else {}), "success": False, "errors": [error.body()]}


def _undone(record: dict[str, Any], result: Result) -> Result:
    """The answer to a good record of a request that was all or none; what was never made has no id."""
    if not result["success"]:
        return result
    error = RowError(
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "Record rolled back because not all records were valid and the request was using AllOrNone header",
    )
    known = result["id"] if _id(record) or result.get("created") is False else None
    return {**({"id": known} if known else {}), "success": False, "errors": [error.body()]}


def _result(record_id: str, **more: Any) -> Result:
    return {"id": record_id, "success": True, "errors": [], **more}


def _type(call: Call, record: dict[str, Any]) -> SObject:
    attributes = record.get("attributes")
    name = attributes.get("type") if isinstance(attributes, dict) else None
    entity = call.catalog.get(str(name))
    if entity is None:
        raise RowError("INVALID_TYPE", f"sObject type '{name}' is not supported.")
    return entity


def _own(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "attributes"}


def _id(record: dict[str, Any]) -> Any:
    return next((value for name, value in record.items() if name.lower() == "id"), None)


def _too_many(most: int) -> ApiError:
    return ApiError("EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {most} records into this call")


# -- reading --------------------------------------------------------------------------------------------------------


async def _retrieved(call: Call, ids: Any, fields: Any) -> Response:
    """The records, null where there is none, also in the recycle bin."""
    for name, given in (("ids", ids), ("fields", fields)):
        if not isinstance(given, list) or not given:
            raise ApiError("MISSING_ARGUMENT", f"The parameter {name} is required and must not be empty.")
    if len(ids) > MOST_READ:
        raise _too_many(MOST_READ)
    entity = call.catalog.required(call.path["object"])
    names = asked_fields(entity, (str(name) for name in fields))
    whole_ids = [id18(str(record_id).strip()) for record_id in ids]
    found = await run_in_threadpool(_records, call, entity, names, filter(None, whole_ids))
    return JSONResponse([found.get(record_id or "") for record_id in whole_ids])


def _records(call: Call, entity: SObject, names: list[str], ids: Iterable[str]) -> dict[str, Any]:
    """Records by their ids."""
    wanted = ", ".join(f"'{record_id}'" for record_id in ids)
    if not wanted:
        return {}
    soql = f"SELECT {', '.join(names)} FROM {entity.name} WHERE Id IN ({wanted})"
    compiled = compile_query(soql, call.catalog, call.org)
    with closing(call.api.state.reader()) as connection:
        install_functions(connection)
        rows = connection.execute(json_rows_sql(compiled, call.base), compiled.parameters)
        records = [json.loads(row[0]) for row in rows]
    return {record["attributes"]["url"].rpartition("/")[2]: record for record in records}
