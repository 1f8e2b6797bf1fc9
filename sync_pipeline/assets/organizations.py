"""All organizations at a glance, the broken ones too. Not partitioned: this is the table above the partitions."""

# Annotations are not postponed here: Dagster reads those of the functions it decorates.

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from sync_pipeline.assets.building import OWNERS
from sync_pipeline.orgs import Loaded, load_organizations
from sync_pipeline.overdue import is_overdue, last_due
from sync_pipeline.resources import PARTITION_TAG
from sync_pipeline.salesforce.logins import approvals
from sync_pipeline.settings import config_dir

SYNC_JOB = "sync"

_COLUMNS = {
    "organization": "Name of the organization, and of its partition.",
    "file": "YAML file that describes it.",
    "problems": "How many problems its file has; it can't be synced unless there are none.",
    "schedule": "When it is synced, and in which time zone.",
    "last_success": "When its last complete sync ended (UTC).",
    "due_since": "When a sync was due that did not succeed.",
}


@dg.asset(
    group_name="organizations",
    kinds={"yaml"},
    owners=OWNERS,
    description=(
        "Every organization of the configuration folder: its file, its schedule, its last sync.\n\n"
        "A file with problems appears here with its number of problems; the other organizations go on working."
    ),
    metadata={"dagster/column_schema": dg.TableSchema([dg.TableColumn(k, "string", v) for k, v in _COLUMNS.items()])},
    check_specs=[
        dg.AssetCheckSpec(
            "organization_files_are_valid",
            asset="organizations",
            description="Every organization's YAML file can be used. Each problem is listed with file, line and what is allowed.",
        ),
        dg.AssetCheckSpec(
            "organizations_are_not_overdue",
            asset="organizations",
            description=(
                "Every organization was synced when its schedule asked for it (an hour of grace). "
                "Look at its last runs; is its schedule on?"
            ),
        ),
        dg.AssetCheckSpec(
            "users_connect_at_most_five_organizations",
            asset="organizations",
            description=(
                "No Salesforce user has connected more than five organizations by one app (login method browser). "
                "At the sixth, Salesforce ends the oldest login and says nothing: use another user for each five."
            ),
        ),
    ],
)
def organizations(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    """Read the folder, ask the instance for the last successful runs, and judge."""
    loaded = load_organizations(config_dir())
    rows = overview(loaded, context.instance)
    yield dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(rows),
            "organizations": dg.MetadataValue.table(
                [dg.TableRecord(row) for row in rows], schema=_schema(list(_COLUMNS))
            ),
        },
        check_results=[_files_check(loaded), _overdue_check(rows), _users_check()],
    )


def overview(loaded: Loaded, instance: dg.DagsterInstance) -> list[dict[str, str]]:
    """One row per organization, columns as above; empty text where there is nothing to say."""
    now = datetime.now(UTC)
    rows = []
    for name, org in loaded.organizations.items():
        last = last_success(instance, name)
        overdue = is_overdue(org.schedule, last, now)
        rows.append(
            {
                "organization": name,
                "file": org.where().rpartition(":")[0],
                "problems": "0",
                "schedule": f"{org.schedule.cron} {org.schedule.timezone}",
                "last_success": f"{last:%Y-%m-%d %H:%M}" if last else "",
                "due_since": f"{last_due(org.schedule, now):%Y-%m-%d %H:%M %Z}" if overdue else "",
            }
        )
    for name, problems in loaded.broken.items():
        rows.append(
            dict.fromkeys(_COLUMNS, "")
            | {"organization": name, "file": str(problems[0].file), "problems": str(len(problems))}
        )
    return sorted(rows, key=lambda row: row["organization"])


def last_success(instance: dg.DagsterInstance, org: str) -> datetime | None:
    """When the last successful sync of the organization ended (UTC); None if there was none."""
    records = instance.get_run_records(
        dg.RunsFilter(job_name=SYNC_JOB, statuses=[dg.DagsterRunStatus.SUCCESS], tags={PARTITION_TAG: org}), limit=1
    )
    if not records or records[0].end_time is None:
        return None
    return datetime.fromtimestamp(records[0].end_time, UTC)


def _files_check(loaded: Loaded) -> dg.AssetCheckResult:
    problems = loaded.problems
    return dg.AssetCheckResult(
        check_name="organization_files_are_valid",
        passed=not problems,
        description=f"{len(problems)} problem(s) in {len({p.file for p in problems})} file(s)."
        if problems
        else "Every file can be used.",
        metadata={
            "count": len(problems),
            "problems": dg.MetadataValue.table(
                [
                    dg.TableRecord({"organization": p.org, "place": f"{p.file}:{p.line}", "problem": p.message})
                    for p in problems
                ],
                schema=_schema(["organization", "place", "problem"]),
            ),
        },
    )


def _overdue_check(rows: list[dict[str, str]]) -> dg.AssetCheckResult:
    overdue = [row for row in rows if row["due_since"]]
    columns = ["organization", "schedule", "last_success", "due_since"]
    return dg.AssetCheckResult(
        check_name="organizations_are_not_overdue",
        passed=not overdue,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(overdue)} organization(s) are overdue for a sync."
        if overdue
        else "Every organization is up to date.",
        metadata={
            "count": len(overdue),
            "overdue": dg.MetadataValue.table(
                [dg.TableRecord({column: row[column] for column in columns}) for row in overdue],
                schema=_schema(columns),
            ),
        },
    )


def _users_check() -> dg.AssetCheckResult:
    groups = approvals.too_many()
    return dg.AssetCheckResult(
        check_name="users_connect_at_most_five_organizations",
        passed=not groups,
        description="\n".join(f"{approvals.explained(group)} {approvals.way_out(group)}" for group in groups)
        or "No user has more than five.",
        metadata={
            "count": len(groups),
            "users": dg.MetadataValue.table(
                [
                    dg.TableRecord({"user_id": group[0].user_id, "organizations": approvals.names(group)})
                    for group in groups
                ],
                schema=_schema(["user_id", "organizations"]),
            ),
        },
    )


def _schema(columns: list[str]) -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(column, "string", _COLUMNS.get(column)) for column in columns])
