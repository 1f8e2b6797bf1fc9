"""Bulk API 2.0 jobs: a query job is made, waited for and downloaded, complete or not at all.

Source: Salesforce Bulk API 2.0 Developer Guide, "Query". simple-salesforce's own bulk2 holds every page in memory,
waits five seconds before it first looks, and starts from nothing where a download breaks; hence this module, on the
same session. How pages come to disk stands in `pages.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from sync_pipeline.errors import ConfigurationError, SyncError, TransientError
from sync_pipeline.salesforce.client import Client
from sync_pipeline.salesforce.pages import Result, result_pages
from sync_pipeline.salesforce.session import ApiRefusal, understood

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.05, 10.0
"""Seconds between looks at a job: doubled each time, because each look costs a request of the day's limit."""

JOB_PATIENCE = 4 * 3600.0
"""Seconds after which a job is given up (and aborted)."""

Operation = Literal["query", "queryAll"]
"""`queryAll` reads what is deleted or merged away as well."""


class _StartAgain(Exception):
    """The job can't be read to its end, but a new one may."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def bulk_query(client: Client, soql: str, folder: Path) -> list[Path]:
    """Run `soql` as a Bulk API 2.0 query and leave its CSV pages in `folder`; see `download`."""
    return download(client, soql, folder).pages


def download(
    client: Client, soql: str, folder: Path, *, what: str = "records read", operation: Operation = "query"
) -> Result:
    """Run `soql` as a Bulk API 2.0 query and download every page of its result.

    A page whose download breaks is asked for again; a session that expires is renewed; a job or locator that is gone,
    or pages that hold other records than the job counted, start the query again once.

    Args:
        client: a connected client.
        soql: a query Bulk can run (no compound fields, no aggregates).
        folder: an existing folder for the pages; only complete pages carry their final name.
        what: named in progress reports.
        operation: whether deleted records are read too.

    Raises:
        ConfigurationError: Salesforce refuses the query, or the job failed or was aborted; with Salesforce's message.
        ReconnectError: the login is refused.
        TransientError: Salesforce is away, or the result stays incomplete.
    """
    try:
        return _attempt(client, soql, folder, what, operation)
    except _StartAgain as first:
        log.warning("Salesforce: %s; the query is run again", first.reason)
    try:
        return _attempt(client, soql, folder, what, operation)
    except _StartAgain as second:
        raise TransientError(
            f"Salesforce could not deliver the result of a Bulk query, twice: {second.reason}.",
            next_step="Sync again later.",
        ) from second


def _attempt(client: Client, soql: str, folder: Path, what: str, operation: Operation) -> Result:
    path = new_job(client, "query", {"operation": operation, "query": soql})
    try:
        done = finished(client, path)
        if done["state"] != "JobComplete":
            raise job_error(done)
        with understood("a Bulk job"):
            expected = int(done["numberRecordsProcessed"])
        result = result_pages(client, path, folder, what, expected)
    except ApiRefusal as refusal:
        # The query itself was accepted, so a refusal now means that the job or its locator is gone.
        raise _StartAgain(f"{refusal.code}: {refusal.reason}") from refusal
    if result.records != expected:
        raise _StartAgain(f"the job counted {expected} records, its pages {result.records}")
    return result if expected else Result([], 0)


def new_job(client: Client, kind: Literal["query", "ingest"], settings: dict[str, str]) -> str:
    """Make a Bulk job; returns its path below the version."""
    job = client.call("POST", f"/jobs/{kind}", json=settings)
    with understood(f"a new Bulk {kind} job"):
        return f"/jobs/{kind}/{job['id']}"


def state_of(client: Client, path: str) -> dict[str, Any]:
    """The description of the job at `path`, which says at least its `state`."""
    job: dict[str, Any] = client.call("GET", path)
    with understood("a Bulk job"):
        return {**job, "state": str(job["state"])}


def finished(client: Client, path: str) -> dict[str, Any]:
    """Wait until the job at `path` has come to an end, whatever end, and return its description."""
    give_up = time.monotonic() + JOB_PATIENCE
    for pause in _pauses():
        job = state_of(client, path)
        if job["state"] in ("JobComplete", "Failed", "Aborted"):
            return job
        if time.monotonic() > give_up:
            client.call("PATCH", path, json={"state": "Aborted"})
            raise TransientError(
                f"Salesforce did not finish the Bulk job {job.get('id')} within {JOB_PATIENCE / 3600:.0f} hours; "
                "it was aborted.",
                next_step="Sync again later.",
            )
        time.sleep(pause)
    raise AssertionError("the pauses never end")


def _pauses() -> Iterator[float]:
    pause = FIRST_WAIT
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_WAIT)


def job_error(job: dict[str, Any]) -> SyncError:
    """The error for a job that Salesforce failed or somebody aborted."""
    reason = str(job.get("errorMessage") or "no reason given")
    about = f"{job.get('id')} on {job.get('object') or 'its object'}"
    message = f"Salesforce ended the Bulk job {about} as {job['state']}: {reason}."
    if job["state"] == "Aborted":
        return TransientError(message, next_step="Setup > Bulk Data Load Jobs shows who aborted it; then sync again.")
    if any(word in reason.upper() for word in ("TIMEOUT", "TIMED OUT", "LOCK", "UNAVAILABLE", "RETRIES")):
        return TransientError(message, next_step="Sync again later.")
    return ConfigurationError(message, next_step="Setup > Bulk Data Load Jobs shows the job.")
