"""The login of a server that proves itself anew each time: nothing is kept but in memory.

Source: RFC 6749, section 4.4 (client credentials); RFC 7523, section 2.2 (a signed JWT instead of a secret).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from sync_pipeline.http import IDEMPOTENT, ApiSession, translated
from sync_pipeline.logins.answers import TOKEN_RETRIES, access_token_of, body, encoded, good_until, reason_of, refusal
from sync_pipeline.logins.bearer import Access, Bearer


class ClientCredentialsLogin(Bearer):
    """Fetches an access token when one is needed, a minute before it ends, and once where it was refused.

    Args:
        title: the system's name in messages.
        where: file and line of the login's settings.
        token_url: where tokens are fetched.
        form: gives what is sent there; asked each time, because a signed JWT ends within minutes.
        basic: id and secret for HTTP Basic, where they are not in the form.
        ca_file: a certificate authority to trust instead of the system's.
        next_step: what to do where the login is refused.
        said: the vendor's words in a refusal that is not OAuth's own (`error`, `error_description`).
    """

    def __init__(
        self,
        *,
        title: str,
        where: str,
        token_url: str,
        form: Callable[[], Mapping[str, str]],
        basic: tuple[str, str] | None = None,
        ca_file: str | None = None,
        next_step: str = "Check client_id and client_secret.",
        said: Callable[[Mapping[str, Any]], str | None] = lambda answer: None,
    ) -> None:
        super().__init__()
        self._title, self._where, self._url, self._form = title, where, token_url, form
        self._basic, self._ca_file, self._next_step, self._said = basic, ca_file, next_step, said

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown, should an answer repeat it."""
        return (*super().secrets, *(self._basic[1:] if self._basic else ()))

    def _fetch(self, refused: str | None) -> Access:
        """A new token; raises ReconnectError, TransientError, or ConfigurationError where another host answers."""
        form = dict(self._form())
        asked_at = time.time()
        session = ApiSession(ca_file=self._ca_file, retry_methods=IDEMPOTENT | {"POST"}, retries=TOKEN_RETRIES)
        with session, translated(f"{self._where}: {self._title}"):
            response = session.post(
                self._url, data=form, auth=encoded(self._basic), headers={"Accept": "application/json"}
            )
        answer = body(response)
        token = access_token_of(answer)
        if response.status_code == 200 and token is not None:
            return Access(token, good_until(answer, asked_at))
        hidden = {**form, "token": self._basic[1]} if self._basic else form
        reason = reason_of(answer, hidden) or reason_of({"error": self._said(answer)}, hidden)
        raise refusal(self._title, self._where, response.status_code, reason, next_step=self._next_step)
