"""Bulk API 2.0 queries: a job is made, waited for and downloaded, complete or not at all.

Source: Salesforce Bulk API 2.0 Developer Guide, "Query". simple-salesforce's own bulk2 holds every page in memory,
waits five seconds before it first looks, and starts from nothing where a download breaks; hence this module, on the
same session. How pages come to disk stands in `pages.py`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from sync_pipeline.errors import TransientError
from sync_pipeline.salesforce.client import Client
from sync_pipeline.salesforce.jobs import finished, job_error, new_job
from sync_pipeline.salesforce.reads.pages import Result, result_pages
from sync_pipeline.salesforce.session import ApiRefusal, understood

log = logging.getLogger(__name__)

Operation = Literal["query", "queryAll"]
"""`queryAll` reads what is deleted or merged away as well."""


class _StartAgain(Exception):
    """The job can't be read to its end, but a new one may."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


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
        log.warning("Salesforce, %s: %s; the query is run again", what, first.reason)
    try:
        return _attempt(client, soql, folder, what, operation)
    except _StartAgain as second:
        raise TransientError(
            f"Salesforce could not deliver the result of a Bulk query ({what}), twice: {second.reason}.",
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
