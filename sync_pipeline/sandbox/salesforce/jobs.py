"""What query and ingest jobs of Bulk API 2.0 have in common: rows in the state, shape in JSON, files."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Row
from time import time
from typing import Any

from starlette.responses import JSONResponse, Response

from sync_pipeline.sandbox.salesforce.api import Api, Call
from sync_pipeline.sandbox.salesforce.errors import ApiError, not_found
from sync_pipeline.sandbox.salesforce.ids import id18, make_id, next_number
from sync_pipeline.sandbox.salesforce.rendering import DELIMITERS, LINE_ENDINGS

OPEN_STATES = frozenset({"Open", "UploadComplete", "InProgress"})
JOBS_A_PAGE = 1000
LIFETIME_SECONDS = 7 * 24 * 60 * 60.0


class Jobs:
    """Jobs of one kind.

    Args:
        api: the stand-in.
        kind: query or ingest.
        folder: where the jobs' files go, below the sandbox's folder.
    """

    def __init__(self, api: Api, kind: str, folder: Path) -> None:
        self.api = api
        self.kind = kind
        self.folder = folder
        self._tasks: set[asyncio.Task[None]] = set()
        # What a killed sandbox was working on will never end; its client is told so.
        api.state.db.execute(
            "UPDATE job SET state = 'Failed', error = ?, modified_at = ? "
            "WHERE kind = ? AND state IN ('InProgress', 'UploadComplete')",
            ("InternalServerError : The service was restarted.", time(), kind),
        )
        self._forget_old()

    def create(self, call: Call, state: str, **columns: Any) -> Row:
        """Add a job; returns its row."""
        now = time()
        row = {
            "org": call.org,
            "id": make_id("750", next_number(self.api.state, "job", 1)),
            "kind": self.kind,
            "api_version": f"{call.version}.0",
            "state": state,
            "created_at": now,
            "modified_at": now,
            **columns,
        }
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        self.api.state.db.execute(f"INSERT INTO job ({names}) VALUES ({marks})", tuple(row.values()))
        return self.row(row["id"])

    def row(self, job_id: str) -> Row:
        """A job by its id, as it is now."""
        found = self.api.state.row("SELECT * FROM job WHERE id = ?", job_id)
        if found is None:
            raise not_found()
        return found

    def of(self, call: Call) -> Row:
        """The job that a request names; 404 for one of another organization or kind."""
        row = self.row(id18(call.path["job"]) or "")
        if row["org"] != call.org or row["kind"] != self.kind:
            raise not_found()
        return row

    def change(self, job_id: str, *, only_from: frozenset[str] = OPEN_STATES, **columns: Any) -> bool:
        """Change columns of a job if its state is one of `only_from`; whether it was."""
        assignments = ", ".join(f"{name} = ?" for name in columns)
        states = ", ".join("?" * len(only_from))
        done = self.api.state.db.execute(
            f"UPDATE job SET {assignments}, modified_at = ? WHERE id = ? AND state IN ({states})",
            (*columns.values(), time(), job_id, *only_from),
        )
        return done.rowcount > 0

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Let a job's work run beside the requests."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def get(self, call: Call) -> Response:
        """GET jobs/{kind}/{id}."""
        return JSONResponse(self.info(self.of(call)))

    async def listed(self, call: Call) -> Response:
        """GET jobs/{kind}?queryLocator=L: the newest first, 1,000 a page."""
        locator = call.argument("queryLocator") or "0"
        if not locator.isascii() or not locator.isdigit() or len(locator) > 9:
            raise ApiError("INVALIDLOCATOR", "invalid query locator")
        first = int(locator)
        rows = self.api.state.rows(
            "SELECT * FROM job WHERE org = ? AND kind = ? ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?",
            call.org,
            self.kind,
            JOBS_A_PAGE + 1,
            first,
        )
        done = len(rows) <= JOBS_A_PAGE
        following = None if done else f"{call.base}/jobs/{self.kind}?queryLocator={first + JOBS_A_PAGE}"
        records = [self.info(row) for row in rows[:JOBS_A_PAGE]]
        return JSONResponse({"done": done, "records": records, "nextRecordsUrl": following})

    async def delete(self, call: Call) -> Response:
        """DELETE jobs/{kind}/{id}: only once it has ended."""
        row = self.of(call)
        if row["state"] in {"UploadComplete", "InProgress"}:
            raise ApiError("INVALIDJOBSTATE", f"Deleting a job in state {row['state']} is not allowed")
        self.api.state.db.execute("DELETE FROM job WHERE id = ?", (row["id"],))
        self.clean(row)
        return Response(status_code=204)

    def clean(self, row: Row) -> None:
        """Remove the files of a job that is gone, unless another job shares them."""
        if row["folder"] and not self.api.state.row("SELECT 1 FROM job WHERE folder = ?", row["folder"]):
            shutil.rmtree(self.api.state.folder / row["folder"], ignore_errors=True)

    def info(self, row: Row) -> dict[str, Any]:
        """A job as JSON."""
        info = {
            "id": row["id"],
            "operation": row["operation"],
            "object": row["object"],
            "createdById": self._user_id(row["org"]),
            "createdDate": _moment(row["created_at"]),
            "systemModstamp": _moment(row["modified_at"]),
            "state": row["state"],
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(row["api_version"]),
            "jobType": "V2Query" if self.kind == "query" else "V2Ingest",
            "lineEnding": row["line_ending"],
            "columnDelimiter": row["column_delimiter"],
        }
        if row["state"] not in {"Open", "UploadComplete"}:
            milliseconds = int((row["modified_at"] - row["created_at"]) * 1000)
            info |= {
                "numberRecordsProcessed": row["records_processed"],
                "retries": 0,
                "totalProcessingTime": milliseconds,
            }
        if row["error"]:
            info["errorMessage"] = row["error"]
        return info

    def _user_id(self, org: str) -> str | None:
        found = self.api.state.row("SELECT user_id FROM organizations WHERE org = ?", org)
        return found["user_id"] if found else None

    def _forget_old(self) -> None:
        for row in self.api.state.rows(
            "SELECT * FROM job WHERE kind = ? AND modified_at < ?", self.kind, time() - LIFETIME_SECONDS
        ):
            self.api.state.db.execute("DELETE FROM job WHERE id = ?", (row["id"],))
            self.clean(row)


def csv_options(body: dict[str, Any]) -> dict[str, str]:
    """Columns `line_ending` and `column_delimiter` of a new job, from its JSON."""
    chosen = {"line_ending": body.get("lineEnding") or "LF", "column_delimiter": body.get("columnDelimiter") or "COMMA"}
    if body.get("contentType") not in {None, "CSV"}:
        raise ApiError("INVALIDJOB", f"Unsupported content type: {body['contentType']}")
    if chosen["line_ending"] not in LINE_ENDINGS or chosen["column_delimiter"] not in DELIMITERS:
        raise ApiError("INVALIDJOB", "Unsupported lineEnding or columnDelimiter")
    return chosen


def _moment(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"
