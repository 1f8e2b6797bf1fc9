"""The one way every request goes to Salesforce: with the current session, to its instance only."""

from __future__ import annotations

import email.utils
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests

from sync_pipeline.errors import ConfigurationError, LimitReached, ReconnectError, SyncError, TransientError
from sync_pipeline.http import RETRIED_STATUSES, ApiSession, is_loopback, translated
from sync_pipeline.orgs.models import ApiBudget
from sync_pipeline.salesforce.budget import LIMIT_INFO, Budget
from sync_pipeline.salesforce.logins.oauth import Token

log = logging.getLogger(__name__)

BUSY_STATUSES = RETRIED_STATUSES | {406, 420}
"""Transient at Salesforce; the body is often empty or no JSON."""

CLOCK_SECONDS = 5
"""How far the clock of an answer may be behind: it says whole seconds, and a server makes up the text now and then."""

RIGHTS = {
    "API_DISABLED_FOR_ORG": "Give the connected user the permission API Enabled. Where no user can use the API, its edition "
    "has none: ask Salesforce.",
}
"""What to do about a refusal that does not name the right it misses."""

WHEN_REFUSED = (
    "Check that the user is active, has the permission API Enabled, and is not shut out by login hours or IP ranges."
)

TRANSIENT_CODES = frozenset({"REQUEST_LIMIT_EXCEEDED", "QUERY_TIMEOUT", "SERVER_UNAVAILABLE", "UNABLE_TO_LOCK_ROW"})


