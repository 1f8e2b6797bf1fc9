"""A dry run says what the next sync will write, and leaves no trace."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from sync_pipeline_tests.cli.conftest import Workplace
from sync_pipeline_tests.conftest import Sandbox

KNOWN_BEFOREHAND = ("imported_owners", "imported_contacts", "portal_links")
"""Custom fields of new contacts and new links are known only when the platform has answered."""


def files_of(*folders: Path) -> dict[str, str]:
    """Hash of every file, by its path."""
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_a_dry_run_tells_and_changes_nothing(
    fresh_sandbox: Callable[..., Sandbox], workplace: Callable[..., Workplace]
) -> None:
    place = workplace(fresh_sandbox(accounts=100, trouble=0.3), home=True)
    before = files_of(place.data, place.home)
    addresses = [row["Email"].lower() for row in place.sandbox.rows('SELECT "Email" FROM contact') if row["Email"]]
    told = {name: place.sync(name, dry_run=True) for name in ("demo_stripe", "demo_file")}
    for name, result in told.items():
        assert (result.exit_code, result.run_id, sum(result.written.values())) == (0, "", 0)
        assert result.counts["matched"] > 50
        assert result.plans["imported_contacts"], name
        shown = json.dumps(result.plans, default=str, ensure_ascii=False).lower()
        assert not [address for address in addresses if address in shown]
    assert place.written_calls() == {}
    assert files_of(place.data, place.home) == before
    for name, expected in told.items():
        result = place.sync(name)
        wrote = {kind: result.written[kind] + result.refused[kind] for kind in result.written}
        assert {kind: expected.planned[kind] for kind in KNOWN_BEFOREHAND} == {
            kind: wrote[kind] for kind in KNOWN_BEFOREHAND
        }
        assert expected.planned["imported_custom_fields"] <= wrote["imported_custom_fields"]
        assert (
            wrote["exported_portal_links"]
            <= expected.planned["exported_portal_links"]
            <= wrote["exported_portal_links"] + result.refused["portal_links"]
        )

    # Now something changed in Salesforce, and the warehouse holds what was synced.
    (contact,) = place.rows(
        "demo_stripe", "SELECT salesforce_contact_id FROM imported_contacts WHERE status = 'imported' LIMIT 1"
    )
    assert (
        place.sandbox.change(
            """UPDATE contact SET "Title" = 'Treasurer' WHERE org = 'stripe' AND "Id" = ?""", contact[0]
        )
        == 1
    )
    (account,) = place.rows(
        "demo_stripe", "SELECT salesforce_account_id FROM exported_portal_links WHERE status = 'written' LIMIT 1"
    )
    assert (
        place.sandbox.change(
            """UPDATE account SET "Portal_Link__c" = 'gone' WHERE org = 'stripe' AND "Id" = ?""", account[0]
        )
        == 1
    )
    calls, before = place.written_calls(), files_of(place.data, place.home)
    result = place.sync("demo_stripe", dry_run=True)
    refused = told["demo_stripe"].planned["portal_links"] - len(
        place.rows("demo_stripe", "FROM portal_links WHERE status = 'live'")
    )
    assert place.written_calls() == calls
    assert result.planned["exported_portal_links"] == 1 + refused, "links refused before are asked for again"
    assert account[0] in {row["salesforce_account_id"] for row in result.plans["exported_portal_links"]}
    assert result.planned["imported_owners"] == 0
    assert result.planned["portal_links"] == refused
    assert contact[0] in {row["salesforce_contact_id"] for row in result.plans["imported_contacts"]}
    assert {k: v for k, v in files_of(place.data, place.home).items() if ".lock" not in k} == {
        k: v for k, v in before.items() if ".lock" not in k
    }
    after = place.sync("demo_stripe")
    assert after.written["exported_portal_links"] == 1
    assert after.planned["imported_contacts"] == result.planned["imported_contacts"]
