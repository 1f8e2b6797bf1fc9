"""The periods that SOQL's date literals stand for."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from sync_pipeline.sandbox.salesforce.date_literals import COUNTED, FIXED, period_of

TODAY = date(2026, 11, 24)  # a Tuesday


@pytest.mark.parametrize(
    ("literal", "first", "last"),
    [
        ("YESTERDAY", "2026-11-23", "2026-11-23"),
        ("TODAY", "2026-11-24", "2026-11-24"),
        ("TOMORROW", "2026-11-25", "2026-11-25"),
        ("LAST_90_DAYS", "2026-08-26", "2026-11-24"),
        ("NEXT_90_DAYS", "2026-11-25", "2027-02-22"),
        ("LAST_N_DAYS:1", "2026-11-23", "2026-11-24"),
        ("NEXT_N_DAYS:1", "2026-11-25", "2026-11-25"),
        ("N_DAYS_AGO:3", "2026-11-21", "2026-11-21"),
        ("LAST_WEEK", "2026-11-15", "2026-11-21"),  # from Sunday to Saturday
        ("THIS_WEEK", "2026-11-22", "2026-11-28"),
        ("NEXT_WEEK", "2026-11-29", "2026-12-05"),
        ("LAST_N_WEEKS:2", "2026-11-08", "2026-11-21"),
        ("NEXT_N_WEEKS:2", "2026-11-29", "2026-12-12"),
        ("N_WEEKS_AGO:2", "2026-11-08", "2026-11-14"),
        ("LAST_MONTH", "2026-10-01", "2026-10-31"),
        ("THIS_MONTH", "2026-11-01", "2026-11-30"),
        ("NEXT_MONTH", "2026-12-01", "2026-12-31"),
        ("LAST_N_MONTHS:11", "2025-12-01", "2026-10-31"),
        ("NEXT_N_MONTHS:2", "2026-12-01", "2027-01-31"),
        ("N_MONTHS_AGO:12", "2025-11-01", "2025-11-30"),
        ("LAST_QUARTER", "2026-07-01", "2026-09-30"),
        ("THIS_QUARTER", "2026-10-01", "2026-12-31"),
        ("NEXT_QUARTER", "2027-01-01", "2027-03-31"),
        ("LAST_N_QUARTERS:4", "2025-10-01", "2026-09-30"),
        ("N_QUARTERS_AGO:3", "2026-01-01", "2026-03-31"),
        ("LAST_YEAR", "2025-01-01", "2025-12-31"),
        ("THIS_YEAR", "2026-01-01", "2026-12-31"),
        ("NEXT_YEAR", "2027-01-01", "2027-12-31"),
        ("LAST_N_YEARS:2", "2024-01-01", "2025-12-31"),
        ("NEXT_N_YEARS:2", "2027-01-01", "2028-12-31"),
        ("N_YEARS_AGO:2", "2024-01-01", "2024-12-31"),
    ],
)
def test_periods(literal: str, first: str, last: str) -> None:
    start, after = period_of(literal, TODAY)
    assert (start.isoformat(), (after - timedelta(days=1)).isoformat()) == (first, last)


@pytest.mark.parametrize("today", [date(2024, 2, 29), date(2026, 1, 1), date(2026, 12, 31), date(2026, 11, 22)])
def test_periods_of_one_unit_lie_side_by_side(today: date) -> None:
    for unit in ("WEEK", "MONTH", "QUARTER", "YEAR"):
        last, this, following = (period_of(f"{word}_{unit}", today) for word in ("LAST", "THIS", "NEXT"))
        assert (last[1], this[1]) == (this[0], following[0])
        assert this[0] <= today < this[1]
        assert period_of(f"N_{unit}S_AGO:1", today) == period_of(f"LAST_N_{unit}S:1", today) == last
        assert period_of(f"NEXT_N_{unit}S:1", today) == following


def test_every_literal_has_a_period() -> None:
    for literal in [*FIXED, *(f"{name}:3" for name in COUNTED)]:
        first, after = period_of(literal.lower(), TODAY)
        assert first < after
    with pytest.raises(ValueError, match="year"):
        period_of("LAST_N_YEARS:9999", TODAY)
