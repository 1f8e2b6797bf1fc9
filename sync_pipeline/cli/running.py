"""Syncs organizations by running the Dagster job in this process, and reads the result back from its events and tables."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from sync_pipeline import errors, salesforce
from sync_pipeline.assets.building import API_CALLS, CONSEQUENCE
from sync_pipeline.definitions import build
from sync_pipeline.masking import mask
from sync_pipeline.orgs import Loaded
from sync_pipeline.resources import PARTITION_TAG, hold_organization
from sync_pipeline.schedules import organizations_job, sync_job
from sync_pipeline.settings import data_dir
from sync_pipeline.warehouse import Warehouse, quote

COUNTS = {
    "accounts": "SELECT count(*) FROM salesforce_accounts",
    "customers": "SELECT count(*) FROM billing_customers",
    "matched": "SELECT count(*) FROM account_mapping WHERE verdict = 'matched'",
    "missing_identifier": "SELECT count(*) FROM account_mapping WHERE verdict = 'missing_identifier'",
    "duplicate_identifier": "SELECT count(*) FROM account_mapping WHERE verdict = 'duplicate_identifier'",
    "no_counterpart": "SELECT count(*) FROM account_mapping WHERE verdict = 'no_counterpart'",
    "gone": "SELECT count(*) FROM account_mapping WHERE verdict = 'gone'",
    "near_misses": "SELECT count(*) FROM account_mapping WHERE near_miss_rule IS NOT NULL",
    "owners": "SELECT count(*) FROM imported_owners WHERE status = 'assigned'",
    "contacts": "SELECT count(*) FROM imported_contacts WHERE status = 'imported'",
    "custom_fields": "SELECT count(*) FROM imported_custom_fields WHERE status = 'imported'",
    "links": "SELECT count(*) FROM exported_portal_links WHERE status = 'written'",
}
WRITERS = {
    "imported_owners": "owners",
    "imported_contacts": "contacts",
    "imported_custom_fields": "custom fields",
    "portal_links": "new portal links",
    "exported_portal_links": "links in Salesforce",
}
OBJECTS = ("Account", "Contact", "User")
PLAN_ROWS_SHOWN = 10
HARMLESS = {
    *("action", "record", "why", "code", "reason", "is_main", "frees_address", "salesforce_field", "platform_field"),
    *("billing_customer_id", "salesforce_account_id", "salesforce_contact_id", "owner_id"),
}
"""Columns of a plan that are shown as they stand; whatever else a plan has is masked, so that nothing new slips through."""
RETRY_SECONDS = 5.0
"""Before a step is tried again; shorter than in a scheduled run, because somebody is watching."""

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Run configuration: Dagster's own log stays out of the terminal; it stands in the instance."""


@dataclass
class Result:
    """How the sync of one organization went.

    Attributes:
        exit_code: 0, or the exit code of the error that ended it.
        errors: what ended it, each with what to do next.
        counts: rows by kind, as in COUNTS.
        planned, written, refused: rows by asset that writes.
        plans: of a dry run, the first planned rows by asset.
        checks: how many passed, warned, failed.
        api_calls: how many of the Salesforce organization's daily API requests it took.
        reads: how each Salesforce object was read, and why.
    """

    organization: str
    run_id: str = ""
    dry_run: bool = False
    exit_code: int = 0
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    planned: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    plans: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    checks: dict[str, int] = field(default_factory=lambda: {"passed": 0, "warned": 0, "failed": 0})
    api_calls: int = 0
    reads: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For machines; keys as the attributes."""
        return asdict(self)


def sync(name: str, loaded: Loaded, instance: dg.DagsterInstance, *, dry_run: bool = False) -> Result:
    """Sync one organization. Whatever ends it is in the result; only KeyboardInterrupt is raised."""
    if name in loaded.broken:
        return Result(name, exit_code=errors.ConfigurationError.exit_code, errors=[str(p) for p in loaded.broken[name]])
    started = time.monotonic()
    try:
        result = _run(name, loaded, instance, dry_run)
    except errors.SyncError as error:
        result = Result(name, exit_code=error.exit_code, errors=[str(error)])
    result.seconds = time.monotonic() - started
    return result


def _run(name: str, loaded: Loaded, instance: dg.DagsterInstance, dry_run: bool) -> Result:
    with _workplace(name, dry_run) as folder:
        if not dry_run:
            _close_dead_runs(instance, name, folder)
        config = {"dry_run": dry_run, "data_dir": str(folder), "retry_seconds": RETRY_SECONDS}
        job = build(loaded).resolve_job_def(sync_job.name)
        with dg.DagsterInstance.ephemeral() if dry_run else nullcontext(instance) as used:
            run = job.execute_in_process(
                partition_key=name,
                instance=used,
                raise_on_error=False,
                run_config={"resources": {"sync": {"config": config}}, **_QUIET},
            )
        if _interrupted(run.all_events):
            raise KeyboardInterrupt
        result = Result(name, run_id="" if dry_run else run.run_id, dry_run=dry_run)
        _read_events(result, run.all_events)
        _read_tables(result, folder)
    return result


def look_after_organizations(loaded: Loaded, instance: dg.DagsterInstance) -> None:
    """Bring the `organizations` asset and its checks up to date, as the sensor would."""
    build(loaded).resolve_job_def(organizations_job.name).execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config=_QUIET,
    )


@contextmanager
def _workplace(name: str, dry_run: bool) -> Iterator[Path]:
    """The data folder; for a dry run a copy with this organization's warehouse, thrown away afterwards."""
    if not dry_run:
        yield data_dir()
        return
    with tempfile.TemporaryDirectory(prefix="sync_pipeline_dry_run_") as copy:
        warehouse = data_dir() / "warehouse" / f"{name}.duckdb"
        if warehouse.exists():
            (Path(copy) / "warehouse").mkdir()
            with hold_organization(data_dir(), name):  # never a copy of a file that is being written
                for file in warehouse.parent.glob(f"{name}.duckdb*"):  # the file and its write-ahead log
                    shutil.copy2(file, Path(copy) / "warehouse")
        yield Path(copy)


