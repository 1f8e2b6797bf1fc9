"""When organizations are synced, who notices that one was not, and who is told."""

# Annotations are not postponed here: Dagster reads those of the functions it decorates.

import importlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import dagster as dg

from sync_pipeline.assets.organizations import SYNC_JOB, overview
from sync_pipeline.errors import ConfigurationError
from sync_pipeline.orgs import Organization, load_organizations
from sync_pipeline.resources import PARTITION_TAG
from sync_pipeline.settings import config_dir

NOTIFY = "SYNC_PIPELINE_NOTIFY"
"""Environment variable that names a function `package.module:function` to call with a SyncFailure."""

_logger = logging.getLogger(__name__)

sync_job = dg.define_asset_job(
    SYNC_JOB,
    selection=dg.AssetSelection.all() - dg.AssetSelection.assets("organizations"),
    description="The whole sync of one organization: read both sides, match, import, export. One partition is one organization.",
)
organizations_job = dg.define_asset_job(
    "look_after_organizations",
    selection=dg.AssetSelection.assets("organizations"),
    description="Looks at every organization's file and last sync, and judges both.",
)


def schedule_of(org: Organization) -> dg.ScheduleDefinition:
    """The organization's own schedule, with a switch of its own in the UI; off until someone turns it on."""

    @dg.schedule(
        name=f"sync_{org.name}",
        job=sync_job,
        cron_schedule=org.schedule.cron,
        execution_timezone=org.schedule.timezone,
        description=f"Syncs {org.label or org.name}, as {org.where('schedule')} says.",
        tags={"organization": org.name},
    )
    def _schedule() -> dg.RunRequest:
        return dg.RunRequest(partition_key=org.name)

    return _schedule


@dg.sensor(
    job=organizations_job,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Runs the checks on `organizations` whenever a file breaks or is mended, "
        "or an organization becomes overdue or is synced."
    ),
)
def overdue_organizations(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for a look only when the picture differs from the last one."""
    rows = overview(load_organizations(config_dir()), context.instance)
    picture = repr([(row["organization"], row["problems"], row["due_since"]) for row in rows])
    if picture == context.cursor:
        yield dg.SkipReason(f"{len(rows)} organization(s), nothing new.")
        return
    context.update_cursor(picture)
    yield dg.RunRequest()


@dataclass(frozen=True)
class SyncFailure:
    """A sync that failed, as a notification sees it. The message holds no secret and no personal data."""

    organization: str
    run_id: str
    message: str


def log_failure(failure: SyncFailure) -> None:
    """What happens where $SYNC_PIPELINE_NOTIFY names nothing else: one line in the log."""
    _logger.error("Sync of %s failed (run %s): %s", failure.organization, failure.run_id, failure.message)


def notifier() -> Callable[[SyncFailure], None]:
    """The function that $SYNC_PIPELINE_NOTIFY names, or `log_failure`; ConfigurationError where it can't be imported."""
    name = os.environ.get(NOTIFY)
    if not name:
        return log_failure
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"${NOTIFY} is {name!r}, which can't be imported ({error}).",
            next_step="Write it as package.module:function.",
        ) from error
    return found  # type: ignore[no-any-return]


@dg.run_failure_sensor(
    monitored_jobs=[sync_job],
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Tells someone when a sync has failed: one log line, "
        f"or whatever function ${NOTIFY} names (package.module:function)."
    ),
)
def sync_failures(context: dg.RunFailureSensorContext) -> None:
    """Called once for each failed run."""
    run = context.dagster_run
    message = " ".join(dict.fromkeys(_reasons(context))) or context.failure_event.message or "no reason recorded"
    notifier()(SyncFailure(run.tags.get(PARTITION_TAG, "unknown"), run.run_id, message))


def _reasons(context: dg.RunFailureSensorContext) -> Iterator[str]:
    """What stopped a run: checks that block, and steps that failed, each in our own words where there are some."""
    run_id = context.dagster_run.run_id
    for entry in context.instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        evaluation = entry.get_dagster_event().asset_check_evaluation_data
        if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
            yield evaluation.description or evaluation.check_name
    for event in context.get_step_failure_events():
        failure = event.step_failure_data
        error = failure.error.cause or failure.error if failure.error else None
        if failure.user_failure_data and failure.user_failure_data.description:
            yield failure.user_failure_data.description
        elif error and error.cls_name != "DagsterAssetCheckFailedError":  # said above
            yield error.message.strip().splitlines()[0]
