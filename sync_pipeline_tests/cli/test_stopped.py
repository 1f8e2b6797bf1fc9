"""What stops an organization: its fields, its login, its variables; and what passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest

from sync_pipeline_tests.cli.conftest import Workplace
from sync_pipeline_tests.conftest import Sandbox

Factory = Callable[..., Sandbox]
Places = Callable[..., Workplace]


@pytest.fixture
def place(sandbox: Factory, workplace: Places) -> Iterator[Workplace]:
    """Over a world that all tests here share: none of them writes to it."""
    there = workplace(sandbox(accounts=60, seed=3))
    before = there.written_calls()
    yield there
    there.no_faults()
    assert there.written_calls() == before


def jobs(place: Workplace) -> int:
    """Bulk queries and other reads of records so far."""
    (row,) = place.sandbox.rows(
        "SELECT coalesce(sum(calls), 0) AS n FROM request_log "
        "WHERE route LIKE '/jobs/%' OR stand_in = 'stripe' OR stand_in = 'upflow'"
    )
    return int(row["n"])


def check_of(place: Workplace, name: str, org: str) -> Any:
    """The stored status of a check on an organization's fields."""
    key = dg.AssetCheckKey(dg.AssetKey("salesforce_fields"), name)
    record = place.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0]
    assert record.event is not None
    evaluation = record.event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
    assert evaluation.partition == org
    return evaluation


IDENTIFIER = "salesforce_field: Company_Number__c"
EXPORT = "salesforce_field: Portal_Link__c"


@pytest.mark.parametrize(
    ("old", "new", "check", "words"),
    [
        (IDENTIFIER, "Legacy_Number__c", "identifier_field_has_supported_type", ["double", "text"]),
        (IDENTIFIER, "Hidden__c", "identifier_field_has_supported_type", ["field-level security", "read access"]),
        (IDENTIFIER, "Company_Nummer__c", "identifier_field_has_supported_type", ["Company_Number__c"]),
        (EXPORT, "Score__c", "configured_fields_can_be_used", ["formula"]),
        (EXPORT, "Short_Link__c", "configured_fields_can_be_used", ["20"]),
        (EXPORT, "Portal_Lonk__c", "configured_fields_can_be_used", ["Portal_Link__c"]),
        ("Segment__c: Segment", "Segmant__c: Segment", "configured_fields_can_be_used", ["Segment__c"]),
    ],
)
def test_a_field_that_can_t_serve_stops_before_anything_is_read(
    place: Workplace, old: str, new: str, check: str, words: list[str]
) -> None:
    named = new if ":" in new else f"salesforce_field: {new}"
    line = place.edit("demo_file", old, named)
    before = jobs(place)
    result = place.sync("demo_file")
    assert result.exit_code == 2
    assert jobs(place) == before
    (message,) = result.errors
    field = next(part for part in named.replace(":", "").split() if part.endswith("__c"))
    for word in [field, f"demo_file.yaml:{line}", *words]:
        assert word in message
    evaluation = check_of(place, check, "demo_file")
    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.ERROR
    assert evaluation.blocking


def test_all_fields_that_can_t_serve_are_said_at_once(place: Workplace) -> None:
    place.edit("demo_file", IDENTIFIER, "salesforce_field: Legacy_Number__c")
    place.edit("demo_file", EXPORT, "salesforce_field: Score__c")
    place.edit("demo_file", "Language__c:", "Tongue__c:")
    result = place.sync("demo_file")
    assert result.exit_code == 2
    said = " ".join(result.errors)
    assert all(field in said for field in ("Legacy_Number__c", "Score__c", "Tongue__c"))


def test_a_refused_login(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_STRIPE_CLIENT_SECRET", "no-such-secret")
    result = place.sync("demo_stripe")
    assert result.exit_code == 3
    (message,) = result.errors
    assert "DEMO_STRIPE_CLIENT_SECRET" in message or "demo_stripe.yaml" in message
    assert "no-such-secret" not in message
    monkeypatch.setenv("DEMO_FILE_USERNAME", "nobody@example.com")
    assert place.sync("demo_file").exit_code == 3


def test_a_refused_billing_key(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_STRIPE_KEY", "sk_test_wrong")
    result = place.sync("demo_stripe")
    assert result.exit_code == 3
    assert "sk_test_wrong" not in " ".join(result.errors)
    assert "demo_stripe.yaml" in " ".join(result.errors)


@pytest.mark.parametrize("variable", ["DEMO_DATABASE_CLIENT_SECRET", "DEMO_DATABASE_URL", "DEMO_SALESFORCE_URL"])
def test_a_variable_that_is_not_set(place: Workplace, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv(variable)
    line = place.edit("demo_database", f"{{env: {variable}}}", f"{{env: {variable}}}")
    result = place.sync("demo_database")
    assert result.exit_code == 2
    said = " ".join(result.errors)
    assert variable in said
    assert f"demo_database.yaml:{line}" in said


def test_salesforce_answers_503_with_nothing_for_good(place: Workplace) -> None:
    place.fault(path="/jobs/query", action="status", status=503, body="", times=0)
    result = place.sync("demo_file")
    assert result.exit_code == 4
    assert len(result.errors) == 1, "accounts and contacts meet the same, and one sentence says it"
    assert "503" in result.errors[0]
    events = [entry.dagster_event_type for entry in place.instance.all_logs(result.run_id)]
    assert events.count(dg.DagsterEventType.STEP_RESTARTED) == 2 * 2, "both are tried three times"


def test_a_token_endpoint_that_is_away_for_good(place: Workplace) -> None:
    place.fault(path="/services/oauth2/token", action="status", status=503, body="", times=0)
    assert place.sync("demo_file").exit_code == 4
