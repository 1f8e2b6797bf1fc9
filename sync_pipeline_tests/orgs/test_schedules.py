"""What is accepted as a schedule, Dagster can run."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from dagster import ScheduleDefinition, job, op
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sync_pipeline.yaml_types.shapes import Cron, TimeZone

CRON, ZONE = TypeAdapter(Cron), TypeAdapter(TimeZone)
WORDS = st.sampled_from(
    ["L", "LW", "5L", "MON", "mon-fri", "JUL", "FRI#2", "?", "15W", "*/0", "7", "0", "SUN-1", "6-2"]
)


def field(first: int, last: int) -> st.SearchStrategy[str]:
    number = st.integers(first, last)
    span = st.builds("{0[0]}-{0[1]}".format, st.tuples(number, number).map(sorted))
    part = st.one_of(number.map(str), span, st.builds("{}/{}".format, st.one_of(st.just("*"), span, number), number))
    return st.one_of(st.just("*"), st.lists(part, min_size=1, max_size=3).map(",".join), part)


FIELDS = [field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)]
EXPRESSIONS = st.one_of(
    st.tuples(*FIELDS).map(" ".join),
    st.tuples(*(st.one_of(known, WORDS) for known in FIELDS)).map(" ".join),
    st.text("0123456789*/,-# LWJUNMONFRI?@", max_size=20),
)


@op
def nothing() -> None: ...


@job
def empty_job() -> None:
    nothing()


@given(EXPRESSIONS)
@settings(max_examples=300)
def test_an_accepted_schedule_is_one_for_dagster(expression: str) -> None:
    try:
        CRON.validate_python(expression)
    except ValidationError:
        return
    schedule = ScheduleDefinition(job=empty_job, cron_schedule=expression, execution_timezone="Europe/Paris")
    assert schedule.cron_schedule == expression


@pytest.mark.parametrize(
    "expression", ["0 6 * * *", "*/15 8-18 * * *", "0 0 1 JAN-MAR mon", "30 6 29 2 *", "0 0 * * 7"]
)
def test_usual_schedules_are_accepted(expression: str) -> None:
    CRON.validate_python(expression)


@pytest.mark.parametrize("name", ["UTC", "Europe/Paris", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "Asia/Kolkata"])
def test_usual_zones_are_accepted(name: str) -> None:
    ZONE.validate_python(name)
    assert datetime(2024, 1, 1, tzinfo=UTC).astimezone(ZoneInfo(name))
