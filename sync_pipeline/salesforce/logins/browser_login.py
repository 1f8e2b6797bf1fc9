"""The login of a person, who connected the organization once by browser: its session, and how that is renewed.

Source: Salesforce Help, "OAuth 2.0 Web Server Flow for Web App Integration", "OAuth 2.0 Refresh Token Flow for Renewed
Sessions", and article 005316711 on refresh token rotation: every refresh may bring a new refresh token, the old one is dead
from then on, and whoever sends a dead one has the whole grant revoked, its sessions included.

What follows from that:

- One process at a time refreshes, under the organization's lock, with what the store says inside the lock. Who waited finds
  the session that the other one fetched, and needs no refresh: ten processes with an expired session refresh once.
- The new token is stored before any request uses its session.
- Before a refresh token leaves, the store notes that it left (`sent_at`), and takes the note away with the answer. A note that
  is still there tells of an answer nobody has: the connection broke after sending, or the process was killed between
  sending and storing. Nobody can know then whether Salesforce has replaced the token, so it is not sent again, and a person
  has to connect again. To send it would be a gamble: where Salesforce had not replaced it, the sync would go on; where
  it had, Salesforce would take it for theft and revoke everything. This is the only loss there can be.
- An app that does not rotate (the last refresh brought no new token) has nothing to lose: there it is sent again.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import requests

from sync_pipeline.errors import ConfigurationError, ReconnectError, SyncError
from sync_pipeline.http import BROKEN_CONNECTION, never_left, translated
from sync_pipeline.logins.answers import body, reason_of
from sync_pipeline.logins.tokens import KEYRING
from sync_pipeline.orgs.models import BrowserLogin, Organization
from sync_pipeline.salesforce.logins.oauth import (
    Token,
    base_url,
    endpoint_session,
    not_salesforce,
    post,
    refused,
    trusted_instance,
)
from sync_pipeline.salesforce.logins.tokens import Grant, Secrets, TokenStore
from sync_pipeline.yaml_types.values import text

log = logging.getLogger(__name__)

UNCERTAIN_STATUSES = frozenset({200, 502, 504})
"""A good answer without a token in it, and what a gateway says that got no answer of its own. † That any other status means
that nothing was renewed is written nowhere; it is what a status for a request that failed means (RFC 9110)."""


class StoredLogin:
    """Gets the session of a connected organization: the stored one at first, a renewed one when that was refused.

    Called by one thread at a time (`SalesforceSession` sees to it).
    """

    def __init__(self, org: Organization) -> None:
        self._org = org
        self._store = TokenStore()
        self._given: str | None = None

    def __call__(self) -> Token:
        """The session. Raises what `login.log_in` raises."""
        grant = connected(self._org, self._store)
        held = self._store.secrets(grant)
        if held.access_token == self._given:
            with self._store.held(self._org.name):
                grant = connected(self._org, self._store)
                held = self._store.secrets(grant)
                if held.access_token == self._given:
                    held = _renewed(self._org, self._store, grant, held)
        elif held.refused:
            raise _dead(self._org, held.refused)
        self._given = held.access_token
        instance = trusted_instance(self._org, grant.login_url, held.instance_url)
        return Token(held.access_token, instance, grant.organization_id, grant.user_id)


def connected(org: Organization, store: TokenStore) -> Grant:
    """The organization's grant, if it is the one its file asks for.

    Raises:
        ReconnectError: nobody has connected the organization, or its file names another app or another domain since.
        ConfigurationError: what is stored can't be used.
    """
    grant = store.grant(org.name)
    command = f"sync-pipeline connect {org.name}"
    if grant is None:
        raise ReconnectError(
            f"{org.where('salesforce', 'login')}: nobody has connected {org.name} to Salesforce on this machine.",
            next_step=f"Connect it: {command}",
        )
    # A refresh token goes to the app and the host it was given by, and to no other.
    for key, is_now, was in (
        (("login", "client_id"), text(login_settings(org).client_id), grant.client_id),
        (("domain",), base_url(org), grant.login_url),
    ):
        if is_now != was:
            raise ReconnectError(
                f"{org.where('salesforce', *key)}: {org.name} was connected with another {key[-1]}.",
                next_step=f"Connect it again: {command}",
            )
    return grant


def told(org: Organization) -> str:
    """For `check`: whose login is kept, and where. Personal data: for a person at the terminal. Raises as `connected`."""
    store = TokenStore()
    grant = connected(org, store)
    kind = "sandbox" if grant.is_sandbox else "production"
    return (
        f"The login kept in {'the keyring' if grant.kept_in == KEYRING else store.folder} is that of {grant.username} at "
        f"{grant.organization_name} ({kind}, {grant.organization_id}), connected on {grant.connected_at:.10}."
    )


def login_settings(org: Organization) -> BrowserLogin:
    """The login section of an organization that a person connects."""
    login = org.salesforce.login
    if not isinstance(login, BrowserLogin):
        raise TypeError(f"{org.name} logs in by {login.method}")
    return login


def reconnect(org: Organization) -> str:
    """What to do when Salesforce has ended a login; the order of the receivables platform's own guide."""
    return (
        "Is the user still an administrator in Salesforce (or has the permission set), active, and without login hours or "
        f"IP ranges that shut this machine out? Then connect again: sync-pipeline connect {org.name} (if it fails, "
        f"sync-pipeline disconnect {org.name} first)."
    )


