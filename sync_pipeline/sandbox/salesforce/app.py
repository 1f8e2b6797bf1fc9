"""Salesforce's stand-in as one ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sync_pipeline.sandbox.options import DEFAULT_API_LIMIT, DEFAULT_REFRESH_IDLE_DAYS
from sync_pipeline.sandbox.salesforce import (
    admin,
    authorize,
    composite,
    identity,
    oauth,
    pages,
    permissions,
    records,
    replication,
    soap,
)
from sync_pipeline.sandbox.salesforce.api import STAND_IN, Api, endpoint, error_response
from sync_pipeline.sandbox.salesforce.bulk_ingest import IngestJobs
from sync_pipeline.sandbox.salesforce.bulk_query import QueryJobs
from sync_pipeline.sandbox.salesforce.callers import caller
from sync_pipeline.sandbox.salesforce.errors import ApiError, not_found
from sync_pipeline.sandbox.salesforce.faults import Rule, Visit
from sync_pipeline.sandbox.salesforce.faults.striking import struck
from sync_pipeline.sandbox.salesforce.ids import NUMBERS
from sync_pipeline.sandbox.salesforce.query import Queries
from sync_pipeline.sandbox.salesforce.recycling import PURGES
from sync_pipeline.sandbox.salesforce.soql import install_functions
from sync_pipeline.sandbox.state import State

LONGEST_REQUEST_LINE = 16_384
"""Bytes."""

PAGE_ROWS = 50_000
"""Rows of a Bulk result page when the client does not say."""

_CHANGES = (
    "CREATE TABLE IF NOT EXISTS salesforce_change (org TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID",
    *(
        f'CREATE TRIGGER IF NOT EXISTS "salesforce_{table}_{event}" AFTER {event} ON "{table}" BEGIN '
        f"INSERT INTO salesforce_change VALUES ({row}.org, 1) ON CONFLICT DO UPDATE SET number = number + 1; END"
        for table in ("account", "contact", "user")
        for event, row in (("INSERT", "new"), ("UPDATE", "new"), ("DELETE", "old"))
    ),
)
"""Counts changes of records, whoever makes them, so that a Bulk result is rendered again only when it could differ."""

_STAMPS = tuple(
    f'CREATE TRIGGER IF NOT EXISTS "salesforce_{table}_stamp" AFTER UPDATE ON "{table}" '
    'WHEN new."SystemModstamp" IS old."SystemModstamp" BEGIN '
    f"UPDATE \"{table}\" SET \"SystemModstamp\" = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') "
    'WHERE org = new.org AND "Id" = new."Id"; END'
    for table in ("account", "contact", "user")
)
"""Moves the stamp of a record that somebody changes behind the stand-in's back, as Salesforce would."""

Answer = Callable[[Api, Request], Awaitable[Response]]


def create_app(
    state: State,
    *,
    page_rows: int = PAGE_ROWS,
    api_limit: int = DEFAULT_API_LIMIT,
    refresh_idle_days: int = DEFAULT_REFRESH_IDLE_DAYS,
    faults: Iterable[Rule] = (),
) -> Starlette:
    """The stand-in for the organizations of `state`, whose world should be there already.

    Args:
        state: the sandbox's state; files of Bulk jobs go into `salesforce/` beside it.
        page_rows: rows of a Bulk result page when the client does not say.
        api_limit: API calls a day of each organization.
        refresh_idle_days: how long a refresh token may lie unused; 0 for ever.
        faults: rules in force from the start.
    """
    for statement in (*_CHANGES, *_STAMPS, PURGES, NUMBERS, *permissions.DDL):
        state.db.execute(statement)
    install_functions(state.db)
    api = Api(state, page_rows, api_limit, refresh_idle_days)
    api.faults.add(list(faults))
    files = state.folder / "salesforce"
    routes = [
        *_data_routes(
            api, Queries(files / "cursors"), QueryJobs(api, files / "query"), IngestJobs(api, files / "ingest")
        ),
        *_other_routes(api),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Gate, api=api, routes=routes)],
        exception_handlers={HTTPException: partial(_refused_by_routing, api)},
    )


def _data_routes(api: Api, queries: Queries, query_jobs: QueryJobs, ingest_jobs: IngestJobs) -> list[BaseRoute]:
    def at(path: str, **handlers: Any) -> Route:
        return endpoint(api, path, **handlers)

    return [
        at("", GET=identity.resources),
        at("/limits", GET=identity.limits),
        at("/query", GET=queries.query),
        at("/queryAll", GET=queries.query_all),
        at("/query/{locator}", GET=queries.more),
        at("/queryAll/{locator}", GET=queries.more),
        at("/tooling/query", GET=queries.tooling),
        at("/tooling/query/{locator}", GET=queries.more),
        at("/sobjects", GET=records.describe_global),
        at("/sobjects/{object}", GET=records.basic, POST=records.create),
        at("/sobjects/{object}/describe", GET=records.described),
        at("/sobjects/{object}/deleted", GET=replication.deleted),
        at("/sobjects/{object}/updated", GET=replication.updated),
        at("/sobjects/{object}/{id}", GET=records.get, PATCH=records.update, DELETE=records.delete),
        at("/sobjects/{object}/{field}/{value:path}", GET=records.get_by_external_id, PATCH=records.upsert),
        at("/composite/sobjects", POST=composite.create, PATCH=composite.update, DELETE=composite.delete),
        at("/composite/sobjects/{object}", GET=composite.retrieve, POST=composite.retrieve_many),
        at("/composite/sobjects/{object}/{field}", PATCH=composite.upsert),
        at("/jobs/query", GET=query_jobs.listed, POST=query_jobs.create_job),
        at("/jobs/query/{job}", GET=query_jobs.get, PATCH=query_jobs.patch, DELETE=query_jobs.delete),
        at("/jobs/query/{job}/results", GET=query_jobs.results),
        at("/jobs/query/{job}/resultPages", GET=query_jobs.result_pages),
        at("/jobs/ingest", GET=ingest_jobs.listed, POST=ingest_jobs.create_job),
        at("/jobs/ingest/{job}", GET=ingest_jobs.get, PATCH=ingest_jobs.patch, DELETE=ingest_jobs.delete),
        at("/jobs/ingest/{job}/batches", PUT=ingest_jobs.upload),
        at("/jobs/ingest/{job}/{results}", GET=ingest_jobs.results),
    ]


