"""What people do in Salesforce between two syncs: only that is read, and what follows from it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sync_pipeline_tests.cli.conftest import Workplace
from sync_pipeline_tests.conftest import Sandbox

PAIRS = "SELECT billing_customer_id, salesforce_account_id FROM account_mapping WHERE verdict = 'matched' ORDER BY 2"


@pytest.fixture
def place(fresh_sandbox: Callable[..., Sandbox], workplace: Callable[..., Workplace]) -> Workplace:
    return workplace(fresh_sandbox(accounts=60, seed=3, trouble=0.1))


def in_salesforce(place: Workplace, what: str, **body: Any) -> None:
    """Something a person does there, at the organization `stripe`."""
    address = f"{place.sandbox['salesforce']['url']}/sandbox/{what}"
    assert place.sandbox.http().post(address, json={"org": "stripe", "object": "Account", **body}).ok


def test_a_sync_without_changes_takes_few_requests_and_writes_nothing(place: Workplace) -> None:
    first = place.sync("demo_stripe")
    place.sandbox.change("""UPDATE account SET "SystemModstamp" = '2024-01-01T00:00:00.000Z' WHERE org = 'stripe'""")
    second = place.sync("demo_stripe")
    assert (first.errors, second.errors) == ([], [])
    # Who it is, three descriptions; deletions and number of changes of two objects; users. No more with a million accounts.
    assert second.api_calls <= 12
    assert sum(second.written.values()) == 0


def test_the_link_of_a_merged_account_follows_to_the_survivor(place: Workplace) -> None:
    place.sync("demo_stripe")
    (customer, loser), *_ = place.rows("demo_stripe", PAIRS)
    ((winner,), *_) = place.rows(
        "demo_stripe",
        "SELECT salesforce_account_id FROM account_mapping WHERE verdict = 'no_counterpart' AND "
        "billing_customer_id IS NULL AND near_miss_id IS NULL ORDER BY 1",
    )
    in_salesforce(place, "merge", winner=winner, losers=[loser])
    result = place.sync("demo_stripe")
    assert (result.exit_code, result.errors) == (0, [])
    assert place.rows("demo_stripe", "SELECT merged_account_id, survivor_id FROM salesforce_merges") == [
        (loser, winner)
    ]
    assert (customer, winner) in place.rows("demo_stripe", PAIRS)
    (link,) = place.rows("demo_stripe", f"SELECT url FROM portal_links WHERE billing_customer_id = '{customer}'")
    held = place.sandbox.rows("""SELECT "Portal_Link__c" FROM account WHERE org = 'stripe' AND "Id" = ?""", winner)
    assert held[0][0] == link[0]

    # Salesforce empties its recycle bin: the ledger remembers.
    in_salesforce(place, "purge", ids=[loser])
    place.sync("demo_stripe")
    assert (customer, winner) in place.rows("demo_stripe", PAIRS)


def test_two_customers_whose_accounts_were_merged_are_set_aside(place: Workplace) -> None:
    place.sync("demo_stripe")
    (one, loser), (two, winner), *_ = place.rows("demo_stripe", PAIRS)
    in_salesforce(place, "merge", winner=winner, losers=[loser])
    result = place.sync("demo_stripe")
    assert result.exit_code == 0
    verdicts = dict(
        place.rows(
            "demo_stripe", "SELECT billing_customer_id, verdict FROM account_mapping WHERE billing_customer_id NOT NULL"
        )
    )
    assert (verdicts[one], verdicts[two]) == ("duplicate_identifier", "duplicate_identifier")
