"""Zuora's accounts: tokens by client credentials, and Object Query's list with its filters, orders and cursors.

Customers are identified by crmId, the native field for the Salesforce Account Id. What the list refuses is Zuora's; the
words are from its documents as far as those tell them, else marked.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
import sqlite3
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl

from starlette.responses import Response

from sync_pipeline.sandbox.billings.frame import BillingApp, Facts, Limits, StandIn, StandInError, with_extra
from sync_pipeline.sandbox.billings.tokens import Tokens
from sync_pipeline.sandbox.state import State
from sync_pipeline.sandbox.web import Call, json_answer

ACCESS_SECONDS = 3600.0
_DEFAULT, _MOST = 10, 50  # newer documents say 99; what works with 50 works with both
_DECIMALS = {"jpy": 0, "kwd": 3}
_ZONE = timezone(timedelta(hours=-8))
"""Of the tenant: Zuora writes times with its offset."""
_SORTED = {"id": "customer_id", "updateddate": "updated", "accountnumber": "position"}
_FILTERED = {"id": "customer_id", "updateddate": "updated", "crmid": "identifier"}
"""Fields (Zuora does not heed letter case) and their columns; Zuora has more."""
_OPERATORS = {"EQ": "=", "NE": "<>", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}
_FILTER = re.compile(r"(?P<field>\w+)\.(?P<operator>[A-Z]{2}):(?P<value>.*)", re.I | re.S)


class ZuoraError(StandInError):
    """A refusal. The code's last two digits say of what kind; 500000 stands for a request without a body."""

    def __init__(self, status: int, category: int, message: str, headers: dict[str, str] | None = None) -> None:
        reasons = [{"code": int(f"{'900000' if category in (10, 11) else '500000'}{category}"), "message": message}]
        body = {"success": False, "processId": secrets.token_hex(8).upper(), "reasons": reasons}
        super().__init__(status, body, headers)


