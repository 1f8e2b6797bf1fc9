"""When a sync was due."""

from datetime import UTC, datetime

from sync_pipeline.orgs import Schedule
from sync_pipeline.overdue import is_overdue, last_due

DAILY = Schedule(cron="0 6 * * *", timezone="Europe/Paris")


def test_last_due_is_in_the_schedules_own_time_zone() -> None:
    now = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert last_due(DAILY, now).astimezone(UTC) == datetime(2026, 7, 1, 4, tzinfo=UTC)


def test_a_sync_may_still_be_on_its_way_for_an_hour() -> None:
    yesterday = datetime(2026, 6, 30, 4, 5, tzinfo=UTC)
    assert not is_overdue(DAILY, yesterday, datetime(2026, 7, 1, 4, 30, tzinfo=UTC))
    assert is_overdue(DAILY, yesterday, datetime(2026, 7, 1, 5, 30, tzinfo=UTC))


def test_never_synced_is_overdue() -> None:
    assert is_overdue(DAILY, None, datetime(2026, 7, 1, tzinfo=UTC))


def test_daylight_saving_ends_and_begins() -> None:
    hourly = Schedule(cron="30 2 * * *", timezone="Europe/Paris")  # 2:30 exists twice in October, never in March
    for now in (datetime(2026, 10, 25, 12, tzinfo=UTC), datetime(2026, 3, 29, 12, tzinfo=UTC)):
        due = last_due(hourly, now)
        assert (now - due).total_seconds() < 36 * 3600
