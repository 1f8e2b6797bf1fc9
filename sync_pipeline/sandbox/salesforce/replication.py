"""getDeleted and getUpdated: ids of what was deleted, or made and changed, in a span of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from sqlite3 import Row

from starlette.responses import JSONResponse, Response

from sync_pipeline.sandbox.salesforce.api import Call
from sync_pipeline.sandbox.salesforce.errors import ApiError
from sync_pipeline.sandbox.salesforce.objects import SObject

LOGGED = timedelta(days=30)
"""How far back a span may start."""

DELETIONS_LOGGED = timedelta(days=15)
"""How far back deletions are told."""

MOST_IDS = 600_000
_LEAST_SPAN = timedelta(minutes=1)


async def deleted(call: Call) -> Response:
    """GET sobjects/{object}/deleted?start=&end=.

    `earliestDateAvailable` is where the log begins: 15 days ago, or when the last record that was purged since had been
    deleted ("the last physically deleted object", in Salesforce's words). A client whose start lies before it reads anew.
    """
    entity = _replicateable(call)
    start, end, now = _span(call)
    log_begins = max(_stored(now - DELETIONS_LOGGED), _last_purge(call, entity))
    rows = _changed(call, entity, max(_stored(start), log_begins), _stored(end), deleted=True)
    return JSONResponse(
        {
            "deletedRecords": [{"id": row["Id"], "deletedDate": _shown(row["SystemModstamp"])} for row in rows],
            "earliestDateAvailable": _shown(log_begins),
            "latestDateCovered": _shown(_stored(min(end, now))),
        }
    )


async def updated(call: Call) -> Response:
    """GET sobjects/{object}/updated?start=&end=: living records that were made or changed."""
    entity = _replicateable(call)
    start, end, now = _span(call)
    rows = _changed(call, entity, _stored(start), _stored(end), deleted=False)
    return JSONResponse(
        {"ids": [row["Id"] for row in rows], "latestDateCovered": _shown(_stored(min(end, now)))},
    )


def _replicateable(call: Call) -> SObject:
    entity = call.catalog.required(call.path["object"])
    if "systemmodstamp" not in entity.fields:
        raise ApiError("INVALID_TYPE", f"sObject type '{entity.name}' is not replicateable.")
    return entity


def _span(call: Call) -> tuple[datetime, datetime, datetime]:
    """Start and end without their seconds, which Salesforce ignores, and now without its fraction.

    Of the messages only the one about a start too long ago was found; the code is the same for all.
    """
    start, end = (_moment(call.argument(name) or "", name) for name in ("start", "end"))
    now = datetime.now(UTC).replace(microsecond=0)
    if end - start < _LEAST_SPAN:
        raise ApiError("INVALID_REPLICATION_DATE", "startDate must be before endDate by at least one minute")
    if start < now - LOGGED:
        raise ApiError("INVALID_REPLICATION_DATE", "startDate before org replication enabled date")
    return start, end, now


def _moment(text: str, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
        return (
            (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).replace(second=0, microsecond=0)
        )
    except (ValueError, OverflowError):
        raise ApiError("INVALID_REPLICATION_DATE", f"{name} is no date and time: {text[:40]}") from None


def _changed(call: Call, entity: SObject, start: str, end: str, *, deleted: bool) -> list[Row]:
    where = 'AND "IsDeleted" = ? ' if "isdeleted" in entity.fields else "AND ? = 0 "
    rows = call.api.state.rows(
        f'SELECT "Id", "SystemModstamp" FROM "{entity.table}" '
        f'WHERE org = ? {where}AND "SystemModstamp" >= ? AND "SystemModstamp" < ? LIMIT {MOST_IDS + 1}',
        call.org,
        int(deleted),
        start,
        end,
    )
    if len(rows) > MOST_IDS:
        raise ApiError("EXCEEDED_ID_LIMIT", f"More than {MOST_IDS} ids; choose start and end closer together.")
    return rows


def _last_purge(call: Call, entity: SObject) -> str:
    sql = "SELECT deleted_at FROM salesforce_purge WHERE org = ? AND object = ?"
    found = call.api.state.row(sql, call.org, entity.name)
    return str(found[0]) if found else ""


def _stored(moment: datetime) -> str:
    """A moment as the state keeps it, so that texts compare as moments do."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000Z"


def _shown(stored: str) -> str:
    return stored.replace("Z", "+0000")
