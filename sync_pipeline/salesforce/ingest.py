"""Writing rows to Salesforce: collections of 200 for a few, a Bulk API 2.0 ingest job for many; an answer for each row.

Source: Salesforce REST API Developer Guide, "sObject Collections"; Bulk API 2.0 Developer Guide, "Ingest".
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import suppress

import pandas as pd

from sync_pipeline.errors import TransientError
from sync_pipeline.salesforce.client import Client
from sync_pipeline.salesforce.jobs import finished, new_job, state_of
from sync_pipeline.salesforce.session import ApiRefusal, understood

log = logging.getLogger(__name__)

COLLECTION = 200
"""Most records of one collections request."""

BULK_FROM = 2000
"""Rows from which a job costs fewer requests than collections."""

JOB_ROWS = 100_000
"""Rows of one job: far below its 100 MB, and few to look up again after a kill."""

LOCKED = "UNABLE_TO_LOCK_ROW"

Answer = tuple[str | None, str | None]
"""Code and reason of a refusal; nothing in both where the row was written."""


def update(client: Client, object_name: str, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Write `rows` and yield Salesforce's answers as they come.

    Args:
        client: a connected client.
        object_name: e.g. "Account".
        rows: column `Id` and one column for each field to write, named as Salesforce names it; text without nulls.

    Yields:
        The rows of one request, indexed as in `rows`, with `code` and `reason`: null where Salesforce wrote the row,
        else its own code and message.

    Raises:
        ReconnectError, TransientError, ConfigurationError: the request as a whole failed; what was yielded holds.
    """
    if len(rows) < BULK_FROM:
        for start in range(0, len(rows), COLLECTION):
            yield _collection(client, object_name, rows.iloc[start : start + COLLECTION])
    else:
        for start in range(0, len(rows), JOB_ROWS):
            yield _job(client, object_name, rows.iloc[start : start + JOB_ROWS])


def _collection(client: Client, object_name: str, rows: pd.DataFrame) -> pd.DataFrame:
    fields = [column for column in rows.columns if column != "Id"]
    records = [
        {"attributes": {"type": object_name}, "id": row["Id"], **{field: row[field] for field in fields}}
        for row in rows.to_dict("records")
    ]
    results = client.call("PATCH", "/composite/sobjects", json={"allOrNone": False, "records": records})
    if not isinstance(results, list) or len(results) != len(rows):
        raise TransientError(
            f"Salesforce did not answer each of {len(rows)} records written.",
            next_step="Sync again: it reads what is there.",
        )
    with understood("a write of collections"):
        return _answered(rows, [_first_error(result) for result in results])


def _first_error(result: dict[str, object]) -> Answer:
    if result.get("success") is True:
        return None, None
    errors = result.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else {}
    return str(first.get("statusCode") or "UNKNOWN"), str(first.get("message") or "Salesforce gave no reason.")


def _job(client: Client, object_name: str, rows: pd.DataFrame) -> pd.DataFrame:
    path = _upload(client, object_name, rows)
    _close(client, path)
    job = finished(client, path)
    failed = _result(client, path, "failedResults", ["sf__Id", "Id", "sf__Error"])
    written = set(_result(client, path, "successfulResults", ["sf__Id"])["sf__Id"])
    # The order of results is not guaranteed: rows are found by id, which a refused one may have in its own column only.
    reasons = {sf_id or own_id: error for sf_id, own_id, error in failed.itertuples(index=False)}
    unprocessed: Answer = (
        "UNPROCESSED",
        f"Salesforce ended the job as {job['state']} before this row: {job.get('errorMessage') or 'no reason given'}",
    )
    answers: list[Answer] = [
        (None, None) if record in written else _in_csv(reasons[record]) if record in reasons else unprocessed
        for record in rows["Id"]
    ]
    return _answered(rows, answers)


def _upload(client: Client, object_name: str, rows: pd.DataFrame) -> str:
    """Create a job and give it the rows; returns its path."""
    body = rows.to_csv(index=False, quoting=1, lineterminator="\n").encode()
    for last in (False, True):
        settings = {"object": object_name, "operation": "update", "lineEnding": "LF", "columnDelimiter": "COMMA"}
        path = new_job(client, "ingest", settings)
        try:
            url = f"{client.data_url}{path}/batches"
            answer = client.session.put(url, data=body, headers={"Content-Type": "text/csv"})
            if answer.status_code != 201:  # somebody answers for Salesforce: what was uploaded has not arrived
                raise TransientError(
                    f"Salesforce's answer to an upload is HTTP {answer.status_code}, not 201; no row of it was written.",
                    next_step="Sync again; if it happens again, see whether a proxy answers for Salesforce.",
                )
        except ApiRefusal:
            # A job takes one upload: if its answer was lost, the repeated one is refused. Nothing is processed yet.
            if last:
                raise
            with suppress(ApiRefusal):
                client.call("PATCH", path, json={"state": "Aborted"})
        else:
            return path
    raise AssertionError("the last try returns or raises")


def _close(client: Client, path: str) -> None:
    try:
        client.call("PATCH", path, json={"state": "UploadComplete"})
    except ApiRefusal:
        # The first try may have arrived and its answer not.
        if state_of(client, path)["state"] == "Open":
            raise


def _result(client: Client, path: str, which: str, columns: list[str]) -> pd.DataFrame:
    try:
        body = client.session.get(f"{client.data_url}{path}/{which}", headers={"Accept": "text/csv"}).content
    except ApiRefusal as refusal:  # a job that ended early may have none
        log.info("Salesforce: no %s (%s)", which, refusal.code)
        body = b""
    if not body.strip():
        return pd.DataFrame(columns=columns, dtype=str)
    try:
        return pd.read_csv(io.BytesIO(body), dtype=str, keep_default_na=False, usecols=columns)[columns]
    except ValueError:  # its text may quote the rows
        raise TransientError(
            f"Salesforce's {which} of a Bulk job can't be read.", next_step="Sync again: it reads what is there."
        ) from None


def _in_csv(error: str) -> tuple[str, str]:
    """`CODE:message:fields --`, as a result file says it."""
    code, _, rest = error.partition(":")
    message = rest.rpartition(":")[0] if rest.rstrip().endswith("--") else rest
    return code.strip() or "UNKNOWN", message.strip() or error


def _answered(rows: pd.DataFrame, answers: list[Answer]) -> pd.DataFrame:
    return rows.join(pd.DataFrame(answers, index=rows.index, columns=["code", "reason"], dtype=object))