def _close_dead_runs(instance: dg.DagsterInstance, name: str, folder: Path) -> None:
    """Mark runs as failed that a killed process left open: whoever holds the organization's lock knows that none is alive.

    A run that is only starting has no lock yet, and may be alive.

    Raises:
        TransientError: somebody syncs it now.
    """
    lock = hold_organization(folder, name)
    try:
        for run in instance.get_runs(dg.RunsFilter(tags={PARTITION_TAG: name}, statuses=[dg.DagsterRunStatus.STARTED])):
            instance.report_run_failed(
                run, "Its process ended before the sync did. What it had done is kept; the next sync goes on."
            )
    finally:
        lock.release()


def _interrupted(events: Sequence[dg.DagsterEvent]) -> bool:
    """Whether Ctrl-C ended it: Dagster keeps the signal to itself and fails the step."""
    errors_met = (getattr(event.event_specific_data, "error", None) for event in events if event.is_failure)
    return any(error is not None and error.cls_name == "DagsterExecutionInterruptedError" for error in errors_met)


def _read_events(result: Result, events: Sequence[dg.DagsterEvent]) -> None:
    for event in events:
        if event.is_step_materialization and event.asset_key:
            metadata = event.step_materialization_data.materialization.metadata
            asset = event.asset_key.to_user_string()
            if API_CALLS in metadata:
                result.api_calls += int(str(metadata[API_CALLS].value))
            for kind in ("planned", "written", "refused"):
                if kind in metadata:
                    getattr(result, kind)[asset] = int(str(metadata[kind].value))
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            _read_check(result, event.asset_check_evaluation_data)
        elif event.is_failure:
            _read_failure(result, event)


def _read_check(result: Result, check: dg.AssetCheckEvaluation) -> None:
    if check.passed:
        result.checks["passed"] += 1
    elif check.severity == dg.AssetCheckSeverity.WARN:
        result.checks["warned"] += 1
    else:
        result.checks["failed"] += 1
        result.errors.append(check.description or check.check_name)
        fields = check.asset_key.to_user_string() == "salesforce_fields"
        result.exit_code = (errors.ConfigurationError if fields else errors.GuardStop).exit_code


def _read_failure(result: Result, event: dg.DagsterEvent) -> None:
    data = event.event_specific_data
    failure = getattr(data, "user_failure_data", None)
    if failure is not None:
        consequence = failure.metadata.get(CONSEQUENCE)
        kind = getattr(errors, str(consequence.value), errors.SyncError) if consequence else errors.SyncError
        text = failure.description or ""
        if text not in result.errors:  # a system that is away fails every asset that asks it
            result.errors.append(text)
        result.exit_code = result.exit_code or kind.exit_code
    elif event.is_run_failure and not result.errors:
        result.errors.append(_first_line(data))
        result.exit_code = errors.SyncError.exit_code
    result.exit_code = result.exit_code or errors.SyncError.exit_code


def _first_line(data: object) -> str:
    error = getattr(data, "error", None) or getattr(data, "first_step_failure_event", None)
    cause = getattr(error, "cause", None)
    text = getattr(cause or error, "message", None) or "The run failed."
    return f"{text.strip().splitlines()[0]} The whole story stands in the run's log in the Dagster UI."


def _read_tables(result: Result, folder: Path) -> None:
    warehouse = Warehouse(folder / "warehouse", result.organization)
    if not warehouse.path.exists():
        return
    with warehouse.connect() as con:
        result.counts = {name: con.sql(query).fetchall()[0][0] for name, query in COUNTS.items()}
        result.reads = {name: told for name in OBJECTS if (told := salesforce.how_read(con, name))}
        if result.dry_run:
            tables = {row[0] for row in con.sql("SELECT table_name FROM duckdb_tables()").fetchall()}
            for asset in WRITERS:
                if f"planned_{asset}" in tables:
                    result.plans[asset] = _masked_rows(con, asset)


def _masked_rows(con: duckdb.DuckDBPyConnection, asset: str) -> list[dict[str, Any]]:
    rows = con.sql(f"SELECT * FROM {quote('planned_' + asset)} LIMIT {PLAN_ROWS_SHOWN}")
    columns = rows.columns
    return [
        {
            name: value if name in HARMLESS or value is None else mask(value)
            for name, value in zip(columns, row, strict=True)
        }
        for row in rows.fetchall()
    ]
