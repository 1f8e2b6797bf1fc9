"""The token endpoint, for every way of logging in, and revocation.

The app's policies are those that Salesforce's own command line has: the flows of a person's browser and refreshing need no
client secret (PKCE proves who asks), though a wrong one is refused; client credentials and passwords need it.
"""

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
from sync_pipeline.sandbox.salesforce.approvals import Granted
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
        organization, granted = _grant(api, request, form)
        org = str(organization["org"])
        answer = _answer(api, organization, granted, origin(request))
        response = JSONResponse(answer, headers={"Cache-Control": "no-store"})
    except OAuthError as error:
        response = JSONResponse(
            {"error": error.error, "error_description": error.description}, status_code=error.status
        )
    api.state.count_call(STAND_IN, org, "POST", "/services/oauth2/token")
    return response


async def revoke(api: Api, request: Request) -> Response:
    """GET or POST /services/oauth2/revoke with `token`: 200 with no body, or `invalid_token`.

    An access token's session ends; a refresh token takes its whole approval along.
    """
    form = await _form(request)
    token = form.get("token") or request.query_params.get("token", "")
    api.state.count_call(STAND_IN, "", request.method, "/services/oauth2/revoke")
    if api.revoke(token) or api.approvals.revoke_token(token):
        return Response(status_code=200)
    return JSONResponse({"error": "invalid_token", "error_description": "token is invalid"}, status_code=400)


async def _form(request: Request) -> dict[str, str]:
    text = (await request.body()).decode("utf-8", "replace")
    return {name: values[0] for name, values in parse_qs(text).items()}


def _grant(api: Api, request: Request, form: dict[str, str]) -> tuple[Row, Granted | None]:
    """Who gets in, and the approval behind it where a person gave one."""
    grant = form.get("grant_type")
    if grant == JWT_BEARER:
        return _active(api, _jwt_bearer(api, request, form)), None
    if grant == "client_credentials":
        if (request.url.hostname or "") in LOGIN_HOSTS:
            raise OAuthError("invalid_grant", "request not supported on this domain")
        return _active(api, _client(api, request, form, secret_needed=True)), None
    if grant == "password":
        return _active(api, _password(api, request, form)), None
    if grant == "authorization_code":
        organization = _active(api, _client(api, request, form))
        code, callback = form.get("code", ""), form.get("redirect_uri", "")
        return organization, api.approvals.redeem(organization, code, callback, form.get("code_verifier", ""))
    if grant == "refresh_token":
        organization = _active(api, _client(api, request, form))
        return organization, api.approvals.refresh(organization, form.get("refresh_token", ""))
    raise OAuthError("unsupported_grant_type", "grant type not supported")


def _active(api: Api, organization: Row) -> Row:
    """The organization, whose user must not have left."""
    user = api.state.row(
        'SELECT "IsActive" FROM "user" WHERE org = ? AND "Id" = ?', organization["org"], organization["user_id"]
    )
    if user and not user["IsActive"]:  # † the description; Salesforce's list of errors has the code
        raise OAuthError("inactive_user", "user is inactive")
    return organization


def _password(api: Api, request: Request, form: dict[str, str]) -> Row:
    """The username-password flow: password and security token in one text."""
    organization = _client(api, request, form, secret_needed=True)
    login = api.login(form.get("username", ""), form.get("password", ""))
    if login is None or login["org"] != organization["org"]:
        raise OAuthError("invalid_grant", "authentication failure")
    return login


def _client(api: Api, request: Request, form: dict[str, str], *, secret_needed: bool = False) -> Row:
    """The organization whose app asks, by the form or by HTTP Basic."""
    client_id, secret = form.get("client_id", ""), form.get("client_secret")
    scheme, _, basic = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(basic, validate=True).decode().partition(":")
        except ValueError:  # no base64, or no UTF-8 in it
            raise OAuthError("invalid_client", "invalid client credentials") from None
    organization = api.app(client_id)
    if secret is None and not secret_needed:
        return organization
    # RFC 6749 has both parts of Basic percent-encoded first; most clients do not do it.
    given = secret or ""
    if not any(
        hmac.compare_digest(s.encode(), organization["client_secret"].encode()) for s in (given, unquote(given))
    ):
        raise OAuthError("invalid_client", "invalid client credentials")
    return organization


def _jwt_bearer(api: Api, request: Request, form: dict[str, str]) -> Row:
    assertion = form.get("assertion", "")
    try:
        claims: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise OAuthError("invalid_grant", "invalid assertion") from None
    organization = api.app(str(claims.get("iss", "")))
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


def _answer(api: Api, organization: Row, granted: Granted | None, address: str) -> dict[str, str]:
    now = time()
    access_token = new_session(api, organization, granted.approval if granted else None)
    identity = f"{address}/id/{organization['organization_id']}/{organization['user_id']}"
    issued_at = str(int(now * 1000))
    signature = hmac.new(organization["client_secret"].encode(), (identity + issued_at).encode(), hashlib.sha256)
    answer = {
        "access_token": access_token,
        "signature": base64.b64encode(signature.digest()).decode(),
        "scope": granted.scope if granted else "api id",
        "instance_url": address,
        "id": identity,
        "token_type": "Bearer",
        "issued_at": issued_at,
    }
    if granted and granted.refresh_token:
        answer["refresh_token"] = granted.refresh_token
    return answer


def new_session(api: Api, organization: Row, approval: str | None = None) -> str:
    """A new access token of the organization's user."""
    now = time()
    access_token = f"{organization['organization_id'][:15]}!AQ{secrets.token_urlsafe(48).replace('-', '.')}"
    api.state.db.execute(
        "INSERT INTO session (org, access_token, created_at, expires_at, approval) VALUES (?, ?, ?, ?, ?)",
        (organization["org"], access_token, now, now + SESSION_SECONDS, approval),
    )
    return access_token
