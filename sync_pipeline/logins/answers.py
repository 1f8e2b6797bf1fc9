"""What a token endpoint answers (RFC 6749, sections 5.1 and 5.2), read without ever showing a secret."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import requests

from sync_pipeline.errors import ConfigurationError, ReconnectError, SyncError, TransientError

BUSY_STATUSES = frozenset({408, 425, 429})
"""Of refusals below 500, those that say "later"."""

TOKEN_RETRIES = 2
"""Fewer than elsewhere: somebody who checks a new organization is waiting; a mistyped address looks like a dead host."""

EARLY_SECONDS = 60.0
"""An access token is renewed so long before its end: a request that leaves with it may be under way for a while."""

SECRET_KEYS = ("client_secret", "assertion", "client_assertion", "code", "code_verifier", "refresh_token", "token")
"""Keys of a form whose values an answer may repeat and a message must not."""

LONGEST_REASON = 500
"""Characters of a vendor's words that a message repeats."""


def body(response: requests.Response) -> dict[str, Any]:
    """The answer's JSON object; empty where it is none."""
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def access_token_of(answer: Mapping[str, Any]) -> str | None:
    """The access token; None where there is none that could stand in a header (http would quote it in its complaint)."""
    token = answer.get("access_token")
    return token if isinstance(token, str) and re.fullmatch(r"[!-~]+", token) else None


def reason_of(answer: Mapping[str, Any], form: Mapping[str, str]) -> str | None:
    """The server's own reason, `error: error_description`, without any secret of the form; None where it gives none."""
    code = answer.get("error")
    if not isinstance(code, str):
        return None
    reason = f"{code}: {answer.get('error_description') or 'no description'}"
    for key in SECRET_KEYS:
        if secret := form.get(key):
            reason = reason.replace(secret, "***")
    return reason


def good_until(answer: Mapping[str, Any], asked_at: float) -> float | None:
    """Until when an access token is used, in seconds since 1970: a minute less than it lives, or half of a short life.

    None where the server does not say: then it is used until it is refused.

    Args:
        answer: of the token endpoint; some write `expires_in` as text.
        asked_at: when it was asked, which is the earliest moment that the life can have begun.
    """
    told = answer.get("expires_in")
    try:
        seconds = float(told) if isinstance(told, (int, float, str)) and not isinstance(told, bool) else 0.0
    except (ValueError, OverflowError):
        return None
    return asked_at + seconds - min(EARLY_SECONDS, seconds / 2) if 0 < seconds < float("inf") else None


def is_good(until: float | None) -> bool:
    """Whether an access token of `good_until` may still be used."""
    return until is None or time.time() < until


def refusal(title: str, where: str, status: int, reason: str | None, *, next_step: str) -> SyncError:
    """The error for an answer that grants nothing.

    Args:
        title: the system's name.
        where: file and line of the login's settings.
        status: HTTP status of the answer.
        reason: the server's own words; None where it gave none.
        next_step: what to do where the refusal is final.
    """
    if status >= 500 or status in BUSY_STATUSES:
        return TransientError(f"{where}: {title} answered the login with HTTP {status}.", next_step="Try again later.")
    if reason is None and status != 401:
        return ConfigurationError(
            f"{where}: the host answers the login with HTTP {status}, but not as {title} does.",
            next_step="Check the address, and whether a proxy or a login page stands in between.",
        )
    shown = " ".join((reason or "HTTP 401").split())[:LONGEST_REASON]
    return ReconnectError(f"{where}: {title} refuses the login ({shown}).", next_step=next_step)


def encoded(basic: tuple[str, str] | None) -> Any:
    """Id and secret as requests sends them byte by byte; it would refuse letters beyond latin-1 in text."""
    return tuple(part.encode() for part in basic) if basic else None
