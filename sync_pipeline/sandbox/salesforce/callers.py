"""Who makes a call, asked before it is served: faults and the list of calls go by organization."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import jwt
from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from sync_pipeline.sandbox.salesforce.api import bearer
from sync_pipeline.sandbox.state import State

_WITHOUT_A_SESSION = "/services/oauth2/"


async def caller(state: State, scope: Scope, receive: Receive) -> tuple[str, Receive]:
    """The organization of a call, "" for somebody unknown; and what to receive the body from afterwards.

    Only what is on the call counts, whether or not it is good: an ended session still says whose it was.
    """
    request = Request(scope, receive)
    token = bearer(request)
    if token:
        return _of_token(state, token), receive
    if not scope["path"].startswith(_WITHOUT_A_SESSION):
        return "", receive
    body = await request.body()
    form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
    named = {**request.query_params, **form}
    org = _of_app(state, _client_id(request, named))
    if not org:
        org = next(
            (found for name in ("token", "refresh_token") if (found := _of_token(state, named.get(name, "")))), ""
        )
    return org, _again(body, receive)


def _client_id(request: Request, named: Mapping[str, str]) -> str:
    scheme, _, basic = request.headers.get("authorization", "").partition(" ")
    try:
        if scheme.lower() == "basic":
            return base64.b64decode(basic, validate=True).decode().partition(":")[0]
        if "assertion" in named:
            claims: dict[str, Any] = jwt.decode(named["assertion"], options={"verify_signature": False})
            return str(claims.get("iss", ""))
    except (ValueError, jwt.PyJWTError):  # the token endpoint will say so
        return ""
    return named.get("client_id", "")


def _of_app(state: State, client_id: str) -> str:
    found = state.row("SELECT org FROM organizations WHERE client_id = ?", client_id)
    return str(found["org"]) if found else ""


def _of_token(state: State, token: str) -> str:
    found = state.row(
        "SELECT org FROM session WHERE access_token = ? UNION ALL SELECT org FROM refresh_token WHERE token = ?",
        token,
        token,
    )
    return str(found["org"]) if found else ""


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body once more that was read already."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