class ApiRefusal(ConfigurationError):
    """Salesforce understood the request and says no.

    Args:
        status: HTTP status.
        code: Salesforce's `errorCode`, or `HTTP <status>` where it gives none.
        reason: Salesforce's own message.
    """

    def __init__(self, message: str, *, status: int, code: str, reason: str, next_step: str | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.status = status
        self.code = code
        self.reason = reason


class SalesforceSession(ApiSession):
    """Carries the session's token, and logs in again once where Salesforce says it has expired.

    simple-salesforce works on top of it: whatever scheme and token it would send are replaced here.

    Args:
        log_in: gets a new session; called once now and then after each 401.
        ca_file: see `ApiSession`.
        budget: the day's requests; asked before each, told after each.
        when_refused: what to do where Salesforce refuses the new session as well, for the message.
    """

    def __init__(
        self,
        log_in: Callable[[], Token],
        *,
        ca_file: str | None = None,
        budget: Budget | None = None,
        when_refused: str = WHEN_REFUSED,
    ) -> None:
        super().__init__(ca_file=ca_file, retried_statuses=BUSY_STATUSES)
        self.budget = budget or Budget(ApiBudget())
        self._log_in = log_in
        self._lock = threading.Lock()
        self._clock: tuple[datetime, float] | None = None
        self.hooks["response"].append(self._heard)
        self._when_refused = when_refused
        self._token = log_in()
        self.instance_url = self._token.instance_url
        self.organization_id = self._token.organization_id
        self.user_id = self._token.user_id
        if is_loopback(urlsplit(self.instance_url).hostname or ""):
            self.headers["Accept-Encoding"] = "identity"  # compressing costs more than it saves on the same machine
        else:
            self.headers["Accept-Encoding"] = "gzip"

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one request with the current session; anything but a success raises.

        Raises:
            ReconnectError: Salesforce refuses the session and that of a new login as well, or the user lacks a right.
            LimitReached: the day's requests are used up, or as good as.
            TransientError: Salesforce is away, busy, or the organization's requests are used up.
            ApiRefusal: anything else it refuses.
        """
        address = self._at_instance(str(url))
        token = self._token
        with translated("Salesforce"):
            response = self._send(token, method, address, *args, **kwargs)
            if response.status_code == 401:
                response.close()
                log.info("Salesforce: the session has expired; logging in again")
                response = self._send(self._renewed(token), method, address, *args, **kwargs)
            if response.status_code < 300:
                return response
            code, reason = spoken(response)
        if response.status_code == 401:
            raise ReconnectError(
                f"Salesforce refuses the session of a new login as well ({code}: {reason}).",
                next_step=self._when_refused,
            )
        raise explained(str(method).upper(), response, code, reason)

    def server_time(self) -> datetime | None:
        """A moment that is just ahead of now at Salesforce, in whole seconds: UTC, without a zone. None before an answer said so.

        Changes are read between two moments of Salesforce's clock; this machine's may be wrong.
        """
        if self._clock is None:
            return None
        said, at = self._clock
        return (said + timedelta(seconds=time.monotonic() - at + CLOCK_SECONDS)).replace(microsecond=0)

    def _send(self, token: Token, method: str | bytes, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        headers = {k: v for k, v in (kwargs.pop("headers", None) or {}).items() if k != "X-PrettyPrint"}
        headers["Authorization"] = f"Bearer {token.access_token}"
        self.budget.ask()
        return super().request(method, url, *args, headers=headers, **kwargs)

    def _heard(self, response: requests.Response, *args: Any, **kwargs: Any) -> None:
        """After each answer, those included that lead to another try."""
        self.budget.heard(response)
        if LIMIT_INFO not in response.headers:  # not Salesforce's API, but a proxy, whose clock is another
            return
        with suppress(ValueError):  # an answer without a date, or with none that can be read
            said = email.utils.parsedate_to_datetime(response.headers.get("Date", ""))
            self._clock = said.astimezone(UTC).replace(tzinfo=None), time.monotonic()

    def _renewed(self, refused: Token) -> Token:
        """A session other than the refused one. Of several threads that are refused at once, one logs in."""
        with self._lock:
            if self._token is refused:
                token = self._log_in()
                if token.instance_url != self.instance_url:
                    raise TransientError(
                        f"Salesforce has moved the organization from {self.instance_url} to {token.instance_url}.",
                        next_step="Sync again: the next login uses the new address.",
                    )
                self._token = token
            return self._token

    def _at_instance(self, url: str) -> str:
        """`url` with the instance's scheme (simple-salesforce writes https always); no token goes to another host."""
        asked, instance = urlsplit(url), urlsplit(self.instance_url)
        if asked.netloc.lower() != instance.netloc.lower():
            raise ConfigurationError(
                f"Salesforce ({instance.netloc}) names {asked.hostname or 'no host'} as the next address, "
                "which is not followed."
            )
        return urlunsplit(asked._replace(scheme=instance.scheme))


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Around the lines that take an answer apart: one of another shape than documented is told, not a traceback.

    Args:
        what: what was asked for, e.g. "the description of Account".
    """
    try:
        yield
    except requests.exceptions.JSONDecodeError:  # told by `translated`: a page for people, most often
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise TransientError(
            f"Salesforce's answer to {what} is not what its documentation says ({type(error).__name__}).",
            next_step="Try again later; if it lasts, see whether a proxy answers for Salesforce.",
        ) from error


def spoken(response: requests.Response) -> tuple[str, str]:
    """Salesforce's own code and message, or what the status says where there is no `[{"errorCode", "message"}]`."""
    fallback = f"HTTP {response.status_code}"
    try:
        body = response.json()
    except (ValueError, requests.RequestException):
        return fallback, response.reason or "no message"
    first = body[0] if isinstance(body, list) and body else body
    if not isinstance(first, dict):
        return fallback, response.reason or "no message"
    return str(first.get("errorCode") or fallback), str(first.get("message") or response.reason or "no message")


def explained(method: str, response: requests.Response, code: str, reason: str) -> SyncError:
    """The error for an answer that is no success and no refused session."""
    status = response.status_code
    message = f"Salesforce refuses {method} {urlsplit(response.url).path} ({code}: {reason})."
    if code == "REQUEST_LIMIT_EXCEEDED" and "concurrent" not in reason.lower():
        return LimitReached(
            message,
            next_step="Try again later; Setup > Company Information shows the API requests of the last 24 hours.",
        )
    if status >= 500 or status in BUSY_STATUSES or code in TRANSIENT_CODES:
        return TransientError(
            f"Salesforce can't answer {method} {urlsplit(response.url).path} now ({code}: {reason}).",
            next_step="Try again later; https://status.salesforce.com shows whether it is known.",
        )
    if status == 403:
        missing = RIGHTS.get(code, "Give the connected user the right that Salesforce names.")
        return ReconnectError(message, next_step=missing)
    next_step = "Set salesforce.api_version to a version Salesforce still serves." if status == 410 else None
    return ApiRefusal(message, status=status, code=code, reason=reason, next_step=next_step)
