"""Which organizations should have been synced by now, and were not. Knows schedules and runs, no Dagster."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from sync_pipeline.orgs import Schedule

GRACE = timedelta(hours=1)
"""How long after its time a sync may still be on its way."""


def last_due(schedule: Schedule, now: datetime) -> datetime:
    """The latest time, at least an hour before `now`, at which the schedule asked for a sync; in the schedule's time zone."""
    local = (now - GRACE).astimezone(ZoneInfo(schedule.timezone))
    return next(CronSim(schedule.cron, local, reverse=True))


def is_overdue(schedule: Schedule, last_success: datetime | None, now: datetime) -> bool:
    """Whether the last success is older than the last time a sync was due; an organization never synced is overdue."""
    return last_success is None or last_success < last_due(schedule, now)
