"""The words of a rule, and what each may hold."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sync_pipeline.sandbox.salesforce.ids import id18

Reader = Callable[[Any], Any]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Action:
    """What an action needs to be told, and which calls it can strike.

    Args:
        keys: its own keys, each with what reads it.
        needed: those that must be there.
        where: searched in path and query; a call without it can't be struck.
        on_the_line: comes on top of what else strikes the call.
        on_saves: strikes saves of records, not calls.
    """

    keys: dict[str, Reader] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    where: str = ""
    on_the_line: bool = False
    on_saves: bool = False


def count(given: Any) -> int:
    """A whole number, 0 or more."""
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise ValueError("is a whole number, 0 or more")
    return given


def _positive(given: Any) -> int:
    if count(given) == 0:
        raise ValueError("is a whole number, 1 or more")
    return int(given)


def _difference(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not given:
        raise ValueError("is a whole number other than 0")
    return given


def _status(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 200 <= given <= 599:
        raise ValueError("is an HTTP status, 200 to 599")
    return given


def _seconds(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < math.inf:
        raise ValueError("is a number of seconds, 0 or more")
    return float(given)


def share(given: Any) -> float:
    """A probability."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1:
        raise ValueError("is a share from 0 to 1")
    return float(given)


def text(given: Any) -> str:
    """A text."""
    if not isinstance(given, str):
        raise ValueError("is a text")
    return given


def method(given: Any) -> str:
    """An HTTP method, in capitals."""
    if text(given).upper() not in _METHODS:
        raise ValueError(f"is one of {', '.join(_METHODS)}")
    return str(given).upper()


def expression(given: Any) -> re.Pattern[str]:
    """A regular expression."""
    try:
        return re.compile(text(given))
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None


def _yes_or_no(given: Any) -> bool:
    if not isinstance(given, bool):
        raise ValueError("is true or false")
    return given


def _headers(given: Any) -> dict[str, str]:
    if not isinstance(given, dict):
        raise ValueError("is an object of header names and values")
    return {str(name).lower(): str(value) for name, value in given.items()}


def _texts(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list):
        raise ValueError("is a list of texts")
    return tuple(text(one) for one in given)


def _ids(given: Any) -> tuple[str, ...]:
    return tuple(id18(one) or one for one in _texts(given))


def _anything(given: Any) -> Any:
    return given


_A_JOB = r"/jobs/(query|ingest)/\w{15,18}"
_CSV = _A_JOB + r"/(results|successfulResults|failedResults|unprocessed[rR]ecords)"
_DONE: dict[str, Reader] = {"done": _yes_or_no}
_SAVES: dict[str, Reader] = {"ids": _ids, "message": text, "fields": _texts}

ACTIONS: dict[str, Action] = {
    "status": Action({"status": _status, "body": _anything, "headers": _headers, **_DONE}),
    "html": Action({"status": _status, **_DONE}),
    "empty": Action({"status": _status, **_DONE}),
    "no_result_pages": Action(where="/resultPages"),
    "expire_locator": Action(where=r"[?&]locator=|/query(All)?/\w"),
    "concurrent_limit": Action({"limit": count}),
    "expire_session": Action(),
    "fail_job": Action({"message": text}, where=_A_JOB),
    "abort_job": Action(where=_A_JOB),
    "lose_job": Action(where=_A_JOB),
    "truncate": Action({"rows": count, "bytes": count}, where=_CSV),
    "wrong_count": Action({"by": _difference}, where=_A_JOB + r"(/results|/?$|/?\?)"),
    "result_chunks": Action(where="/resultPages"),
    "slow": Action({"seconds": _seconds}, needed=("seconds",), on_the_line=True),
    "bandwidth": Action({"bytes_per_second": _positive}, needed=("bytes_per_second",), on_the_line=True),
    "cut": Action({"bytes": count}),
    "refuse": Action({**_SAVES, "code": text}, on_saves=True),
    "lock": Action(_SAVES, on_saves=True),
}

COMMON: dict[str, Reader] = {
    "path": expression,
    "method": method,
    "org": text,
    "after": count,
    "times": count,
    "chance": share,
}
"""What every rule may say."""
