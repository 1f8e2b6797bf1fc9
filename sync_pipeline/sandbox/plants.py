"""What can be wrong with an identifier, as a catalogue of plants.

A plant is a handful of records around one identifier, with what each record's field holds and the verdict that a
person gives each of them, knowing what was planted. Verdicts are written down: nothing here compares identifiers.

Verdicts are those of exact matching. A near miss names the rule that is off and would make exactly one pair; where a
rule would bring more than two records together, or one that already has its counterpart, there is no near miss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sync_pipeline.sandbox.billings.frame import IdentifiedBy

Transform = Callable[[str], str | None]

MATCHED = "matched"
MISSING = "missing_identifier"
DUPLICATE = "duplicate_identifier"
ALONE = "no_counterpart"


class Style(Enum):
    """The make of an identifier; some plants need one that can go wrong in their way."""

    ANY = 0
    DIGITS = 1
    """000004711"""
    LETTERS = 2
    """Hrb-004711"""
    SPACED = 3
    """FR 0004 711"""
    BOTH = 4
    """00Hrb-4711: loses zeros and case"""


class Fits(Enum):
    """Which identifiers a plant is possible on."""

    ALL = 0
    SALESFORCE_ID = 1
    """Only where the identifier is the Account Id."""
    FIELD = 2
    """Only where it is a field of the account: an Account Id is never missing, repeated or mistyped."""
    FREE = 3
    """Only where the billing side can lack or repeat it: any but the billing system's own id."""
    FIELD_AND_FREE = 4


@dataclass(frozen=True)
class Slot:
    """One record of a plant: what its identifier holds, and a person's verdict."""

    transform: Transform
    verdict: str
    near: str | None = None
    deleted: bool = False
    """In the recycle bin: it exists for nobody, so the truth does not list it."""


@dataclass(frozen=True)
class Plant:
    """Records around one identifier. Of a pair or a near miss, the first of each side belong together."""

    trouble: str
    fits: Fits
    accounts: tuple[Slot, ...]
    customers: tuple[Slot, ...]
    style: Style = Style.ANY


def _same(value: str) -> str | None:
    return value


def _missing(_: str) -> str | None:
    return None


def _blank(_: str) -> str | None:
    return "   "


def _invisible(_: str) -> str | None:
    return "\u00a0 \t"


def _leading(value: str) -> str | None:
    return f" {value}"


def _trailing(value: str) -> str | None:
    return f"{value}  "


def _around(value: str) -> str | None:
    return f"\u00a0{value}\u00a0"


def _tab(value: str) -> str | None:
    return f"{value}\t"


def _inner(value: str) -> str | None:
    return value.replace(" ", "  ", 1)


def _lower(value: str) -> str | None:
    return value.lower()


def _upper(value: str) -> str | None:
    return value.upper()


def _swapped(value: str) -> str | None:
    return value.swapcase()


def _without_zeros(value: str) -> str | None:
    return value.lstrip("0")


def _one_more_zero(value: str) -> str | None:
    return f"0{value}"


def _fifteen(value: str) -> str | None:
    return value[:15]


def _fifteen_trailing(value: str) -> str | None:
    return f"{value[:15]} "


def _trim_and_case(value: str) -> str | None:
    return f" {value.lower()}"


def _trim_and_zeros(value: str) -> str | None:
    return f"{value.lstrip('0')} "


def _case_and_zeros(value: str) -> str | None:
    return value.lstrip("0").lower()


def _all_three(value: str) -> str | None:
    return f" {value.lstrip('0').lower()}\u00a0"


_PAIR = Slot(_same, MATCHED)
_LONELY = Slot(_same, ALONE)
_RIVAL = Slot(_same, DUPLICATE)


def _near(trouble: str, transform: Transform, rule: str, style: Style, *, at: str, fits: Fits = Fits.ALL) -> Plant:
    """A pair whose identifier is damaged on one side, `at` billing or salesforce."""
    damaged, whole = (Slot(transform, ALONE, rule),), (Slot(_same, ALONE, rule),)
    accounts, customers = (whole, damaged) if at == "billing" else (damaged, whole)
    return Plant(f"{trouble}_{at}", fits, accounts, customers, style)


def _near_both(trouble: str, transform: Transform, rule: str, style: Style) -> tuple[Plant, Plant]:
    return (
        _near(trouble, transform, rule, style, at="billing"),
        _near(trouble, transform, rule, style, at="salesforce", fits=Fits.FIELD),
    )


_RIVALS_TRIM = (Slot(_leading, ALONE), Slot(_trailing, ALONE))
_RIVALS_CASE = (Slot(_lower, ALONE), Slot(_upper, ALONE))
_RIVALS_ZEROS = (Slot(_without_zeros, ALONE), Slot(_one_more_zero, ALONE))

