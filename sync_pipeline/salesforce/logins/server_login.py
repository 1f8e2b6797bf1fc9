"""Logging in as a server does: client credentials or a signed JWT, exchanged for an access token.

Source: Salesforce Help, "OAuth 2.0 Client Credentials Flow for Server-to-Server Integration" and "OAuth 2.0 JWT Bearer
Flow for Server-to-Server Integration". Neither stores a token: an expired session is replaced by logging in again.
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import jwt

from sync_pipeline.errors import ConfigurationError
from sync_pipeline.http import is_loopback, translated
from sync_pipeline.logins.answers import body, reason_of
from sync_pipeline.logins.private_keys import read_pem, with_line_breaks
from sync_pipeline.orgs.models import ClientCredentials, JwtBearer, Organization
from sync_pipeline.salesforce.logins.oauth import (
    Token,
    base_url,
    endpoint_session,
    post,
    refused,
    token_from,
)
from sync_pipeline.yaml_types.values import text

JWT_SECONDS = 180
"""Life of the signed token; Salesforce accepts at most three minutes."""


def log_in(org: Organization, login: ClientCredentials | JwtBearer) -> Token:
    """Exchange the organization's credentials for a session, now. Raises as `login.log_in` does."""
    base = base_url(org)
    form = _form(org, login, base)
    where = f"Salesforce ({org.where('salesforce', 'domain')})"
    with endpoint_session(org, repeat=True) as session, translated(where):
        response = post(session, base, "token", form)
    answer = body(response)
    if response.status_code != 200:
        reason = reason_of(answer, form)
        raise refused(org, response.status_code, reason, next_step=_advice(login, reason or ""))
    return token_from(org, base, answer, response.status_code)


def what_to_check(login: ClientCredentials | JwtBearer) -> str:
    """Where to look when Salesforce grants a login and then refuses its session."""
    user = "the app's Run As user" if isinstance(login, ClientCredentials) else "the user named in username"
    return (
        f"Check that {user} is active, has the permission API Enabled, and has no login hours or IP ranges that shut "
        "this machine out."
    )


def _form(org: Organization, login: ClientCredentials | JwtBearer, base: str) -> dict[str, str]:
    if isinstance(login, ClientCredentials):
        return {
            "grant_type": "client_credentials",
            "client_id": text(login.client_id),
            "client_secret": login.client_secret.value(),
        }
    return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": _assertion(org, login, base)}


def _assertion(org: Organization, login: JwtBearer, base: str) -> str:
    claims = {
        "iss": text(login.client_id),
        "sub": text(login.username),
        "aud": _audience(base),
        "exp": int(time.time()) + JWT_SECONDS,
    }
    key, where = _private_key(org, login)
    try:
        return jwt.encode(claims, key, algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError):  # what they say may quote the key
        raise ConfigurationError(
            f"{where}: this is no private key that RS256 can sign with.",
            next_step="Give an RSA key in PEM form without a password, the one whose certificate the app holds.",
        ) from None


def _audience(base: str) -> str:
    """Who the signed token is for: the authorization server, which for a My Domain is login or test.salesforce.com."""
    host = urlsplit(base).hostname or ""
    if is_loopback(host):
        return base
    return "https://test.salesforce.com" if ".sandbox.my." in host else "https://login.salesforce.com"


def _private_key(org: Organization, login: JwtBearer) -> tuple[str, str]:
    """The key, and the place in the YAML file that names it."""
    if login.private_key is not None:
        return with_line_breaks(login.private_key.value()), org.where("salesforce", "login", "private_key")
    where = org.where("salesforce", "login", "private_key_file")
    if login.private_key_file is None:
        raise ConfigurationError(
            f"{org.where('salesforce', 'login')}: a JWT login needs a private key.",
            next_step="Write private_key or private_key_file.",
        )
    return read_pem(org.path(login.private_key_file), where), where


def _advice(login: ClientCredentials | JwtBearer, reason: str) -> str:
    """What to do about a refused login. The reason itself is Salesforce's; this says where to look."""
    code, _, description = reason.partition(": ")
    server = isinstance(login, ClientCredentials)
    if "not supported on this domain" in description:
        return "Use the organization's My Domain as the domain."
    if code in ("unsupported_grant_type", "invalid_app_access") or "grant" in description:
        flow = "client credentials" if server else "JWT bearer"
        return f"Enable the {flow} flow in the app's settings in Salesforce (External Client App Manager)."
    if code in ("inactive_user", "inactive_org"):
        return "Activate the user or the organization in Salesforce."
    if server:
        return (
            "Check client_id and client_secret, and that the app has a Run As user who is active and not restricted; "
            "a secret that was rotated has to be set anew."
        )
    return (
        "Check client_id, username and the app's certificate; the user must be active, and pre-authorized for the app "
        "(Permitted Users, then a profile or permission set)."
    )
