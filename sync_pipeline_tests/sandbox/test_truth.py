"""The truth is checked by rules written down a second time, here, in plain Python: record by record, with dicts."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from sync_pipeline.sandbox.billings import BILLINGS, identified_by
from sync_pipeline.sandbox.building import open_state
from sync_pipeline.sandbox.options import DEFAULT_BILLINGS, SandboxOptions
from sync_pipeline.sandbox.plants import plants_for
from sync_pipeline_tests.sandbox.records import read_accounts, read_customers, read_truth

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
WHITE = " \t\u00a0"
RULES: dict[str, Callable[[str], str]] = {
    "trim": lambda value: "".join(letter for letter in value if letter not in WHITE),
    "case": str.lower,
    "leading_zeros": lambda value: value.lstrip("0"),
}
ORDER = [rules for size in (1, 2, 3) for rules in itertools.combinations(RULES, size)]


def long_id(value: str) -> str:
    """Of 15 characters: the 18-character form. Anything else stays."""
    bare = RULES["trim"](value)
    if len(bare) != 15 or not bare.isascii() or not bare.isalnum():
        return value
    bits = [
        "".join("1" if "A" <= letter <= "Z" else "0" for letter in reversed(bare[at : at + 5])) for at in (0, 5, 10)
    ]
    return value + "".join(LETTERS[int(five, 2)] for five in bits)


def key(value: str, rules: Iterable[str], salesforce_ids: bool) -> str:
    made = long_id(value) if salesforce_ids else value
    for rule in rules:
        made = RULES[rule](made)
    return made


def judge(org: str, accounts: dict[str, str | None], customers: list[tuple[str, str | None]]) -> set[tuple[str, ...]]:
    """(side, record, counterpart, verdict, rule) of every record."""
    by_account_id = identified_by(org) == "account_id"
    sides = {"salesforce": list(accounts.items()), "billing": customers}
    filled = {
        side: [(record, value) for record, value in rows if value is not None and value.strip(WHITE)]
        for side, rows in sides.items()
    }
    judged = {
        (side, record, "", "missing_identifier", "")
        for side, rows in sides.items()
        for record, value in rows
        if value is None or not value.strip(WHITE)
    }
    groups = {rules: grouped(filled, rules, by_account_id) for rules in [(), *ORDER]}
    for side, other in (("salesforce", "billing"), ("billing", "salesforce")):
        for record, value in filled[side]:
            group = groups[()][key(value, (), by_account_id)]
            if len(group["salesforce"]) == len(group["billing"]) == 1:
                judged.add((side, record, group[other][0], "matched", ""))
            elif len(group["salesforce"]) > 1 or len(group["billing"]) > 1:
                judged.add((side, record, "", "duplicate_identifier", ""))
            else:
                judged.add((side, record, *near_miss(value, groups, by_account_id, other)))
    return judged


def near_miss(
    value: str, groups: dict[tuple[str, ...], dict[str, dict[str, list[str]]]], ids: bool, other: str
) -> list[str]:
    for rules in ORDER:
        group = groups[rules][key(value, rules, ids)]
        if len(group["salesforce"]) == len(group["billing"]) == 1:
            return [group[other][0], "no_counterpart", "+".join(rules)]
    return ["", "no_counterpart", ""]


def grouped(
    filled: dict[str, list[tuple[str, str]]], rules: tuple[str, ...], ids: bool
) -> dict[str, dict[str, list[str]]]:
    made: dict[str, dict[str, list[str]]] = defaultdict(lambda: {"salesforce": [], "billing": []})
    for side, rows in filled.items():
        for record, value in rows:
            made[key(value, rules, ids)][side].append(record)
    return made


def made_world(folder: Path, accounts: int, seed: int, trouble: float) -> Path:
    open_state(SandboxOptions(folder=folder, accounts=accounts, seed=seed, trouble=trouble)).close()
    return folder


@pytest.mark.parametrize(
    ("accounts", "seed", "trouble"), [(700, 1, 0.1), (400, 2, 1.0), (400, 77, 0.5), (37, -3, 0.9), (1, 4, 1.0)]
)
def test_every_verdict_is_what_a_person_would_say(tmp_path: Path, accounts: int, seed: int, trouble: float) -> None:
    made_world(tmp_path, accounts, seed, trouble)
    for org in DEFAULT_BILLINGS:
        there, customers = read_accounts(tmp_path, org), read_customers(tmp_path, org)
        truth = read_truth(tmp_path, org)
        assert {tuple(row[:5]) for row in truth} == judge(org, there, customers)
        assert len(truth) == len(there) + len(customers)
        assert len(there) == accounts


def test_every_billing_system_has_a_world_whose_truth_is_true(tmp_path: Path) -> None:
    open_state(SandboxOptions(folder=tmp_path, billing=BILLINGS, accounts=150, seed=6, trouble=0.8)).close()
    for org in BILLINGS:
        there, customers = read_accounts(tmp_path, org), read_customers(tmp_path, org)
        assert {tuple(row[:5]) for row in read_truth(tmp_path, org)} == judge(org, there, customers), org


@pytest.mark.parametrize("org", DEFAULT_BILLINGS)
def test_every_trouble_that_is_possible_is_planted(tmp_path: Path, org: str) -> None:
    truth = read_truth(made_world(tmp_path, 800, 5, 0.2), org)
    planted = Counter(row.trouble for row in truth)
    assert planted.keys() - {""} == {plant.trouble for plant in plants_for(identified_by(org))}


GUIDE = {
    "missing_billing": ("stripe", "file"),
    "blank_billing": ("stripe", "file"),
    "missing_salesforce": ("database", "file"),
    "blank_salesforce": ("database", "file"),
    "duplicate_billing": ("stripe", "file"),
    "duplicate_salesforce": ("database", "file"),
    "no_counterpart_billing": DEFAULT_BILLINGS,
    "no_counterpart_salesforce": DEFAULT_BILLINGS,
    "space_leading_billing": DEFAULT_BILLINGS,
    "space_trailing_billing": DEFAULT_BILLINGS,
    "space_no_break_billing": DEFAULT_BILLINGS,
    "space_inner_billing": ("database", "file"),
    "casing_billing": DEFAULT_BILLINGS,
    "leading_zeros_billing": DEFAULT_BILLINGS,
    "fifteen_characters": ("stripe",),
    "fifteen_and_eighteen_billing": ("stripe",),
}


@pytest.mark.parametrize("trouble", GUIDE)
def test_the_guide_s_troubles_are_planted_wherever_the_identifier_can_have_them(trouble: str) -> None:
    planted = {org: {plant.trouble for plant in plants_for(identified_by(org))} for org in DEFAULT_BILLINGS}
    assert tuple(org for org in DEFAULT_BILLINGS if trouble in planted[org]) == GUIDE[trouble]


def test_without_trouble_all_is_well(tmp_path: Path) -> None:
    made_world(tmp_path, 120, 3, 0)
    for org in DEFAULT_BILLINGS:
        truth = read_truth(tmp_path, org)
        assert {(row.verdict, row.near_miss_rule, row.trouble) for row in truth} == {("matched", "", "")}
        assert len(truth) == 240


def test_an_empty_organization_has_an_empty_truth(tmp_path: Path) -> None:
    made_world(tmp_path, 0, 1, 0.1)
    for org in DEFAULT_BILLINGS:
        assert (read_accounts(tmp_path, org), read_customers(tmp_path, org), read_truth(tmp_path, org)) == ({}, [], [])


def test_the_share_of_trouble_is_kept(tmp_path: Path) -> None:
    truth = read_truth(made_world(tmp_path, 1000, 9, 0.1), "file")
    troubled = sum(1 for row in truth if row.trouble and row.side == "salesforce")
    assert troubled == pytest.approx(100, abs=25)


def test_some_account_ids_differ_in_nothing_but_case(tmp_path: Path) -> None:
    ids = list(read_accounts(made_world(tmp_path, 60, 1, 0), "stripe"))
    assert len({record[:15].lower() for record in ids}) < len(ids) == len({record.lower() for record in ids})


def test_truth_names_each_record_once(tmp_path: Path) -> None:
    for row, count in Counter(
        (row.side, row.record_id) for row in read_truth(made_world(tmp_path, 300, 1, 0.7), "database")
    ).items():
        assert count == 1, row
