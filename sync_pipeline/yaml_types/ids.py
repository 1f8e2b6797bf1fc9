"""Salesforce's record ids: 15 characters that tell upper from lower case, or 18 that need not."""

from __future__ import annotations

import re

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def id_18(record_id: str) -> str:
    """The 18-character form of an id in either form.

    The three characters more say which of the fifteen are capitals, one for each five, the first in the lowest bit.
    Source: Salesforce Help, "Convert 15 character ID to 18 character ID".

    Raises:
        ValueError: it is no id, or its last three characters don't fit the others.
    """
    if not re.fullmatch(r"[A-Za-z0-9]{15}(?:[A-Z0-5]{3})?", record_id):
        raise ValueError("it is no Salesforce id, which has 15 or 18 letters and digits")
    chunks = (record_id[start : start + 5] for start in (0, 5, 10))
    ending = "".join(
        _LETTERS[sum(1 << bit for bit, sign in enumerate(chunk) if "A" <= sign <= "Z")] for chunk in chunks
    )
    if record_id[15:] not in ("", ending):
        raise ValueError(f"its last three characters would be {ending}: a character was lost or changed on the way")
    return record_id[:15] + ending
