"""The command line as people and scripts meet it: a process, its words, its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import fields

import pytest

from sync_pipeline.billing.systems import sources
from sync_pipeline.cli.running import COUNTS, WRITERS, Result
from sync_pipeline_tests.cli.conftest import Workplace
from sync_pipeline_tests.conftest import Sandbox


@pytest.fixture
def place(sandbox: Callable[..., Sandbox], workplace: Callable[..., Workplace]) -> Iterator[Workplace]:
    """Nothing but `demo` and `sync` writes, and those tests have worlds of their own."""
    there = workplace(sandbox(accounts=40, seed=9))
    before = there.written_calls()
    yield there
    assert there.written_calls() == before


def test_no_arguments_show_the_help(place: Workplace) -> None:
    said = place.run()
    assert all(command in said.all for command in ("sync", "check", "orgs", "demo", "sandbox"))
    assert "Traceback" not in said.all
    assert said.code in (0, 2)


def test_the_help_of_the_sandbox(place: Workplace) -> None:
    said = place.run("sandbox", "--help")
    assert said.code == 0
    assert all(option in said.out for option in ("--accounts", "--seed", "--trouble", "--plain-http", "--ready-file"))


def test_orgs_for_people_and_for_machines(place: Workplace) -> None:
    said = place.run("orgs")
    assert said.code == 0
    assert all(name in said.out for name in ("demo_stripe", "demo_database", "demo_file", "Europe/Paris"))
    line = place.edit("demo_stripe", "name: demo_stripe", "name: Demo Stripe")
    broken = place.run("orgs", "--json")
    assert broken.code == 2
    document = json.loads(broken.out)
    assert {row["organization"] for row in document["organizations"]} >= {"demo_database", "demo_file"}
    (problem,) = document["problems"]
    assert problem["line"] == line
    assert "Traceback" not in said.all + broken.all


def test_check_of_an_organization_that_is_ready(place: Workplace) -> None:
    said = place.run("check", "demo_stripe")
    assert said.code == 0, said.all
    assert "Ready to sync" in said.out
    assert place.environment["DEMO_STRIPE_CLIENT_SECRET"] not in said.all


def test_check_says_everything_that_is_wrong_at_once(place: Workplace) -> None:
    first = place.edit("demo_stripe", "salesforce_field: Id", "salesforce_field: Legacy_Number__c")
    second = place.edit("demo_stripe", "salesforce_field: Portal_Link__c", "salesforce_field: Score__c")
    said = place.run("check", "demo_stripe", DEMO_STRIPE_KEY="sk_test_wrong", DEMO_UPFLOW_SECRET="wrong-secret")
    assert said.code == 2
    for words in (
        f"demo_stripe.yaml:{first}",
        f"demo_stripe.yaml:{second}",
        "Legacy_Number__c",
        "Score__c",
        "Stripe",
        "Upflow",
    ):
        assert words in said.out
    assert "4 problem(s)" in said.out
    assert not [word for word in ("Traceback", "sk_test_wrong", "wrong-secret") if word in said.all]
    document = json.loads(place.run("check", "demo_stripe", "--json", DEMO_STRIPE_CLIENT_SECRET="").out)
    assert (document["organization"], document["ok"]) == ("demo_stripe", False)
    assert any("DEMO_STRIPE_CLIENT_SECRET" in line["text"] for line in document["looked_at"])


@pytest.mark.parametrize("command", ["check", "sync"])
def test_an_unknown_organization(place: Workplace, command: str) -> None:
    said = place.run(command, "nobody")
    assert said.code == 2
    assert "demo_stripe" in said.err
    assert "Traceback" not in said.all


def test_a_folder_that_is_not_there(place: Workplace) -> None:
    said = place.run("orgs", SYNC_PIPELINE_CONFIG=str(place.folder / "nowhere"))
    assert said.code == 2
    assert "SYNC_PIPELINE_CONFIG" in said.err
    assert "Traceback" not in said.all


def test_sync_for_machines(fresh_sandbox: Callable[..., Sandbox], workplace: Callable[..., Workplace]) -> None:
    place = workplace(fresh_sandbox(accounts=25))
    place.edit("demo_database", "table: customers", "table: costumers")
    said = place.run("sync", "--all", "--json")
    assert said.code == 2, said.all
    results = {row["organization"]: row for row in json.loads(said.out)}
    assert set(results) == {"demo_database", "demo_file", "demo_stripe"}
    for row in results.values():
        assert set(row) == {field.name for field in fields(Result)}
    good = results["demo_stripe"]
    assert set(good["counts"]) == set(COUNTS)
    assert set(good["written"]) == set(good["planned"]) == set(good["refused"]) == set(WRITERS)
    assert (good["exit_code"], good["errors"]) == (0, [])
    assert results["demo_database"]["exit_code"] == 2
    assert "costumers" in " ".join(results["demo_database"]["errors"])
    assert "Traceback" not in said.all


@pytest.mark.slow
def test_the_demo_twice(sandbox: Callable[..., Sandbox], workplace: Callable[..., Workplace]) -> None:
    place = workplace(sandbox(accounts=40, seed=9))
    data = place.folder / "demo_data"
    first = place.run("demo", "--accounts", "60", SYNC_PIPELINE_DATA=str(data))
    assert first.code == 0, first.all
    assert "changes were written" in first.out
    second = place.run("demo", "--accounts", "60", SYNC_PIPELINE_DATA=str(data))
    assert second.code == 0, second.all
    assert "Nothing had to be written" in second.out
    assert "Traceback" not in first.all + second.all
    assert (data / "demo" / "warehouse" / "demo_stripe.duckdb").exists()
    other = place.run("demo", "--accounts", "50", SYNC_PIPELINE_DATA=str(data))
    assert other.code == 2
    assert "60" in other.err
    assert "Traceback" not in other.all


def test_the_demo_of_every_billing_system(sandbox: Callable[..., Sandbox], workplace: Callable[..., Workplace]) -> None:
    place = workplace(sandbox(accounts=40, seed=9))
    said = place.run("demo", "--all", "--accounts", "20", SYNC_PIPELINE_DATA=str(place.folder / "demo_data"))
    assert said.code == 0, said.all
    warehouses = {path.stem for path in (place.folder / "demo_data" / "demo" / "warehouse").glob("*.duckdb")}
    assert warehouses == {f"demo_{system}" for system in sources()}
