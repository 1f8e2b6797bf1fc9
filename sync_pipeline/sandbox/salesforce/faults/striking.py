"""Lets a rule strike a call: finds what its action does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from sync_pipeline.sandbox.salesforce.api import Api
from sync_pipeline.sandbox.salesforce.faults import altered, answers, changed, line
from sync_pipeline.sandbox.salesforce.faults.hits import Hit
from sync_pipeline.sandbox.salesforce.faults.rules import Rule
from sync_pipeline.sandbox.salesforce.faults.visits import Visit

Doing = Callable[[Hit, Scope, Receive, Send], Awaitable[None]]

DOING: dict[str, Doing] = {
    "status": answers.status,
    "html": answers.html,
    "empty": answers.empty,
    "no_result_pages": answers.no_result_pages,
    "expire_locator": answers.expire_locator,
    "concurrent_limit": answers.concurrent_limit,
    "expire_session": changed.expire_session,
    "fail_job": changed.fail_job,
    "abort_job": changed.abort_job,
    "lose_job": changed.lose_job,
    "truncate": altered.truncate,
    "wrong_count": altered.wrong_count,
    "result_chunks": altered.result_chunks,
    "slow": line.slow,
    "bandwidth": line.bandwidth,
    "cut": line.cut,
}
"""What each action does to a call."""


def struck(app: ASGIApp, rules: Iterable[Rule], api: Api, visit: Visit) -> ASGIApp:
    """The application as the call meets it: the first rule is the nearest to Salesforce."""
    for rule in rules:
        app = partial(DOING[rule.action], Hit(rule.settings, app, api, visit))
    return app