PLANTS = (
    Plant("missing_billing", Fits.FREE, (_LONELY,), (Slot(_missing, MISSING),)),
    Plant("missing_salesforce", Fits.FIELD, (Slot(_missing, MISSING),), (_LONELY,)),
    Plant("no_counterpart_billing", Fits.ALL, (), (_LONELY,)),
    Plant("no_counterpart_salesforce", Fits.ALL, (_LONELY,), ()),
    Plant("duplicate_billing", Fits.FREE, (_RIVAL,), (_RIVAL, _RIVAL)),
    Plant("duplicate_salesforce", Fits.FIELD, (_RIVAL, _RIVAL), (_RIVAL,)),
    *_near_both("space_leading", _leading, "trim", Style.ANY),
    *_near_both("casing", _lower, "case", Style.LETTERS),
    *_near_both("leading_zeros", _without_zeros, "leading_zeros", Style.DIGITS),
    Plant("fifteen_characters", Fits.SALESFORCE_ID, (_PAIR,), (Slot(_fifteen, MATCHED),)),
    Plant("fifteen_and_eighteen_billing", Fits.SALESFORCE_ID, (_RIVAL,), (_RIVAL, Slot(_fifteen, DUPLICATE))),
    *_near_both("space_trailing", _trailing, "trim", Style.ANY),
    *_near_both("space_no_break", _around, "trim", Style.ANY),
    _near("space_inner", _inner, "trim", Style.SPACED, at="billing", fits=Fits.FIELD),
    _near("space_inner", _inner, "trim", Style.SPACED, at="salesforce", fits=Fits.FIELD),
    Plant("blank_billing", Fits.FREE, (_LONELY,), (Slot(_blank, MISSING),)),
    Plant("blank_salesforce", Fits.FIELD, (Slot(_invisible, MISSING),), (_LONELY,)),
    Plant("duplicate_both", Fits.FIELD_AND_FREE, (_RIVAL, _RIVAL), (_RIVAL, _RIVAL, _RIVAL)),
    Plant("duplicate_billing_alone", Fits.FREE, (), (_RIVAL, _RIVAL)),
    Plant("duplicate_salesforce_alone", Fits.FIELD, (_RIVAL, _RIVAL), ()),
    Plant("deleted_account", Fits.ALL, (Slot(_same, ALONE, deleted=True),), (_LONELY,)),
    *_near_both("space_tab", _tab, "trim", Style.ANY),
    *_near_both("casing_swapped", _swapped, "case", Style.LETTERS),
    *_near_both("trim_case", _trim_and_case, "trim+case", Style.LETTERS),
    *_near_both("trim_leading_zeros", _trim_and_zeros, "trim+leading_zeros", Style.DIGITS),
    *_near_both("case_leading_zeros", _case_and_zeros, "case+leading_zeros", Style.BOTH),
    *_near_both("trim_case_leading_zeros", _all_three, "trim+case+leading_zeros", Style.BOTH),
    _near("fifteen_trailing", _fifteen_trailing, "trim", Style.ANY, at="billing", fits=Fits.SALESFORCE_ID),
    Plant("space_beside_a_pair", Fits.ALL, (_PAIR,), (_PAIR, Slot(_trailing, ALONE))),
    Plant("space_rivals_billing", Fits.ALL, (_LONELY,), _RIVALS_TRIM),
    Plant("space_rivals_salesforce", Fits.FIELD, _RIVALS_TRIM, (_LONELY,)),
    Plant("casing_rivals_billing", Fits.ALL, (_LONELY,), _RIVALS_CASE, Style.BOTH),
    Plant("leading_zeros_rivals_billing", Fits.ALL, (_LONELY,), _RIVALS_ZEROS, Style.DIGITS),
)
"""The guide's own troubles first, so that a small world has them."""

CLEAN = Plant("", Fits.ALL, (_PAIR,), (_PAIR,))

_POSSIBLE: dict[IdentifiedBy, set[Fits]] = {
    "account_id": {Fits.ALL, Fits.SALESFORCE_ID, Fits.FREE},
    "customer_id": {Fits.ALL, Fits.FIELD},
    "number": {Fits.ALL, Fits.FIELD, Fits.FREE, Fits.FIELD_AND_FREE},
}


def plants_for(identified_by: IdentifiedBy) -> tuple[Plant, ...]:
    """Every plant that is possible on an identifier of this kind."""
    return tuple(plant for plant in PLANTS if plant.fits in _POSSIBLE[identified_by])


_REGISTERS = ("Hrb", "Siren", "KvK", "Rcs", "Crn")


def text_identifier(number: int, style: Style, dice: int) -> str:
    """The identifier of a unit of the world, 1 <= number < 100,000,000.

    Under no rule (white space removed or collapsed, case, leading zeros, or any of them together) do two numbers
    give the same value.
    """
    if style is Style.ANY:
        style = (Style.DIGITS, Style.LETTERS, Style.SPACED, Style.BOTH)[dice % 4]
    if style is Style.DIGITS:
        return f"{number:09d}"
    if style is Style.LETTERS:
        return f"{_REGISTERS[dice % 5]}-{number:06d}"
    if style is Style.SPACED:
        return f"FR {number // 1000:04d} {number % 1000:03d}"
    return f"00{_REGISTERS[dice % 5]}-{number}"
