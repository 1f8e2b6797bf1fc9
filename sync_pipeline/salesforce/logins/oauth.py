"""Salesforce's token endpoint, as every way of logging in uses it: where it is, what it answers, what its refusals mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests

from sync_pipeline.errors import ConfigurationError, ReconnectError, SyncError, TransientError
from sync_pipeline.http import IDEMPOTENT, ApiSession, is_loopback
from sync_pipeline.orgs.models import BrowserLogin, Organization
from sync_pipeline.yaml_types.domain import salesforce_base_url
from sync_pipeline.yaml_types.ids import id_18
from sync_pipeline.yaml_types.values import text

TOKEN_RETRIES = 2
"""Fewer than elsewhere: somebody who checks a new organization is waiting; a mistyped domain looks like a dead host."""

BUSY_STATUSES = frozenset({406, 420, 429})
"""Of refusals below 500, those that say "later"."""


@dataclass(frozen=True, slots=True)
class Token:
    """A session at one instance. The access token is a secret and stays out of the representation.

    Attributes:
        organization_id, user_id: 18 characters; None where the answer does not name them (Salesforce's always does).
    """

    access_token: str = field(repr=False)
    instance_url: str
    organization_id: str | None = None
    user_id: str | None = None


def base_url(org: Organization) -> str:
    """Where the organization logs in; ConfigurationError where that is not Salesforce, or refuses this way of logging in."""
    by_person = isinstance(org.salesforce.login, BrowserLogin)
    try:
        return salesforce_base_url(text(org.salesforce.domain), login_hosts=by_person)
    except ValueError as error:
        raise ConfigurationError(f"{org.where('salesforce', 'domain')}: {error}") from None


def endpoint_session(org: Organization, *, repeat: bool) -> ApiSession:
    """A session for the OAuth endpoints.

    Args:
        org: says whose certificate authority to trust.
        repeat: whether a POST may be sent twice: so it is where each answer is a session of its own, and not where the
            request uses up a code or a refresh token.
    """
    ca_file = str(org.path(org.salesforce.ca_file)) if org.salesforce.ca_file else None
    methods = IDEMPOTENT | {"POST"} if repeat else IDEMPOTENT
    return ApiSession(ca_file=ca_file, retry_methods=methods, retries=TOKEN_RETRIES)


def post(session: ApiSession, base: str, action: str, form: dict[str, str]) -> requests.Response:
    """POST a form to an OAuth endpoint (`token` or `revoke`). Raises what `ApiSession.request` raises."""
    return session.post(f"{base}/services/oauth2/{action}", data=form, headers={"Accept": "application/json"})


def token_from(org: Organization, base: str, answer: dict[str, Any], status: int) -> Token:
    """The session of a good answer.

    Raises:
        ConfigurationError: it is not Salesforce's, or the token would have to go to another host than Salesforce's.
    """
    access_token, instance_url = answer.get("access_token"), answer.get("instance_url")
    if not isinstance(access_token, str) or not isinstance(instance_url, str):
        raise not_salesforce(org, status)
    return Token(access_token, trusted_instance(org, base, instance_url), *identity(answer))


def identity(answer: dict[str, Any]) -> tuple[str | None, str | None]:
    """Ids of the organization and of the user, from the address that Salesforce gives as the answer's `id`.

    Source: Salesforce Help, "Identity URLs": https://login.salesforce.com/id/00D.../005...
    """
    found = re.search(r"/id/(00D\w+)/(005\w+)$", str(answer.get("id") or ""), re.A)
    try:
        return (id_18(found[1]), id_18(found[2])) if found else (None, None)
    except ValueError:
        return None, None


def trusted_instance(org: Organization, base: str, instance_url: str) -> str:
    """The instance's address, once it is certain that the token may be sent there; ConfigurationError otherwise."""
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


def refused(org: Organization, status: int, reason: str | None, *, next_step: str) -> SyncError:
    """The error for a login that Salesforce did not grant.

    Args:
        org: names the file and the line.
        status: HTTP status of the answer.
        reason: as `reason_of` gives it.
        next_step: what to do where the refusal is final.
    """
    where = org.where("salesforce", "login")
    if status >= 500 or status in BUSY_STATUSES:
        return TransientError(
            f"{where}: Salesforce answered the login with HTTP {status}.",
            next_step="Try again later; https://status.salesforce.com shows whether it is known.",
        )
    if reason is None:
        return not_salesforce(org, status)
    if "rate exceeded" in reason.lower():
        return TransientError(f"{where}: Salesforce puts the login off ({reason}).", next_step="Try again in an hour.")
    # Of two refreshes with one token at once; ours take turns, so somebody else uses this login as well.
    if "already being processed" in reason:
        return TransientError(f"{where}: Salesforce puts the login off ({reason}).", next_step="Try again.")
    return ReconnectError(f"{where}: Salesforce refuses the login ({reason}).", next_step=next_step)


def not_salesforce(org: Organization, status: int) -> ConfigurationError:
    """The error for a host that does not answer as Salesforce does."""
    return ConfigurationError(
        f"{org.where('salesforce', 'domain')}: the host answers with HTTP {status}, but not as Salesforce does.",
        next_step="Check the domain.",
    )
