"""The login of an organization that a person connected once: an access token, renewed by a refresh token that rotates.

The rules are those of `salesforce.logins.browser_login`, which says why:

- One process at a time refreshes, under the organization's lock, with what the store says inside the lock. Who waited
  finds the access token that the other one fetched.
- The answer is stored, and outlives a power cut, before any request uses its access token.
- Before a refresh token leaves, the store notes that it left (`sent_at`), and takes the note away with the answer. A note
  that is still there tells of a lost answer: then the token is sent again only where the last refresh brought no new
  one, or where and as long as the server takes it twice for just this reason (Xero: 30 minutes). Otherwise a person has
  to connect again.

Source: RFC 6749, section 6; RFC 9700, section 4.14 (rotation). QuickBooks Online gives a new refresh token about daily, each
good for 100 days; Xero with every refresh, good for 60 days.

A connector uses it as its session's auth, and has this to say about its server:

    def authorization(self, org: Organization) -> AuthorizationServer:
        login = _settings(org).login
        return AuthorizationServer(
            title="Xero", where=org.where("billing", "login"),
            authorize_url="https://login.xero.com/identity/connect/authorize",
            token_url="https://identity.xero.com/connect/token", scope="offline_access accounting.contacts.read",
            client_id=text(login.client_id), client_secret=login.client_secret.value(),
            pkce=True, resend_seconds=30 * 60, tenants=_tenants,
        )

    def auth(self, org: Organization) -> AuthBase:
        return RotatingLogin(org.name, self.authorization(org))   # its `tenant` goes into xero-tenant-id
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime

import requests

from sync_pipeline.errors import ConfigurationError, ReconnectError, SyncError, TransientError
from sync_pipeline.http import BROKEN_CONNECTION, never_left, translated
from sync_pipeline.logins.answers import access_token_of, body, good_until, is_good, reason_of, refusal
from sync_pipeline.logins.bearer import Access, Bearer
from sync_pipeline.logins.grants import AuthorizationServer, Grant, GrantStore, Secrets, connected, now

log = logging.getLogger(__name__)

UNCERTAIN_STATUSES = frozenset({200, 502, 504})
"""A good answer without a token in it, and what a gateway says that got no answer of its own. † As for Salesforce: that any
other status means that nothing was renewed is written nowhere; it is what such a status means (RFC 9110)."""

RESEND_MARGIN = 60.0
"""Seconds before the end of the server's patience at which a token is not sent again any more."""


