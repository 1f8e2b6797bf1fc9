"""What passes: a session that ends, rows that Salesforce refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sync_pipeline_tests.cli.conftest import Workplace, truth_of, verdicts_of
from sync_pipeline_tests.conftest import Sandbox


@pytest.fixture
def place(fresh_sandbox: Callable[..., Sandbox], workplace: Callable[..., Workplace]) -> Workplace:
    return workplace(fresh_sandbox(accounts=90, seed=5))


def test_a_session_that_ends_in_the_middle_of_a_download(place: Workplace) -> None:
    place.fault(path="/results", action="expire_session", after=1)
    place.fault(path="/results", action="status", status=503, body="", times=2)
    place.fault(path="/composite/sobjects", action="expire_session")
    result = place.sync("demo_file")
    assert (result.exit_code, result.errors) == (0, [])
    with place.warehouse("demo_file").connect() as con:
        assert set(verdicts_of(con)) == truth_of(place.sandbox, "file")
    assert result.written["exported_portal_links"] == result.counts["matched"]


def test_rows_that_salesforce_refuses_are_kept_and_tried_again(place: Workplace) -> None:
    closed = [row["record_id"] for row in _matched_accounts(place)[:3]]
    place.fault(action="refuse", ids=closed, times=1, code="FIELD_CUSTOM_VALIDATION_EXCEPTION", message="Closed today.")
    first = place.sync("demo_file")
    assert first.exit_code == 0, "a refused row does not hold up the others"
    assert first.refused["exported_portal_links"] == 3
    refused = place.rows(
        "demo_file",
        "SELECT salesforce_account_id, code, reason, written_at FROM exported_portal_links WHERE status = 'refused'",
    )
    assert sorted(refused) == sorted(
        (account, "FIELD_CUSTOM_VALIDATION_EXCEPTION", "Closed today.", None) for account in closed
    )
    second = place.sync("demo_file")
    assert (second.planned["exported_portal_links"], second.written["exported_portal_links"]) == (3, 3)
    assert second.refused["exported_portal_links"] == 0
    assert place.rows("demo_file", "FROM exported_portal_links WHERE status = 'refused'") == []


def _matched_accounts(place: Workplace) -> list[dict[str, str]]:
    rows = [row for row in truth_of(place.sandbox, "file") if row[0] == "salesforce" and row[3] == "matched"]
    return [{"record_id": row[1]} for row in sorted(rows)]


def test_only_the_row_that_changed_is_planned(place: Workplace) -> None:
    place.sync("demo_file")
    ((account, owner),) = place.rows(
        "demo_file",
        "SELECT salesforce_account_id, owner_id FROM imported_owners WHERE status = 'assigned' ORDER BY 1 LIMIT 1",
    )
    (other,) = place.sandbox.rows(
        """SELECT "Id" FROM "user" WHERE org = 'file' AND "IsActive" = 1 AND "Email" LIKE '%@%' AND "Id" <> ? LIMIT 1""",
        owner,
    )
    assert (
        place.sandbox.change(
            """UPDATE account SET "OwnerId" = ? WHERE org = 'file' AND "Id" = ?""", other["Id"], account
        )
        == 1
    )
    result = place.sync("demo_file")
    assert (result.planned, result.written) == (
        {**dict.fromkeys(result.planned, 0), "imported_owners": 1},
        {**dict.fromkeys(result.written, 0), "imported_owners": 1},
    )
    assert place.rows(
        "demo_file",
        f"SELECT owner_id, status FROM imported_owners WHERE salesforce_account_id = '{account}'",
    ) == [(other["Id"], "assigned")]
