"""What a token endpoint answers (RFC 6749, sections 5.1 and 5.2), read without ever showing a secret."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import requests

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
    except ValueError:
        return None
    return asked_at + seconds - min(EARLY_SECONDS, seconds / 2) if 0 < seconds < float("inf") else None


def is_good(until: float | None) -> bool:
    """Whether an access token of `good_until` may still be used."""
    return until is None or time.time() < until
