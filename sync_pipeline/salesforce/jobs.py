"""Bulk API 2.0 jobs, whether they read or write: made, looked at, waited for.

Source: Salesforce Bulk API 2.0 Developer Guide, "Create a Query Job", "Create a Job", "Get Information About a Job".
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal

from sync_pipeline.errors import ConfigurationError, SyncError, TransientError
from sync_pipeline.salesforce.client import Client
from sync_pipeline.salesforce.session import understood

FIRST_WAIT, LONGEST_WAIT = 0.05, 10.0
"""Seconds between looks at a job: doubled each time, because each look costs a request of the day's limit."""

JOB_PATIENCE = 4 * 3600.0
"""Seconds after which a job is given up (and aborted)."""


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
        if job["state"] == "Open":  # it was closed, or so it was answered: nobody works on it
            raise TransientError(
                f"Salesforce did not close the Bulk job {job.get('id')}; no row of it was written.",
                next_step="Sync again.",
            )
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
