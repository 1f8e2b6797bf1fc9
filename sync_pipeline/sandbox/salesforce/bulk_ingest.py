"""Bulk API 2.0 ingest: a CSV goes up, is applied row by row in small transactions, and leaves three files."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from pathlib import Path
from sqlite3 import Row
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from sync_pipeline.sandbox.salesforce.api import Api, Call
from sync_pipeline.sandbox.salesforce.errors import ApiError, RowError
from sync_pipeline.sandbox.salesforce.jobs import Jobs, csv_options
from sync_pipeline.sandbox.salesforce.objects import SObject
from sync_pipeline.sandbox.salesforce.rendering import DELIMITERS, LINE_ENDINGS
from sync_pipeline.sandbox.salesforce.results import stream
from sync_pipeline.sandbox.salesforce.saving import Saver

OPERATIONS = frozenset({"insert", "update", "upsert", "delete"})
LARGEST_UPLOAD = 150_000_000
"""Bytes: 100 MB of data may take 150 MB, which is what Salesforce checks."""

ROWS_AT_ONCE = 100
"""Rows saved before other requests get their turn."""

NULL = "#N/A"
_RESULTS = {"successfulresults": "successful", "failedresults": "failed", "unprocessedrecords": "unprocessed"}


class Unreadable(Exception):
    """An upload that fails the job as a whole, with what Salesforce says."""


class IngestJobs(Jobs):
    """Ingest jobs: created, filled, closed, and their results."""

    def __init__(self, api: Api, folder: Path) -> None:
        super().__init__(api, "ingest", folder)

    async def create_job(self, call: Call) -> Response:
        """POST jobs/ingest."""
        body = await call.json_object()
        operation, name = body.get("operation"), body.get("object")
        entity = call.catalog.get(str(name))
        if operation not in OPERATIONS:
            raise ApiError("INVALIDJOB", f"Unsupported operation: {operation}")
        if entity is None or not entity.updateable:
            raise ApiError("INVALIDENTITY", f"Entity '{name}' is not supported by the Bulk API.")
        external = body.get("externalIdFieldName")
        _check_external_id(entity, operation, external)
        row = self.create(
            call, "Open", operation=operation, object=entity.name, external_id_field=external, **csv_options(body)
        )
        self.change(row["id"], folder=(self.folder / row["id"]).relative_to(self.api.state.folder).as_posix())
        return JSONResponse(self.info(row))

    def info(self, row: Row) -> dict[str, Any]:
        """A job as JSON."""
        info = super().info(row)
        info["contentUrl"] = f"services/data/v{row['api_version']}/jobs/ingest/{row['id']}/batches"
        if row["external_id_field"]:
            info["externalIdFieldName"] = row["external_id_field"]
        if "numberRecordsProcessed" in info:
            info |= {
                "numberRecordsFailed": row["records_failed"],
                "apiActiveProcessingTime": 0,
                "apexProcessingTime": 0,
            }
        return info

    async def upload(self, call: Call) -> Response:
        """PUT jobs/ingest/{id}/batches: the whole CSV, once."""
        row = self.of(call)
        if row["state"] != "Open":
            raise ApiError("INVALIDJOBSTATE", f"Uploading data to a job in state {row['state']} is not allowed")
        data = self._folder(row) / "data"
        if data.exists():
            raise ApiError(
                "INVALIDBATCH",
                f"Found multiple contents for job: <{row['id']}>, please 'Close' / 'Abort' / 'Delete' the current Job "
                "then create a new Job and make sure you only do 'PUT' once on a given Job.",
            )
        data.parent.mkdir(parents=True, exist_ok=True)
        unfinished = data.with_suffix(".part")
        received = 0
        with unfinished.open("wb") as file:
            async for piece in call.request.stream():
                received += len(piece)
                if received > LARGEST_UPLOAD:
                    raise ApiError("EXCEEDED_MAX_SIZE", "Maximum size of the job data exceeded", 413)
                file.write(piece)
        unfinished.rename(data)
        return Response(status_code=201)

    async def patch(self, call: Call) -> Response:
        """PATCH jobs/ingest/{id} {"state": "UploadComplete" | "Aborted"}."""
        body, row = await call.json_object(), self.of(call)
        state = body.get("state")
        if state == "Aborted":
            done = self.change(row["id"], state="Aborted")
        elif state == "UploadComplete":
            done = self.change(row["id"], only_from=frozenset({"Open"}), state="UploadComplete")
            if done:
                self.start(self._work(row))
        else:
            raise ApiError("INVALIDJOB", f"Unsupported state: {state}")
        if not done:
            raise ApiError("INVALIDJOBSTATE", f"Changing a job from state {row['state']} to {state} is not allowed")
        return JSONResponse(self.info(self.row(row["id"])))

    async def results(self, call: Call) -> Response:
        """GET jobs/ingest/{id}/successfulResults, failedResults, unprocessedrecords."""
        row = self.of(call)
        name = _RESULTS.get(call.path["results"].lower())
        if name is None:
            raise ApiError("NOT_FOUND", "The requested resource does not exist", 404)
        if row["state"] not in {"JobComplete", "Failed", "Aborted"}:
            raise ApiError("INVALIDJOBSTATE", f"The results of a job in state {row['state']} are not available")
        path = self._folder(row) / name
        if not path.exists():
            return Response("", media_type="text/csv;charset=UTF-8")
        zipped = "gzip" in call.request.headers.get("accept-encoding", "").lower()
        pieces = stream(path, 1, path.stat().st_size, path.read_bytes()[:1], compress=zipped)
        headers = {"Vary": "Accept-Encoding", **({"Content-Encoding": "gzip"} if zipped else {})}
        return StreamingResponse(pieces, headers=headers, media_type="text/csv;charset=UTF-8")

    def _folder(self, row: Row) -> Path:
        return self.folder / str(row["id"])

    # -- the work ---------------------------------------------------------------------------------------------

    async def _work(self, row: Row) -> None:
        if not self.change(row["id"], state="InProgress"):
            return
        folder = self._folder(row)
        delimiter, ending = DELIMITERS[row["column_delimiter"]], LINE_ENDINGS[row["line_ending"]]
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with (
                closing(_rows(folder / "data", delimiter, ending)) as rows,
                _Results(folder, delimiter, ending) as results,
            ):
                await _Run(self, row, rows, results).all_rows()
        except Unreadable as error:
            self.change(row["id"], state="Failed", error=str(error))
        except Exception as error:  # the job's client must hear of it, whatever it is
            self.change(row["id"], state="Failed", error=f"InternalServerError : {type(error).__name__}: {error}")
            raise


class _Run:
    """One pass over the rows of an upload."""

    def __init__(self, jobs: IngestJobs, job: Row, rows: Generator[list[str]], results: _Results) -> None:
        self._jobs = jobs
        self._job = job
        self._rows = rows
        self._results = results
        self._entity = jobs.api.catalog(job["org"]).required(job["object"])
        self._saver = Saver(jobs.api, job["org"], self._entity)
        self._processed = self._failed = 0

    async def all_rows(self) -> None:
        """Save every row; rows that an error or an abort leaves over become unprocessed records."""
        header = next(self._rows, [])
        self._results.begin(header)
        try:
            self._check_header(header)
            running = True
            while running and (rows := list(islice(self._rows, ROWS_AT_ONCE))):
                with self._jobs.api.state.transaction():
                    for row in rows:
                        self._save(dict(zip(header, row, strict=True)), row)
                    running = self._count()
                await asyncio.sleep(0)
        finally:
            for row in self._rows:
                self._results.unprocessed.writerow(row)
        if self._count():
            self._jobs.change(self._job["id"], state="JobComplete")

    def _count(self) -> bool:
        """Show how far it is; whether the job still goes on."""
        return self._jobs.change(self._job["id"], records_processed=self._processed, records_failed=self._failed)

    def _check_header(self, header: list[str]) -> None:
        for name in header:
            if name.lower() not in self._entity.fields:
                raise Unreadable(f"InvalidBatch : Field name not found : {name}")

    def _save(self, values: dict[str, str], row: list[str]) -> None:
        self._processed += 1
        record_id = next((value for name, value in values.items() if name.lower() == "id"), "")
        try:
            saved_id, created = self._apply(record_id, values)
        except RowError as error:
            self._failed += 1
            self._results.failed.writerow([record_id, error.in_csv(), *row])
        else:
            self._results.successful.writerow([saved_id, str(created).lower(), *row])

    def _apply(self, record_id: str, cells: dict[str, str]) -> tuple[str, bool]:
        """Do what the job does with one row; its id and whether it is new."""
        values: dict[str, Any] = {
            n: None if c == NULL else c for n, c in cells.items() if c != "" and n.lower() != "id"
        }
        operation, key_field = self._job["operation"], self._job["external_id_field"]
        if operation == "delete":
            return self._saver.delete(record_id), False
        if operation == "insert":
            return self._saver.insert(values), True
        if operation == "update":
            return self._saver.update(record_id, values), False
        if key_field.lower() == "id":
            return self._saver.upsert(key_field, record_id, values)
        key = next((values.pop(name) for name in list(values) if name.lower() == key_field.lower()), None)
        return self._saver.upsert(key_field, key, values)


class _Results:
    """The three files of results, with their headers."""

    def __init__(self, folder: Path, delimiter: str, ending: str) -> None:
        self._files = [
            (folder / name).open("w", encoding="utf-8", newline="") for name in ("successful", "failed", "unprocessed")
        ]
        self.successful, self.failed, self.unprocessed = (
            csv.writer(file, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL) for file in self._files
        )

    def begin(self, header: list[str]) -> None:
        self.successful.writerow(["sf__Id", "sf__Created", *header])
        self.failed.writerow(["sf__Id", "sf__Error", *header])
        self.unprocessed.writerow(header)

    def __enter__(self) -> _Results:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()


def _check_external_id(entity: SObject, operation: str, name: Any) -> None:
    if operation != "upsert":
        if name:
            raise ApiError("INVALIDJOB", "externalIdFieldName is only for upsert")
        return
    field = entity.fields.get(str(name or "").lower())
    if field is None or not (field.external_id or field.type == "id"):
        raise ApiError(
            "INVALIDJOB",
            f"InvalidJob : Field name provided, {name} does not match an External ID, Salesforce Id, or indexed field "
            f"for {entity.name}",
        )


def _rows(path: Path, delimiter: str, ending: str) -> Generator[list[str]]:
    """Header and rows of an upload. A byte-order mark is part of the first name, as Salesforce has it."""
    if not path.exists():
        return
    with path.open("rb") as data:
        first = data.readline()
    if first.endswith(b"\n") and first.endswith(b"\r\n") != (ending == "\r\n"):
        setting = "CRLF" if ending == "\r\n" else "LF"
        raise Unreadable(
            f"ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {setting}"
        )
    with path.open(encoding="utf-8", newline="") as text:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        width = 0
        try:
            for row in reader:
                width = width or len(row)
                if len(row) > width:
                    raise Unreadable(f"ClientInputError : Too many values in line {reader.line_num}")
                if row:
                    yield row + [""] * (width - len(row))
        except csv.Error as error:
            raise Unreadable(f"ClientInputError : Error parsing CSV in line {reader.line_num}: {error}") from None
        except UnicodeDecodeError:
            raise Unreadable("ClientInputError : The data is not UTF-8") from None
