"""Bulk API 2.0 queries: a job is rendered once, to files; its pages are slices of them and can be read again."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
from contextlib import closing
from pathlib import Path
from sqlite3 import Row
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from sync_pipeline.sandbox.salesforce.api import Api, Call
from sync_pipeline.sandbox.salesforce.errors import ApiError
from sync_pipeline.sandbox.salesforce.jobs import Jobs, csv_options
from sync_pipeline.sandbox.salesforce.rendering import DELIMITERS, LINE_ENDINGS, csv_header, csv_rows_sql
from sync_pipeline.sandbox.salesforce.results import Result, fetched, stream, write_result
from sync_pipeline.sandbox.salesforce.soql import Compiled, compile_query, install_functions

PARALLEL_PAGES = 5
"""Most pages that resultPages names at once."""

KEPT_RESULTS, KEPT_BYTES = 16, 2_000_000_000
"""Rendered results kept on disk: this many at least, and more while they are small. Jobs are forgotten with theirs."""


class QueryJobs(Jobs):
    """Query jobs and their pages."""

    def __init__(self, api: Api, folder: Path) -> None:
        super().__init__(api, "query", folder)
        self._rendering: dict[str, asyncio.Task[Result]] = {}
        for unfinished in folder.glob("*.part"):
            shutil.rmtree(unfinished)

    async def create_job(self, call: Call) -> Response:
        """POST jobs/query."""
        body = await call.json_object()
        operation, text = body.get("operation"), body.get("query")
        if operation not in {"query", "queryAll"}:
            raise ApiError("INVALIDJOB", f"Unsupported operation: {operation}")
        if not isinstance(text, str) or not text:
            raise ApiError("INVALIDJOB", "A query job needs a query")
        options = csv_options(body)
        compiled = _compiled(call.api, call.org, text, operation)
        row = self.create(
            call, "UploadComplete", operation=operation, object=compiled.entity.name, query=text, **options
        )
        self.start(self._work(row, compiled))
        return JSONResponse(self.info(row))

    async def patch(self, call: Call) -> Response:
        """PATCH jobs/query/{id} {"state": "Aborted"}."""
        body, row = await call.json_object(), self.of(call)
        if body.get("state") != "Aborted":
            raise ApiError("INVALIDJOB", "A query job can only be aborted")
        if not self.change(row["id"], state="Aborted"):
            raise ApiError("INVALIDJOBSTATE", f"Aborting a job in state {row['state']} is not allowed")
        return JSONResponse(self.info(self.row(row["id"])))

    async def results(self, call: Call) -> Response:
        """GET jobs/query/{id}/results?maxRecords=N&locator=L."""
        result = self._finished(call)
        first = _first_row(call.argument("locator"), result.rows)
        size = _max_records(call.argument("maxRecords")) or self.api.page_rows
        following = first + size
        start, end = result.span(first, size)
        zipped = "gzip" in call.request.headers.get("accept-encoding", "").lower()
        headers = {
            "Sforce-NumberOfRecords": str(min(following, result.rows) - first),
            "Sforce-Locator": _locator(following) if following < result.rows else "null",
            "Vary": "Accept-Encoding",
        }
        if zipped:
            headers["Content-Encoding"] = "gzip"
        pieces = stream(result.folder / "rows", start, end, result.header(), compress=zipped)
        return StreamingResponse(pieces, headers=headers, media_type="text/csv;charset=UTF-8")

    async def result_pages(self, call: Call) -> Response:
        """GET jobs/query/{id}/resultPages: addresses of up to five pages, and where the next five are named."""
        if call.version < 58:
            raise ApiError("NOT_FOUND", "The requested resource does not exist", 404)
        result = self._finished(call)
        first = _first_row(call.argument("locator"), result.rows)
        address = f"{call.base}/jobs/query/{call.path['job']}"
        last = first + PARALLEL_PAGES * self.api.page_rows
        starts = range(first, max(first + 1, min(last, result.rows)), self.api.page_rows)
        done = last >= result.rows
        return JSONResponse(
            {
                "resultPages": [{"resultUrl": f"{address}/results?locator={_locator(row)}"} for row in starts],
                "nextRecordsUrl": None if done else f"{address}/resultPages?locator={_locator(last)}",
                "done": done,
            }
        )

    def _finished(self, call: Call) -> Result:
        row = self.of(call)
        if row["state"] != "JobComplete":
            raise ApiError("INVALIDJOBSTATE", f"The results of a job in state {row['state']} are not available")
        return Result(self.api.state.folder / row["folder"])

    # -- rendering --------------------------------------------------------------------------------------------

    async def _work(self, row: Row, compiled: Compiled) -> None:
        if not self.change(row["id"], state="InProgress"):
            return
        try:
            result = await self._rendered(row, compiled)
        except Exception as error:  # the job's client must hear of it, whatever it is
            self.change(row["id"], state="Failed", error=f"InternalServerError : {type(error).__name__}: {error}")
            raise
        folder = result.folder.relative_to(self.api.state.folder).as_posix()
        self.change(row["id"], state="JobComplete", records_processed=result.rows, folder=folder)
        self._prune(keep=result.folder)

    async def _rendered(self, row: Row, compiled: Compiled) -> Result:
        """The result of a job: a stored one where nothing has changed since, and one rendering for equal jobs."""
        header = csv_header(compiled, DELIMITERS[row["column_delimiter"]], LINE_ENDINGS[row["line_ending"]])
        sql = csv_rows_sql(compiled, DELIMITERS[row["column_delimiter"]], LINE_ENDINGS[row["line_ending"]])
        changes = self.api.state.row("SELECT number FROM salesforce_change WHERE org = ?", row["org"])
        key = repr((row["org"], changes[0] if changes else 0, header, sql, compiled.parameters))
        folder = self.folder / hashlib.sha256(key.encode()).hexdigest()[:32]
        if folder.exists():
            folder.touch()
            return Result(folder)
        if folder.name not in self._rendering:
            task = asyncio.create_task(run_in_threadpool(_render, self.api, folder, header, sql, compiled.parameters))
            self._rendering[folder.name] = task
            task.add_done_callback(lambda _: self._rendering.pop(folder.name))
        return await self._rendering[folder.name]

    def _prune(self, keep: Path) -> None:
        results = [folder for folder in self.folder.iterdir() if folder.suffix != ".part" and folder != keep]
        results.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
        size = 0
        for number, folder in enumerate(results, 2):
            size += (folder / "rows").stat().st_size
            if number > KEPT_RESULTS and size > KEPT_BYTES:
                name = folder.relative_to(self.api.state.folder).as_posix()
                self.api.state.db.execute("DELETE FROM job WHERE folder = ?", (name,))
                shutil.rmtree(folder)


def _compiled(api: Api, org: str, text: str, operation: str) -> Compiled:
    compiled = compile_query(text, api.catalog(org), org, deleted_too=operation == "queryAll")
    if compiled.is_count:
        raise ApiError("FUNCTIONALITY_NOT_ENABLED", "Aggregate Relationships not supported in Bulk Query")
    if any(column.field.type == "address" for column in compiled.columns):
        raise ApiError("FUNCTIONALITY_NOT_ENABLED", "Selecting compound data not supported in Bulk Query")
    return compiled


def _render(api: Api, folder: Path, header: bytes, sql: str, parameters: tuple[Any, ...]) -> Result:
    with closing(api.state.reader()) as connection:
        install_functions(connection)
        return write_result(folder, header, fetched(connection, sql, parameters))


def _locator(row: int) -> str:
    """An opaque mark for a row; base64 of its number, as Salesforce's look."""
    return base64.urlsafe_b64encode(str(row).encode()).decode().rstrip("=")


def _first_row(locator: str | None, rows: int) -> int:
    if locator in {None, "", "null"}:
        return 0
    try:
        row = int(
            base64.urlsafe_b64decode(
                f"{locator}==",
            ).decode("ascii")
        )
    except ValueError:
        row = -1
    if not 0 <= row <= max(0, rows - 1):
        raise ApiError("INVALIDLOCATOR", "invalid query locator")
    return row


def _max_records(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 10**9:
        raise ApiError("INVALID_FIELD", f"maxRecords must be a positive number: {text[:20]}")
    return int(text)
