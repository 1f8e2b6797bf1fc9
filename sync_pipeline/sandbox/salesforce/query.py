"""REST queries: query, queryAll, and further pages by locator."""

from __future__ import annotations

import re
import secrets
import shutil
from collections import OrderedDict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from sync_pipeline.sandbox.salesforce.api import Call
from sync_pipeline.sandbox.salesforce.errors import ApiError
from sync_pipeline.sandbox.salesforce.objects import NUMBER_TYPES
from sync_pipeline.sandbox.salesforce.rendering import json_rows_sql
from sync_pipeline.sandbox.salesforce.results import Result, fetched, write_result
from sync_pipeline.sandbox.salesforce.soql import Compiled, compile_query, install_functions
from sync_pipeline.sandbox.salesforce.soql_values import Column

SMALLEST_BATCH, LARGEST_BATCH = 200, 2000
MOST_CURSORS = 50
"""Open queries with further pages; the oldest goes when there are more."""

TOOLING = frozenset({"user"})
"""Objects that the Tooling API has too, in lower case."""

_BATCH = re.compile(r"batchSize\s*=\s*(\d+)", re.IGNORECASE)
_LOCATOR = re.compile(r"(0r8[A-Za-z0-9]{15})-(\d{1,9})")


@dataclass(frozen=True, slots=True)
class _Cursor:
    org: str
    result: Result
    batch: int


class Queries:
    """Answers queries. Pages beyond the first come from a copy on disk, so that they do not change under the reader.

    Args:
        folder: where those copies go; emptied at the start, because locators do not outlive the process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cursors: OrderedDict[str, _Cursor] = OrderedDict()
        shutil.rmtree(folder, ignore_errors=True)

    async def query(self, call: Call) -> Response:
        """GET query?q=SOQL."""
        return await self._query(call, deleted_too=False)

    async def query_all(self, call: Call) -> Response:
        """GET queryAll?q=SOQL: deleted and merged records too."""
        return await self._query(call, deleted_too=True)

    async def tooling(self, call: Call) -> Response:
        """GET tooling/query?q=SOQL: of the objects here, only users are also the Tooling API's."""
        return await self._query(call, deleted_too=False, only=TOOLING)

    async def more(self, call: Call) -> Response:
        """GET query/{locator}."""
        found = _LOCATOR.fullmatch(call.path["locator"])
        cursor = self._cursors.get(found[1]) if found else None
        if not found or cursor is None or cursor.org != call.org:
            raise ApiError("INVALID_QUERY_LOCATOR", "invalid query locator")
        first = int(found[2])
        if first >= cursor.result.rows:
            raise ApiError("INVALID_QUERY_LOCATOR", "invalid query locator")
        rows = cursor.result.page(first, cursor.batch)
        return _answer(call, cursor.result.rows, rows, found[1], first + cursor.batch)

    async def _query(self, call: Call, *, deleted_too: bool, only: frozenset[str] | None = None) -> Response:
        text = call.argument("q")
        if not text:
            raise ApiError("MALFORMED_QUERY", "A query string has to be specified")
        catalog = call.catalog.limited_to(only) if only else call.catalog
        compiled = compile_query(text, catalog, call.org, deleted_too=deleted_too)
        if (call.argument("columns") or "").lower() == "true":
            return JSONResponse(_columns(compiled))
        asked = _BATCH.search(call.request.headers.get("sforce-query-options", ""))
        batch = min(max(int(asked[1]), SMALLEST_BATCH), LARGEST_BATCH) if asked else LARGEST_BATCH
        return await run_in_threadpool(self._run, call, compiled, batch)

    def _run(self, call: Call, compiled: Compiled, batch: int) -> Response:
        with closing(call.api.state.reader()) as connection:
            install_functions(connection)
            if compiled.is_count:
                total = connection.execute(compiled.count_sql, compiled.parameters).fetchone()[0]
                return _answer(call, total, b"", "", total)
            return self._first_page(call, compiled, batch, connection)

    def _first_page(self, call: Call, compiled: Compiled, batch: int, connection: Connection) -> Response:
        sql = json_rows_sql(compiled, call.base, after=",")  # a page is then a JSON list but for its last character
        locator = f"0r8{secrets.token_hex(8)[:15]}"
        result = write_result(self._folder / locator, b"", fetched(connection, sql, compiled.parameters))
        rows = result.page(0, batch)
        answer = _answer(call, result.rows, rows, locator, batch)
        if result.rows > batch:
            self._keep(locator, _Cursor(call.org, result, batch))
        else:
            shutil.rmtree(result.folder)
        return answer

    def _keep(self, locator: str, cursor: _Cursor) -> None:
        self._cursors[locator] = cursor
        while len(self._cursors) > MOST_CURSORS:
            _, oldest = self._cursors.popitem(last=False)
            shutil.rmtree(oldest.result.folder, ignore_errors=True)


def _answer(call: Call, total: int, rows: bytes, locator: str, following: int) -> Response:
    done = following >= total
    further = "" if done else f',"nextRecordsUrl":"{call.base}/query/{locator}-{following}"'
    body = f'{{"totalSize":{total},"done":{str(done).lower()}{further},"records":['.encode() + rows[:-1] + b"]}"
    return Response(body, media_type="application/json;charset=UTF-8")


def _columns(compiled: Compiled) -> dict[str, object]:
    """The answer to `columns=true`: what the query would select, without running it."""
    return {
        "entityName": compiled.entity.name,
        "groupBy": False,
        "idSelected": any(c.path == ("Id",) for c in compiled.columns),
        "keyPrefix": compiled.entity.prefix,
        "columnMetadata": _metadata([(c.path, c) for c in compiled.columns]),
    }


def _metadata(columns: list[tuple[tuple[str, ...], Column]]) -> list[dict[str, object]]:
    """Columns by their paths; the fields of a parent are the `joinColumns` of its relationship."""
    groups: dict[str, list[tuple[tuple[str, ...], Column]]] = {}
    for path, column in columns:
        groups.setdefault(path[0], []).append((path[1:], column))
    found: list[dict[str, object]] = []
    for name, members in groups.items():
        field = members[0][1].field if not members[0][0] else None
        found.append(
            {
                "aggregate": False,
                "apexType": None,
                "booleanType": field is not None and field.type == "boolean",
                "columnName": name,
                "custom": field is not None and field.custom,
                "displayName": name,
                "foreignKeyName": None,
                "insertable": field is not None and field.createable,
                "joinColumns": [] if field else _metadata(members),
                "numberType": field is not None and field.type in NUMBER_TYPES,
                "textType": field is not None and field.type in {"string", "textarea"},
                "updatable": field is not None and field.updateable,
            }
        )
    return found
