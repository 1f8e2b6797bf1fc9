"""Logging in as a server does: client credentials or a signed JWT, exchanged for an access token.

Source: Salesforce Help, "OAuth 2.0 Client Credentials Flow for Server-to-Server Integration" and "OAuth 2.0 JWT Bearer
Flow for Server-to-Server Integration". Neither stores a token: an expired session is replaced by logging in again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests

from sync_pipeline.errors import ConfigurationError, ReconnectError, SyncError, TransientError
from sync_pipeline.http import IDEMPOTENT, ApiSession, is_loopback, translated
from sync_pipeline.orgs.domain import salesforce_base_url
from sync_pipeline.orgs.models import ClientCredentials, JwtBearer, Organization
from sync_pipeline.orgs.values import text

log = logging.getLogger(__name__)

JWT_SECONDS = 180
"""Life of the signed token; Salesforce accepts at most three minutes."""

TOKEN_RETRIES = 2
"""Fewer than elsewhere: somebody who checks a new organization is waiting; a mistyped domain looks like a dead host."""


@dataclass(frozen=True, slots=True)
class Token:
    """A session at one instance. The access token is a secret and stays out of the representation."""

    access_token: str = field(repr=False)
    instance_url: str


def log_in(org: Organization) -> Token:
    """Exchange the organization's credentials for a session, now.

    Raises:
        ReconnectError: Salesforce refuses the credentials, with its own reason.
        ConfigurationError: the domain is not Salesforce's or does not answer as Salesforce does, an environment
            variable or the private key is missing, or the token would have to go to another host than Salesforce's.
        TransientError: Salesforce can't be reached, or is busy.
    """
    base = _base_url(org)
    form = _form(org, base)
    ca_file = str(org.path(org.salesforce.ca_file)) if org.salesforce.ca_file else None
    # A token may be asked for twice: each answer is a session of its own.
    session = ApiSession(ca_file=ca_file, retry_methods=IDEMPOTENT | {"POST"}, retries=TOKEN_RETRIES)
    with session, translated(f"Salesforce ({org.where('salesforce', 'domain')})"):
        response = session.post(f"{base}/services/oauth2/token", data=form, headers={"Accept": "application/json"})
    answer = _object(response)
    if response.status_code != 200:
        raise _refused(org, response.status_code, answer, secrets=form)
    access_token, instance_url = answer.get("access_token"), answer.get("instance_url")
    if not isinstance(access_token, str) or not isinstance(instance_url, str):
        raise _not_salesforce(org, response.status_code)
    return Token(access_token, _instance(org, base, instance_url))


def _base_url(org: Organization) -> str:
    try:
        return salesforce_base_url(text(org.salesforce.domain))
    except ValueError as error:
        raise ConfigurationError(f"{org.where('salesforce', 'domain')}: {error}") from None


def _form(org: Organization, base: str) -> dict[str, str]:
    login = org.salesforce.login
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
        # Where a variable can't hold line breaks, people write \n.
        return login.private_key.value().replace("\\n", "\n"), org.where("salesforce", "login", "private_key")
    where = org.where("salesforce", "login", "private_key_file")
    if login.private_key_file is None:
        raise ConfigurationError(
            f"{org.where('salesforce', 'login')}: a JWT login needs a private key.",
            next_step="Write private_key or private_key_file.",
        )
    path = org.path(login.private_key_file)
    try:
        return path.read_text(encoding="utf-8"), where
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text"
        raise ConfigurationError(
            f"{where}: the private key can't be read from {path} ({why}).", next_step="Name the file that holds it."
        ) from None


def _instance(org: Organization, base: str, instance_url: str) -> str:
    """The instance's address, once it is certain that the token may be sent there."""
    try:
        instance = salesforce_base_url(instance_url)
    except ValueError:
        instance = None
    if instance is None or _on_loopback(instance) != _on_loopback(base):
        raise ConfigurationError(
            f"{org.where('salesforce', 'domain')}: {base} names {instance_url[:80]!a} as the instance, "
            "which is not a Salesforce host. The session was sent nowhere.",
            next_step="Check the domain: this is not how Salesforce answers.",
        )
    return instance


def _on_loopback(address: str) -> bool:
    return is_loopback(urlsplit(address).hostname or "")


def _object(response: requests.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _refused(org: Organization, status: int, answer: dict[str, Any], *, secrets: dict[str, str]) -> SyncError:
    where = org.where("salesforce", "login")
    if status >= 500 or status in (406, 420, 429):
        return TransientError(
            f"{where}: Salesforce answered the login with HTTP {status}.",
            next_step="Try again later; https://status.salesforce.com shows whether it is known.",
        )
    code = answer.get("error")
    if not isinstance(code, str):
        return _not_salesforce(org, status)
    description = str(answer.get("error_description") or "no description")
    reason = f"{code}: {description}"
    for key in ("client_secret", "assertion"):
        if secret := secrets.get(key):
            reason = reason.replace(secret, "***")
    if "rate exceeded" in description.lower():
        return TransientError(f"{where}: Salesforce puts the login off ({reason}).", next_step="Try again in an hour.")
    return ReconnectError(
        f"{where}: Salesforce refuses the login ({reason}).", next_step=_advice(org, code, description)
    )


def _advice(org: Organization, code: str, description: str) -> str:
    """What to do about a refused login. The reason itself is Salesforce's; this says where to look."""
    server = isinstance(org.salesforce.login, ClientCredentials)
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


def _not_salesforce(org: Organization, status: int) -> ConfigurationError:
    return ConfigurationError(
        f"{org.where('salesforce', 'domain')}: the host answers with HTTP {status}, but not as Salesforce does.",
        next_step="Check the domain.",
    )