def _other_routes(api: Api) -> list[BaseRoute]:
    def at(path: str, answer: Answer, *methods: str) -> Route:
        async def call(request: Request) -> Response:
            return await answer(api, request)

        return Route(path, call, methods=list(methods))

    async def versions(api: Api, request: Request) -> Response:
        api.state.count_call(STAND_IN, "", "GET", "/services/data")
        return JSONResponse(identity.versions())

    return [
        at("/services/data", versions, "GET"),
        at("/services/oauth2/token", oauth.token, "POST"),
        at("/services/oauth2/revoke", oauth.revoke, "GET", "POST"),
        at("/services/oauth2/authorize", authorize.authorize, "GET", "POST"),
        at(authorize.ERROR_PATH, authorize.error_page, "GET"),
        at("/services/Soap/{kind}/{version}", soap.login_or_logout, "POST"),
        at("/services/oauth2/userinfo", identity.userinfo, "GET", "POST"),
        at("/id/{organization}/{user}", identity.identity, "GET"),
        at("/sandbox/faults", admin.faults, "GET", "POST", "DELETE"),
        at("/sandbox/calls", admin.calls, "GET"),
        at("/sandbox/usage", admin.usage, "GET", "POST"),
        at("/sandbox/fields", admin.fields, "POST"),
        at("/sandbox/permissions", admin.permissions, "GET", "POST"),
        at("/sandbox/validation", admin.validation, "POST", "DELETE"),
        at("/sandbox/merge", admin.merge, "POST"),
        at("/sandbox/undelete", admin.undelete, "POST"),
        at("/sandbox/purge", admin.purge, "POST"),
        at("/lightning/r/{object}/{id}/view", pages.lightning, "GET"),
        at("/{id}", pages.short, "GET"),
    ]


async def _refused_by_routing(api: Api, request: Request, error: Exception) -> Response:
    """No such address, or not with this method; in Salesforce's shape."""
    api.state.count_call(STAND_IN, "", request.method, "?")
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = error.headers["Allow"] if error.headers else ""
        message = f"HTTP Method '{request.method}' not allowed. Allowed are {allowed.replace(' ', '')}"
        return error_response(ApiError("METHOD_NOT_ALLOWED", message, 405))
    return error_response(not_found())


class Gate:
    """What happens before routing: faults, request lines that are too long, slashes, method overrides."""

    def __init__(self, app: ASGIApp, api: Api, routes: list[BaseRoute]) -> None:
        self._app = app
        self._api = api
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, query = scope["path"], scope["query_string"].decode("latin-1")
        raw_path: bytes = scope.get("raw_path") or path.encode()
        if raw_path.startswith(b"//"):  # sf keeps the slash at the end of its --instance-url, and puts paths behind it
            path, raw_path = path[1:], raw_path[1:]
        refusal = _refusal(raw_path.decode("latin-1"), query)
        if refusal:
            await refusal(scope, receive, send)
            return
        asked = parse_qs(query).get("_HttpMethod") if scope["method"] == "POST" else None
        scope = {**scope, "path": path.rstrip("/") or "/", "method": asked[0].upper() if asked else scope["method"]}
        if path.startswith("/sandbox/"):
            await self._app(scope, receive, send)
        else:
            await self._with_faults(scope, receive, send, f"{path}?{query}" if query else path)

    async def _with_faults(self, scope: Scope, receive: Receive, send: Send, target: str) -> None:
        org, receive = await caller(self._api.state, scope, receive)
        visit = Visit(scope["method"], target, self._route(scope), org)
        with self._api.visits.serving(visit):
            rules = self._api.faults.striking(visit)
            await struck(self._app, rules, self._api, visit)(scope, receive, send)

    def _route(self, scope: Scope) -> str:
        for route in self._routes:
            if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
                return route.path
        return "?"


def _refusal(path: str, query: str) -> Response | None:
    if len(path) + len(query) > LONGEST_REQUEST_LINE - len("DELETE  HTTP/1.1?"):
        return Response(
            "<h1>Bad Message 414</h1><pre>reason: URI Too Long</pre>", status_code=414, media_type="text/html"
        )
    return error_response(not_found()) if "//" in path else None
