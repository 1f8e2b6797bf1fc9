"""Bulk API 2.0 queries: result pages stream to disk, complete or not at all.

Source: Salesforce Bulk API 2.0 Developer Guide, "Query". simple-salesforce's own bulk2 holds every page in memory,
waits five seconds before it first looks, and starts from nothing where a download breaks; hence this module, on the
same session.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from sync_pipeline import http
from sync_pipeline.errors import ConfigurationError, SyncError, TransientError
from sync_pipeline.progress import report
from sync_pipeline.salesforce.client import Client
from sync_pipeline.salesforce.session import ApiRefusal

log = logging.getLogger(__name__)

PAGE_RECORDS = 50_000
"""Records a page: some megabytes, so that a broken download repeats little and DuckDB reads a page in one piece."""

FIRST_WAIT, LONGEST_WAIT = 0.05, 10.0
"""Seconds between looks at a job: doubled each time, because each look costs a request of the day's limit."""

JOB_PATIENCE = 4 * 3600.0
"""Seconds after which a job is given up (and aborted)."""

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Result:
    """A complete result: CSV pages in order, each with the header, and how many records they hold together."""

    pages: list[Path]
    records: int


class _StartAgain(Exception):
    """The job can't be read to its end, but a new one may."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def bulk_query(client: Client, soql: str, folder: Path) -> list[Path]:
    """Run `soql` as a Bulk API 2.0 query and leave its CSV pages in `folder`; see `download`."""
    return download(client, soql, folder).pages


def download(client: Client, soql: str, folder: Path, *, what: str = "records read") -> Result:
    """Run `soql` as a Bulk API 2.0 query and download every page of its result.

    A page whose download breaks is asked for again; a session that expires is renewed; a job or locator that is gone,
    or pages that hold other records than the job counted, start the query again once.

    Args:
        client: a connected client.
        soql: a query Bulk can run (no compound fields, no aggregates).
        folder: an existing folder for the pages; only complete pages carry their final name.
        what: named in progress reports.

    Raises:
        ConfigurationError: Salesforce refuses the query, or the job failed or was aborted; with Salesforce's message.
        ReconnectError: the login is refused.
        TransientError: Salesforce is away, or the result stays incomplete.
    """
    try:
        return _attempt(client, soql, folder, what)
    except _StartAgain as first:
        log.warning("Salesforce: %s; the query is run again", first.reason)
    try:
        return _attempt(client, soql, folder, what)
    except _StartAgain as second:
        raise TransientError(
            f"Salesforce could not deliver the result of a Bulk query, twice: {second.reason}.",
            next_step="Sync again later.",
        ) from second


def _attempt(client: Client, soql: str, folder: Path, what: str) -> Result:
    job = client.call("POST", "/jobs/query", json={"operation": "query", "query": soql})
    path = f"/jobs/query/{job['id']}"
    try:
        done = finished(client, path)
        if done["state"] != "JobComplete":
            raise job_error(done)
        expected = int(done["numberRecordsProcessed"])
        result = _pages(client, path, folder, what, expected)
    except ApiRefusal as refusal:
        # The query itself was accepted, so a refusal now means that the job or its locator is gone.
        raise _StartAgain(f"{refusal.code}: {refusal.reason}") from refusal
    if result.records != expected:
        raise _StartAgain(f"the job counted {expected} records, its pages {result.records}")
    return result


def finished(client: Client, path: str) -> dict[str, Any]:
    """Wait until the job at `path` has come to an end, whatever end, and return its description."""
    give_up = time.monotonic() + JOB_PATIENCE
    for pause in _pauses():
        job: dict[str, Any] = client.call("GET", path)
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


def _pages(client: Client, path: str, folder: Path, what: str, expected: int) -> Result:
    pages: list[Path] = []
    records, locator = 0, ""
    # A result without records has no page worth reading.
    while locator != "null" and expected:
        page = folder / f"page-{len(pages):05d}.csv"
        count, locator = _page(client, f"{client.data_url}{path}/results", locator, page)
        pages.append(page)
        records += count
        report(what, records, expected)
    return Result(pages, records)


def _page(client: Client, url: str, locator: str, page: Path) -> tuple[int, str]:
    """Download one page, again where it breaks off. Returns its number of records and the locator of the next page."""
    params = {"maxRecords": str(PAGE_RECORDS)} | ({"locator": locator} if locator else {})
    with http.translated("Salesforce"):
        for retry in range(http.RETRIES + 1):
            try:
                return _stream(client, url, params, page)
            except (
                http.BROKEN_CONNECTION
            ) as error:  # while the body was read; until then, the session tries again itself
                if retry == http.RETRIES:
                    raise
                log.info("Salesforce: %s broke off (%s); asking for it again", page.name, type(error).__name__)
            time.sleep(http.backoff(retry))
    raise AssertionError("the last try returns or raises")


def _stream(client: Client, url: str, params: dict[str, str], page: Path) -> tuple[int, str]:
    part = page.with_suffix(".part")
    headers = {"Accept": "text/csv"}
    with client.session.get(url, params=params, headers=headers, stream=True) as response, part.open("wb") as file:
        for chunk in response.iter_content(CHUNK):  # raises where the body is shorter than announced
            file.write(chunk)
        count, locator = _announced(response)
    os.replace(part, page)
    return count, locator


def _announced(response: requests.Response) -> tuple[int, str]:
    try:
        return int(response.headers["Sforce-NumberOfRecords"]), response.headers["Sforce-Locator"] or "null"
    except (KeyError, ValueError):
        raise TransientError(
            "Salesforce answered a page of a Bulk result without its number of records or the next locator.",
            next_step="Sync again later; a proxy that drops headers would do this always.",
        ) from None
