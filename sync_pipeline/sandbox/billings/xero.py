"""Xero's contacts: tokens by client credentials or a rotating refresh token, connections, and the paged list.

Customers are identified by AccountNumber. Errors are in Xero's words as far as its documents tell them.
"""

from __future__ import annotations

import base64
import re
import secrets
import sqlite3
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.responses import Response

from sync_pipeline.sandbox.billings.frame import BillingApp, Limits, StandIn, StandInError, with_extra
from sync_pipeline.sandbox.billings.tokens import Tokens
from sync_pipeline.sandbox.state import State
from sync_pipeline.sandbox.web import Call, json_answer

PER_DAY = 5000
ACCESS_SECONDS, REFRESH_SECONDS = 30 * 60.0, 60 * 86_400.0
_DEFAULT_SIZE, _MOST = 100, 1000  # † the most is no word of the contract's; clients cap it at 1000
_DECIMALS = {"jpy": 0, "kwd": 3}
_ORDERS = {
    "ContactID": "customer_id",
    "Name": "name, customer_id",
    "UpdatedDateUTC": "updated, customer_id",
}


class XeroError(StandInError):
    """A refusal of Xero's gateway. † Its shape and words are from memory: the contract has none."""

    def __init__(self, status: int, title: str, detail: str, headers: dict[str, str] | None = None) -> None:
        body = {"Type": None, "Title": title, "Status": status, "Detail": detail, "Instance": str(uuid.uuid4())}
        super().__init__(status, body, headers)


