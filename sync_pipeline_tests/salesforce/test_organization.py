"""The Salesforce organization behind the login stays the same, or the file says that another is meant."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from sync_pipeline import salesforce
from sync_pipeline.errors import ConfigurationError, GuardStop
from sync_pipeline.salesforce.organization import Identity, recorded_here, recorded_organization
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.salesforce.logins.rotating import (
    PRODUCTION,
    SANDBOX,
    Rotating,
    by_browser,
    connected_to,
)

pytestmark = pytest.mark.usefixtures("own_machine")


def moved_to_sandbox(there: Rotating) -> None:
    there.organization_id, there.organization_name, there.is_sandbox = SANDBOX, "Acme SA", True


def load(con: duckdb.DuckDBPyConnection, there: Rotating, folder: Path, pin: str | None = None) -> None:
    org = by_browser(folder, there.url, **({"organization_id": pin} if pin else {}))
    connected_to(there, org)
    client = salesforce.connect(org)
    with client.session:
        salesforce.refuse_changed(con, client, org)
        assert salesforce.load_organization(con, client, org) == 1


def test_the_first_one_is_recorded(con: duckdb.DuckDBPyConnection, there: Rotating, tmp_path: Path) -> None:
    assert recorded_organization(con) is None
    load(con, there, tmp_path)
    load(con, there, tmp_path)
    assert recorded_organization(con) == Identity(PRODUCTION, "Acme SA", False)


def test_another_one_later_stops_everything(con: duckdb.DuckDBPyConnection, there: Rotating, tmp_path: Path) -> None:
    load(con, there, tmp_path)
    moved_to_sandbox(there)
    with pytest.raises(GuardStop) as stopped:
        load(con, there, tmp_path)
    said = str(stopped.value)
    assert "acme.yaml:3: the login leads to Acme SA (sandbox, " in said
    for part in (PRODUCTION, SANDBOX, "production", f"salesforce.organization_id: {SANDBOX}"):
        assert part in said
    assert recorded_organization(con) == Identity(PRODUCTION, "Acme SA", False)


def test_a_pin_outweighs_the_record(con: duckdb.DuckDBPyConnection, there: Rotating, tmp_path: Path) -> None:
    load(con, there, tmp_path)
    moved_to_sandbox(there)
    load(con, there, tmp_path, pin=SANDBOX[:15])
    assert recorded_organization(con) == Identity(SANDBOX, "Acme SA", True)
    load(con, there, tmp_path)  # the pin may go again


def test_a_pin_to_another_stops_before_anything_is_asked(
    con: duckdb.DuckDBPyConnection, there: Rotating, tmp_path: Path
) -> None:
    asked: list[str] = []
    there._rows = lambda path: asked.append(path)  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(ConfigurationError, match=rf"acme\.yaml:\d+: the login leads to {PRODUCTION}.*says {SANDBOX}"):
        load(con, there, tmp_path, pin=SANDBOX)
    assert asked == []
    assert recorded_organization(con) is None


def test_other_assets_stop_too_and_ask_nothing_where_all_is_well(
    con: duckdb.DuckDBPyConnection, there: Rotating, tmp_path: Path
) -> None:
    load(con, there, tmp_path)
    org = by_browser(tmp_path, there.url)
    client = salesforce.connect(org)
    asked = []
    rows = there._rows
    there._rows = lambda path: asked.append(path) or rows(path)  # type: ignore[method-assign, func-returns-value]
    salesforce.refuse_changed(con, client, org)
    assert asked == []
    moved_to_sandbox(there)
    connected_to(there, org)
    client = salesforce.connect(org)
    with pytest.raises(GuardStop, match="so nothing was read"):
        salesforce.refuse_changed(con, client, org)


def test_check_says_which_one_it_is(there: Rotating, tmp_path: Path) -> None:
    org, pinned = by_browser(tmp_path, there.url), by_browser(tmp_path, there.url, organization_id=PRODUCTION)
    row = {"Id": PRODUCTION[:15], "Name": "Acme SA", "IsSandbox": False}
    assert "from its first sync on" in salesforce.told_organization(org, row)
    assert "pins" in salesforce.told_organization(pinned, row)
    assert not (tmp_path / "data" / "warehouse").exists()
    with Warehouse(tmp_path / "data" / "warehouse", "acme").connect() as con:
        load(con, there, tmp_path)
        assert recorded_here(org) is None  # somebody writes: not now
    assert "of the syncs so far" in salesforce.told_organization(org, row)
    with pytest.raises(GuardStop):
        salesforce.told_organization(org, row | {"Id": SANDBOX})
    with pytest.raises(ConfigurationError):
        salesforce.told_organization(pinned, row | {"Id": SANDBOX})
