"""Stripe's customers: list, retrieve, delete, and a page for people that looks after one customer.

The list is newest first; `starting_after` and `ending_before` name the customer next to the page. A deleted customer
leaves the list but is still found by its id, as a stub.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
import sqlite3
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sync_pipeline.sandbox.state import State
from sync_pipeline.sandbox.web import BodyTooLarge, Call, Routes, json_answer, page, read_call

VERSION = "2023-08-16"
_DEFAULT_LIMIT, _MOST = 10, 100
_CREATED = {f"created[{name}]": sign for name, sign in (("gt", ">"), ("gte", ">="), ("lt", "<"), ("lte", "<="))}
_CREATED["created"] = "="


class StripeError(Exception):
    """An answer that is an error, in Stripe's words."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        error = {"code": code, "message": message, "param": param, "type": "invalid_request_error"}
        if code:
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        self.body = {"error": {key: value for key, value in error.items() if value is not None}}


class StripeApp:
    """The stand-in. Organizations are told apart by their secret key."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._routes = Routes()
        self._routes.add("GET", "/v1/customers", self._list)
        self._routes.add("GET", "/v1/customers/{customer}", self._get)
        self._routes.add("DELETE", "/v1/customers/{customer}", self._delete)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        version = VERSION
        try:
            call = await read_call(scope, receive)
            if call is None:
                return
            version = call.headers.get("stripe-version") or VERSION
            answer = self._handle(call)
        except BodyTooLarge:
            answer = json_answer(StripeError(413, "Request body too large").body, 413)
        answer.headers["Request-Id"] = f"req_{secrets.token_hex(7)}"
        answer.headers["Stripe-Version"] = version
        await answer(scope, receive, send)

    def _handle(self, call: Call) -> Response:
        if call.segments[0] == "customers" and len(call.segments) == 2:
            return self._page(call.segments[1])
        found = self._routes.find(call.method, call.segments)
        org = None
        try:
            org = self._organization(call)
            if found is None or found[1] is None:
                raise StripeError(404, f"Unrecognized request URL ({call.method}: /{'/'.join(call.segments)}).")
            return found[1](org, call, *found[2])
        except StripeError as error:
            return json_answer(error.body, error.status)
        finally:
            self._state.count_call("stripe", org or "", call.method, found[0] if found else "?")

    def _organization(self, call: Call) -> str:
        """The organization whose key comes as a bearer token, or as the user of HTTP Basic."""
        kind, _, given = call.headers.get("authorization", "").partition(" ")
        key = given.strip()
        if kind.lower() == "basic":
            try:
                key = base64.b64decode(key).decode().partition(":")[0]
            except (binascii.Error, UnicodeDecodeError):
                key = "?"
        if not key:
            raise StripeError(
                401,
                "You did not provide an API key. You need to provide your API key in the Authorization header, using"
                " Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            )
        row = self._state.row("SELECT org FROM organizations WHERE stripe_key = ?", key)
        if row is None:
            raise StripeError(401, f"Invalid API Key provided: {key[:8]}{'*' * 12}{key[-4:] if len(key) > 16 else ''}")
        return str(row["org"])

    def _list(self, org: str, call: Call) -> Response:
        given = _parameters(call)
        limit = _whole(given, "limit", _DEFAULT_LIMIT)
        if not 1 <= limit <= _MOST:
            bound = "greater than or equal to 1" if limit < 1 else f"less than or equal to {_MOST}"
            raise StripeError(400, f"This value must be {bound}.", code="parameter_invalid_integer", param="limit")
        where, values = ["org = ?", "NOT deleted"], [org]
        if "starting_after" in given and "ending_before" in given:
            raise StripeError(400, "You may only specify one of these parameters: ending_before, starting_after.")
        for parameter, sign in (("starting_after", "<"), ("ending_before", ">")):
            if parameter in given:
                where.append(f"position {sign} ?")
                values.append(self._find(org, given[parameter], parameter)["position"])
        for parameter, sign in _CREATED.items():
            if parameter in given:
                where.append(f"created {sign} ?")
                values.append(str(_whole(given, parameter, 0)))
        if "email" in given:
            where.append("email = ?")
            values.append(given["email"])
        order = "ASC" if "ending_before" in given else "DESC"
        sql = f"SELECT * FROM stripe_customer WHERE {' AND '.join(where)} ORDER BY position {order} LIMIT ?"
        rows = self._state.rows(sql, *values, limit + 1)
        shown = [_customer(row) for row in rows[:limit]]
        if order == "ASC":
            shown.reverse()
        return json_answer({"object": "list", "data": shown, "has_more": len(rows) > limit, "url": "/v1/customers"})

    def _get(self, org: str, call: Call, customer: str) -> Response:
        row = self._find(org, customer, "id", 404)
        return json_answer(_stub(customer) if row["deleted"] else _customer(row))

    def _delete(self, org: str, call: Call, customer: str) -> Response:
        if self._find(org, customer, "id", 404)["deleted"]:
            raise _no_such(customer, "id", 404)
        self._state.db.execute("UPDATE stripe_customer SET deleted = 1 WHERE org = ? AND id = ?", (org, customer))
        return json_answer(_stub(customer))

    def _find(self, org: str, customer: str, parameter: str, status: int = 400) -> sqlite3.Row:
        row = self._state.row("SELECT * FROM stripe_customer WHERE org = ? AND id = ?", org, customer)
        if row is None:
            raise _no_such(customer, parameter, status)
        return row

    def _page(self, customer: str) -> Response:
        row = self._state.row("SELECT * FROM stripe_customer WHERE id = ? AND NOT deleted", customer)
        if row is None:
            return page("No such customer", [], status=404)
        facts: list[tuple[str, object]] = [
            ("Customer", row["id"]),
            ("E-mail", row["email"] or "none"),
            ("Currency", (row["currency"] or "none").upper()),
            ("Balance", f"{row['balance']} (minor units)"),
        ]
        facts += [(f"metadata.{key}", value) for key, value in json.loads(row["metadata"]).items()]
        return page(row["name"] or row["id"], facts, note="Customer in Stripe")


def _no_such(customer: str, parameter: str, status: int) -> StripeError:
    return StripeError(status, f"No such customer: '{customer}'", code="resource_missing", param=parameter)


def _stub(customer: str) -> dict[str, Any]:
    return {"id": customer, "object": "customer", "deleted": True}


def _customer(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "customer",
        "address": None
        if row["country"] is None
        else {
            "city": None,
            "country": row["country"],
            "line1": None,
            "line2": None,
            "postal_code": None,
            "state": None,
        },
        "balance": row["balance"],
        "created": row["created"],
        "currency": row["currency"],
        "default_source": None,
        "delinquent": False,
        "description": row["description"],
        "email": row["email"],
        "invoice_prefix": f"{row['position']:08X}",
        "livemode": False,
        "metadata": json.loads(row["metadata"]),
        "name": row["name"],
        "next_invoice_sequence": 1,
        "phone": row["phone"],
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def _parameters(call: Call) -> dict[str, str]:
    """The query; Stripe refuses a parameter it does not know."""
    known = {"limit", "starting_after", "ending_before", "email", *_CREATED}
    for name, _ in call.query:
        if name not in known and not re.fullmatch(r"expand(\[\d*\])?", name):
            raise StripeError(400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name)
    return dict(call.query)


def _whole(given: dict[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise StripeError(400, f"Invalid integer: {text}", code="parameter_invalid_integer", param=name)
    return int(text)
