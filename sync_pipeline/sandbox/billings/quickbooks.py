"""QuickBooks Online's customers: a rotating login, and the query that lists or counts them.

Customers are identified by the custom field SalesforceId. The company's own words for errors are those that its clients
report; the contract has only their shape.
"""

from __future__ import annotations

import base64
import re
import secrets
import sqlite3
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.responses import Response

from sync_pipeline.sandbox.billings.frame import BillingApp, Limits, StandIn, StandInError, with_extra
from sync_pipeline.sandbox.billings.tokens import Tokens
from sync_pipeline.sandbox.state import State
from sync_pipeline.sandbox.web import Call, json_answer

ACCESS_SECONDS, REFRESH_SECONDS = 3600.0, 100 * 86_400.0
FIELD = "SalesforceId"
_DEFAULT, _MOST = 100, 1000
_DECIMALS = {"jpy": 0, "kwd": 3}
_ORDERS = {"id": "CAST(customer_id AS INTEGER)", "displayname": "name", "metadata.lastupdatedtime": "updated"}
_QUERY = re.compile(
    r"\s*select\s+(?P<what>\*|count\(\*\))\s+from\s+Customer"
    r"(?:\s+where\s+(?P<where>.+?))?(?:\s+orderby\s+(?P<order>[\w.]+)(?:\s+(?P<direction>asc|desc))?)?"
    r"(?:\s+startposition\s+(?P<start>\d+))?(?:\s+maxresults\s+(?P<most>\d+))?\s*",
    re.I,
)
_ACTIVE = re.compile(r"Active\s+in\s*\(\s*true\s*,\s*false\s*\)", re.I)
_SINCE = re.compile(r"MetaData\.LastUpdatedTime\s*>=\s*'([^']*)'", re.I)


class Fault(StandInError):
    """A refusal of the API; the gateway (`small`) writes its keys small. †"""

    def __init__(self, status: int, code: str, message: str, detail: str, *, small: bool = False) -> None:
        kind = {401: "AUTHENTICATION", 403: "AUTHORIZATION"}.get(status, "ValidationFault")
        error = {"Message": message, "Detail": detail, "code": code}
        body: dict[str, Any] = {"Fault": {"Error": [error], "type": kind}, "time": _time(datetime.now(UTC).timestamp())}
        if small:
            lower = {key.lower(): value for key, value in error.items()} | {"element": None}
            body = {"warnings": None, "fault": {"error": [lower], "type": kind}, "queryResponse": None}
        super().__init__(status, body)


def _gateway(status: int, name: str, code: str, detail: str) -> Fault:
    message = f"message={name}; errorCode={code.zfill(6)}; statusCode={status}"
    return Fault(status, code, message, detail, small=True)


class QuickBooksApp(BillingApp):
    """The stand-in. Organizations are told apart by their access token, and must name their company."""

    name = "quickbooks"
    per_minute = 500

    def __init__(self, state: State, limits: Limits) -> None:
        super().__init__(state, limits)
        self._tokens = Tokens(state, self.name)
        self.open_route("POST", "/oauth2/v1/tokens/bearer", self._token)
        self.open_route("GET", "/app/customerdetail", self._page)
        self.route("GET", "/v3/company/{company}/query", self._query)

    def headers(self, call: Call | None, org: str | None) -> dict[str, str]:
        """A name for the request."""
        return {"intuit_tid": f"1-{secrets.token_hex(4)}-{secrets.token_hex(12)}"}

    def too_many(self, retry_after: int) -> Response:
        """Intuit does not say when to come back. †"""
        return _gateway(429, "ThrottleExceeded", "3001", "You have sent too many requests.").response()

    def unknown(self, call: Call, *, other_method: bool) -> Fault:
        """No such address."""
        return Fault(404, "120", "Unsupported operation", "Operation is not supported.")

    def authenticate(self, call: Call) -> str:
        """The organization whose access token comes as a bearer token."""
        kind, _, token = call.headers.get("authorization", "").partition(" ")
        org = self._tokens.org_of(token.strip(), "access") if kind.lower() == "bearer" else None
        if org is None:
            raise _gateway(401, "AuthenticationFailed", "3200", "Token expired or invalid")
        return org

    def _token(self, call: Call) -> Response:
        """OAuth's token endpoint (RFC 6749); each refresh brings a new refresh token and ends the old one."""
        form = dict(parse_qsl(call.body.decode("utf-8", "replace")))
        kind, _, given = call.headers.get("authorization", "").partition(" ")
        try:
            client, _, secret = base64.b64decode(given).decode().partition(":")
        except ValueError:  # neither base64 nor text
            client = secret = ""
        org = self.org_with("client_id", client) if kind.lower() == "basic" else None
        if org is None or not secrets.compare_digest(self.login(org)["client_secret"].encode(), secret.encode()):
            raise StandInError(401, {"error": "invalid_client"})
        if form.get("grant_type") != "refresh_token":
            raise StandInError(400, {"error": "unsupported_grant_type"})
        old = form.get("refresh_token", "")
        fresh = self._tokens.rotate(old, REFRESH_SECONDS) if self._tokens.org_of(old, "refresh") == org else None
        if fresh is None:
            raise StandInError(
                400, {"error": "invalid_grant", "error_description": "Incorrect or invalid refresh token"}
            )
        answer = {"token_type": "bearer", "access_token": self._tokens.issue(org, "access", ACCESS_SECONDS)}
        lives = {"expires_in": int(ACCESS_SECONDS), "x_refresh_token_expires_in": int(REFRESH_SECONDS)}
        return json_answer(answer | {"refresh_token": fresh} | lives)

    def _query(self, org: str, call: Call, company: str) -> Response:
        if company != self.login(org)["company_id"]:
            raise _gateway(403, "ApplicationAuthorizationFailed", "3100", "The login is for another company")
        told = _QUERY.fullmatch(dict(call.query).get("query", ""))
        if told is None:
            raise Fault(400, "4000", "Error parsing query", "QueryParserError: Invalid query")
        where, values = _conditions(told["where"])
        start, most = int(told["start"] or 1), int(told["most"] or _DEFAULT)
        order = _ORDERS.get((told["order"] or "Id").lower())
        if order is None or start < 1 or not 1 <= most <= _MOST:
            raise Fault(400, "4001", "Invalid query", "QueryValidationError: Property or number not possible")
        condition = " AND ".join(["org = ?", "NOT deleted", *where])
        now = _time(datetime.now(UTC).timestamp())
        if told["what"] != "*":
            row = self.state.row(f"SELECT count(*) AS n FROM billing_customer WHERE {condition}", org, *values)
            return json_answer({"QueryResponse": {"totalCount": row["n"] if row else 0}, "time": now})
        rows = self.state.rows(
            f"SELECT * FROM billing_customer WHERE {condition} ORDER BY {order} {told['direction'] or ''} LIMIT ? OFFSET ?",
            org,
            *values,
            most,
            start - 1,
        )
        found = {"Customer": [_customer(row) for row in rows], "startPosition": start, "maxResults": len(rows)}
        return json_answer({"QueryResponse": found if rows else {}, "time": now})

    def _page(self, call: Call) -> Response:
        return self.page_of(dict(call.query).get("nameId", ""), "Customer in QuickBooks")


