"""The token endpoint: client credentials (HTTP Basic or form) and JWT bearer; revocation."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from sqlite3 import Row
from time import time
from typing import Any
from urllib.parse import parse_qs, unquote

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sync_pipeline.sandbox.salesforce.api import SESSION_SECONDS, STAND_IN, Api, origin
from sync_pipeline.sandbox.salesforce.errors import OAuthError

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLOCK_SKEW_SECONDS = 180.0
"""How far `exp` may lie behind the server's clock; Salesforce forgives three minutes."""

LOGIN_HOSTS = ("login.salesforce.com", "test.salesforce.com")


async def token(api: Api, request: Request) -> Response:
    """POST /services/oauth2/token."""
    org = ""
    try:
        form = await _form(request)
        organization = _grant(api, request, form)
        org = str(organization["org"])
        response = JSONResponse(_new_session(api, organization, origin(request)), headers={"Cache-Control": "no-store"})
    except OAuthError as error:
        response = JSONResponse(
            {"error": error.error, "error_description": error.description}, status_code=error.status
        )
    api.state.count_call(STAND_IN, org, "POST", "/services/oauth2/token")
    return response


async def revoke(api: Api, request: Request) -> Response:
    """POST /services/oauth2/revoke with `token`: 200 with no body, or `invalid_token`."""
    form = await _form(request)
    api.state.count_call(STAND_IN, "", "POST", "/services/oauth2/revoke")
    if api.revoke(form.get("token", "")):
        return Response(status_code=200)
    return JSONResponse({"error": "invalid_token", "error_description": "token is invalid"}, status_code=400)


async def _form(request: Request) -> dict[str, str]:
    text = (await request.body()).decode("utf-8", "replace")
    return {name: values[0] for name, values in parse_qs(text).items()}


def _grant(api: Api, request: Request, form: dict[str, str]) -> Row:
    grant = form.get("grant_type")
    if grant not in {"client_credentials", JWT_BEARER}:
        raise OAuthError("unsupported_grant_type", "grant type not supported")
    if (request.url.hostname or "") in LOGIN_HOSTS and grant == "client_credentials":
        raise OAuthError("invalid_grant", "request not supported on this domain")
    return _client_credentials(api, request, form) if grant == "client_credentials" else _jwt_bearer(api, request, form)


def _client(api: Api, client_id: str) -> Row:
    found = api.state.row("SELECT * FROM organizations WHERE client_id = ?", client_id)
    if found is None:
        raise OAuthError("invalid_client_id", "client identifier invalid")
    return found


def _client_credentials(api: Api, request: Request, form: dict[str, str]) -> Row:
    client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    scheme, _, basic = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(basic, validate=True).decode().partition(":")
        except ValueError:  # no base64, or no UTF-8 in it
            raise OAuthError("invalid_client", "invalid client credentials") from None
    organization = _client(api, client_id)
    # RFC 6749 has both parts of Basic percent-encoded first; most clients do not do it.
    if not any(
        hmac.compare_digest(s.encode(), organization["client_secret"].encode()) for s in (secret, unquote(secret))
    ):
        raise OAuthError("invalid_client", "invalid client credentials")
    return organization


def _jwt_bearer(api: Api, request: Request, form: dict[str, str]) -> Row:
    assertion = form.get("assertion", "")
    try:
        claims: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise OAuthError("invalid_grant", "invalid assertion") from None
    organization = _client(api, str(claims.get("iss", "")))
    unchecked: Any = dict.fromkeys(
        ("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_sub", "verify_jti", "verify_iss"), False
    )
    try:
        jwt.decode(assertion, organization["public_key"], algorithms=["RS256"], options=unchecked)
    except jwt.PyJWTError:
        raise OAuthError("invalid_grant", "invalid assertion") from None
    _check_audience(str(claims.get("aud", "")), request)
    _check_expiry(claims.get("exp"))
    if str(claims.get("sub") or claims.get("prn", "")).lower() != organization["username"].lower():
        raise OAuthError("invalid_grant", "user hasn't approved this consumer")
    return organization


def _check_audience(audience: str, request: Request) -> None:
    """A login host, or the address that was asked; a slash at the end does not matter.

    One listener stands for both login hosts, so it can't tell production's audience from a sandbox's.
    """
    address = audience.removesuffix("/services/oauth2/token").removesuffix("/")
    if address not in {origin(request), *(f"https://{host}" for host in LOGIN_HOSTS)}:
        raise OAuthError("invalid_grant", "Audience validation failed")


def _check_expiry(expiry: Any) -> None:
    """`exp` in seconds; clients also send it as a text, or in milliseconds."""
    try:
        seconds = float(expiry)
    except (TypeError, ValueError):
        raise OAuthError("invalid_grant", "invalid assertion") from None
    if seconds > 1e11:
        seconds /= 1000
    if not seconds + CLOCK_SKEW_SECONDS > time():
        raise OAuthError("invalid_grant", "expired authorization code")


def _new_session(api: Api, organization: Row, address: str) -> dict[str, str]:
    now = time()
    access_token = f"{organization['organization_id'][:15]}!AQ{secrets.token_urlsafe(48).replace('-', '.')}"
    api.state.db.execute(
        "INSERT INTO session (org, access_token, created_at, expires_at) VALUES (?, ?, ?, ?)",
        (organization["org"], access_token, now, now + SESSION_SECONDS),
    )
    identity = f"{address}/id/{organization['organization_id']}/{organization['user_id']}"
    issued_at = str(int(now * 1000))
    signature = hmac.new(organization["client_secret"].encode(), (identity + issued_at).encode(), hashlib.sha256)
    return {
        "access_token": access_token,
        "signature": base64.b64encode(signature.digest()).decode(),
        "scope": "api id",
        "instance_url": address,
        "id": identity,
        "token_type": "Bearer",
        "issued_at": issued_at,
    }
