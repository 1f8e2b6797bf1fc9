"""Upflow's API and two pages for people, as one ASGI application."""

from __future__ import annotations

import time

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sync_pipeline.sandbox.state import State
from sync_pipeline.sandbox.upflow.contacts import Contacts, CustomFields, Users
from sync_pipeline.sandbox.upflow.customers import Customers
from sync_pipeline.sandbox.upflow.limits import Limits, Refused
from sync_pipeline.sandbox.upflow.shapes import Problem
from sync_pipeline.sandbox.web import BodyTooLarge, Call, Routes, json_answer, page, read_call


class UpflowApp:
    """The stand-in. Organizations are told apart by their API key.

    Args:
        state: the state of all stand-ins.
        per_minute: requests of one organization in any 60 seconds.
    """

    def __init__(self, state: State, per_minute: int) -> None:
        self._state = state
        self._limits = Limits(per_minute)
        self._routes = _routes(state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        answer = await self._answer(scope, receive)
        if answer is not None:
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        headers = dict(scope["headers"])
        org = self._organization(headers.get(b"x-api-key", b""), headers.get(b"x-api-secret", b""))
        try:
            with self._limits.request(org or ""):
                call = await read_call(scope, receive)
                return self._handle(org, call) if call else None
        except Refused as error:
            return json_answer({"message": str(error)}, 429)
        except BodyTooLarge:
            return json_answer({"message": "Request entity too large"}, 413)

    def _organization(self, key: bytes, secret: bytes) -> str | None:
        sql = "SELECT org FROM organizations WHERE upflow_key = ? AND upflow_secret = ?"
        row = self._state.row(sql, key.decode("latin-1"), secret.decode("latin-1"))
        return row["org"] if row else None

    def _handle(self, org: str | None, call: Call) -> Response:
        if call.segments[0] != "v1":
            return self._page(call)
        found = self._routes.find(call.method, call.segments)
        self._state.count_call("upflow", org or "", call.method, found[0] if found else "?")
        if org is None:
            return json_answer({"message": "Unauthorized: X-Api-Key and X-Api-Secret are no known pair"}, 401)
        if found is None:
            return json_answer({"message": "Not found"}, 404)
        _, handler, segments = found
        if handler is None:
            return json_answer({"message": "Method not allowed"}, 405)
        try:
            return handler(org, call, *segments)
        except Problem as problem:
            return json_answer({"message": problem.message}, problem.status)

    def _page(self, call: Call) -> Response:
        """What a person sees who opens a portal link, or a customer's page."""
        if call.segments[0] == "portal" and len(call.segments) == 2:
            return self._portal(call.segments[1])
        if call.segments[:2] == ("app", "customers") and len(call.segments) == 3:
            return self._customer(call.segments[2])
        return page("Upflow", [], note="The API of this stand-in is at /v1.", status=404 if call.segments[0] else 200)

    def _portal(self, token: str) -> Response:
        row = self._state.row(
            "SELECT c.*, l.expires_at FROM upflow_portal_link l"
            " JOIN upflow_customer c ON c.org = l.org AND c.id = l.customer_id WHERE l.token = ?",
            token,
        )
        if row is None or row["expires_at"] <= time.time():
            return page("Invalid link", [], note="This link has expired or never existed.", status=404)
        if not row["portal"]:
            return page("Portal not found", [], note="Portal access is off for this customer.", status=404)
        until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(row["expires_at"]))
        owed = [("Outstanding", f"{row['balance'] / 100:,.2f}"), ("Invoices due", row["countInvoicesDue"])]
        return page(row["name"], [*owed, ("Link valid until", until)], note="Customer portal")

    def _customer(self, customer_id: str) -> Response:
        row = self._state.row("SELECT * FROM upflow_customer WHERE id = ?", customer_id)
        if row is None:
            return page("Customer not found", [], status=404)
        org = row["org"]
        manager = self._state.row(
            "SELECT email FROM upflow_user WHERE org = ? AND id = ?", org, row["accountManagerId"]
        )
        fields = self._state.rows(
            "SELECT f.name, v.value ->> 'value' AS value FROM json_each(?) v"
            " JOIN upflow_custom_field f ON f.org = ? AND f.id = v.value ->> 'id' ORDER BY f.name",
            row["customFields"] or "[]",
            org,
        )
        contacts = self._state.rows(
            "SELECT * FROM upflow_contact WHERE org = ? AND customer_id = ? ORDER BY isMain DESC, position_in_list",
            org,
            customer_id,
        )
        facts: list[tuple[str, object]] = [("External id", row["externalId"])]
        facts.append(("Assigned user", manager["email"] if manager else "nobody"))
        facts += [(field["name"], field["value"]) for field in fields]
        for contact in contacts:
            name = " ".join(filter(None, (contact["firstName"], contact["lastName"])))
            facts.append(("Main contact" if contact["isMain"] else "Contact", f"{name} <{contact['email']}>"))
        return page(row["name"], facts, note="Customer in Upflow")


def _routes(state: State) -> Routes:
    routes = Routes()
    customers = Customers(state)
    contacts, users, fields = Contacts(state, customers), Users(state), CustomFields(state)
    routes.add("GET", "/v1/customers", customers.list)
    routes.add("POST", "/v1/customers", customers.create)
    routes.add("GET", "/v1/customers/{customer}", customers.get)
    routes.add("PUT", "/v1/customers/{customer}", customers.replace)
    routes.add("DELETE", "/v1/customers/{customer}", customers.delete)
    routes.add("POST", "/v1/customers/{customer}/portal", customers.portal)
    routes.add("GET", "/v1/customers/{customer}/account-managers", customers.managers)
    routes.add("POST", "/v1/customers/{customer}/account-managers", customers.assign)
    routes.add("GET", "/v1/customers/{customer}/contacts", contacts.list)
    routes.add("POST", "/v1/customers/{customer}/contacts", contacts.create)
    routes.add("GET", "/v1/customers/{customer}/contacts/{contact}", contacts.get)
    routes.add("PUT", "/v1/customers/{customer}/contacts/{contact}", contacts.replace)
    routes.add("DELETE", "/v1/customers/{customer}/contacts/{contact}", contacts.delete)
    routes.add("GET", "/v1/users", users.list)
    routes.add("GET", "/v1/custom_fields", fields.list)
    routes.add("POST", "/v1/custom_fields", fields.create)
    routes.add("DELETE", "/v1/custom_fields/{field}", fields.delete)
    return routes