def _conditions(where: str | None) -> tuple[list[str], list[Any]]:
    """SQL and values; without a word about Active, only active customers are listed."""
    found, values, inactive_too = [], [], False
    for clause in re.split(r"\s+and\s+", where or "", flags=re.I):
        if since := _SINCE.fullmatch(clause.strip()):
            try:
                values.append(datetime.fromisoformat(since[1]).timestamp())
            except ValueError:
                raise Fault(400, "4000", "Error parsing query", "QueryParserError: Invalid date") from None
            found.append("updated >= ?")
        elif _ACTIVE.fullmatch(clause.strip()):
            inactive_too = True
        elif clause.strip():
            raise Fault(400, "4001", "Invalid query", "QueryValidationError: Property not queryable")
    return [*found, *([] if inactive_too else ["NOT archived"])], values


def _customer(row: sqlite3.Row) -> dict[str, Any]:
    """A customer as QuickBooks shows it: what is empty is left out."""
    dice, code = row["dice"], row["currency"] or ""
    owed = round(row["minor_units"] / 10 ** _DECIMALS.get(code, 2), 3)
    email = f"{row['email']}, second+{row['email']}" if dice % 7 == 0 else row["email"]
    custom = {"DefinitionId": "1", "Name": FIELD, "Type": "StringType", "StringValue": row["identifier"]}
    customer = {
        "Id": row["customer_id"],
        "SyncToken": "0",
        "MetaData": {"CreateTime": _time(row["created"]), "LastUpdatedTime": _time(row["updated"])},
        "DisplayName": row["name"],
        "FullyQualifiedName": row["name"],
        "CompanyName": None if row["is_individual"] else row["name"],
        "PrimaryEmailAddr": {"Address": email} if row["email"] else None,
        "PrimaryPhone": {"FreeFormNumber": row["phone"]} if row["phone"] else None,
        "BillAddr": {"Id": str(row["position"] + 1), "Country": row["country"]} if row["country"] else None,
        "CurrencyRef": {"value": code.upper(), "name": code.upper()} if code else None,
        "Balance": owed,
        "BalanceWithJobs": owed,
        "Active": not row["archived"],
        "Job": bool(row["parent_id"]),
        "ParentRef": {"value": row["parent_id"]} if row["parent_id"] else None,
        "CustomField": [custom] if row["identifier"] is not None else None,
        "Taxable": True,
        "PreferredDeliveryMethod": "None",
        "domain": "QBO",
        "sparse": False,
    }
    return with_extra({key: value for key, value in customer.items() if value is not None}, row)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def _credentials() -> dict[str, str]:
    return {
        "client_id": f"AB{secrets.token_hex(24)}",
        "client_secret": secrets.token_hex(20),
        "company_id": f"91303{secrets.randbelow(10**11):011d}",
        "access_token": secrets.token_urlsafe(48),
        "refresh_token": f"RT1-{secrets.token_urlsafe(32)}",
    }


STAND_IN = StandIn(
    name="quickbooks",
    field=f"CustomField.{FIELD}",
    identified_by="account_id",
    customer_id=lambda number, dice: str(number + 1),
    credentials=_credentials,
    app=QuickBooksApp,
    login_path="/oauth2/v1/tokens/bearer",
)
