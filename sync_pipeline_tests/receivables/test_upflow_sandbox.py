"""Upflow's side against the sandbox, a real process on loopback, over TLS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline.errors import ConfigurationError, ReconnectError
from sync_pipeline.receivables import open_platform, owners
from sync_pipeline.receivables.upflow.client import PARALLEL
from sync_pipeline.receivables.upflow.work import GATHER_MOST
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.orgs.factory import make_organization
from sync_pipeline_tests.receivables.from_sandbox import (
    ORG,
    environment_of,
    load,
    settings_of,
    sync_once,
    warehouse,
)
from sync_pipeline_tests.receivables.world import table

Factory = Callable[..., Sandbox]
WRITING = ("POST", "PUT", "DELETE")
UNRECORDED = GATHER_MOST + PARALLEL
"""Answers that a kill can leave unrecorded."""


@pytest.fixture
def sandbox(fresh_sandbox: Factory, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    sandbox = fresh_sandbox(accounts=80, billing=[ORG], trouble=0.2)
    for name, value in environment_of(sandbox).items():
        monkeypatch.setenv(name, value)
    return sandbox


def holds_what_it_should(con: duckdb.DuckDBPyConnection, sandbox: Sandbox) -> None:
    """Compare Upflow's own state with our record of it, and with what Salesforce says."""
    external = {
        row["id"]: row["externalId"] for row in sandbox.rows("SELECT * FROM upflow_customer WHERE org = ?", ORG)
    }
    contacts = sandbox.rows("SELECT * FROM upflow_contact WHERE org = ?", ORG)
    held = {
        (
            external[c["customer_id"]],
            c["externalId"],
            c["email"],
            c["firstName"],
            c["jobTitle"],
            bool(c["isMain"]),
            c["id"],
        )
        for c in contacts
        if (c["externalId"] or "").startswith("003")
    }
    columns = "billing_customer_id, salesforce_contact_id, email, first_name, title, is_main, platform_contact_id"
    assert held == set(table(con, columns, "imported_contacts WHERE status = 'imported'"))
    replaced = {c for (c,) in table(con, "billing_customer_id", "imported_contacts WHERE status = 'imported'")}
    assert (
        not {external[c["customer_id"]] for c in contacts if not (c["externalId"] or "").startswith("003")} & replaced
    )
    users = {u["id"]: u["email"].lower() for u in sandbox.rows("SELECT * FROM upflow_user WHERE org = ?", ORG)}
    assigned = {
        row["externalId"]: users[row["accountManagerId"]]
        for row in sandbox.rows("SELECT * FROM upflow_customer WHERE org = ? AND accountManagerId IS NOT NULL", ORG)
    }
    wanted = dict(table(con, "billing_customer_id, owner_email", "imported_owners WHERE status = 'assigned'"))
    assert wanted.items() <= assigned.items()
    fields = {
        f["id"]: (f["entity"], f["name"]) for f in sandbox.rows("SELECT * FROM upflow_custom_field WHERE org = ?", ORG)
    }
    assert sorted(fields.values()) == [("CONTACT", "Language"), ("CUSTOMER", "Industry"), ("CUSTOMER", "Region")]
    values = {
        (row["externalId"], fields[value["id"]][1]): value["value"]
        for row in sandbox.rows("SELECT * FROM upflow_customer WHERE org = ?", ORG)
        for value in json.loads(row["customFields"] or "[]")
    }
    industry = "imported_custom_fields WHERE record = 'customer' AND status = 'imported'"
    for customer, value in table(con, "billing_customer_id, value", industry):
        assert (values.get((customer, "Industry")) or None) == value
    links = dict(table(con, "billing_customer_id, url", "portal_links WHERE status = 'live'"))
    tokens = {row["token"]: external[row["customer_id"]] for row in sandbox.rows("SELECT * FROM upflow_portal_link")}
    assert {tokens[url.rsplit("/", 1)[1]] for url in links.values()} == set(links)
    assert all(tokens[url.rsplit("/", 1)[1]] == customer for customer, url in links.items())


def untouched(sandbox: Sandbox) -> list[tuple[Any, ...]]:
    """What Upflow holds of its customers that is none of our business."""
    region = """(SELECT group_concat(v.value ->> 'value') FROM json_each(c.customFields) v
        JOIN upflow_custom_field f ON f.org = c.org AND f.id = v.value ->> 'id' WHERE f.name = 'Region')"""
    columns = "externalId, name, vatNumber, accountingRef, dunningPlanId, portal"
    rows = sandbox.rows(
        f"SELECT {columns}, address, parent, paymentMethods, {region} FROM upflow_customer c ORDER BY 1"
    )
    return [(*row[:6], *(json.loads(text or "null") for text in row[6:9]), row[9]) for row in rows]


