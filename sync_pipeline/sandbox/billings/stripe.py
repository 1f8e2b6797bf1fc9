"""Stripe's customers: list, retrieve, delete, and a page for people that looks after one customer.

The list is newest first; `starting_after` and `ending_before` name the customer next to the page. A deleted customer
leaves the list but is still found by its id, as a stub.
"""

from __future__ import annotations

import base64
import re
import secrets
import sqlite3
from typing import Any

from starlette.responses import Response

from sync_pipeline.sandbox.billings.frame import BillingApp, Facts, Limits, StandIn, StandInError, with_extra
from sync_pipeline.sandbox.ids import stripe_customer_id
from sync_pipeline.sandbox.state import State
from sync_pipeline.sandbox.web import Call, json_answer

METADATA_KEY = "salesforce_account_id"
VERSION = "2023-08-16"
_DEFAULT_LIMIT, _MOST = 10, 100
_CREATED = {f"created[{name}]": sign for name, sign in (("gt", ">"), ("gte", ">="), ("lt", "<"), ("lte", "<="))}
_CREATED["created"] = "="


class StripeError(StandInError):
    """An answer that is an error, in Stripe's words."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        error = {"code": code, "message": message, "param": param, "type": "invalid_request_error"}
        if code:
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        super().__init__(status, {"error": {key: value for key, value in error.items() if value is not None}})


class StripeApp(BillingApp):
    """The stand-in. Organizations are told apart by their secret key."""

    name = "stripe"

    def __init__(self, state: State, limits: Limits) -> None:
        super().__init__(state, limits)
        self.open_route("GET", "/customers/{customer}", self._page)
        self.route("GET", "/v1/customers", self._list)
        self.route("GET", "/v1/customers/{customer}", self._get)
        self.route("DELETE", "/v1/customers/{customer}", self._delete)

    def headers(self, call: Call | None, org: str | None) -> dict[str, str]:
        """A name for the request, and the version that answered."""
        version = call.headers.get("stripe-version") if call else None
        return {"Request-Id": f"req_{secrets.token_hex(7)}", "Stripe-Version": version or VERSION}

    def too_large(self) -> Response:
        """In Stripe's words."""
        return StripeError(413, "Request body too large").response()

    def too_many(self, retry_after: int) -> Response:
        """Stripe does not say when to come back. Type, code and message are † from memory: the contract has none."""
        return StripeError(429, "Request rate limit exceeded.", code="rate_limit").response()

    def unknown(self, call: Call, *, other_method: bool) -> StripeError:
        """Stripe makes no difference between a path and a method."""
        return StripeError(404, f"Unrecognized request URL ({call.method}: /{'/'.join(call.segments)}).")

    def authenticate(self, call: Call) -> str:
        """The organization whose key comes as a bearer token, or as the user of HTTP Basic."""
        kind, _, given = call.headers.get("authorization", "").partition(" ")
        key = given.strip()
        if kind.lower() == "basic":
            try:
                key = base64.b64decode(key).decode().partition(":")[0]
            except ValueError:  # neither base64 nor text
                key = "?"
        if not key:
            raise StripeError(
                401,
                "You did not provide an API key. You need to provide your API key in the Authorization header, using"
                " Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            )
        org = self.org_with("api_key", key)
        if org is None:
            raise StripeError(401, f"Invalid API Key provided: {key[:8]}{'*' * 12}{key[-4:] if len(key) > 16 else ''}")
        return org

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
        sql = f"SELECT * FROM billing_customer WHERE {' AND '.join(where)} ORDER BY position {order} LIMIT ?"
        rows = self.state.rows(sql, *values, limit + 1)
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
        sql = "UPDATE billing_customer SET deleted = 1 WHERE org = ? AND customer_id = ?"
        self.state.db.execute(sql, (org, customer))
        return json_answer(_stub(customer))

    def _find(self, org: str, customer: str, parameter: str, status: int = 400) -> sqlite3.Row:
        row = self.state.row("SELECT * FROM billing_customer WHERE org = ? AND customer_id = ?", org, customer)
        if row is None:
            raise _no_such(customer, parameter, status)
        return row

    def _page(self, call: Call, customer: str) -> Response:
        def facts(row: sqlite3.Row) -> Facts:
            shown = _customer(row)
            balance = f"{shown['balance']} (minor units)"
            own = [("Customer", shown["id"]), ("E-mail", shown["email"]), ("Balance", balance)]
            own += [("Currency", (shown["currency"] or "none").upper())]
            return [*own, *((f"metadata.{key}", value) for key, value in shown["metadata"].items())]

        return self.page_of(customer, "Customer in Stripe", facts)


def _no_such(customer: str, parameter: str, status: int) -> StripeError:
    return StripeError(status, f"No such customer: '{customer}'", code="resource_missing", param=parameter)


def _stub(customer: str) -> dict[str, Any]:
    return {"id": customer, "object": "customer", "deleted": True}


def _customer(row: sqlite3.Row) -> dict[str, Any]:
    dice, address = row["dice"], dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
    metadata = {} if dice % 3 else {"plan": "pro" if dice % 2 else 'team "EU"'}
    if row["identifier"] is not None:
        metadata[METADATA_KEY] = row["identifier"]
    customer = {
        "id": row["customer_id"],
        "object": "customer",
        "address": None if row["country"] is None else address | {"country": row["country"]},
        "balance": row["minor_units"],
        "created": row["created"],
        "currency": row["currency"] if dice % 8 else None,
        "default_source": None,
        "delinquent": False,
        "description": "Invoices to head office.\nAttn: accounting" if dice % 23 == 0 else None,
        "email": row["email"],
        "invoice_prefix": f"{row['position']:08X}",
        "livemode": False,
        "metadata": metadata,
        "name": row["name"],
        "next_invoice_sequence": 1,
        "phone": row["phone"],
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }
    return with_extra(customer, row)


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


STAND_IN = StandIn(
    name="stripe",
    field=f"metadata.{METADATA_KEY}",
    identified_by="account_id",
    customer_id=stripe_customer_id,
    credentials=lambda: {"api_key": f"sk_test_{secrets.token_hex(25)}"},
    app=StripeApp,
)
