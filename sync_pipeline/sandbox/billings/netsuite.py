"""NetSuite's customers by SuiteQL, its token endpoint, and token-based authentication; a page for people beside them.

There is no published contract of SuiteQL. What stands here is what NetSuite's help and its customers' reports say; †
marks what is believed.
"""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Any
from urllib.parse import parse_qsl, unquote
from zoneinfo import ZoneInfo

import jwt
from starlette.responses import Response

from sync_pipeline.sandbox.billings.frame import BillingApp, Limits, StandIn, StandInError, with_extra
from sync_pipeline.sandbox.billings.netsuite_login import is_signed, is_vouched_for, new_credentials
from sync_pipeline.sandbox.billings.suiteql import Query, Table, UnknownQuery, parse, shown
from sync_pipeline.sandbox.billings.tokens import Tokens
from sync_pipeline.sandbox.state import State
from sync_pipeline.sandbox.web import Call, json_answer

FIELD = "custentity_sf_account_id"
SUITEQL = "/services/rest/query/v1/suiteql"
TOKEN = "/services/rest/auth/oauth2/v1/token"  # noqa: S105, an address
ZONE = ZoneInfo("America/Los_Angeles")
"""Of every account here, with its day first: 24.11.2026 in no format that sorts."""
OWN_FORMAT = "%d.%m.%Y"
MOST = 1000
CEILING = 100_000
TOKEN_SECONDS = 3600
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_DECIMALS = {"bif": 0, "clp": 0, "jpy": 0, "krw": 0, "vnd": 0, "xaf": 0, "xof": 0, "bhd": 3, "kwd": 3, "tnd": 3}
_OF_CURRENCY = "(unicode(currency) * 676 + unicode(substr(currency, 2)) * 26 + unicode(substr(currency, 3)))"

TABLES = {
    "customer": Table(
        {
            "id": "CAST(customer_id AS INTEGER)",
            "entityid": "('C' || position)",
            "email": "email",
            "altname": "name",
            "isinactive": "CASE WHEN archived THEN 'T' ELSE 'F' END",
            "isperson": "CASE WHEN is_individual THEN 'T' ELSE 'F' END",
            "currency": _OF_CURRENCY,
            "parent": "CAST(parent_id AS INTEGER)",
            "datecreated": "created",
            "lastmodifieddate": "updated",
            FIELD: "identifier",
        },
        frozenset({"datecreated", "lastmodifieddate"}),
    ),
    "currency": Table({"id": _OF_CURRENCY, "symbol": "upper(currency)", "name": "upper(currency)"}),
}
_FROM = {
    "customer": "(SELECT * FROM billing_customer WHERE org = ? AND NOT deleted)",
    "currency": "(SELECT DISTINCT currency FROM billing_customer WHERE org = ? AND currency IS NOT NULL)",
}


class NetSuiteError(StandInError):
    """An answer that is an error, in NetSuite's words."""

    def __init__(self, status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> None:
        titles = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 429: "Too Many Requests"}
        body = {
            "type": "https://www.rfc-editor.org/rfc/rfc9110.html#name-status-codes",
            "title": titles.get(status, "Error"),
            "status": status,
            "o:errorDetails": [{"detail": detail, "o:errorCode": code}],
        }
        super().__init__(status, body, headers)