class ZuoraApp(BillingApp):
    """The stand-in. Organizations are told apart by their access token; each is one entity."""

    name = "zuora"
    per_minute = 50_000

    def __init__(self, state: State, limits: Limits) -> None:
        super().__init__(state, limits)
        self._tokens = Tokens(state, self.name)
        self.open_route("POST", "/oauth/token", self._token)
        self.open_route("GET", "/apps/CustomerAccount.do", self._page)
        self.route("GET", "/object-query/accounts", self._list)

    def headers(self, call: Call | None, org: str | None) -> dict[str, str]:
        """A name for the request, the caller's own name for it, and what is left of the limits."""
        told = {"Zuora-Request-Id": str(uuid.uuid4())}
        if call and (track := call.headers.get("zuora-track-id")):
            told["Zuora-Track-Id"] = track[:64]
        if org is not None:
            told["ratelimit-limit"] = f"{self.per_minute}, {self.per_minute};w=60, 2250000;w=3600, 27000000;w=86400"
            told["ratelimit-remaining"], told["ratelimit-reset"] = str(self.remaining(org)), "60"
        return told

    def too_many(self, retry_after: int) -> Response:
        """Too many requests."""
        again = {"Retry-After": str(retry_after)}
        return ZuoraError(429, 70, "Request exceeded limit", again).response()

    def unknown(self, call: Call, *, other_method: bool) -> ZuoraError:
        """No such address."""
        if other_method:
            return ZuoraError(405, 45, "Unsupported request")
        return ZuoraError(404, 40, "The requested resource was not found")

    def authenticate(self, call: Call) -> str:
        """The organization whose access token comes as a bearer token, asking for its own entity or for none."""
        kind, _, token = call.headers.get("authorization", "").partition(" ")
        org = self._tokens.org_of(token.strip(), "access") if kind.lower() == "bearer" else None
        if org is None:
            raise StandInError(401, {"message": "Authentication error"})
        if call.headers.get("zuora-entity-ids", (entity := self.login(org)["entity_id"])) != entity:
            raise ZuoraError(403, 10, "You do not have access to the entity")  # †
        return org

    def _token(self, call: Call) -> Response:
        """OAuth's token endpoint (RFC 6749), which takes id and secret in the form. Its refusals are RFC 6749's. †"""
        form = dict(parse_qsl(call.body.decode("utf-8", "replace")))
        if call.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
            raise StandInError(415, {"error": "invalid_request"})
        org = self.org_with("client_id", form.get("client_id", ""))
        given = form.get("client_secret", "").encode()
        if org is None or not secrets.compare_digest(self.login(org)["client_secret"].encode(), given):
            said = {"error": "invalid_client", "error_description": "Bad client credentials"}
            raise StandInError(401, said)
        if form.get("grant_type") != "client_credentials":
            raise StandInError(400, {"error": "unsupported_grant_type"})
        token = self._tokens.issue(org, "access", ACCESS_SECONDS)
        scope = f"entity.{self.login(org)['entity_id']} platform.write tenant.19"
        lives = int(ACCESS_SECONDS) - 1
        return json_answer(
            {
                "access_token": token,
                "token_type": "bearer",
                "expires_in": lives,
                "scope": scope,
                "jti": uuid.uuid4().hex,
            }
        )

    def _list(self, org: str, call: Call) -> Response:
        size = next((value for name, value in call.query if name == "pageSize"), str(_DEFAULT))
        if not re.fullmatch(r"[1-9][0-9]?", size) or int(size) > _MOST:
            raise ZuoraError(400, 27, f"pageSize must be between 1 and {_MOST}")  # †
        where, values = ["org = ?", "NOT deleted"], [org]
        for one in _all(call, "filter[]"):
            _filter(one, where, values)
        keys = _order(_all(call, "sort[]"))
        if cursor := next((value for name, value in call.query if name == "cursor"), None):
            _after(cursor, keys, where, values)
        expanded = {one.lower() for given in _all(call, "expand[]") for one in given.split(",")}
        if unknown := expanded - {"billto", "soldto"}:
            raise ZuoraError(400, 27, f"Invalid expand: {min(unknown)}")  # †
        order = ", ".join(f"{_SORTED[field]} {direction}" for field, direction in keys)
        rows = self.state.rows(
            f"SELECT * FROM billing_customer WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?",
            *values,
            int(size) + 1,
        )
        shown = rows[: int(size)]
        answer: dict[str, Any] = {"data": [_account(row, expanded) for row in shown]}
        if len(rows) > len(shown):
            answer = {"nextPage": _cursor(shown[-1], keys)} | answer
        return json_answer(answer)

    def _page(self, call: Call) -> Response:
        def facts(row: sqlite3.Row) -> Facts:
            shown = _account(row, {"billto"})
            email = shown.get("billTo", {}).get("workEmail")
            return [*((key, shown.get(key)) for key in ("id", "accountNumber", "crmId", "status")), ("E-mail", email)]

        return self.page_of(dict(call.query).get("id", ""), "Account in Zuora", facts)


def _all(call: Call, name: str) -> list[str]:
    return [value for given, value in call.query if given == name and value]


def _filter(told: str, where: list[str], values: list[Any]) -> None:
    """Add the condition of one filter[]; several must all hold."""
    found = _FILTER.fullmatch(told)
    field, operator = (found["field"].lower(), found["operator"].upper()) if found else ("", "")
    if found is None or operator not in _OPERATORS or field not in _FILTERED:
        raise ZuoraError(400, 27, f"Invalid filter: {told}")  # †
    value: str | float = found["value"]
    if field == "updateddate":
        try:
            value = datetime.fromisoformat(found["value"]).timestamp()
        except ValueError:
            raise ZuoraError(400, 20, f"Invalid filter: {told}") from None  # †
    elif operator not in ("EQ", "NE"):
        raise ZuoraError(400, 27, f"Invalid filter: {told}")  # †
    where.append(f"{_FILTERED[field]} {_OPERATORS[operator]} ?")
    values.append(value)


def _order(told: list[str]) -> list[tuple[str, str]]:
    """Fields and directions; what is equal goes by id, in the same direction. Unless told otherwise: newest first."""
    field, _, direction = (told[0] if told else "updateddate.DESC").partition(".")
    field, direction = field.lower(), direction.upper()
    if len(told) > 1 or field not in _SORTED or direction not in ("ASC", "DESC"):
        raise ZuoraError(400, 27, "Invalid sort")  # †
    return [(field, direction), *([("id", direction)] if field != "id" else [])]


