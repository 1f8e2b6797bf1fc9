"""What a person allowed: authorization codes, approvals, and refresh tokens that rotate.

An approval is one user's yes to one app. Its refresh tokens form a chain: each refresh makes the next link and kills the
one before. Whoever shows a dead link may have stolen it, so the whole approval ends, sessions included.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from sqlite3 import Row
from time import time

from sync_pipeline.sandbox.salesforce.errors import OAuthError
from sync_pipeline.sandbox.state import State

CODE_SECONDS = 15 * 60.0
"""Life of an authorization code."""

APPROVALS = 5
"""Most approvals that a user gives one app; Salesforce revokes the oldest at the sixth, and tells nobody."""


@dataclass(frozen=True)
class Granted:
    """What an approval gives now: its id, its scope, and the refresh token in force (None where none was allowed)."""

    approval: str
    scope: str
    refresh_token: str | None


class Approvals:
    """Codes, approvals and refresh tokens of every organization.

    Each method runs to its end without waiting, so two refreshes with one token can't both win.

    Args:
        state: where they live; a restart keeps them.
        idle_seconds: a refresh token that was not used for so long is dead; infinity for a policy without such a limit.
    """

    def __init__(self, state: State, idle_seconds: float) -> None:
        self._state = state
        self._idle_seconds = idle_seconds

    def new_code(self, org: str, redirect_uri: str, scope: str, challenge: str) -> str:
        """A code for the client that will show the verifier of this challenge."""
        code = f"aPrx{secrets.token_urlsafe(60)}=="
        self._state.db.execute(
            "INSERT INTO authorization_code (org, code, redirect_uri, scope, challenge, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (org, code, redirect_uri, scope, challenge, time()),
        )
        return code

    def redeem(self, organization: Row, code: str, redirect_uri: str, verifier: str) -> Granted:
        """The approval that a code stands for, made now.

        A code is good for one attempt: one with a wrong verifier uses it up. Salesforce does not say whether it does the
        same; a client that retries such a code is wrong either way.
        """
        found = self._state.row("SELECT * FROM authorization_code WHERE code = ?", code)
        if found is None or found["org"] != organization["org"]:
            raise OAuthError("invalid_grant", "invalid authorization code")
        if found["used"] or found["created_at"] + CODE_SECONDS < time():
            raise OAuthError("invalid_grant", "expired authorization code")
        if found["redirect_uri"] != redirect_uri:
            raise OAuthError("redirect_uri_mismatch", "redirect_uri must match configuration")
        self._state.db.execute("UPDATE authorization_code SET used = 1 WHERE code = ?", (code,))
        if not hmac.compare_digest(_challenge(verifier), found["challenge"].rstrip("=").encode()):
            raise OAuthError("invalid_grant", "invalid code verifier")
        return self._approve(organization, found["scope"])

    def refresh(self, organization: Row, token: str) -> Granted:
        """The next refresh token for this one, which is dead from now on."""
        found = self._state.row(
            "SELECT t.*, a.scope, a.revoked FROM refresh_token t JOIN approval a ON a.id = t.approval WHERE t.token = ?",
            token,
        )
        if found is None or found["org"] != organization["org"] or found["revoked"]:
            raise _expired()
        if found["rotated"]:
            self.revoke(found["approval"])
            raise _expired()
        if found["created_at"] + self._idle_seconds < time():
            raise _expired()
        self._state.db.execute("UPDATE refresh_token SET rotated = 1 WHERE token = ?", (token,))
        return Granted(found["approval"], found["scope"], self._new_token(organization["org"], found["approval"]))

    def revoke(self, approval: str) -> None:
        """End an approval: its refresh tokens and its sessions."""
        with self._state.transaction() as db:
            db.execute("UPDATE approval SET revoked = 1 WHERE id = ?", (approval,))
            db.execute("UPDATE session SET revoked = 1 WHERE approval = ?", (approval,))

    def revoke_token(self, token: str) -> bool:
        """End the approval of a refresh token that is in force; whether there was one."""
        found = self._state.row(
            "SELECT a.id FROM refresh_token t JOIN approval a ON a.id = t.approval "
            "WHERE t.token = ? AND t.rotated = 0 AND a.revoked = 0",
            token,
        )
        if found:
            self.revoke(found["id"])
        return found is not None

    def _approve(self, organization: Row, scope: str) -> Granted:
        org, user = organization["org"], organization["user_id"]
        approval = secrets.token_hex(16)
        self._state.db.execute(
            "INSERT INTO approval (org, id, user_id, scope, created_at) VALUES (?, ?, ?, ?, ?)",
            (org, approval, user, scope, time()),
        )
        # Without a refresh token there is nothing that outlives the session, and nothing that counts.
        token = self._new_token(org, approval) if "refresh_token" in scope.split() else None
        for surplus in self._state.rows(
            "SELECT id FROM approval a WHERE org = ? AND user_id = ? AND revoked = 0 "
            "AND EXISTS (SELECT 1 FROM refresh_token t WHERE t.approval = a.id) "
            "ORDER BY created_at DESC, id = ? DESC LIMIT -1 OFFSET ?",
            org,
            user,
            approval,
            APPROVALS,
        ):
            self.revoke(surplus["id"])
        return Granted(approval, scope, token)

    def _new_token(self, org: str, approval: str) -> str:
        token = f"5Aep861{secrets.token_urlsafe(60)}"
        self._state.db.execute(
            "INSERT INTO refresh_token (org, token, approval, created_at) VALUES (?, ?, ?, ?)",
            (org, token, approval, time()),
        )
        return token


def _challenge(verifier: str) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")


def _expired() -> OAuthError:
    return OAuthError("invalid_grant", "expired access/refresh token")
