"""Connecting an organization to its billing system by browser or by a refresh token somebody has, and ending that.

Source: RFC 6749, section 4.1; RFC 7636 (PKCE); RFC 7009 (revocation); RFC 8252 (native apps).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlencode

from sync_pipeline.errors import ConfigurationError, GuardStop, SyncError
from sync_pipeline.http import ApiSession, translated
from sync_pipeline.logins.answers import access_token_of, body, reason_of, refusal
from sync_pipeline.logins.bearer import Access, Bearer
from sync_pipeline.logins.code_flow import challenge, code_of
from sync_pipeline.logins.grants import AuthorizationServer, Grant, GrantStore, Secrets, now
from sync_pipeline.logins.rotating import tokens_of


@dataclass(frozen=True, slots=True)
class Attempt:
    """One login by browser: what was sent off, and what the answer must fit."""

    organization: str
    server: AuthorizationServer
    redirect_uri: str
    state: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(64), repr=False)

    @property
    def address(self) -> str:
        """Where the browser goes."""
        parameters = {
            "response_type": "code",
            "client_id": self.server.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self.server.scope,
            "state": self.state,
            **(challenge(self.verifier) if self.server.pkce else {}),
        }
        return f"{self.server.authorize_url}?{urlencode(parameters)}"


def finish(tried: Attempt, answer: Mapping[str, str]) -> Grant:
    """Exchange the code, find out whose data it opens, and store it.

    An earlier grant is not revoked. † With Xero that would end every connection of the user to the app, the new one too: so
    its documentation is remembered here, and not confirmed.

    Args:
        tried: the attempt that the browser was sent off with.
        answer: the parameters that it came back with.

    Raises:
        ReconnectError: the answer belongs to no login of ours, access was denied, or the server refuses the code.
        ConfigurationError: it gives no refresh token, or its tenant is not the one that the YAML file names.
        GuardStop: the organization is connected to another tenant, and the file names none.
        TransientError: the server is away.
    """
    server, store = tried.server, GrantStore()
    again = store.connect(tried.organization)
    form = {
        "grant_type": "authorization_code",
        "code": code_of(answer, tried.state, system=server.title, command=again),
        "redirect_uri": tried.redirect_uri,
        **({"code_verifier": tried.verifier} if server.pkce else {}),
    }
    advice = (
        f"Check client_id and client_secret, and that the app lists {tried.redirect_uri}; then start again: {again}"
    )
    held = _granted(server, form, None, advice)
    told = answer.get(server.tenant_parameter) if server.tenant_parameter else None
    return _kept(tried.organization, server, held, told)


def from_refresh_token(organization: str, server: AuthorizationServer, refresh_token: str) -> Grant:
    """Begin with a refresh token that somebody got elsewhere (Intuit's OAuth playground). Raises as `finish`.

    It is used at once, so that it is known to be good, and that from here on nobody but this store has the newest.
    """
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    advice = f"Get a new refresh token for the app {server.client_id}, then: {GrantStore().connect(organization)}"
    held = _granted(server, form, refresh_token, advice)
    return _kept(organization, server, held, None)


def disconnect(organization: str, server: AuthorizationServer | None) -> str:
    """Forget the organization's grant, and revoke it where that can be done; returns what was done, in a sentence.

    Args:
        organization: its name.
        server: who gave it, where the organization's file can still be read.

    Raises:
        ConfigurationError: nobody has connected it.
    """
    store, grant, held = GrantStore(), None, None
    with store.held(organization):
        if not (store.folder / f"{organization}.json").exists():
            raise ConfigurationError(
                f"{organization} is not connected to a billing system on this machine; there is nothing to forget."
            )
        with suppress(ConfigurationError):
            grant = store.grant(organization, to_end=True)
            held = store.secrets(grant, to_end=True) if grant else None
        trouble = _revoke(server, grant, held)
        store.forget(organization, grant)
    title = grant.title if grant else "the billing system"
    if trouble is None:
        return f"{organization} is disconnected: {title} has revoked its login, and nothing of it is kept here."
    return f"{organization} is forgotten here. {trouble} End it in {title} too, among its connected apps."


def _granted(server: AuthorizationServer, form: Mapping[str, str], sent: str | None, next_step: str) -> Secrets:
    asked_at = time.time()
    with translated(f"{server.where}: {server.title}"):
        response = server.post(server.token_url, form)
    answer = body(response)
    access_token = access_token_of(answer)
    if response.status_code != 200 or access_token is None:
        reason = reason_of(answer, {**form, "client_secret": server.client_secret})
        raise refusal(server.title, server.where, response.status_code, reason, next_step=next_step)
    held = tokens_of(answer, access_token, asked_at, sent)
    if not held.refresh_token:
        raise ConfigurationError(
            f"{server.where}: {server.title} lets the user in, but gives no refresh token.",
            next_step="Allow the app to work offline, then connect again.",
        )
    return held


def _kept(organization: str, server: AuthorizationServer, held: Secrets, told: str | None) -> Grant:
    store = GrantStore()
    tenant, name = _tenant(server, held.access_token, told)
    grant = Grant(organization, server.title, server.token_url, server.client_id, tenant, name, now())
    with store.held(organization):
        with suppress(ConfigurationError):  # a damaged file says nothing, and is replaced
            before = store.grant(organization, to_end=True)
            # Where the file names the tenant, it has just been held to that.
            if before and before.title == server.title and before.tenant != tenant and not server.tenant:
                raise GuardStop(
                    f"{server.where}: {organization} is connected to {_shown(before.tenant, before.tenant_name)} of "
                    f"{server.title}, and this login is to {_shown(tenant, name)}. It was not kept.",
                    next_step=f"If that is meant, first: {store.disconnect(organization)}",
                )
        return store.start(grant, held)


def _tenant(server: AuthorizationServer, access_token: str, told: str | None) -> tuple[str | None, str | None]:
    """Whose data the login opens: id and name. Nothing is guessed: where there are several, the YAML file has to say."""
    if server.tenants is None:
        found = {told: ""} if told else {server.tenant: ""} if server.tenant else {}
        if not found and server.tenant_parameter is None:
            return None, None
    else:
        with ApiSession(ca_file=server.ca_file) as session, translated(f"{server.where}: {server.title}"):
            session.auth = _Fixed(access_token)
            found = dict(server.tenants(session))
    wanted = server.tenant or (next(iter(found)) if len(found) == 1 else None)
    if wanted not in found:
        reached = ", ".join(_shown(tenant, name) for tenant, name in found.items()) or "none"
        says = f"{server.tenant_key} says {server.tenant}" if server.tenant else f"{server.tenant_key} names none"
        raise ConfigurationError(
            f"{server.where}: {says}; the login reaches: {reached}. It was not kept.",
            next_step=f"Write {server.tenant_key} into the section billing, and connect again as a user who reaches it.",
        )
    return wanted, found[wanted] or None


def _shown(tenant: str | None, name: str | None) -> str:
    return f"{name} ({tenant})" if name else str(tenant)


def _revoke(server: AuthorizationServer | None, grant: Grant | None, held: Secrets | None) -> str | None:
    """End the grant at its server; None, or why it may live on there."""
    if server is None or server.revoke_url is None or grant is None or held is None:
        return "Its login was not revoked."
    if (server.token_url, server.client_id) != (grant.token_url, grant.client_id):
        return "Its login was not revoked, because it is another app's."
    form = {"token": held.refresh_token, "token_type_hint": "refresh_token"}
    try:
        with translated(server.title):
            response = server.post(server.revoke_url, form)
    except SyncError as error:
        return error.message
    if response.status_code == 200:
        return None
    reason = reason_of(body(response), form | {"client_secret": server.client_secret})
    return f"{server.title} answered with HTTP {response.status_code}" + (f" ({reason})." if reason else ".")


class _Fixed(Bearer):
    """The access token of a grant that is not stored yet."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._held = Access(token, None)

    def _fetch(self, refused: str | None) -> Access:
        raise AssertionError("it is not renewed")