def _cursor(row: sqlite3.Row, keys: list[tuple[str, str]]) -> str:
    """Names the last row of a page by what the list is sorted by, as Zuora's do; so deleting that row does no harm."""
    told = [{"value": row[_SORTED[field]], "orderBy": {"field": field, "order": order}} for field, order in keys]
    return base64.b64encode(json.dumps(told).encode()).decode()


def _after(cursor: str, keys: list[tuple[str, str]], where: list[str], values: list[Any]) -> None:
    """Add the condition that a row comes after the cursor's."""
    try:
        told = json.loads(base64.b64decode(cursor, validate=True))
        found = [(one["orderBy"]["field"], one["orderBy"]["order"]) for one in told]
        last = [one["value"] for one in told]
    except (binascii.Error, ValueError, TypeError, KeyError):
        found, last = [], []
    if found != keys or not all(isinstance(one, str | int) for one in last):
        raise ZuoraError(400, 27, "Invalid cursor")  # †
    columns = ", ".join(_SORTED[field] for field, _ in keys)
    where.append(f"({columns}) {'>' if keys[0][1] == 'ASC' else '<'} ({', '.join('?' * len(keys))})")
    values.extend(last)


def _account(row: sqlite3.Row, expanded: set[str]) -> dict[str, Any]:
    """An account as Object Query shows it: what is null is left out."""
    dice, code = row["dice"], row["currency"] or ""
    owed = round(row["minor_units"] / 10 ** _DECIMALS.get(code, 2), 3)
    contact = _contact(row)
    account = {
        "id": row["customer_id"],
        "createdById": "2c92c0f972a852360172bbe22ac551b6",
        "createdDate": _time(row["created"]),
        "updatedById": "2c92c0f972a852360172bbe22ac551b6",
        "updatedDate": _time(row["updated"]),
        "accountNumber": f"A{row['position'] + 1:08d}",
        "additionalEmailAddresses": f"second+{row['email']}" if row["email"] and dice % 7 == 0 else None,
        "allowInvoiceEdit": False,
        "autoPay": dice % 3 == 0,
        "balance": owed,
        "batch": f"Batch{dice % 50 + 1}",
        "bcdSettingOption": "AutoSet",
        "billCycleDay": dice % 31 + 1,
        "billToId": contact["id"],
        "crmId": row["identifier"],
        "currency": code.upper() or None,
        "invoiceDeliveryPrefsEmail": True,
        "name": row["name"],
        "parentId": row["parent_id"],
        "paymentTerm": ("Net 30", "Net 60", "Due Upon Receipt")[dice % 3],
        "soldToId": contact["id"],
        "status": "Canceled" if row["archived"] else "Draft" if dice % 23 == 0 else "Active",
        "totalInvoiceBalance": owed,
        "billTo": contact if "billto" in expanded else None,
        "soldTo": contact if "soldto" in expanded else None,
        "CustomerType__NS": ("Individual" if row["is_individual"] else "Company") if dice % 2 else None,
        "Tier__c": ("gold", "silver", None)[dice % 3],
    }
    return with_extra({key: value for key, value in account.items() if value is not None}, row)


def _contact(row: sqlite3.Row) -> dict[str, Any]:
    contact = {
        "id": f"c{row['customer_id'][1:]}",
        "accountId": row["customer_id"],
        "firstName": "Billing",
        "lastName": "Department",
        "country": row["country"],
        "workEmail": row["email"],
        "workPhone": row["phone"],
        "createdDate": _time(row["created"]),
        "updatedDate": _time(row["created"]),
    }
    return {key: value for key, value in contact.items() if value is not None}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), _ZONE).isoformat()


def _account_id(number: int, dice: int) -> str:
    return f"8ad0{dice & 0xFFFF_FFFF_FFFF:012x}{number:016x}"


def _credentials() -> dict[str, str]:
    return {
        "client_id": str(uuid.uuid4()),
        "client_secret": secrets.token_urlsafe(30),
        "entity_id": str(uuid.uuid4()),
    }


STAND_IN = StandIn(
    name="zuora",
    field="crmId",
    identified_by="account_id",
    customer_id=_account_id,
    credentials=_credentials,
    app=ZuoraApp,
)
