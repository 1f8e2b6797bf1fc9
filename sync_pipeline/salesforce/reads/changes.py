"""After the first whole read only what changed is read; every so often all of it again.

What decides is `SystemModstamp`, which Salesforce moves with every save, deletion and merge. A transaction can become
visible after its stamp, so each read begins some time before the last one ended; it ends at a moment of Salesforce's
own clock. Three things leave no trace and need the whole read: formula fields, records purged from the recycle bin, and
records that a change of sharing shows or hides.

Source: SOAP API Developer Guide, "System Fields" and "getDeleted()"; the overlap is longer than the ten minutes that
"Apex Governor Limits" grants a transaction.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from sync_pipeline.salesforce.client import Deletions
from sync_pipeline.salesforce.describe import find_field
from sync_pipeline.salesforce.reads.merges import DELETED, MASTER, forget_other_organizations, merged_away, note_merges
from sync_pipeline.salesforce.reads.reading import Reading, Rows
from sync_pipeline.salesforce.session import CLOCK_SECONDS, ApiRefusal
from sync_pipeline.warehouse.load import insert_rows, quote, replace_table, transaction
from sync_pipeline.warehouse.tables import SALESFORCE_READS

log = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=20)
"""How far before the end of the last read the next one begins."""

TRACES_LAST = timedelta(days=14)
"""Deletions can be asked for 15 days back; a day less, so that the overlap fits."""

_STATE = "SELECT organization_id, user_id, fields, read_until, whole_read_at FROM salesforce_reads WHERE object = ?"


@dataclass(frozen=True, slots=True)
class _Window:
    """From when to when changes are read: Salesforce's clock, UTC, in the warehouse's form (without a zone)."""

    since: datetime
    until: datetime

    @property
    def soql(self) -> str:
        return f"SystemModstamp >= {_moment(self.since)} AND SystemModstamp < {_moment(self.until)}"


@dataclass(frozen=True, slots=True)
class _Last:
    """The last read, as `salesforce_reads` has it."""

    organization_id: str | None
    user_id: str | None
    fields: str
    read_until: datetime | None
    whole_read_at: datetime


def read(con: duckdb.DuckDBPyConnection, reading: Reading, *, whole_every: timedelta) -> int:
    """Bring the reading's table up to date, all or nothing; returns how many rows it then holds.

    Args:
        con: a connection of `Warehouse.connect`.
        reading: the object, its fields and its table.
        whole_every: age of the last whole read from which on everything is read again.

    Raises:
        ConfigurationError: Salesforce refuses the query.
        ReconnectError: the login is refused, or the user lacks a right.
        TransientError, DataError: Salesforce is away, or its answer is not whole; the table keeps its old rows.
    """
    organization_id = con.execute("SELECT max(organization_id) FROM salesforce_organization").fetchall()[0][0]
    last, now = _last(con, reading), reading.client.session.server_time()
    why = _why_whole(reading, last, organization_id, now, whole_every)
    if why is None and last is not None and last.read_until is not None and now is not None:
        why = _read_changes(con, reading, _Window(last.read_until - OVERLAP, now))
    if why is not None:
        log.info("Salesforce: %s is read whole: %s", reading.object_name, why)
        _read_whole(con, reading, organization_id, why)
    return int(con.execute(f"SELECT count(*) FROM {quote(reading.table.name)}").fetchall()[0][0])


def told(con: duckdb.DuckDBPyConnection, object_name: str) -> str:
    """How the object was read last, for a person; empty where it was not."""
    sql = "SELECT why_whole, changed, removed FROM salesforce_reads WHERE object = ?"
    for why, changed, removed in con.execute(sql, [object_name]).fetchall():
        if why:
            return f"whole, because {why}"
        again = f"those of the last {OVERLAP // timedelta(minutes=1)} minutes come again"
        return f"changes only: {changed:,} records came ({again}), {removed:,} went"
    return ""


def forget(con: duckdb.DuckDBPyConnection, reading_object: str) -> None:
    """The next read of the object is a whole one."""
    con.execute("DELETE FROM salesforce_reads WHERE object = ?", [reading_object])


def _last(con: duckdb.DuckDBPyConnection, reading: Reading) -> _Last | None:
    found = con.execute(_STATE, [reading.object_name]).fetchall()
    return _Last(*found[0]) if found else None


def _why_whole(
    reading: Reading, last: _Last | None, organization_id: str | None, now: datetime | None, whole_every: timedelta
) -> str | None:
    """Why changes alone would not do; None where they do."""
    if last is None:
        return "it was not read before"
    if last.organization_id != organization_id:
        return "the last read was of another Salesforce organization"
    if last.user_id != reading.client.session.user_id:
        return "the last read was as another user, who may see other records"
    if last.fields != reading.content:
        return "other fields are asked for, or for another purpose, than in the last read"
    if formulas := reading.formulas:
        return f"{reading.object_name}.{formulas[0]} is a formula field, whose changes leave no trace"
    if now is None or last.read_until is None:
        return "Salesforce's answers do not say what time it is"
    if now - last.read_until > TRACES_LAST:
        return f"the last read was {(now - last.read_until).days} days ago, and deletions are known for 15 days only"
    if now - last.whole_read_at >= whole_every:
        return f"the last whole read was {(now - last.whole_read_at).days} days ago (salesforce.full_read_days)"
    return None


def _read_whole(con: duckdb.DuckDBPyConnection, reading: Reading, organization_id: str | None, why: str) -> None:
    until = reading.client.session.server_time()
    condition = f"{reading.needs} != null" if reading.needs else None
    with (
        merged_away(con, reading) as merged,
        reading.rows(con, reading.soql(where=condition)) as rows,
        transaction(con),
    ):
        count = replace_table(con, reading.table, reading.select(rows.source))
        reading.complete(rows.announced, count)
        forget_other_organizations(con, reading, organization_id)
        note_merges(con, reading, merged())
        forget(con, reading.object_name)
        insert_rows(
            con,
            SALESFORCE_READS,
            """SELECT $object AS object, $organization_id AS organization_id, $user_id AS user_id, $fields AS fields,
                $until AS read_until, coalesce($until, now()::TIMESTAMP) AS whole_read_at, $why AS why_whole,
                $count AS changed, 0 AS removed
            """,
            {
                "object": reading.object_name,
                "organization_id": organization_id,
                "user_id": reading.client.session.user_id,
                "fields": reading.content,
                "until": until,
                "why": why,
                "count": count,
            },
        )


def _read_changes(con: duckdb.DuckDBPyConnection, reading: Reading, window: _Window) -> str | None:
    """Read what changed in the window; where that can't be done, why not.

    Two requests tell what was deleted and how much changed; only where something did are records read.
    """
    traces = [name for name in (DELETED, MASTER) if find_field(reading.client, reading.object_name, name)]
    deleted_too = DELETED in traces
    try:
        deletions = _deletions(reading, window) if deleted_too else Deletions([])
    except ApiRefusal as refusal:
        return f"Salesforce does not say what was deleted ({refusal.code})"
    if deletions.earliest is not None and deletions.earliest > _minute(window.since):
        return "Salesforce no longer knows all that was deleted since the last read"
    # What Salesforce did not know yet is asked for next time.
    until = min(window.until, deletions.covered or window.until)
    if reading.by_rest or reading.client.count(reading.object_name, window.soql, deleted_too=deleted_too):
        soql = reading.soql(*traces, where=window.soql)
        with reading.rows(con, soql, deleted_too=deleted_too) as rows, transaction(con):
            removed = _take_away(con, reading, deletions.ids)
            changed, replaced = _bring(con, reading, rows, traces)
            _note(con, reading, until, changed, removed + replaced)
    else:
        with transaction(con):
            _note(con, reading, until, 0, _take_away(con, reading, deletions.ids))
    return None


def _deletions(reading: Reading, window: _Window) -> Deletions:
    """What was deleted in the window.

    Salesforce leaves out the seconds. What was deleted in the minute that is not over yet is found by its stamp, or
    next time: that a deletion moves the stamp is not documented (†), which is why deletions are asked for as well.
    """
    until = _minute(window.until - timedelta(seconds=CLOCK_SECONDS))  # not ahead of now, which may be refused
    return reading.client.deleted(reading.object_name, _minute(window.since), until)


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _take_away(con: duckdb.DuckDBPyConnection, reading: Reading, ids: list[str]) -> int:
    """Take away the rows with these ids; returns how many there were."""
    if not ids:
        return 0
    sql = f"DELETE FROM {quote(reading.table.name)} WHERE {quote(reading.key)} IN (SELECT unnest(?::VARCHAR[]))"
    return int(con.execute(sql, [ids]).fetchall()[0][0])


def _bring(con: duckdb.DuckDBPyConnection, reading: Reading, rows: Rows, traces: list[str]) -> tuple[int, int]:
    """Put changed records in the place of the old ones, if they still belong there; how many came, how many went."""
    table, key = quote(reading.table.name), quote(reading.key)
    con.execute(f"CREATE OR REPLACE TEMP TABLE salesforce_changes AS FROM {rows.source}")
    changed = int(con.execute("SELECT count(*) FROM salesforce_changes").fetchall()[0][0])
    reading.complete(rows.announced, changed)
    old = con.execute(f'DELETE FROM {table} WHERE {key} IN (SELECT "Id" FROM salesforce_changes)').fetchall()[0][0]
    belongs = ["true"]
    if DELETED in traces:
        belongs.append(f"{quote(DELETED)} = 'false'")
    if reading.needs:
        belongs.append(f"{quote(reading.needs)} IS NOT NULL")
    new = insert_rows(con, reading.table, reading.select(f"salesforce_changes WHERE {' AND '.join(belongs)}"))
    note_merges(con, reading, "salesforce_changes" if MASTER in traces else None)
    con.execute("DROP TABLE temp.salesforce_changes")
    return changed, max(old - new, 0)


def _note(con: duckdb.DuckDBPyConnection, reading: Reading, until: datetime, changed: int, removed: int) -> None:
    con.execute(
        "UPDATE salesforce_reads SET read_until = ?, why_whole = NULL, changed = ?, removed = ? WHERE object = ?",
        [until, changed, removed, reading.object_name],
    )


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z"
