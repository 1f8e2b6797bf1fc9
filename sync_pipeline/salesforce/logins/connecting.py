"""Connecting an organization by browser, and disconnecting it: web server flow with PKCE and state.

Source: Salesforce Help, "OAuth 2.0 Web Server Flow for Web App Integration"; RFC 7636 (PKCE); RFC 8252 (native apps).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from sync_pipeline.errors import ConfigurationError, SyncError
from sync_pipeline.http import ApiSession, translated
from sync_pipeline.logins import code_flow
from sync_pipeline.logins.answers import body, reason_of
from sync_pipeline.orgs.models import Organization
from sync_pipeline.salesforce.client import Client, session_of
from sync_pipeline.salesforce.logins.browser_login import app_form, login_settings, now
from sync_pipeline.salesforce.logins.oauth import (
    TOKEN_RETRIES,
    base_url,
    endpoint_session,
    identity,
    not_salesforce,
    post,
    refused,
    token_from,
)
from sync_pipeline.salesforce.logins.tokens import Grant, Secrets, TokenStore
from sync_pipeline.salesforce.organization import Identity, refuse_other, refuse_other_login
from sync_pipeline.yaml_types.values import text

SCOPES = "api refresh_token"
"""Reading and writing records, and a refresh token: the two that a sync needs."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One login by browser: what was sent to Salesforce, and what its answer must fit."""

    org: Organization
    base: str
    redirect_uri: str
    state: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(64), repr=False)

    @property
    def address(self) -> str:
        """Where the browser goes. Always asks who logs in: a session that is open there may be another user's."""
        parameters = {
            "response_type": "code",
            "client_id": text(login_settings(self.org).client_id),
            "redirect_uri": self.redirect_uri,
            "scope": SCOPES,
            "state": self.state,
            **code_flow.challenge(self.verifier),
            "prompt": "login",
        }
        return f"{self.base}/services/oauth2/authorize?{urlencode(parameters)}"


def attempt(org: Organization, redirect_uri: str) -> Attempt:
    """Begin a login; ConfigurationError where the domain is none or a variable is not set."""
    app_form(org)  # a missing secret is better found before a person has logged in
    return Attempt(org, base_url(org), redirect_uri)


def finish(tried: Attempt, answer: dict[str, str], recorded: Identity | None) -> Grant:
    """Exchange the code, look who logged in to what, and store it; the organization's earlier grant is revoked.

    Nothing is stored, and what Salesforce granted is revoked, where the login is to another organization than it must be.

    Args:
        tried: the attempt that the browser was sent off with.
        answer: the parameters that it came back with.
        recorded: the Salesforce organization of earlier syncs.

    Raises:
        ReconnectError: the answer belongs to no login of ours, access was denied, or Salesforce refuses the code.
        ConfigurationError: the app gives no refresh token, or the YAML file pins another organization.
        GuardStop: earlier syncs read another organization.
        TransientError: Salesforce is away.
    """
    org = tried.org
    code = code_flow.code_of(answer, tried.state, system="Salesforce", command=f"sync-pipeline connect {org.name}")
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": tried.redirect_uri}
    form |= {"code_verifier": tried.verifier, **app_form(org)}
    with (
        endpoint_session(org, repeat=False) as session,
        translated(f"Salesforce ({org.where('salesforce', 'domain')})"),
    ):
        response = post(session, tried.base, "token", form)
    granted = body(response)
    if response.status_code != 200:
        advice = (
            f"Check client_id and client_secret, and that the app lists {tried.redirect_uri} as a callback URL; then start "
            f"again: sync-pipeline connect {org.name}"
        )
        raise refused(org, response.status_code, reason_of(granted, form), next_step=advice)
    token = token_from(org, tried.base, granted, response.status_code)
    refresh_token = granted.get("refresh_token")
    if not isinstance(refresh_token, str) or not refresh_token:
        raise ConfigurationError(
            f"{org.where('salesforce', 'login')}: Salesforce lets the user in, but the app gives no refresh token.",
            next_step='Add the scope refresh_token ("Perform requests at any time") to the app, then connect again.',
        )
    try:
        refuse_other_login(org, token.organization_id)
        with session_of(org, lambda: token) as api:
            grant = _identified(tried, Client(api, org.salesforce.api_version), granted, recorded)
        return _kept(org, grant, Secrets(refresh_token, token.access_token, token.instance_url))
    except SyncError:
        _revoke(org, tried.base, refresh_token)  # what is not kept must not live on, nor count
        raise