class NetSuiteApp(BillingApp):
    """The stand-in. Accounts are told apart by who logs in."""

    name = "netsuite"
    ceiling = CEILING

    def __init__(self, state: State, limits: Limits) -> None:
        super().__init__(state, limits)
        self._tokens = Tokens(state, self.name)
        self._nonces: set[tuple[str, str]] = set()
        self.open_route("POST", TOKEN, self._token)
        self.open_route("GET", "/app/common/entity/custjob.nl", self._page)
        self.route("POST", SUITEQL, self._suiteql)

    def unknown(self, call: Call, *, other_method: bool) -> NetSuiteError:
        """In NetSuite's words †."""
        if other_method:
            return NetSuiteError(405, "METHOD_NOT_ALLOWED", "The method is not allowed for this resource.")
        return NetSuiteError(404, "NONEXISTENT_ID", "The record path was not found.")

    def too_many(self, retry_after: int) -> Response:
        """NetSuite limits requests at once; whoever is over is told so, but not when to come back †."""
        detail = "Concurrent request limit exceeded. Request blocked."
        return NetSuiteError(429, "CONCURRENCY_LIMIT_EXCEEDED", detail).response()

    def too_large(self) -> Response:
        """In NetSuite's words †."""
        return NetSuiteError(413, "USER_ERROR", "The request is too large.").response()

    def authenticate(self, call: Call) -> str:
        """The organization of a bearer token, or of a request signed by OAuth 1.0."""
        kind, _, given = call.headers.get("authorization", "").partition(" ")
        org = None
        if kind.lower() == "bearer":
            org = self._tokens.org_of(given.strip(), "access")
        elif kind.lower() == "oauth":
            org = self._signer(call, {n: unquote(v) for n, v in re.findall(r'(\w+)="([^"]*)"', given)})
        if org is None:
            detail = (
                "Invalid login attempt. For more details, see the Login Audit Trail in the NetSuite UI at Setup > "
                "Users/Roles > User Management > View Login Audit Trail."
            )
            raise NetSuiteError(401, "INVALID_LOGIN", detail)
        return org

    def _signer(self, call: Call, told: dict[str, str]) -> str | None:
        """Whose signature it is; one serves once."""
        org = self.org_with("token_id", told.get("oauth_token", ""))
        once = (told.get("oauth_timestamp", ""), told.get("oauth_nonce", ""))
        if org is None or once in self._nonces or not is_signed(call, self.login(org), told):
            return None
        self._nonces.add(once)
        return org

    def _token(self, call: Call) -> Response:
        form = dict(parse_qsl(call.body.decode("utf-8", "replace")))
        if form.get("grant_type") != "client_credentials" or form.get("client_assertion_type") != _ASSERTION:
            raise StandInError(400, {"error": "unsupported_grant_type"})
        assertion = form.get("client_assertion", "")
        try:
            certificate = str(jwt.get_unverified_header(assertion).get("kid"))
        except jwt.PyJWTError:
            raise StandInError(400, {"error": "invalid_request"}) from None
        org = self.org_with("certificate_id", certificate)
        if org is None or not is_vouched_for(self.login(org), assertion, call.base + TOKEN):
            raise StandInError(401, {"error": "invalid_client"})
        token = self._tokens.issue(org, "access", TOKEN_SECONDS)
        return json_answer({"access_token": token, "expires_in": str(TOKEN_SECONDS), "token_type": "bearer"})

    def _suiteql(self, org: str, call: Call) -> Response:
        if call.headers.get("prefer", "").lower() != "transient":
            raise NetSuiteError(400, "INVALID_HEADER", "Required request header 'Prefer: transient' is missing.")
        limit, offset = self._window(call)
        try:
            text = json.loads(call.body)["q"]
            query = parse(str(text), TABLES, ZONE)
        except (ValueError, KeyError, TypeError):
            raise NetSuiteError(400, "INVALID_CONTENT", "Invalid content in the request body: 'q' is needed.") from None
        except UnknownQuery as error:
            detail = f"Invalid search query. Detailed unprocessed description follows. Search error occurred: {error}."
            raise NetSuiteError(400, "INVALID_PARAMETER", detail) from None
        total, items = self._found(org, query, limit, offset)
        count = len(items)
        at = f"{call.base}{SUITEQL}"
        more = offset + count < total
        links = [{"rel": "self", "href": f"{at}?limit={limit}&offset={offset}"}]
        if more:
            links.insert(0, {"rel": "next", "href": f"{at}?limit={limit}&offset={offset + limit}"})
        return json_answer(
            {"links": links, "count": count, "hasMore": more, "items": items, "offset": offset, "totalResults": total}
        )

    def _window(self, call: Call) -> tuple[int, int]:
        """Limit and offset; no row behind the ceiling is given, whatever the query."""
        given = dict(call.query)
        limit, offset = given.get("limit", str(MOST)), given.get("offset", "0")
        if not re.fullmatch(r"\d{1,9}", limit) or not 1 <= int(limit) <= MOST:
            raise NetSuiteError(400, "INVALID_PARAMETER", f"Provided limit is out of range: 1 to {MOST}.")
        if not re.fullmatch(r"\d{1,9}", offset) or int(offset) % int(limit):
            raise NetSuiteError(400, "INVALID_PARAMETER", "Provided offset must be divisible by limit.")
        if int(offset) + int(limit) > self.ceiling:
            raise NetSuiteError(400, "INVALID_PARAMETER", f"Only the first {self.ceiling:,} results can be read.")
        return int(limit), int(offset)

    def _found(self, org: str, query: Query, limit: int, offset: int) -> tuple[int, list[dict[str, Any]]]:
        where = f" WHERE {' AND '.join(query.where)}" if query.where else ""
        rest = f"FROM {_FROM[query.table]}{where}"
        row = self.state.row(f"SELECT count(*) AS n {rest}", org, *query.values)
        total = int(row["n"]) if row else 0
        if query.count is not None:
            return 1, [{"links": [], query.count: str(total)}]
        order = f" ORDER BY {', '.join(query.order)}" if query.order else ""
        rows = self.state.rows(f"SELECT * {rest}{order} LIMIT ? OFFSET ?", org, *query.values, limit, offset)
        return total, [_item(row, query) for row in rows]

    def _page(self, call: Call) -> Response:
        shown = ("id", "email", "balance", FIELD)
        customer = dict(call.query).get("id", "")
        return self.page_of(
            customer, "Customer in NetSuite", lambda row: [(key, _customer(row).get(key)) for key in shown]
        )


