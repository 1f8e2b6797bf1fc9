"""Faults that change what Salesforce holds, and let it answer."""

from __future__ import annotations

import re
from time import time

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from sync_pipeline.sandbox.salesforce.api import bearer
from sync_pipeline.sandbox.salesforce.faults.hits import Hit
from sync_pipeline.sandbox.salesforce.ids import id18

_JOB = re.compile(r"/jobs/(?:query|ingest)/(\w+)")


async def expire_session(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """The session of this call has ended: 401 now and ever after."""
    hit.api.revoke(bearer(Request(scope)))
    await hit.app(scope, receive, send)


async def fail_job(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """The job has failed, however far it was; rows that an ingest job has saved stay saved."""
    message = hit.settings.get("message", "InternalServerError : An unexpected error occurred.")
    _change_job(hit, "state = 'Failed', error = ?", message)
    await hit.app(scope, receive, send)


async def abort_job(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """Somebody aborted the job, however far it was."""
    _change_job(hit, "state = 'Aborted', error = NULL")
    await hit.app(scope, receive, send)


async def lose_job(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """The job is gone, as after its seven days. Its row stays without a kind, so that no later job gets its id."""
    _change_job(hit, "kind = ''")
    await hit.app(scope, receive, send)


def _change_job(hit: Hit, assignments: str, *parameters: str) -> None:
    found = _JOB.search(hit.visit.target)
    hit.api.state.db.execute(
        f"UPDATE job SET {assignments}, modified_at = ? WHERE id = ? AND org = ?",
        (*parameters, time(), id18(found[1]) if found else "", hit.visit.org),
    )
