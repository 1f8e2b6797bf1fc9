"""sObject metadata and single records."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from sync_pipeline.sandbox.salesforce import describe
from sync_pipeline.sandbox.salesforce.api import Call
from sync_pipeline.sandbox.salesforce.errors import ApiError, RowError, not_found
from sync_pipeline.sandbox.salesforce.ids import id18
from sync_pipeline.sandbox.salesforce.objects import Field, SObject
from sync_pipeline.sandbox.salesforce.rendering import json_rows_sql
from sync_pipeline.sandbox.salesforce.saving import Saver
from sync_pipeline.sandbox.salesforce.soql import compile_query, install_functions

_GONE = frozenset({"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY"})


async def describe_global(call: Call) -> Response:
    """GET sobjects."""
    return JSONResponse(describe.describe_global(call.catalog, call.base))


async def basic(call: Call) -> Response:
    """GET sobjects/{object}."""
    return JSONResponse(describe.basic(_entity(call), call.base))


async def described(call: Call) -> Response:
    """GET sobjects/{object}/describe."""
    return JSONResponse(describe.describe(_entity(call), call.base))


async def create(call: Call) -> Response:
    """POST sobjects/{object}."""
    values = _values(await call.json_object())
    try:
        record_id = Saver(call.api, call.org, _entity(call)).insert(values)
    except RowError as error:
        raise _refused(error) from None
    return JSONResponse({"id": record_id, "success": True, "errors": []}, status_code=201)


async def get(call: Call) -> Response:
    """GET sobjects/{object}/{id}?fields=A,B."""
    entity = _entity(call)
    record_id = id18(call.path["id"])
    if record_id is None or not record_id.startswith(entity.prefix):
        raise _no_external_id(call.path["id"])
    return Response(
        await run_in_threadpool(_record, call, entity, record_id), media_type="application/json;charset=UTF-8"
    )


async def get_by_external_id(call: Call) -> Response:
    """GET sobjects/{object}/{field}/{value}: 300 with the addresses when several records have the value."""
    entity = _entity(call)
    field = key_field(entity, call.path["field"], id_too=False)
    found = Saver(call.api, call.org, entity).with_external_id(field, call.path["value"])
    if not found:
        raise not_found()
    if len(found) > 1:
        return _several(call, entity, found)
    return Response(
        await run_in_threadpool(_record, call, entity, found[0]), media_type="application/json;charset=UTF-8"
    )


async def upsert(call: Call) -> Response:
    """PATCH sobjects/{object}/{field}/{value}: 201 for a new record, 200 for a changed one, 300 when several match."""
    values = _values(await call.json_object())
    entity = _entity(call)
    field = key_field(entity, call.path["field"], id_too=True)
    if any(name.lower() in {"id", field.name.lower()} for name in values):
        raise ApiError("INVALID_FIELD", f"The {field.name} field should not be specified in the sobject data.")
    saver = Saver(call.api, call.org, entity)
    if field.type != "id":
        found = saver.with_external_id(field, call.path["value"])
        if len(found) > 1:
            return _several(call, entity, found)
        if not found and (call.argument("updateOnly") or "").lower() == "true":
            raise not_found()
    try:
        record_id, created = saver.upsert(field.name, call.path["value"], values)
    except RowError as error:
        raise _refused(error) from None
    body = {"id": record_id, "success": True, "errors": [], "created": created}
    return JSONResponse(body, status_code=201 if created else 200)


async def update(call: Call) -> Response:
    """PATCH sobjects/{object}/{id}."""
    values = _values(await call.json_object())
    if any(name.lower() == "id" for name in values):
        raise ApiError("INVALID_FIELD", "The Id field should not be specified in the sobject data.")
    try:
        Saver(call.api, call.org, _entity(call)).update(call.path["id"], values)
    except RowError as error:
        raise _refused(error) from None
    return Response(status_code=204)


async def delete(call: Call) -> Response:
    """DELETE sobjects/{object}/{id}."""
    try:
        with call.api.state.transaction():
            Saver(call.api, call.org, _entity(call)).delete(call.path["id"])
    except RowError as error:
        raise _refused(error) from None
    return Response(status_code=204)


def _entity(call: Call) -> SObject:
    return call.catalog.required(call.path["object"])


def _values(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "attributes"}


def _refused(error: RowError) -> ApiError:
    """A refused row as the error of a whole request; a record that is not there is 404."""
    if error.code == "INVALID_CROSS_REFERENCE_KEY" and not error.fields:
        return not_found()
    return ApiError(error.code, error.message, 404 if error.code in _GONE else 400, error.fields)


def key_field(entity: SObject, name: str, *, id_too: bool) -> Field:
    """The field that an address names records by: an external id, or also the Id."""
    field = entity.fields.get(name.lower())
    if field is None or not (field.external_id or (id_too and field.type == "id")):
        raise _no_external_id(name)
    return field


def _no_external_id(given: str) -> ApiError:
    return ApiError("NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {given}", 404)


def _several(call: Call, entity: SObject, ids: list[str]) -> Response:
    return JSONResponse([f"{call.base}/sobjects/{entity.name}/{record_id}" for record_id in ids], status_code=300)


def asked_fields(entity: SObject, names: Iterable[str]) -> list[str]:
    """Names of fields as a client gave them, each known; INVALID_FIELD otherwise."""
    given = [name.strip() for name in names]
    unknown = [name for name in given if name.lower() not in entity.fields]
    if unknown:
        raise ApiError("INVALID_FIELD", f"No such column '{unknown[0]}' on sobject of type {entity.name}")
    return list({name.lower(): name for name in given}.values())


def _record(call: Call, entity: SObject, record_id: str) -> bytes:
    asked = call.argument("fields")
    names = asked_fields(entity, asked.split(",") if asked else (f.name for f in entity.fields.values()))
    compiled = compile_query(
        f"SELECT {', '.join(names)} FROM {entity.name} WHERE Id = '{record_id}'",
        call.catalog,
        call.org,
        deleted_too=True,
    )
    with closing(call.api.state.reader()) as connection:
        install_functions(connection)
        found = connection.execute(json_rows_sql(compiled, call.base), compiled.parameters).fetchone()
        if found is None:
            raise not_found()
        if "isdeleted" in entity.fields:
            sql = f'SELECT "IsDeleted" FROM "{entity.table}" WHERE org = ? AND "Id" = ?'
            if connection.execute(sql, (call.org, record_id)).fetchone()[0]:
                raise ApiError("ENTITY_IS_DELETED", "entity is deleted", 404, ())
    return bytes(found[0])
