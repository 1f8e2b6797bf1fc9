"""The matching rules once more, naively, from the words of the requirements: dictionaries and loops, no SQL.

Shares no code with the product. Slow on purpose where slow is plainer.
"""

from __future__ import annotations

import itertools
import string
import unicodedata
from dataclasses import dataclass, field

RULES = ("trim", "case", "leading_zeros")
# Marks that take no room although Unicode counts them among neither spaces nor controls.
_NO_WIDTH = {
    "\u00ad", "\u061c", "\u180e", "\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\ufeff",
    *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2060, 0x2065)), *map(chr, range(0x2066, 0x2070)),
}  # fmt: skip
_ID_CHARACTERS = set(string.ascii_letters + string.digits)


def can_be_seen(character: str) -> bool:
    return unicodedata.category(character) not in {"Zs", "Zl", "Zp", "Cc"} and character not in _NO_WIDTH


def is_missing(value: str | None) -> bool:
    return value is None or not any(can_be_seen(character) for character in value)


def suffix(id15: str) -> str:
    """Salesforce's: for each chunk of five, bit j is set where character j is A-Z."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    chunks = (id15[0:5], id15[5:10], id15[10:15])
    return "".join(letters[sum(1 << j for j, c in enumerate(chunk) if "A" <= c <= "Z")] for chunk in chunks)


def lower(character: str) -> str:
    return "i" if character == "İ" else character.lower()  # one character stays one character


def key(value: str, rules: set[str], salesforce_ids: bool) -> str:
    if salesforce_ids:
        visible = "".join(filter(can_be_seen, value))
        if len(visible) == 15 and set(visible) <= _ID_CHARACTERS:
            value += suffix(visible)
    if "trim" in rules:
        value = "".join(filter(can_be_seen, value))
    if "case" in rules:
        value = "".join(map(lower, value))
    if "leading_zeros" in rules:
        while len(value) > 1 and value[0] == "0":
            value = value[1:]
    return value


@dataclass
class Group:
    customers: list[str] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)

    @property
    def one_to_one(self) -> bool:
        return len(self.customers) == 1 and len(self.accounts) == 1


@dataclass
class Verdict:
    verdict: str
    counterpart: str | None = None
    near_miss_rule: str | None = None
    near_miss_id: str | None = None
    near_miss_identifier: str | None = None
    rivals: tuple[frozenset[str], frozenset[str]] | None = None  # customers, accounts
    mentions: tuple[str, ...] = ()  # the reason must name one of these, although it is no near miss


World = dict[str, str | None]  # record id -> identifier


def groups(customers: World, accounts: World, rules: set[str], salesforce_ids: bool) -> dict[str, Group]:
    found: dict[str, Group] = {}
    for record, value in customers.items():
        if not is_missing(value):
            found.setdefault(key(value or "", rules, salesforce_ids), Group()).customers.append(record)
    for record, value in accounts.items():
        if not is_missing(value):
            found.setdefault(key(value or "", rules, salesforce_ids), Group()).accounts.append(record)
    return found


def verdicts(customers: World, accounts: World, normalize: set[str], salesforce_ids: bool) -> dict[str, Verdict]:
    """The verdict of every record. Ids are unique over both sides."""
    on = normalize & {"trim"} if salesforce_ids else set(normalize)
    off = [rule for rule in RULES if rule not in on]
    tries = [chosen for size in range(1, len(off) + 1) for chosen in itertools.combinations(off, size)]
    exact = groups(customers, accounts, on, salesforce_ids)
    wider = {chosen: groups(customers, accounts, on | set(chosen), salesforce_ids) for chosen in tries}
    result: dict[str, Verdict] = {}
    for record, value in {**customers, **accounts}.items():
        if is_missing(value):
            result[record] = Verdict("missing_identifier")
            continue
        mine = exact[key(value or "", on, salesforce_ids)]
        if mine.one_to_one:
            other = mine.accounts[0] if record in customers else mine.customers[0]
            result[record] = Verdict("matched", counterpart=other)
        elif len(mine.customers) > 1 or len(mine.accounts) > 1:
            sides = frozenset(mine.customers), frozenset(mine.accounts)
            result[record] = Verdict("duplicate_identifier", rivals=sides)
        else:
            seen = [(c, wider[c][key(value or "", on | set(c), salesforce_ids)]) for c in tries]
            result[record] = _alone(record in customers, seen, {**customers, **accounts})
    return result


def _alone(is_customer: bool, seen: list[tuple[tuple[str, ...], Group]], identifiers: World) -> Verdict:
    for chosen, group in seen:
        if group.one_to_one:
            other = group.accounts[0] if is_customer else group.customers[0]
            return Verdict(
                "no_counterpart",
                near_miss_rule="+".join(chosen),
                near_miss_id=other,
                near_miss_identifier=identifiers[other],
            )
    for _, group in seen:
        others = group.accounts if is_customer else group.customers
        if others:
            return Verdict("no_counterpart", mentions=tuple(others))
    return Verdict("no_counterpart")
