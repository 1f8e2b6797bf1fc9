"""What the stand-ins of billing systems share: how they declare themselves, and how they serve a request."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sync_pipeline.sandbox.state import State
from sync_pipeline.sandbox.web import BodyTooLarge, Call, Handler, Routes, json_answer, page, read_call

Facts = list[tuple[str, object]]
"""Name and value, for a page."""
IdentifiedBy = Literal["account_id", "customer_id", "number"]
"""What billing and Salesforce both know of a customer: the Salesforce Account Id, kept in a field of the billing
system (`account_id`); the billing system's own id, kept in the account's Billing_Id__c (`customer_id`); a company
number that both keep in a field, in Salesforce Company_Number__c (`number`)."""


@dataclass(frozen=True)
class Limits:
    """What a sandbox was told about limits.

    Args:
        per_minute: requests of one organization in any 60 seconds, instead of the vendor's own limits.
    """

    per_minute: int | None = None


@dataclass(frozen=True)
class StandIn:
    """A billing system with an API.

    Args:
        name: of the system, which is also that of its organization.
        field: where the identifier is, as the system names it, e.g. metadata.salesforce_account_id.
        identified_by: what the identifier is.
        customer_id: makes the id of a customer from its running number (from 0) and 64 bits of chance, unique
            whatever the chance; not asked where customers are identified by `customer_id`.
        credentials: makes an organization's, new and random, as the ready file names them. `access_token` and
            `refresh_token` among them are kept in `billing_token` too.
        app: makes the application; None where the Upflow stand-in serves the system, with the organization's
            Upflow credentials.
        base: path that the ready file's url ends with, e.g. /v1.
        login_path: where tokens are fetched, for vendors that do it on another host: `login_url` of the ready file.
    """

    name: str
    field: str
    identified_by: IdentifiedBy
    customer_id: Callable[[int, int], str]
    credentials: Callable[[], dict[str, str]]
    app: Callable[[State, Limits], ASGIApp] | None
    base: str = ""
    login_path: str = ""


class StandInError(Exception):
    """An answer that is an error; a vendor's own subclass makes the body in the vendor's words.

    Args:
        status: HTTP status.
        body: JSON.
        headers: of the answer.
    """

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.status, self.body, self.headers = status, body, headers

    def response(self) -> Response:
        """The answer."""
        return json_answer(self.body, self.status, self.headers)


class BillingApp:
    """An ASGI application that tells organizations apart, keeps their limits and counts their calls.

    A subclass has a `name`, says `per_second` or `per_minute` if its vendor has such limits, adds its routes in
    `__init__` with `route` and `open_route`, and overrides what its vendor says in its own words.

    Args:
        state: the state of all stand-ins.
        limits: what the sandbox was told; without it the vendor's own limits hold.
    """

    name: str
    per_second: int | None = None
    per_minute: int | None = None

    def __init__(self, state: State, limits: Limits) -> None:
        self.state = state
        own = [(60.0, self.per_minute), (1.0, self.per_second)]
        told = [(60.0, limits.per_minute)] if limits.per_minute is not None else own
        self._windows = [_Window(seconds, most) for seconds, most in told if most is not None]
        self._routes, self._open_routes = Routes(), Routes()

    def route(self, method: str, pattern: str, handler: Handler) -> None:
        """A route for callers who are known: handler(org, call, *segments), {name} in the pattern for any segment."""
        self._routes.add(method, pattern, handler)

    def open_route(self, method: str, pattern: str, handler: Handler) -> None:
        """A route for anybody, e.g. where tokens are fetched: handler(call, *segments). No limit is kept."""
        self._open_routes.add(method, pattern, handler)

    def authenticate(self, call: Call) -> str:
        """The organization that calls.

        Raises:
            StandInError: nobody we know.
        """
        raise NotImplementedError

    def unknown(self, call: Call, *, other_method: bool) -> StandInError:
        """What is said to a known caller about a path that isn't there, or not with this method."""
        status = 405 if other_method else 404
        return StandInError(status, {"message": "Method not allowed" if other_method else "Not found"})

    def too_many(self, retry_after: int) -> Response:
        """The answer to one request too many; in how many whole seconds the next is welcome."""
        return json_answer({"message": "Too many requests"}, 429, {"Retry-After": str(retry_after)})

    def too_large(self) -> Response:
        """The answer to a body of more than `web.LARGEST_BODY`."""
        return json_answer({"message": "Request body too large"}, 413)

    def headers(self, call: Call | None, org: str | None) -> dict[str, str]:
        """Headers that every answer has; nobody knows who calls (None) before `authenticate` has said so."""
        return {}

    def remaining(self, org: str) -> int | None:
        """Requests that the organization has left in the narrowest of its windows; None without limits."""
        return min((window.remaining(org) for window in self._windows), default=None)

    def org_with(self, name: str, value: str) -> str | None:
        """The organization of this system that has this credential."""
        sql = (
            "SELECT l.org FROM billing_login l JOIN organizations o ON o.org = l.org"
            " WHERE l.name = ? AND l.value = ? AND o.billing = ?"
        )
        row = self.state.row(sql, name, value, self.name)
        return str(row["org"]) if row else None

    def login(self, org: str) -> dict[str, str]:
        """An organization's credentials."""
        return {row["name"]: row["value"] for row in self.state.rows("SELECT * FROM billing_login WHERE org = ?", org)}

    def page_of(self, customer_id: str, note: str, facts: Callable[[sqlite3.Row], Facts] | None = None) -> Response:
        """What a person sees of a customer in the vendor's own pages, without a login.

        Args:
            customer_id: of one of this system's organizations.
            note: whose page it is.
            facts: what is shown of a row of `billing_customer`; without it what every system has.
        """
        row = self.state.row(
            "SELECT c.* FROM billing_customer c JOIN organizations o ON o.org = c.org"
            " WHERE c.customer_id = ? AND o.billing = ? AND NOT c.deleted",
            customer_id,
            self.name,
        )
        if row is None:
            return page("No such customer", [], status=404)
        shown: Facts = [(name, "none" if value in (None, "") else value) for name, value in (facts or _facts)(row)]
        return page(row["name"] or customer_id, shown, note=note)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        call = org = None
        try:
            call = await read_call(scope, receive)
            if call is None:
                return
            org, answer = self._answer(call)
        except BodyTooLarge:
            answer = self.too_large()
        for name, value in self.headers(call, org).items():
            answer.headers[name] = value
        await answer(scope, receive, send)

    def _answer(self, call: Call) -> tuple[str | None, Response]:
        """The organization, once known, and the answer. Every call is counted, under '' where nobody is known."""
        opened = self._open_routes.find(call.method, call.segments)
        found = opened or self._routes.find(call.method, call.segments)
        org = None
        try:
            if opened and opened[1]:
                return None, opened[1](call, *opened[2])
            org = self.authenticate(call)
            if wait := max((window.wait(org) for window in self._windows), default=0.0):
                return org, self.too_many(math.ceil(wait))
            for window in self._windows:
                window.count(org)
            if found is None or found[1] is None:
                raise self.unknown(call, other_method=found is not None)
            return org, found[1](org, call, *found[2])
        except StandInError as error:
            return org, error.response()
        finally:
            self.state.count_call(self.name, org or "", call.method, found[0] if found else "?")


def _facts(row: sqlite3.Row) -> Facts:
    return [("Customer", row["customer_id"]), ("E-mail", row["email"]), ("Shared identifier", row["identifier"])]


class _Window:
    """Counts each organization's requests in any such stretch of time."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds, self._most = seconds, most
        self._seen: dict[str, deque[float]] = {}

    def _current(self, org: str) -> deque[float]:
        seen = self._seen.setdefault(org, deque())
        while seen and seen[0] <= time.monotonic() - self._seconds:
            seen.popleft()
        return seen

    def wait(self, org: str) -> float:
        """Seconds until one more is allowed; 0 for now. A request refused does not count."""
        seen = self._current(org)
        return max(seen[0] + self._seconds - time.monotonic(), 0.001) if len(seen) >= self._most else 0.0

    def count(self, org: str) -> None:
        """One more request."""
        self._current(org).append(time.monotonic())

    def remaining(self, org: str) -> int:
        """How many more are allowed now."""
        return self._most - len(self._current(org))


def with_extra(record: dict[str, Any], row: sqlite3.Row) -> dict[str, Any]:
    """A record of the vendor's, with the fields that its row has `extra` added or put in their place."""
    extra: dict[str, Any] = json.loads(row["extra"])
    return record | extra
