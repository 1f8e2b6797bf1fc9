"""A sync that is killed, interrupted, or met by a second one: nothing lost, nothing written twice."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from sync_pipeline.receivables.upflow.client import PARALLEL
from sync_pipeline_tests.cli.conftest import Workplace, truth_of, until, verdicts_of
from sync_pipeline_tests.conftest import Sandbox

Factory = Callable[..., Sandbox]
Places = Callable[..., Workplace]
ORG = "stripe"
NAME = "demo_stripe"
OWN_TO_A_SANDBOX = ("url", "synced_at", "created_at", "expires_at", "written_at", "replaced_at", "since")
"""Columns that differ between two sandboxes of one seed: moments, and links with a random token."""
LEDGERS = (
    "salesforce_accounts",
    "salesforce_users",
    "salesforce_contacts",
    "billing_customers",
    "account_mapping",
    "imported_owners",
    "imported_contacts",
    "imported_custom_fields",
    "portal_links",
    "exported_portal_links",
    "receivables_unsettled",
)
MADE = "portal_link", "platform_user_id", "platform_contact_id", "modified_at"
"""As OWN_TO_A_SANDBOX: what the stand-ins number as requests come in."""


def tables_of(place: Workplace) -> dict[str, list[str]]:
    """Every table of the warehouse that a sync leaves, without what no two sandboxes have in common."""
    found = {}
    with place.warehouse(NAME).connect() as con:
        for table in LEDGERS:
            columns = [column for column, *_ in con.execute(f"DESCRIBE {table}").fetchall()]
            kept = ", ".join(f'"{c}"' for c in columns if c not in {*OWN_TO_A_SANDBOX, *MADE})
            found[table] = sorted(map(repr, con.execute(f"SELECT {kept} FROM {table}").fetchall()))
    return found


def held_by(sandbox: Sandbox) -> dict[str, list[tuple[Any, ...]]]:
    """What the stand-ins hold, records named by what does not depend on the order of requests."""
    fields = {row["id"]: row["name"] for row in sandbox.rows("SELECT * FROM upflow_custom_field")}
    users = {row["id"]: row["email"].lower() for row in sandbox.rows("SELECT * FROM upflow_user")}
    customers = {row["id"]: row["externalId"] for row in sandbox.rows("SELECT * FROM upflow_customer")}

    def values(text: str | None) -> str:
        return str(sorted((fields[v["id"]], v["value"]) for v in json.loads(text or "[]") if v["value"] is not None))

    linked = {row["customer_id"] for row in sandbox.rows("SELECT * FROM upflow_portal_link")}
    found = {
        "customers": [
            (
                row["externalId"],
                row["name"],
                users.get(row["accountManagerId"]),
                values(row["customFields"]),
                row["address"],
            )
            for row in sandbox.rows("SELECT * FROM upflow_customer")
        ],
        "contacts": [
            (
                customers[row["customer_id"]],
                *(
                    row[name]
                    for name in ("externalId", "email", "firstName", "lastName", "phone", "jobTitle", "isMain")
                ),
                values(row["customFields"]),
            )
            for row in sandbox.rows("SELECT * FROM upflow_contact")
        ],
        "users": [(email,) for email in users.values()],
        "fields": [(name,) for name in fields.values()],
        "linked": [(customers[customer],) for customer in linked],
        "accounts": [
            (row["Id"],)
            for row in sandbox.rows("""SELECT * FROM account WHERE org = ? AND "Portal_Link__c" <> '' """, ORG)
        ],
    }
    return {what: sorted(rows, key=repr) for what, rows in found.items()}


ACCOUNTS = 230


def upflow_writes(place: Workplace) -> int:
    return place.sandbox.calls("upflow", "POST", "PUT", "DELETE")


MOMENTS: dict[str, tuple[int, Callable[[Workplace], int]]] = {
    "reading customers": (1, lambda place: place.sandbox.calls("stripe")),
    "reading accounts": (2, lambda place: place.sandbox.calls("salesforce", "POST", org=ORG)),
    "first writes": (5, upflow_writes),
    "in the middle": (250, upflow_writes),
    "links in Salesforce": (1, lambda place: place.sandbox.calls("salesforce", "PATCH", org=ORG)),
}
"""How many more calls a sync must have made until it is killed."""


@pytest.mark.slow
def test_killed_at_any_moment(fresh_sandbox: Factory, workplace: Places) -> None:
    """One sync killed again and again, each time further on, ends where an undisturbed one ends."""
    place = workplace(fresh_sandbox(accounts=ACCOUNTS, seed=8, trouble=0.05), home=True)
    for more, count in MOMENTS.values():
        enough = count(place) + more
        process = place.start("sync", NAME)
        until(lambda count=count, enough=enough: count(place) >= enough, process)  # type: ignore[misc]
        process.kill()
        process.communicate()
    dead = len(MOMENTS)
    result = place.sync(NAME)
    assert (result.exit_code, result.errors) == (0, [])
    statuses = Counter(run.status for run in place.instance.get_runs(dg.RunsFilter(job_name="sync")))
    assert statuses == {dg.DagsterRunStatus.SUCCESS: 1, dg.DagsterRunStatus.FAILURE: dead}

    links = place.sandbox.calls("salesforce", "PATCH", org=ORG)
    ((wanted,),) = place.rows(NAME, "SELECT count(*) FROM exported_portal_links WHERE status = 'written'")
    assert wanted > 200
    assert links == 2, "one collection of 200, one of the rest"
    asked = len(place.sandbox.rows("SELECT token FROM upflow_portal_link"))
    ((live,),) = place.rows(NAME, "SELECT count(*) FROM portal_links WHERE status = 'live'")
    assert live <= asked <= live + dead * (PARALLEL + 40), "a link under way may be asked for again"

    again = place.sync(NAME)
    assert sum(again.written.values()) == 0
    disturbed = tables_of(place), held_by(place.sandbox)

    calm = workplace(fresh_sandbox(accounts=ACCOUNTS, seed=8, trouble=0.05))
    result = calm.sync(NAME)
    assert result.exit_code == 0
    tables, held = tables_of(calm), held_by(calm.sandbox)
    assert disturbed[1] == held
    assert {name: rows for name, rows in disturbed[0].items() if rows != tables[name]} == {}


def test_a_second_sync_of_the_same_organization_says_so(fresh_sandbox: Factory, workplace: Places) -> None:
    place = workplace(fresh_sandbox(accounts=60), home=True)
    process = place.start("sync", NAME)
    until(lambda: upflow_writes(place) >= 1, process)
    second = place.sync(NAME)
    still_running = process.poll() is None
    out, err = process.communicate()
    assert still_running
    assert second.exit_code == 4
    assert "Another sync of organization demo_stripe is running" in " ".join(second.errors)
    assert process.returncode == 0, out + err
    with place.warehouse(NAME).connect() as con:
        assert set(verdicts_of(con)) == truth_of(place.sandbox, ORG)


def test_ctrl_c(fresh_sandbox: Factory, workplace: Places) -> None:
    place = workplace(fresh_sandbox(accounts=60), home=True)
    process = place.start("sync", NAME)
    until(lambda: upflow_writes(place) >= 10, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "Traceback" not in out + err
    result = place.sync(NAME)
    assert (result.exit_code, result.errors) == (0, [])
    assert all(run.is_finished for run in place.instance.get_runs())