def _identified(tried: Attempt, client: Client, granted: dict[str, Any], recorded: Identity | None) -> Grant:
    org = tried.org
    user_id = identity(granted)[1]
    if user_id is None:
        raise not_salesforce(org, 200)
    found = Identity.of(client.organization())
    refuse_other(org, found, recorded or _connected_before(org))
    user = next(client.query(f"SELECT Username FROM User WHERE Id = '{user_id}'"), {})
    return Grant(
        organization=org.name,
        login_url=tried.base,
        client_id=text(login_settings(org).client_id),
        organization_id=found.organization_id,
        organization_name=found.name,
        is_sandbox=found.is_sandbox,
        user_id=user_id,
        username=str(user.get("Username") or user_id),
        connected_at=now(),
    )


def _connected_before(org: Organization) -> Identity | None:
    stored = _stored(TokenStore(), org.name)
    return Identity(stored[0].organization_id, stored[0].organization_name, stored[0].is_sandbox) if stored else None


def _kept(org: Organization, grant: Grant, held: Secrets) -> Grant:
    store = TokenStore()
    with store.held(org.name):
        old = _stored(store, org.name)
        kept = store.start(grant, held)
    if old and old[1].refresh_token != held.refresh_token:
        _revoke(org, old[0].login_url, old[1].refresh_token)  # otherwise it would count among the user's five
    return kept


def _stored(store: TokenStore, organization: str) -> tuple[Grant, Secrets] | None:
    try:
        grant = store.grant(organization, to_end=True)
        return (grant, store.secrets(grant, to_end=True)) if grant else None
    except ConfigurationError:
        return None


def _revoke(org: Organization | None, base: str, refresh_token: str) -> str | None:
    """End a grant at Salesforce; None, or why it may live on there.

    The token may be one that Salesforce has replaced (see `browser_login`): then it revokes everything, which is meant here.
    """
    try:
        session = endpoint_session(org, repeat=True) if org else ApiSession(retries=TOKEN_RETRIES)
        with session, translated("Salesforce"):
            response = post(session, base, "revoke", {"token": refresh_token})
    except SyncError as error:
        return error.message
    reason = reason_of(body(response), {"token": refresh_token})
    if response.status_code == 200 or (reason or "").startswith("invalid_token"):
        return None
    return f"Salesforce answered with HTTP {response.status_code}" + (f" ({reason})." if reason else ".")


class NotConnected(ConfigurationError):
    """There is nothing to disconnect."""


def disconnect(name: str, org: Organization | None) -> str:
    """Revoke the organization's grant at Salesforce and forget it; returns what was done, in a sentence.

    It is forgotten in any case: also where Salesforce is away, or what is stored can't be used.

    Args:
        name: the organization's name.
        org: its settings, where its file can still be read.

    Raises:
        ConfigurationError: nobody has connected it.
    """
    store = TokenStore()
    with store.held(name):
        grant, trouble = None, None
        try:
            grant = store.grant(name, to_end=True)
            if grant is None:
                raise NotConnected(f"{name} is not connected by browser on this machine; there is nothing to forget.")
            trouble = _revoke(org, grant.login_url, store.secrets(grant, to_end=True).refresh_token)
        except NotConnected:
            raise
        except ConfigurationError as error:
            trouble = error.message
        store.forget(name, grant)
    if trouble is None:
        return f"{name} is disconnected: Salesforce has revoked its login, and nothing of it is kept here."
    return (
        f"{name} is forgotten here, but Salesforce could not be told: {trouble} End it there too: in Salesforce, the user's "
        "Settings > Connections (or Setup > Connected Apps OAuth Usage) > Revoke."
    )