class XeroApp(BillingApp):
    """The stand-in. Organizations are told apart by their access token, and must name their tenant."""

    name = "xero"
    per_minute = 60

    def __init__(self, state: State, limits: Limits) -> None:
        super().__init__(state, limits)
        self._tokens = Tokens(state, self.name)
        self._calls: dict[str, int] = {}
        self.open_route("POST", "/connect/token", self._token)
        self.open_route("GET", "/Contacts/View/{contact}", self._page)
        self.route("GET", "/connections", self._connections)
        self.route("GET", "/api.xro/2.0/Contacts", self._list)

    def headers(self, call: Call | None, org: str | None) -> dict[str, str]:
        """What is left of the minute and of the day."""
        if org is None:
            return {}
        self._calls[org] = self._calls.get(org, 0) + 1
        return {
            "X-MinLimit-Remaining": str(self.remaining(org)),
            "X-DayLimit-Remaining": str(max(0, PER_DAY - self._calls[org])),
        }

    def too_many(self, retry_after: int) -> Response:
        """Xero says which limit it was, and has no body for it. †"""
        return Response(b"", 429, {"Retry-After": str(retry_after), "X-Rate-Limit-Problem": "minute"})

    def unknown(self, call: Call, *, other_method: bool) -> XeroError:
        """No such address."""
        return XeroError(404, "NotFound", "The resource you're looking for cannot be found")

    def authenticate(self, call: Call) -> str:
        """The organization whose access token comes as a bearer token, asking for its own tenant."""
        kind, _, token = call.headers.get("authorization", "").partition(" ")
        org = self._tokens.org_of(token.strip(), "access") if kind.lower() == "bearer" else None
        if org is None:
            detail = "TokenExpired: token expired or unknown" if token else "AuthenticationUnsuccessful"
            raise XeroError(401, "Unauthorized", detail)
        if call.segments[0] != "connections" and call.headers.get("xero-tenant-id") != self.login(org)["tenant_id"]:
            raise XeroError(403, "Forbidden", "AuthenticationUnsuccessful")
        return org

    def _token(self, call: Call) -> Response:
        """OAuth's token endpoint (RFC 6749): the app proves itself by HTTP Basic."""
        form = dict(parse_qsl(call.body.decode("utf-8", "replace")))
        org = self._app(call, form)
        if org is None:
            raise StandInError(400, {"error": "invalid_client"})
        answer: dict[str, Any] = {"expires_in": int(ACCESS_SECONDS), "token_type": "Bearer"}
        if form.get("grant_type") == "refresh_token":
            given = form.get("refresh_token", "")
            fresh = (
                self._tokens.rotate(given, REFRESH_SECONDS) if self._tokens.org_of(given, "refresh") == org else None
            )
            if fresh is None:
                raise StandInError(400, {"error": "invalid_grant"})
            answer["refresh_token"] = fresh
        elif form.get("grant_type") != "client_credentials":
            raise StandInError(400, {"error": "unsupported_grant_type"})
        answer["access_token"] = self._tokens.issue(org, "access", ACCESS_SECONDS)
        return json_answer(answer | {"scope": form.get("scope", "accounting.contacts.read")})

    def _app(self, call: Call, form: dict[str, str]) -> str | None:
        client, secret = form.get("client_id", ""), form.get("client_secret", "")
        kind, _, given = call.headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                client, _, secret = base64.b64decode(given).decode().partition(":")
            except ValueError:  # neither base64 nor text
                return None
        org = self.org_with("client_id", client)
        return (
            org if org and secrets.compare_digest(self.login(org)["client_secret"].encode(), secret.encode()) else None
        )

    def _connections(self, org: str, call: Call) -> Response:
        tenant = self.login(org)["tenant_id"]
        one = {"id": str(uuid.uuid4()), "tenantId": tenant, "tenantType": "ORGANISATION", "tenantName": org}
        return json_answer([one])

    def _list(self, org: str, call: Call) -> Response:
        given = dict(call.query)
        page_number, size = _whole(given, "page", 1), min(_whole(given, "pageSize", _DEFAULT_SIZE), _MOST)
        where, values = ["org = ?", "NOT deleted"], [org]
        if given.get("includeArchived", "false").lower() != "true":
            where.append("NOT archived")
        if since := call.headers.get("if-modified-since"):
            where.append("updated >= ?")
            values.append(str(_moment(since)))
        order, _, direction = given.get("order", "UpdatedDateUTC").partition(" ")
        if order not in _ORDERS or direction not in ("", "ASC", "DESC"):
            raise _invalid(f"No property or field '{order}' exists in type 'Contact'")
        condition = " AND ".join(where)
        counted = self.state.row(f"SELECT count(*) AS n FROM billing_customer WHERE {condition}", *values)
        count = int(counted["n"]) if counted else 0
        rows = self.state.rows(
            f"SELECT * FROM billing_customer WHERE {condition} ORDER BY {_ORDERS[order]}"
            f"{' DESC' if direction == 'DESC' else ''} LIMIT ? OFFSET ?",
            *values,
            size,
            (page_number - 1) * size,
        )
        numbers = {"page": page_number, "pageSize": size, "pageCount": -(-count // size), "itemCount": count}
        head = {"Id": str(uuid.uuid4()), "Status": "OK", "ProviderName": "Sandbox"}
        return json_answer({**head, "pagination": numbers, "Contacts": [_contact(row) for row in rows]})

    def _page(self, call: Call, contact: str) -> Response:
        shown = ("ContactID", "AccountNumber", "EmailAddress", "ContactStatus")
        return self.page_of(contact, "Contact in Xero", lambda row: [(key, _contact(row).get(key)) for key in shown])


def _contact(row: sqlite3.Row) -> dict[str, Any]:
    """A contact as Xero shows it: what is empty is left out."""
    dice, code = row["dice"], row["currency"] or ""
    owed = round(row["minor_units"] / 10 ** _DECIMALS.get(code, 2), 3)
    contact = {
        "ContactID": row["customer_id"],
        "AccountNumber": row["identifier"],
        "ContactNumber": f"C{row['position'] + 1:07d}" if dice % 5 else None,
        "ContactStatus": "ARCHIVED" if row["archived"] or row["merged_into"] else "ACTIVE",
        "MergedToContactID": row["merged_into"],
        "Name": row["name"],
        "EmailAddress": row["email"],
        "ContactPersons": [{"FirstName": "Billing", "EmailAddress": f"second+{row['email']}", "IncludeInEmails": True}]
        if row["email"] and dice % 7 == 0
        else [],
        "Addresses": [{"AddressType": "STREET", "Country": row["country"] or ""}],
        "Phones": [{"PhoneType": "DEFAULT", "PhoneNumber": row["phone"] or ""}],
        "UpdatedDateUTC": f"/Date({row['updated'] * 1000}+0000)/",
        "ContactGroups": [],
        "IsSupplier": dice % 6 == 0,
        "IsCustomer": row["minor_units"] != 0,
        "DefaultCurrency": code.upper() or None,
        "Balances": {
            "AccountsReceivable": {"Outstanding": owed, "Overdue": 0.0},
            "AccountsPayable": {"Outstanding": 0.0, "Overdue": 0.0},
        }
        if owed
        else None,
        "HasAttachments": False,
        "HasValidationErrors": False,
    }
    return with_extra({key: value for key, value in contact.items() if value is not None}, row)


def _invalid(message: str) -> StandInError:
    return StandInError(400, {"ErrorNumber": 16, "Type": "QueryParseException", "Message": message})


def _whole(given: dict[str, str], name: str, default: int) -> int:
    told = given.get(name, str(default))
    if not re.fullmatch(r"[1-9][0-9]{0,8}", told):
        raise _invalid(f"Invalid {name}")
    return int(told)


def _moment(told: str) -> int:
    try:
        moment = datetime.fromisoformat(told)
    except ValueError:
        raise _invalid("Invalid If-Modified-Since") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _contact_id(number: int, dice: int) -> str:
    return str(uuid.UUID(int=(dice << 64 | 0x8000_0000_0000_0000 | number), version=4))


def _credentials() -> dict[str, str]:
    return {
        "client_id": secrets.token_hex(16).upper(),
        "client_secret": secrets.token_urlsafe(36),
        "tenant_id": str(uuid.uuid4()),
        "access_token": secrets.token_urlsafe(48),
        "refresh_token": secrets.token_urlsafe(32),
    }


STAND_IN = StandIn(
    name="xero",
    field="AccountNumber",
    identified_by="number",
    customer_id=_contact_id,
    credentials=_credentials,
    app=XeroApp,
    login_path="/connect/token",
)
