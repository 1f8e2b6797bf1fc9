"""Values of other systems as text, so that an identifier compares as it is written and no digit is lost."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal

EXACT_FLOATS = 2**53
"""From here on a float stands for more than one integer, so its digits say nothing certain."""


def text_of(value: object) -> str | None:
    """A value as the text a person would write; None for nothing.

    A number without a fraction is written without one (285, not 285.0 or 2.85E+2), because the same number arrives as
    an integer, a decimal or a float depending on the driver. Dates are ISO 8601, times with a zone in UTC.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (float, Decimal)):
        return _number(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=text_of)
    return str(value)


def is_inexact(value: object) -> bool:
    """Whether `value` is a float so large that its last digits are the float's, not the number's."""
    return isinstance(value, float) and math.isfinite(value) and abs(value) >= EXACT_FLOATS


def is_exact(value: object) -> bool:
    """Whether no digit of `value` can have been lost on its way: a float is exact only as an integer below 2^53."""
    return not isinstance(value, float) or (value.is_integer() and not is_inexact(value))


def is_blank(text: str) -> bool:
    """Whether `text` shows nothing: white space of any kind, zero-width and control characters."""
    return all(char.isspace() or unicodedata.category(char) in ("Cf", "Cc", "Zs", "Zl", "Zp") for char in text)


def _number(value: float | Decimal) -> str | None:
    if not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and not is_inexact(value) else repr(value)
    return format(value.to_integral_value() if value == value.to_integral_value() else value, "f")
