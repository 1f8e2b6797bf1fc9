"""Record ids as clients send them: 15 characters (case-sensitive), or 18 with a suffix."""

from __future__ import annotations

import re

from sync_pipeline.sandbox.ids import DIGITS, suffix
from sync_pipeline.sandbox.state import State

NUMBERS = "CREATE TABLE IF NOT EXISTS salesforce_number (object TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID"
"""The last number that was given to a record of an object, or to a job."""

_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")


def id18(text: str) -> str | None:
    """The 18-character form of a 15- or 18-character id; None for anything else, also for a wrong suffix.

    The suffix is compared without regard to case; Salesforce refuses an id whose suffix does not fit.
    """
    if not _ID.fullmatch(text):
        return None
    whole = text[:15] + suffix(text[:15])
    return whole if len(text) == 15 or text[15:].upper() == whole[15:] else None


def make_id(prefix: str, number: int) -> str:
    """The 18-character id of the `number`-th record of an object, e.g. make_id("750", 1)."""
    body = ""
    while number:
        number, digit = divmod(number, 62)
        body = DIGITS[digit] + body
    body = prefix + body.rjust(15 - len(prefix), "0")
    return body + suffix(body)


def next_number(state: State, object_name: str, first: int) -> int:
    """A number that `make_id` never had for this object: from `first` on, and no number comes twice."""
    numbered = state.db.execute(
        "INSERT INTO salesforce_number VALUES (?, ?) ON CONFLICT DO UPDATE SET last = last + 1 RETURNING last",
        (object_name, first),
    )
    return int(numbered.fetchone()[0])
