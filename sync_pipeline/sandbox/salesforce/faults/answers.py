"""Faults that answer instead of Salesforce."""

from __future__ import annotations

import json

from starlette.types import Receive, Scope, Send

from sync_pipeline.sandbox.salesforce.api import STAND_IN, error_response
from sync_pipeline.sandbox.salesforce.errors import ApiError, not_found
from sync_pipeline.sandbox.salesforce.faults.hits import Hit, answer

_PAGE = (
    "<!doctype html><html><head><title>Salesforce - Maintenance</title></head>"
    "<body><h1>We are down for maintenance.</h1><p>Sorry for the inconvenience. We'll be back shortly.</p></body></html>"
)


async def status(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """Any status with any body."""
    body = hit.settings.get("body", "")
    is_text = isinstance(body, str)
    headers = {"content-type": "text/html" if is_text else "application/json", **hit.settings.get("headers", {})}
    content = body.encode() if is_text else json.dumps(body).encode()
    await _instead(hit, scope, receive)
    await answer(send, hit.settings.get("status", 503), headers, content)


async def html(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """A page for people where a program expects JSON."""
    await _instead(hit, scope, receive)
    await answer(send, hit.settings.get("status", 200), {"content-type": "text/html; charset=UTF-8"}, _PAGE.encode())


async def empty(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """No body at all."""
    await _instead(hit, scope, receive)
    await answer(send, hit.settings.get("status", 200), {"content-type": "application/json;charset=UTF-8"}, b"")


async def no_result_pages(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """An organization that does not offer resultPages."""
    await _refuse(hit, not_found(), scope, receive, send)


async def expire_locator(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """A locator that was good once."""
    code = "INVALIDLOCATOR" if "/jobs/" in hit.visit.target else "INVALID_QUERY_LOCATOR"
    await _refuse(hit, ApiError(code, "invalid query locator"), scope, receive, send)


async def concurrent_limit(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """Too many calls at once."""
    message = "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
    await _refuse(hit, ApiError("REQUEST_LIMIT_EXCEEDED", message, 403), scope, receive, send)


async def _refuse(hit: Hit, error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    _count(hit)
    await error_response(error)(scope, receive, send)


async def _instead(hit: Hit, scope: Scope, receive: Receive) -> None:
    if hit.settings.get("done"):
        await hit.do_and_drop(scope, receive)
    else:
        _count(hit)


def _count(hit: Hit) -> None:
    """What Salesforce's stand-in has not counted, because it never saw it."""
    hit.api.state.count_call(STAND_IN, "", hit.visit.method, "fault")