def test_everything_arrives_and_a_second_sync_writes_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    before = untouched(sandbox)
    users = {row["email"].lower() for row in sandbox.rows("SELECT * FROM upflow_user")}
    org = make_organization(**settings_of(sandbox))
    with warehouse(tmp_path / "warehouse") as con:
        load(con, sandbox)
        assert all(sync_once(con, org).values())
        holds_what_it_should(con, sandbox)
        assert untouched(sandbox) == before
        new = [u for u in sandbox.rows("SELECT * FROM upflow_user") if u["email"].lower() not in users]
        assert new
        assert not any(u["invited"] for u in new)
        matched = {c for (c,) in table(con, "billing_customer_id", "account_mapping WHERE verdict = 'matched'")}
        for ledger in ("imported_owners", "imported_contacts", "imported_custom_fields", "portal_links"):
            assert {c for (c,) in table(con, "billing_customer_id", ledger)} <= matched

        refused = {c for (c,) in table(con, "billing_customer_id", "imported_contacts WHERE status = 'refused'")}
        refused_links = table(con, "billing_customer_id", "portal_links WHERE status = 'refused'")
        # An address that a customer nobody matched has is refused by POST, a customer that Upflow lacks by GET.
        ((refused_posts,),) = table(con, "count(*)", "imported_contacts WHERE status = 'refused' AND code = '400'")
        counts = {method: sandbox.calls("upflow", method) for method in ("GET", *WRITING)}
        written = sync_once(con, org)
        again = {method: sandbox.calls("upflow", method) - counts[method] for method in ("GET", *WRITING)}
        assert (written["owners"], written["custom_fields"], written["portal_links"]) == (0, 0, len(refused_links))
        assert again == {"GET": 4 + len(refused), "POST": len(refused_links) + refused_posts, "PUT": 0, "DELETE": 0}
        holds_what_it_should(con, sandbox)


@pytest.mark.parametrize("after", [40, 250])
def test_a_killed_sync_loses_nothing_and_writes_nothing_twice(sandbox: Sandbox, tmp_path: Path, after: int) -> None:
    folder = tmp_path / "warehouse"
    settings = settings_of(sandbox)
    before = untouched(sandbox)
    with warehouse(folder) as con:
        load(con, sandbox)
    command = [sys.executable, "-m", "sync_pipeline_tests.receivables.from_sandbox", str(folder), json.dumps(settings)]
    process = subprocess.Popen(command, env={**os.environ, **environment_of(sandbox)}, cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 60
    while sandbox.calls("upflow", *WRITING) < after:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    time.sleep(0.2)  # requests that were under way when it died

    with warehouse(folder) as con:
        sync_once(con, make_organization(**settings))
        holds_what_it_should(con, sandbox)
        assert untouched(sandbox) == before
        once: dict[str, Any] = {
            "owners": table(con, "*", "imported_owners WHERE status = 'assigned'"),
            "contacts": table(con, "*", "imported_contacts WHERE status = 'imported'"),
            "links": table(con, "*", "portal_links WHERE status = 'live'"),
        }
        assert sandbox.calls("upflow", "POST") - _refused_posts(con) <= sum(map(len, once.values())) + 2 + UNRECORDED
        (links,) = sandbox.rows("SELECT count(*) AS n FROM upflow_portal_link")
        twice = links["n"] - len(once["links"])
        assert 0 <= twice <= UNRECORDED, "only a link that was not recorded is asked for again"
        assert table(con, "*", "receivables_unsettled") == []
        calls = sandbox.calls("upflow", "PUT", "DELETE")
        sync_once(con, make_organization(**settings))
        assert sandbox.calls("upflow", "PUT", "DELETE") == calls


def _refused_posts(con: duckdb.DuckDBPyConnection) -> int:
    ((links,),) = table(con, "count(*)", "portal_links WHERE status = 'refused'")
    ((contacts,),) = table(con, "count(*)", "imported_contacts WHERE status = 'refused'")
    return int(links) + 2 * int(contacts)


def test_the_pace_is_kept_from_the_start(
    fresh_sandbox: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the limit of the platform's own there is no 429: it would show as a refusal or a wait of seconds."""
    sandbox = fresh_sandbox(accounts=8, billing=[ORG], upflow_per_minute=1800)
    for name, value in environment_of(sandbox).items():
        monkeypatch.setenv(name, value)
    org = make_organization(**settings_of(sandbox, requests_per_minute=1800))
    with warehouse(tmp_path / "warehouse") as con:
        load(con, sandbox)
        begun = time.monotonic()
        sync_once(con, org)
        took = time.monotonic() - begun
    assert took >= (sandbox.calls("upflow") - 1) / 1800 * 60 * 0.9


def test_refused_keys_ask_for_new_ones(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_UPFLOW_SECRET", "wrong-one")
    org = make_organization(**settings_of(sandbox))
    with warehouse(tmp_path / "warehouse") as con, pytest.raises(ReconnectError) as caught:
        owners.plan(con, org, open_platform(con, org))
    assert "SANDBOX_UPFLOW_SECRET" in str(caught.value)
    assert "wrong-one" not in str(caught.value)


def test_a_certificate_nobody_vouches_for_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    settings = settings_of(sandbox)
    del settings["receivables"]["ca_file"]
    org = make_organization(**settings)
    with warehouse(tmp_path / "warehouse") as con, pytest.raises(ConfigurationError, match="ca_file"):
        owners.plan(con, org, open_platform(con, org))
