"""Customers whose account was merged away in Salesforce: followed where ids are compared, explained elsewhere."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipeline.matching import IN_SEVERAL_PAIRS, WITHOUT_ONE_VERDICT, match
from sync_pipeline.orgs.models import Identifier
from sync_pipeline_tests.matching import oracle
from sync_pipeline_tests.matching.worlds import Sides, by_record, count, fill, mapping, warehouse

Merges = dict[str, tuple[str, str | None]]
"""Account merged away -> (survivor, the identifier it had)."""

ACCOUNTS = [base + oracle.suffix(base) for base in (f"001IV00000hHdc{letter}" for letter in "abABxyZ")]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with tempfile.TemporaryDirectory() as folder, warehouse(Path(folder)) as connection:
        yield connection


def settle(
    con: duckdb.DuckDBPyConnection, customers: Sides, accounts: Sides, merges: Merges, field: str = "Id"
) -> list[dict[str, Any]]:
    pairs = "(SELECT unnest($ids) AS id, unnest($values) AS value)"
    for table, key, side in (
        ("billing_customers", "customer_id", customers),
        ("salesforce_accounts", "account_id", accounts),
    ):
        params = {"ids": list(side), "values": list(side.values())}
        fill(con, table, {key: "id::VARCHAR", "identifier": "value::VARCHAR"}, pairs, params)
    lost = "(SELECT unnest($ids) AS id, unnest($survivors) AS survivor, unnest($values) AS value)"
    params = {
        "ids": list(merges),
        "survivors": [survivor for survivor, _ in merges.values()],
        "values": [identifier for _, identifier in merges.values()],
    }
    names = {"merged_account_id": "id::VARCHAR", "survivor_id": "survivor::VARCHAR", "identifier": "value::VARCHAR"}
    fill(con, "salesforce_merges", names, lost, params)
    identifier = Identifier(billing_field="metadata.sf", salesforce_field=field)
    match(con, identifier, salesforce_ids=field == "Id")
    return mapping(con)


def test_a_link_follows_to_the_survivor(con: duckdb.DuckDBPyConnection) -> None:
    loser, winner = ACCOUNTS[:2]
    (row,) = settle(con, {"c": loser[:15]}, {winner: winner}, {loser: (winner, loser)})
    assert (row["billing_customer_id"], row["salesforce_account_id"], row["verdict"]) == ("c", winner, "matched")
    assert row["identifier"] == loser[:15]
    assert row["reason"].endswith(f"The billing system names '{loser[:15]}', which Salesforce merged into {winner}.")


def test_a_chain_of_merges_is_followed_to_its_end(con: duckdb.DuckDBPyConnection) -> None:
    first, second, last = ACCOUNTS[:3]
    (row,) = settle(con, {"c": first}, {last: last}, {first: (second, first), second: (last, second)})
    assert (row["salesforce_account_id"], row["verdict"]) == (last, "matched")


def test_two_customers_that_lead_to_one_account_are_set_aside(con: duckdb.DuckDBPyConnection) -> None:
    loser, winner = ACCOUNTS[:2]
    rows = by_record(settle(con, {"old": loser, "own": winner}, {winner: winner}, {loser: (winner, loser)}))
    assert {record: row["verdict"] for record, row in rows.items()} == dict.fromkeys(
        ("old", "own", winner), "duplicate_identifier"
    )
    assert f"merged into {winner}" in rows["old"]["reason"]
    assert "merged" not in rows["own"]["reason"]


def test_a_merge_in_a_circle_leads_nowhere(con: duckdb.DuckDBPyConnection) -> None:
    one, two = ACCOUNTS[:2]
    (row,) = settle(con, {"c": one}, {}, {one: (two, one), two: (one, two)})
    assert row["verdict"] == "no_counterpart"


def test_a_field_is_not_followed_but_explained(con: duckdb.DuckDBPyConnection) -> None:
    loser, winner = ACCOUNTS[:2]
    rows = by_record(settle(con, {"c": "0012"}, {winner: None}, {loser: (winner, "0012")}, field="Billing_Id__c"))
    assert (rows["c"]["verdict"], rows[winner]["verdict"]) == ("no_counterpart", "missing_identifier")
    assert f"Account {loser}, which had it, was merged into {winner} in Salesforce" in rows["c"]["reason"]


def test_identifiers_that_went_to_two_survivors_are_not_explained(con: duckdb.DuckDBPyConnection) -> None:
    one, two, left, right = ACCOUNTS[:4]
    merges: Merges = {one: (left, "7"), two: (right, "7")}
    rows = by_record(settle(con, {"c": "7"}, {left: None, right: None}, merges, field="Billing_Id__c"))
    assert "merged" not in rows["c"]["reason"]


@settings(max_examples=150)
@given(data=st.data())
def test_following_is_as_if_the_billing_system_named_the_survivor(con: duckdb.DuckDBPyConnection, data: Any) -> None:
    living = data.draw(st.lists(st.sampled_from(ACCOUNTS), unique=True))
    lost = [account for account in ACCOUNTS if account not in living]
    merges: Merges = {
        account: (data.draw(st.sampled_from(ACCOUNTS)), account) for account in lost if data.draw(st.booleans())
    }
    named = st.sampled_from([*ACCOUNTS, *(account[:15] for account in ACCOUNTS)])
    customers: Sides = {f"cus_{n}": name for n, name in enumerate(data.draw(st.lists(named, max_size=6)))}
    rows = by_record(settle(con, customers, {account: account for account in living}, merges))

    def survivor(account: str) -> str:
        seen = set()
        here = account
        while here in merges and here not in seen:
            seen.add(here)
            here = merges[here][0]
        return account if here in merges else here

    whole = {account[:15]: account for account in ACCOUNTS}
    as_if: Sides = {customer: survivor(whole[str(name)[:15]]) for customer, name in customers.items()}
    expected = oracle.verdicts(as_if, {account: account for account in living}, set(), True)
    assert {record: row["verdict"] for record, row in rows.items()} == {r: v.verdict for r, v in expected.items()}
    for record, verdict in expected.items():
        if verdict.counterpart and record in customers:
            assert rows[record]["salesforce_account_id"] == verdict.counterpart
    assert count(con, IN_SEVERAL_PAIRS) == count(con, WITHOUT_ONE_VERDICT) == 0
