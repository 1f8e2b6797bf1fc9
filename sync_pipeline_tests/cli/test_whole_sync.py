"""Three organizations end to end: verdicts are the planted truth, a second sync writes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sync_pipeline_tests.cli.conftest import Workplace, truth_of, verdicts_of
from sync_pipeline_tests.conftest import Sandbox

Factory = Callable[..., Sandbox]
Places = Callable[..., Workplace]
DEMO = ("demo_database", "demo_file", "demo_stripe")
LINKS = "SELECT salesforce_account_id, url FROM portal_links WHERE status = 'live'"


def check_verdicts(place: Workplace, name: str) -> None:
    with place.warehouse(name).connect() as con:
        found = verdicts_of(con)
    assert len(found) == len(set(found))
    assert set(found) == truth_of(place.sandbox, name.removeprefix("demo_"))


def refused(place: Workplace, table: str) -> int:
    """Rows that the world makes Upflow refuse (a portal switched off, an address in use): tried again in every sync."""
    return len(place.rows("demo_stripe", f"FROM {table} WHERE status = 'refused'"))


def sync_all(place: Workplace) -> None:
    for name in DEMO:
        result = place.sync(name)
        assert (result.exit_code, result.errors) == (0, [])
        check_verdicts(place, name)
        assert result.counts["links"] == len(place.rows(name, "FROM portal_links WHERE status = 'live'"))


@pytest.mark.parametrize(("seed", "accounts", "trouble"), [(42, 250, 0.5), (-3, 3, 1.0)])
def test_every_verdict_is_the_planted_truth(
    fresh_sandbox: Factory, workplace: Places, seed: int, accounts: int, trouble: float
) -> None:
    sync_all(workplace(fresh_sandbox(accounts=accounts, seed=seed, trouble=trouble)))


def test_a_second_sync_writes_nothing(fresh_sandbox: Factory, workplace: Places) -> None:
    place = workplace(fresh_sandbox(accounts=180, seed=7, trouble=0.2))
    before = links_in_salesforce(place)
    sync_all(place)
    held = links_in_salesforce(place)
    wanted = {(name, account): url for name in DEMO for account, url in place.rows(name, LINKS)}
    assert {account: url for account, (url, _) in held.items()} == {a: url for a, (url, _) in before.items()} | wanted
    calls, upflow = place.written_calls(), place.upflow_holds()
    for name in DEMO:
        result = place.sync(name)
        assert (result.exit_code, sum(result.written.values())) == (0, 0)
        assert result.planned == result.refused
        check_verdicts(place, name)
    again = {what: count - calls.get(what, 0) for what, count in place.written_calls().items()}
    assert again.pop(("upflow", "POST", "/v1/customers/{customer}/portal"), 0) == refused(place, "portal_links")
    assert again.pop(("upflow", "POST", "/v1/customers/{customer}/contacts"), 0) <= refused(place, "imported_contacts")
    assert not any(again.values()), again
    assert place.upflow_holds() == upflow
    assert links_in_salesforce(place) == held


def links_in_salesforce(place: Workplace) -> dict[tuple[str, str], tuple[str, str]]:
    """Link by organization and account, and when Salesforce last changed it. The world starts with a few old ones."""
    rows = place.sandbox.rows("""SELECT org, "Id", "Portal_Link__c", "SystemModstamp" FROM account""")
    return {
        (f"demo_{row['org']}", row["Id"]): (row["Portal_Link__c"], row["SystemModstamp"])
        for row in rows
        if row["Portal_Link__c"]
    }


@pytest.mark.slow
def test_more_than_two_thousand_links_go_as_one_bulk_job(fresh_sandbox: Factory, workplace: Places) -> None:
    # The demo's environment names all three organizations; only one of them is synced.
    place = workplace(fresh_sandbox(accounts=2100, trouble=0.01))
    result = place.sync("demo_file")
    assert result.exit_code == 0
    assert result.written["exported_portal_links"] == result.counts["matched"] >= 2000
    check_verdicts(place, "demo_file")
    calls = place.written_calls("file")
    assert calls[("salesforce", "POST", "/jobs/ingest")] == 1
    assert ("salesforce", "PATCH", "/composite/sobjects") not in calls
    held = {account: url for (_, account), (url, _) in links_in_salesforce(place).items()}
    assert dict(place.rows("demo_file", LINKS)).items() <= held.items()
    assert sum(place.sync("demo_file").written.values()) == 0
    assert place.written_calls("file") == calls
