"""The three demo sources, as the sandbox serves them: every customer arrives, and nobody else."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline.billing import customer_url, load_customers
from sync_pipeline.errors import ReconnectError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.orgs.factory import make_organization

ACCOUNTS = 300
FIELDS = {"stripe": "metadata.salesforce_account_id", "database": "customer_id", "file": "company_number"}


@pytest.fixture
def org(
    sandbox: Callable[..., Sandbox], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[Sandbox, Organization]]:
    def make(name: str, **more: Any) -> tuple[Sandbox, Organization]:
        world = sandbox(accounts=ACCOUNTS)
        billing = {"system": name} | world.organization(name)["billing"]
        billing.pop("field", None)
        if name == "stripe":
            monkeypatch.setenv("STRIPE_KEY", more.pop("key", billing["api_key"]))
            billing |= {"api_key": {"env": "STRIPE_KEY"}, "ca_file": world["ca_file"]}
        return world, make_organization(folder=tmp_path, billing=billing, identifier__billing_field=FIELDS[name])

    return make


@pytest.mark.parametrize("name", FIELDS)
def test_every_customer_of_the_world(
    org: Callable[[str], tuple[Sandbox, Organization]], con: duckdb.DuckDBPyConnection, name: str
) -> None:
    world, configured = org(name)
    count = load_customers(con, configured)
    with world.truth[name].open(newline="") as file:
        truth = [row for row in csv.DictReader(file) if row["side"] == "billing"]
    found = {row[0] for row in con.execute("SELECT customer_id FROM billing_customers").fetchall()}
    assert found == {row["record_id"] for row in truth}
    assert count == len(truth) == len(found)
    # Whom the truth calls missing an identifier has none here either (or only white space); everybody else has one.
    blank = con.execute(
        "SELECT customer_id FROM billing_customers WHERE trim(coalesce(identifier, '')) = ''"
    ).fetchall()
    assert {row[0] for row in blank} <= {row["record_id"] for row in truth if row["verdict"] == "missing_identifier"}
    summary = con.execute(
        "SELECT count(name), count(currency), count(balance), count(created_at), count(primary_email)"
        " FROM billing_customers"
    ).fetchone()
    assert summary
    assert min(summary) > ACCOUNTS / 4


def test_stripe_s_identifiers_and_money_as_the_state_has_them(
    org: Callable[[str], tuple[Sandbox, Organization]], con: duckdb.DuckDBPyConnection
) -> None:
    world, configured = org("stripe")
    before = world.calls("stripe", org="stripe")
    count = load_customers(con, configured)
    assert world.calls("stripe", org="stripe") - before == -(-count // 100)
    state = world.rows("SELECT customer_id, minor_units FROM billing_customer WHERE org = 'stripe' AND NOT deleted")
    found = con.execute("SELECT customer_id, lower(currency), balance::DOUBLE FROM billing_customers").fetchall()
    whole = ("jpy", "krw", "clp", "vnd", "xaf", "xof")
    minor = {
        id: round(money * (1 if code in whole else 1000 if code in ("kwd", "bhd", "omr", "jod", "tnd") else 100))
        for id, code, money in found
        if money is not None
    }
    assert minor
    assert minor == {row["customer_id"]: row["minor_units"] for row in state if row["customer_id"] in minor}


def test_a_key_the_sandbox_does_not_know(
    org: Callable[..., tuple[Sandbox, Organization]], con: duckdb.DuckDBPyConnection
) -> None:
    _, configured = org("stripe", key="sk_test_unknownunknownunknown")
    with pytest.raises(ReconnectError, match="Invalid API Key provided") as caught:
        load_customers(con, configured)
    assert "unknown" not in str(caught.value)


def test_the_page_of_a_customer_is_there(org: Callable[[str], tuple[Sandbox, Organization]]) -> None:
    world, configured = org("stripe")
    (row,) = world.rows("SELECT customer_id FROM billing_customer WHERE org = 'stripe' AND NOT deleted LIMIT 1")
    url = customer_url(configured, row["customer_id"])
    assert url
    assert world.http().get(url, timeout=10).status_code == 200
