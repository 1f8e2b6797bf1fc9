"""Schedules and sensors, on the demo's definitions."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest

from sync_pipeline.cli.running import look_after_organizations
from sync_pipeline.definitions import build
from sync_pipeline.schedules import SyncFailure, overdue_organizations, sync_failures
from sync_pipeline_tests.cli.conftest import Workplace
from sync_pipeline_tests.conftest import Sandbox

told: list[SyncFailure] = []


def tell(failure: SyncFailure) -> None:
    """What $SYNC_PIPELINE_NOTIFY names here."""
    told.append(failure)


@pytest.fixture
def place(sandbox: Callable[..., Sandbox], workplace: Callable[..., Workplace]) -> Workplace:
    told.clear()
    return workplace(sandbox(accounts=30, seed=6))


def definitions(place: Workplace) -> dg.Definitions:
    return build(place.load())


@pytest.mark.parametrize("name", ["demo_stripe", "demo_database", "demo_file"])
def test_a_schedule_asks_for_its_organization(place: Workplace, name: str) -> None:
    repository = definitions(place).get_repository_def()
    schedule = repository.get_schedule_def(f"sync_{name}")
    data = schedule.evaluate_tick(dg.build_schedule_context(place.instance, repository_def=repository))
    assert data.run_requests is not None
    (request,) = data.run_requests
    assert request.partition_key == name
    assert request.tags["dagster/partition"] == name


def failed_run(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> dg.RunFailureSensorContext:
    monkeypatch.setenv("DEMO_FILE_USERNAME", "nobody@example.com")
    return context_of(place, "demo_file", exit_code=3)


def context_of(place: Workplace, name: str, *, exit_code: int) -> dg.RunFailureSensorContext:
    result = place.sync(name)
    assert result.exit_code == exit_code
    run = place.instance.get_run_by_id(result.run_id)
    assert run is not None
    records = place.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    event = records[-1].dagster_event
    assert event is not None
    return dg.build_run_status_sensor_context(
        sensor_name="sync_failures", dagster_instance=place.instance, dagster_run=run, dagster_event=event
    ).for_run_failure()


def test_a_failed_sync_is_told_to_the_function_that_is_named(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    context = failed_run(place, monkeypatch)
    monkeypatch.setenv("SYNC_PIPELINE_NOTIFY", f"{__name__}:tell")
    sync_failures(context)
    (failure,) = told
    assert (failure.organization, failure.run_id) == ("demo_file", context.dagster_run.run_id)
    assert "demo_file.yaml" in failure.message
    assert "Traceback" not in failure.message
    assert "nobody@example.com" not in failure.message


def test_a_stopped_sync_is_told_with_the_field_that_stopped_it(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = place.edit("demo_file", "salesforce_field: Company_Number__c", "salesforce_field: Legacy_Number__c")
    monkeypatch.setenv("SYNC_PIPELINE_NOTIFY", f"{__name__}:tell")
    sync_failures(context_of(place, "demo_file", exit_code=2))
    (failure,) = told
    assert f"demo_file.yaml:{line}" in failure.message
    assert "Legacy_Number__c" in failure.message


def test_a_failed_sync_is_one_line_in_the_log_otherwise(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    context = failed_run(place, monkeypatch)
    caplog.clear()
    sync_failures(context)
    (record,) = [record for record in caplog.records if record.name == "sync_pipeline.schedules"]
    assert "Sync of demo_file failed" in record.getMessage()
    assert told == []


def test_the_overdue_sensor_asks_only_when_the_picture_changes(place: Workplace) -> None:
    cursor = None

    def tick() -> int:
        nonlocal cursor
        with dg.build_sensor_context(instance=place.instance, cursor=cursor, definitions=definitions(place)) as context:
            data = overdue_organizations.evaluate_tick(context)
            cursor = data.cursor
            return len(data.run_requests or ())

    assert [tick(), tick()] == [1, 0]
    place.edit("demo_file", "platform: warehouse", "platform: warehose")
    assert [tick(), tick()] == [1, 0], "a file broke"
    place.edit("demo_file", "platform: warehose", "platform: warehouse")
    assert [tick(), tick()] == [1, 0], "it is mended"
    assert place.sync("demo_file").exit_code == 0
    assert [tick(), tick()] == [1, 0], "it is overdue no longer"


def test_an_organization_is_overdue_until_it_is_synced(place: Workplace) -> None:
    for name in ("demo_database", "demo_stripe"):
        place.yaml(name).unlink()
    look_after_organizations(place.load(), place.instance)
    assert not overdue_check(place).passed
    assert place.sync("demo_file").exit_code == 0
    look_after_organizations(place.load(), place.instance)
    assert overdue_check(place).passed


def overdue_check(place: Workplace) -> dg.AssetCheckEvaluation:
    key = dg.AssetCheckKey(dg.AssetKey("organizations"), "organizations_are_not_overdue")
    record = place.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0]
    assert record.event is not None
    assert record.event.dagster_event is not None
    return record.event.dagster_event.asset_check_evaluation_data