def app_form(org: Organization) -> dict[str, str]:
    """The app's id, and its secret where it has one."""
    login = login_settings(org)
    form = {"client_id": text(login.client_id)}
    if login.client_secret is not None:
        form["client_secret"] = login.client_secret.value()
    return form


def now() -> str:
    """ISO time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _renewed(org: Organization, store: TokenStore, grant: Grant, held: Secrets) -> Secrets:
    """Refresh and store. The organization's lock is held."""
    if held.refused:
        raise _dead(org, held.refused)
    if held.sent_at and held.rotates is not False:
        raise _lost(org, f"at {held.sent_at}")
    form = {"grant_type": "refresh_token", "refresh_token": held.refresh_token, **app_form(org)}
    grant = store.save(grant, replace(held, sent_at=now()))
    response = _sent(org, store, grant, held, form)
    answer = body(response)
    access_token, instance_url = answer.get("access_token"), answer.get("instance_url")
    if response.status_code == 200 and isinstance(access_token, str) and isinstance(instance_url, str):
        fresh = answer.get("refresh_token")
        rotates = isinstance(fresh, str) and fresh != held.refresh_token
        renewed = Secrets(str(fresh) if rotates else held.refresh_token, access_token, instance_url, rotates)
        store.save(grant, renewed)
        log.info("Salesforce: the session of %s is renewed", org.name)
        return renewed
    if response.status_code in UNCERTAIN_STATUSES and held.rotates is not False:
        raise _lost(org, f"just now, HTTP {response.status_code}")
    raise _settled(org, store, grant, held, response.status_code, answer, form)


def _sent(org: Organization, store: TokenStore, grant: Grant, held: Secrets, form: dict[str, str]) -> requests.Response:
    """Salesforce's answer to the refresh, whatever it is."""
    where = f"Salesforce ({org.where('salesforce', 'domain')})"
    with endpoint_session(org, repeat=False) as session, translated(where):
        try:
            return post(session, grant.login_url, "token", form)
        except (ConfigurationError, requests.RequestException) as error:
            left = isinstance(error, BROKEN_CONNECTION) and not never_left(error)
            if left and held.rotates is not False:
                raise _lost(org, f"just now, {type(error).__name__}") from None
            store.save(grant, replace(held, sent_at=None))
            raise


def _settled(
    org: Organization,
    store: TokenStore,
    grant: Grant,
    held: Secrets,
    status: int,
    answer: dict[str, Any],
    form: dict[str, str],
) -> SyncError:
    """The error for an answer that renewed nothing; a token that Salesforce calls dead is noted, and never sent again."""
    reason = reason_of(answer, form)
    dead = status < 500 and reason is not None and reason.startswith("invalid_grant") and "expired" in reason
    store.save(grant, replace(held, sent_at=None, refused=reason if dead else None))
    if dead and reason is not None:
        return _dead(org, reason)
    if status == 200:
        return not_salesforce(org, status)
    advice = "Check client_id and client_secret." if reason and reason.startswith("invalid_client") else reconnect(org)
    return refused(org, status, reason, next_step=advice)


def _dead(org: Organization, reason: str) -> ReconnectError:
    return ReconnectError(
        f"{org.where('salesforce', 'login')}: Salesforce has ended the login of {org.name} ({reason}).",
        next_step=reconnect(org),
    )


def _lost(org: Organization, when: str) -> ReconnectError:
    return ReconnectError(
        f"{org.where('salesforce', 'login')}: Salesforce was asked to renew the login of {org.name} ({when}), and the "
        "answer was lost. It may have replaced the refresh token, and would revoke everything if the old one came again; so "
        "that is not sent.",
        next_step=f"Connect again: sync-pipeline connect {org.name}",
    )
