"""What a person's login by browser needs anywhere: the proof key, and the answer that must fit the question.

Source: RFC 6749, section 4.1 (authorization code); RFC 7636 (PKCE).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

from sync_pipeline.errors import ReconnectError

LONGEST_REASON = 300
"""Characters of an error that came by the browser, where anybody could have written it."""


def challenge(verifier: str) -> dict[str, str]:
    """Parameters of the authorization request that bind its code to whoever knows the verifier."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return {
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
    }


def code_of(answer: Mapping[str, str], state: str, *, system: str, command: str) -> str:
    """The code in what the browser came back with.

    Args:
        answer: the parameters of the address that it ended at.
        state: what it was sent off with.
        system: whose answer it is, for messages.
        command: starts again.

    Raises:
        ReconnectError: the answer belongs to another login, or access was denied.
    """
    again = f"Start again: {command}"
    if not hmac.compare_digest(answer.get("state", "").encode(), state.encode()):
        raise ReconnectError(
            "The browser came back with an answer to another login than this one (its state differs); it was not used.",
            next_step=again,
        )
    if "error" in answer:
        reason = f"{answer['error']}: {answer.get('error_description') or 'no description'}"
        shown = "".join(sign if sign.isprintable() else " " for sign in reason[:LONGEST_REASON])
        denied = "Access was not allowed" if answer["error"] == "access_denied" else f"{system} refuses the login"
        raise ReconnectError(f"{denied} ({shown}).", next_step=again)
    return answer["code"]
