"""SOQL's date literals: TODAY, LAST_N_DAYS:7, THIS_QUARTER, ... Each stands for a period of whole days.

Salesforce takes the first day of a week and the time zone of the day from the user. The stand-in's user has the locale en_US,
whose weeks begin on Sunday, and lives in UTC; userinfo says the same. Fiscal literals are unknown here: they depend on a
setting of the organization that the stand-in does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

Period = tuple[date, date]
"""First day, and the day after the last one."""

_DAY = timedelta(days=1)

_Starts = Callable[[date, int], date]
"""The first day of the unit (week, month, ...) that lies so many units from the one a day is in."""


def _day(today: date, away: int) -> date:
    return today + away * _DAY


def _week(today: date, away: int) -> date:
    return today - (today.isoweekday() % 7) * _DAY + 7 * away * _DAY


def _month(today: date, away: int) -> date:
    months = today.year * 12 + today.month - 1 + away
    return date(months // 12, months % 12 + 1, 1)


def _quarter(today: date, away: int) -> date:
    return _month(today.replace(month=(today.month - 1) // 3 * 3 + 1, day=1), 3 * away)


def _year(today: date, away: int) -> date:
    return date(today.year + away, 1, 1)


_UNITS: dict[str, _Starts] = {"WEEK": _week, "MONTH": _month, "QUARTER": _quarter, "YEAR": _year}
_PLACES = {"LAST": -1, "THIS": 0, "NEXT": 1}

FIXED: dict[str, tuple[_Starts, int, int]] = {
    "YESTERDAY": (_day, -1, 0),
    "TODAY": (_day, 0, 1),
    "TOMORROW": (_day, 1, 2),
    "LAST_90_DAYS": (_day, -90, 1),
    "NEXT_90_DAYS": (_day, 1, 91),
    **{
        f"{word}_{name}": (starts, place, place + 1)
        for name, starts in _UNITS.items()
        for word, place in _PLACES.items()
    },
}
"""Literals without a number: unit, its first and the one after the last, counted from the present one."""

_LAST, _NEXT, _AGO = "LAST_N_{}S", "NEXT_N_{}S", "N_{}S_AGO"

COUNTED: dict[str, tuple[_Starts, Callable[[int], tuple[int, int]]]] = {
    # LAST_N_DAYS ends with today; the last n weeks, months, ... end before the present one.
    "LAST_N_DAYS": (_day, lambda n: (-n, 1)),
    "NEXT_N_DAYS": (_day, lambda n: (1, n + 1)),
    "N_DAYS_AGO": (_day, lambda n: (-n, 1 - n)),
    **{_LAST.format(name): (starts, lambda n: (-n, 0)) for name, starts in _UNITS.items()},
    **{_NEXT.format(name): (starts, lambda n: (1, n + 1)) for name, starts in _UNITS.items()},
    **{_AGO.format(name): (starts, lambda n: (-n, 1 - n)) for name, starts in _UNITS.items()},
}
"""Literals with a number behind a colon."""


def period_of(literal: str, today: date) -> Period:
    """The days that a literal stands for, e.g. period_of("LAST_N_DAYS:7", date(2026, 3, 1)).

    Raises:
        OverflowError, ValueError: it reaches beyond the years 1 to 9999.
    """
    name, _, number = literal.upper().partition(":")
    if number:
        starts, span = COUNTED[name]
        first, after = span(int(number))
    else:
        starts, first, after = FIXED[name]
    return starts(today, first), starts(today, after)