def _item(row: sqlite3.Row, query: Query) -> dict[str, Any]:
    """A row of the answer: mostly text, and no word about what is null."""
    record = _customer(row) if query.table == "customer" else _currency(row["currency"])
    made = dict(record) if query.whole else {}
    for name, (column, fmt) in query.selected.items():
        seconds = row["created" if column == "datecreated" else "updated"] if fmt else 0
        made[name] = shown(seconds, ZONE, fmt) if fmt else record.get(column)
    return {"links": []} | {name: value for name, value in made.items() if value is not None}


def _currency(code: str) -> dict[str, Any]:
    number = ord(code[0]) * 676 + ord(code[1]) * 26 + ord(code[2])
    return {"id": str(number), "symbol": code.upper(), "name": code.upper()}


def _customer(row: sqlite3.Row) -> dict[str, Any]:
    dice, code = row["dice"], row["currency"]
    decimals = _DECIMALS.get(code or "", 2)
    person = bool(row["is_individual"])
    customer = {
        "id": row["customer_id"],
        "entityid": f"C{row['position']}",
        "altname": row["name"],
        "companyname": None if person else row["name"],
        "isperson": "T" if person else "F",
        "email": row["email"],
        "phone": row["phone"],
        "currency": _currency(code)["id"] if code else None,
        "balance": f"{row['minor_units'] / 10**decimals:.{decimals}f}",
        "isinactive": "T" if row["archived"] else "F",
        "parent": row["parent_id"],
        "subsidiary": str(1 + dice % 3),
        "comments": "Invoices to head office.\nAttn: accounting" if dice % 23 == 0 else None,
        "datecreated": shown(row["created"], ZONE, OWN_FORMAT),
        "lastmodifieddate": shown(row["updated"], ZONE, OWN_FORMAT),
        FIELD: row["identifier"],
        "custentity_segment": None if dice % 3 else "Enterprise",
    }
    return with_extra(customer, row)


STAND_IN = StandIn(
    name="netsuite",
    field=FIELD,
    identified_by="account_id",
    customer_id=lambda number, chance: str(1000 + 7 * number + chance % 7),
    credentials=new_credentials,
    app=NetSuiteApp,
)
