"""Faults on demand: `POST /sandbox/faults` says what goes wrong, where, after how many calls and how often.

The body is a list (or one object) of rules; GET lists those not used up yet, DELETE forgets all. A rule is

    {"path": REGEX, "method": "GET", "after": 0, "times": 1, "action": ...}

with the expression searched in path and query, `times` 0 meaning for ever, and as action

    "status"          answers {"status": 503, "body": "", "headers": {}} and does nothing else; the body may be JSON
    "expire_session"  revokes the session of this request, which then answers 401, as does every later one
    "cut"             lets `bytes` of a longer body through and closes the connection
    "refuse"          {"ids": [...], "code", "message", "fields"}: saves of these fail, `times` each
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from sync_pipeline.sandbox.salesforce.errors import RowError
from sync_pipeline.sandbox.salesforce.ids import id18

ACTIONS = frozenset({"status", "expire_session", "cut", "refuse"})
_KEYS = frozenset(
    {
        "path",
        "method",
        "after",
        "times",
        "action",
        "status",
        "body",
        "headers",
        "bytes",
        "ids",
        "code",
        "message",
        "fields",
    }
)


@dataclass
class Fault:
    """One rule with what is left of it."""

    action: str
    path: re.Pattern[str]
    given: dict[str, Any]
    method: str | None = None
    after: int = 0
    left: float = 1
    refused: dict[str, float] = field(default_factory=dict)

    @property
    def used_up(self) -> bool:
        """Whether it will never fire again."""
        return not any(self.refused.values()) if self.action == "refuse" else self.left <= 0


def read_fault(given: Any) -> Fault:
    """One rule from JSON.

    Raises:
        ValueError: with what is wrong with it.
    """
    if not isinstance(given, dict):
        raise ValueError("a fault is a JSON object")
    unknown = given.keys() - _KEYS
    if unknown or str(given.get("action")) not in ACTIONS:
        raise ValueError(f"unknown keys {sorted(unknown)}" if unknown else f"action is one of {sorted(ACTIONS)}")
    try:
        times = float(given.get("times", 1)) or float("inf")
        ids = [id18(str(record_id)) or str(record_id) for record_id in given.get("ids", [])]
        return Fault(
            action=given["action"],
            path=re.compile(str(given.get("path", ""))),
            given=given,
            method=given.get("method"),
            after=int(given.get("after", 0)),
            left=times,
            refused=dict.fromkeys(ids, times),
        )
    except re.error as error:
        raise ValueError(f"path is no regular expression: {error}") from None
    except TypeError as error:
        raise ValueError(str(error)) from None


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []

    def add(self, rules: list[Fault]) -> None:
        """Put rules in force, after those already there."""
        self._rules.extend(rules)

    def clear(self) -> None:
        """Forget every rule."""
        self._rules.clear()

    def listed(self) -> list[dict[str, Any]]:
        """The rules as they were given, less those used up."""
        return [rule.given for rule in self._rules if not rule.used_up]

    def next_for(self, method: str, target: str) -> Fault | None:
        """The first rule that this request meets; counts it. `target` is the path with its query."""
        for rule in self._rules:
            if rule.action == "refuse" or rule.used_up or (rule.method and rule.method != method):
                continue
            if not rule.path.search(target):
                continue
            if rule.after > 0:
                rule.after -= 1
                continue
            rule.left -= 1
            return rule
        return None

    def refuse(self, record_id: str) -> None:
        """Raise the RowError that a rule has for saving this record, if any; counts it."""
        for rule in self._rules:
            left = rule.refused.get(record_id, 0)
            if left > 0:
                rule.refused[record_id] = left - 1
                raise RowError(
                    rule.given.get("code", "FIELD_CUSTOM_VALIDATION_EXCEPTION"),
                    rule.given.get("message", "This account is closed for changes."),
                    tuple(rule.given.get("fields", ())),
                )


class Cut(Exception):
    """Ends a handler whose connection a fault has cut."""


def cutting(send: Send, allowed: int) -> Send:
    """A `send` that lets `allowed` bytes of the body through and then raises Cut."""

    async def send_some(message: Message) -> None:
        nonlocal allowed
        body = message.get("body", b"")
        if len(body) > allowed:
            await send({"type": "http.response.body", "body": body[:allowed], "more_body": True})
            raise Cut
        allowed -= len(body)
        await send(message)

    return send_some


async def answer_status(fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what a "status" rule says."""
    body = fault.given.get("body", "")
    is_text = isinstance(body, str)
    headers = {"content-type": "text/html" if is_text else "application/json", **fault.given.get("headers", {})}
    raw = [(name.lower().encode(), str(value).encode()) for name, value in headers.items()]
    content = body.encode() if is_text else json.dumps(body).encode()
    raw.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": int(fault.given.get("status", 503)), "headers": raw})
    await send({"type": "http.response.body", "body": content})
