"""Values of other systems become the text a person would write."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.billing.values import is_blank, is_inexact, text_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("00285", "00285"),
        ("", ""),
        (285, "285"),
        (285.0, "285"),
        (-0.5, "-0.5"),
        (float("nan"), None),
        (Decimal("285.00"), "285"),
        (Decimal("2.85E+2"), "285"),
        (Decimal("12.50"), "12.50"),
        (Decimal("NaN"), None),
        (Decimal("1E-7"), "0.0000001"),
        (True, "true"),
        (date(2024, 3, 1), "2024-03-01"),
        (datetime(2024, 3, 1, 10), "2024-03-01T10:00:00"),
        (datetime(2024, 3, 1, 10, tzinfo=timezone(timedelta(hours=2))), "2024-03-01T08:00:00+00:00"),
        (b"\x00\xff", "00ff"),
        ({"a": [1, Decimal("2.0")]}, '{"a": [1, "2"]}'),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_text(value: object, text: str | None) -> None:
    assert text_of(value) == text


@given(st.integers())
def test_integers_keep_every_digit_whatever_type_they_come_as(number: int) -> None:
    assert text_of(number) == str(number)
    assert text_of(Decimal(number)) == str(number)
    if abs(number) < 2**53:
        assert text_of(float(number)) == str(number)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_decimals_keep_their_value(number: Decimal) -> None:
    text = text_of(number)
    assert text is not None
    assert "E" not in text
    assert Decimal(text) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_keep_their_value(number: float) -> None:
    assert float(text_of(number) or "") == number
    assert is_inexact(number) == (abs(number) >= 2**53)


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_are_iso(moment: datetime) -> None:
    assert datetime.fromisoformat(text_of(moment) or "") == moment


@pytest.mark.parametrize(("text", "blank"), [("", True), (" \t\n", True), ("\u00a0\u200b\ufeff", True), ("0", False)])
def test_blank(text: str, blank: bool) -> None:
    assert is_blank(text) is blank
