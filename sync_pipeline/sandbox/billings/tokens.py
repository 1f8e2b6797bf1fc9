"""Access and refresh tokens of billing systems with OAuth."""

from __future__ import annotations

import secrets
import time
from typing import Literal

from sync_pipeline.sandbox.state import State

Kind = Literal["access", "refresh"]


class Tokens:
    """The tokens of one billing system, in the table billing_token.

    Args:
        state: the state of all stand-ins.
        stand_in: the system's name; tokens of another system are nobody's here.
    """

    def __init__(self, state: State, stand_in: str) -> None:
        self._state, self._stand_in = state, stand_in

    def issue(self, org: str, kind: Kind, seconds: float) -> str:
        """A new token that lives so long."""
        token, now = secrets.token_urlsafe(32), time.time()
        self._state.db.execute(
            "INSERT INTO billing_token VALUES (?, ?, ?, ?, ?, 0)", (token, org, kind, now, now + seconds)
        )
        return token

    def org_of(self, token: str, kind: Kind) -> str | None:
        """Whose token it is; None for one that is unknown, expired or revoked."""
        sql = (
            "SELECT t.org FROM billing_token t JOIN organizations o ON o.org = t.org"
            " WHERE t.token = ? AND t.kind = ? AND o.billing = ? AND NOT t.revoked AND t.expires_at > ?"
        )
        row = self._state.row(sql, token, kind, self._stand_in, time.time())
        return str(row["org"]) if row else None

    def revoke(self, token: str) -> None:
        """From now on it is nobody's."""
        self._state.db.execute("UPDATE billing_token SET revoked = 1 WHERE token = ?", (token,))

    def rotate(self, refresh_token: str, seconds: float) -> str | None:
        """A new refresh token for a good one, which is revoked; None for one that is not good.

        Where the old one is in the ready file, the next start of the sandbox tells the new one.
        """
        org = self.org_of(refresh_token, "refresh")
        if org is None:
            return None
        with self._state.transaction() as db:
            new = self.issue(org, "refresh", seconds)
            self.revoke(refresh_token)
            db.execute("UPDATE billing_login SET value = ? WHERE org = ? AND value = ?", (new, org, refresh_token))
        return new
