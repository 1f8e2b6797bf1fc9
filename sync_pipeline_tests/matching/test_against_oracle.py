"""Every verdict of random small worlds, against the oracle."""

from __future__ import annotations

import itertools
import string
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync_pipeline.matching import IN_SEVERAL_PAIRS, WITHOUT_ONE_VERDICT
from sync_pipeline_tests.matching import oracle
from sync_pipeline_tests.matching.worlds import Sides, by_record, count, settle, warehouse

RULE_SETS = [c for size in range(4) for c in itertools.combinations(("trim", "case", "leading_zeros"), size)]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with tempfile.TemporaryDirectory() as folder, warehouse(Path(folder)) as connection:
        yield connection


# Few cores, many ways of writing each: this is how near misses, rivals and mix-ups come about.
_ID = "001IV00000hHdc7"
_CORES = ["285", "0", "7", "ab", "straße", "STRASSE", "İx", "ıx", "ix", "Ix", "Σς", "σσ", "e\u0301", "é", "N/A"]
_CORES += ["👩\u200d👧", "100%", "a_b", "O'Brien", '"', "'; DROP TABLE account_mapping; --", "$1", "\\1", "ﬁ", "Ǆ"]
_CORES += ["０7", "٣", "\U00010400", _ID, _ID + "YAC", _ID + "YAD", _ID.swapcase(), "001iv00000hHdc7", "x" * 90]
_BLANKS = [
    "",
    " ",
    "\u00a0",
    "\t",
    "\n",
    "\r",
    "\0",
    "\u200b",
    "\ufeff",
    "\u2028",
    "\u3000",
    "\u200e",
    "\u200d",
    "\x1f",
    "\x85",
]
_HEADS = ["", "", "", "0", "00", "000"]
_SPACES = ["", "", "", "", " ", "  ", "\u00a0", "\t", "\u200b", "\n", "\0"]
_CASES = [str, str, str, str.lower, str.upper, str.swapcase, str.title]


@st.composite
def written(draw: st.DrawFn, cores: list[str]) -> str | None:
    if draw(st.integers(0, 11)) == 0:
        return draw(st.one_of(st.none(), st.lists(st.sampled_from(_BLANKS), max_size=3).map("".join)))
    value = draw(st.sampled_from(_HEADS)) + draw(st.sampled_from(_CASES))(draw(st.sampled_from(cores)))
    before, inside, behind = (draw(st.sampled_from(_SPACES)) for _ in range(3))
    cut = draw(st.integers(0, len(value)))
    return before + value[:cut] + inside + value[cut:] + behind


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Sides, Sides]:
    anything = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
    cores = draw(st.lists(st.one_of(st.sampled_from(_CORES), anything), min_size=1, max_size=3))
    sides = [draw(st.lists(written(cores), max_size=7)) for _ in range(2)]
    customers = {f"cus_{n}": value for n, value in enumerate(sides[0])}
    return customers, {f"001A{n}": value for n, value in enumerate(sides[1])}


@st.composite
def id_worlds(draw: st.DrawFn) -> tuple[Sides, Sides]:
    """Worlds of Salesforce ids: 15 and 18 characters, right and wrong suffixes, the other case, stray space."""
    base = draw(st.text(string.ascii_letters + string.digits, min_size=15, max_size=15))
    others = draw(st.permutations([base, base.lower(), base.upper(), "00" + base[2:], base.swapcase()]))[:2]
    longs = [(b, b + oracle.suffix(b)) for b in others]
    forms = [form for b, long in longs for form in (b, long, long.lower(), b + "ZZZ", b[1:])]
    return draw(worlds_of(forms))


@st.composite
def worlds_of(draw: st.DrawFn, cores: list[str]) -> tuple[Sides, Sides]:
    sides = [draw(st.lists(written(cores), max_size=6)) for _ in range(2)]
    customers = {f"cus_{n}": value for n, value in enumerate(sides[0])}
    return customers, {f"001A{n}": value for n, value in enumerate(sides[1])}


_SETTINGS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@_SETTINGS
@given(world=worlds(), rules=st.sampled_from(RULE_SETS), salesforce_ids=st.booleans())
def test_verdicts_of_any_world(
    con: duckdb.DuckDBPyConnection, world: tuple[Sides, Sides], rules: Any, salesforce_ids: bool
) -> None:
    check(con, *world, rules, salesforce_ids)


@_SETTINGS
@given(world=id_worlds(), rules=st.sampled_from(RULE_SETS), salesforce_ids=st.booleans())
def test_verdicts_of_salesforce_ids(
    con: duckdb.DuckDBPyConnection, world: tuple[Sides, Sides], rules: Any, salesforce_ids: bool
) -> None:
    check(con, *world, rules, salesforce_ids)


def check(con: duckdb.DuckDBPyConnection, customers: Sides, accounts: Sides, rules: Any, salesforce_ids: bool) -> None:
    expected = oracle.verdicts(customers, accounts, set(rules), salesforce_ids)
    rows = by_record(settle(con, customers, accounts, rules, salesforce_ids=salesforce_ids))
    assert set(rows) == set(expected)
    for record, right in expected.items():
        row = rows[record]
        is_customer = record in customers
        assert (row["verdict"], row["near_miss_rule"], row["near_miss_id"], row["near_miss_identifier"]) == (
            right.verdict,
            right.near_miss_rule,
            right.near_miss_id,
            right.near_miss_identifier,
        ), (record, row)
        assert row["salesforce_account_id" if is_customer else "billing_customer_id"] == right.counterpart
        assert row["identifier"] == identifier_as_it_stands(right, record, customers, accounts)
        check_rivals(row, right, record)
        check_reason(row, right)
        taken = [expected[other].counterpart for other in right.mentions]
        assert (" but belongs to " in row["reason"]) == (len(taken) == 1 and taken[0] is not None)
    assert count(con, IN_SEVERAL_PAIRS) == 0
    assert count(con, WITHOUT_ONE_VERDICT) == 0


def identifier_as_it_stands(right: oracle.Verdict, record: str, customers: Sides, accounts: Sides) -> str | None:
    if right.verdict == "missing_identifier":
        return None
    if right.verdict == "matched" and record in accounts:
        return customers[right.counterpart or ""]
    return {**customers, **accounts}[record]


def check_rivals(row: dict[str, Any], right: oracle.Verdict, record: str) -> None:
    if right.rivals is None:
        assert row["rivals"] is row["rival_customers"] is row["rival_accounts"] is row["duplicate_key"] is None
        return
    customers, accounts = right.rivals
    assert (row["rival_customers"], row["rival_accounts"]) == (len(customers), len(accounts))
    assert set(row["rivals"]) == customers | accounts  # worlds are smaller than the cap
    assert len(row["rivals"]) == len(set(row["rivals"]))
    assert record in row["rivals"]


def check_reason(row: dict[str, Any], right: oracle.Verdict) -> None:
    assert row["reason"].endswith(".")
    assert all(character == " " or oracle.can_be_seen(character) for character in row["reason"])
    if right.near_miss_id:
        assert right.near_miss_id in row["reason"]
    if right.mentions:
        assert any(f" {other} has " in row["reason"] for other in right.mentions)
    if right.verdict == "no_counterpart" and not (right.near_miss_id or right.mentions):
        assert "differs only" not in row["reason"]