class RotatingLogin(Bearer):
    """`session.auth` for a connected organization.

    Args:
        organization: name of its YAML file.
        server: who renews its tokens.
    """

    def __init__(self, organization: str, server: AuthorizationServer) -> None:
        super().__init__()
        self._organization, self._server, self._store = organization, server, GrantStore()

    @property
    def tenant(self) -> str | None:
        """Whose data it is: as the file says, else as the person chose who connected. Raises as `grants.connected`."""
        return connected(self._organization, self._server, self._store).tenant

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown, should an answer repeat it."""
        return (*super().secrets, self._server.client_secret)

    def _fetch(self, refused: str | None) -> Access:
        """The stored access token, or a renewed one.

        Raises:
            ReconnectError: nobody has connected the organization, or its grant has ended, or is lost.
            ConfigurationError: the server does not answer as it should, or what is stored can't be used.
            TransientError: the server is away or busy.
        """
        _, held = self._stored()
        if not _usable(held, refused):
            with self._store.held(self._organization):
                grant, held = self._stored()
                if not _usable(held, refused):
                    held = _Refresh(self._server, self._store, grant, held).renewed()
        return Access(held.access_token, held.good_until)

    def _stored(self) -> tuple[Grant, Secrets]:
        grant = connected(self._organization, self._server, self._store)
        held = self._store.secrets(grant)
        if held.refused:
            raise dead(self._server, self._organization, held.refused)
        return grant, held


def _usable(held: Secrets, refused: str | None) -> bool:
    return held.access_token != refused and is_good(held.good_until)


class _Refresh:
    """One refresh, of which every outcome is stored. The organization's lock is held."""

    def __init__(self, server: AuthorizationServer, store: GrantStore, grant: Grant, held: Secrets) -> None:
        self._server, self._store, self._grant, self._held = server, store, grant, held
        self._first_sent = held.sent_at or now()  # the server's patience counts from the first time

    def renewed(self) -> Secrets:
        """The new tokens, stored."""
        held, server = self._held, self._server
        if held.sent_at and not self._may_resend():
            raise self._lost(f"at {held.sent_at}")
        form = {"grant_type": "refresh_token", "refresh_token": held.refresh_token}
        self._keep(replace(held, sent_at=self._first_sent))
        asked_at = time.time()
        response = self._sent(form)
        answer = body(response)
        access_token = access_token_of(answer)
        if response.status_code == 200 and access_token is not None:
            renewed = tokens_of(answer, access_token, asked_at, held.refresh_token)
            self._keep(renewed)
            log.info("%s: the login of %s is renewed", server.title, self._grant.organization)
            return renewed
        if response.status_code in UNCERTAIN_STATUSES and held.rotates is not False:
            raise self._lost(f"just now, HTTP {response.status_code}")
        reason = reason_of(answer, form | {"client_secret": server.client_secret})
        # † Both servers say invalid_grant of a refresh token that has ended, was revoked or was used, and of nothing else.
        if response.status_code < 500 and reason is not None and reason.startswith("invalid_grant"):
            self._keep(replace(held, sent_at=None, refused=reason))
            raise dead(server, self._grant.organization, reason)
        self._keep(held)
        raise refusal(
            server.title,
            server.where,
            response.status_code,
            reason,
            next_step=f"Check client_id and client_secret; then, if need be, {self._again()}",
        )

    def _sent(self, form: dict[str, str]) -> requests.Response:
        with translated(f"{self._server.where}: {self._server.title}"):
            try:
                return self._server.post(self._server.token_url, form)
            except (ConfigurationError, requests.RequestException) as error:
                left = isinstance(error, BROKEN_CONNECTION) and not never_left(error)
                if left and self._held.rotates is not False:
                    raise self._lost(f"just now, {type(error).__name__}") from None
                self._keep(self._held)
                raise

    def _may_resend(self) -> bool:
        if self._held.rotates is False:
            return True
        try:
            age = (datetime.now(UTC) - datetime.fromisoformat(self._first_sent)).total_seconds()
        except (ValueError, TypeError):
            return False
        return 0 <= age < self._server.resend_seconds - RESEND_MARGIN

    def _keep(self, held: Secrets) -> None:
        self._grant = self._store.save(self._grant, held)

    def _lost(self, when: str) -> SyncError:
        title = self._server.title
        asked = (
            f"{self._server.where}: {title} was asked to renew the login of {self._grant.organization} ({when}), and the "
            "answer was lost."
        )
        if self._may_resend():
            return TransientError(f"{asked} {title} gives it again for some minutes.", next_step="Try again soon.")
        return ReconnectError(
            f"{asked} It may have replaced the refresh token; the old one is not sent again.",
            next_step=f"Connect again: {self._store.connect(self._grant.organization)}",
        )

    def _again(self) -> str:
        return f"connect again: {self._store.connect(self._grant.organization)}"


def tokens_of(answer: dict[str, object], access_token: str, asked_at: float, sent: str | None) -> Secrets:
    """What a good answer holds; the refresh token that was `sent` stays where no other came."""
    fresh = answer.get("refresh_token")
    fresh = fresh if isinstance(fresh, str) and fresh else None
    rotates = None if sent is None else fresh not in (None, sent)
    return Secrets(fresh or sent or "", access_token, good_until(answer, asked_at), rotates)


def dead(server: AuthorizationServer, organization: str, reason: str) -> ReconnectError:
    """The error for a grant that the server has ended."""
    shown = " ".join(reason.split())[:300]
    return ReconnectError(
        f"{server.where}: {server.title} has ended the login of {organization} ({shown}).",
        next_step=f"Connect again: {GrantStore().connect(organization)}",
    )
