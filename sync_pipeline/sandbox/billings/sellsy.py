"""Sellsy's companies and individuals: tokens by client credentials, the two searches, and the list of custom fields.

Customers are identified by the custom field `cf.12345`. A customer's id in the state is a company's number, or
`individual-` and an individual's: both are numbered apart, so that a company and an individual share most numbers.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.responses import Response

from sync_pipeline.sandbox.billings.frame import BillingApp, Limits, StandIn, StandInError, with_extra
from sync_pipeline.sandbox.billings.sellsy_fields import CUSTOM_FIELDS, ON_CUSTOMERS, values_of
from sync_pipeline.sandbox.billings.sellsy_search import TYPE, ZONE, SellsyError, conditions_of, window
from sync_pipeline.sandbox.billings.tokens import Tokens
from sync_pipeline.sandbox.state import State
from sync_pipeline.sandbox.web import Call, json_answer

PER_DAY = 432_000
ACCESS_SECONDS = 3600.0
SCOPES = "companies.read custom-fields.read individuals.read"
_ID = {"companies": "CAST(customer_id AS INTEGER)", "individuals": "CAST(substr(customer_id, 12) AS INTEGER)"}
_ORDERS = {"name": "name", "created_at": "created", "updated_at": "updated"}


class SellsyApp(BillingApp):
    """The stand-in. Organizations are told apart by their access token."""

    name = "sellsy"
    per_second = 5

    def __init__(self, state: State, limits: Limits) -> None:
        super().__init__(state, limits)
        self._tokens = Tokens(state, self.name)
        self._calls: dict[str, int] = {}
        self._window = "Second" if limits.per_minute is None else "Minute"
        self.open_route("POST", "/oauth2/access-tokens", self._token)
        self.open_route("GET", "/customers/{customer}", self._page)
        self.route("GET", "/v2/custom-fields", self._custom_fields)
        for kind in _ID:
            self.route("POST", f"/v2/{kind}/search", lambda org, call, kind=kind: self._search(org, call, kind))

    def headers(self, call: Call | None, org: str | None) -> dict[str, str]:
        """What is left of the narrowest limit and of the day."""
        if org is None:
            return {}
        self._calls[org] = self._calls.get(org, 0) + 1
        return {
            f"X-Quota-Remaining-By-{self._window}": str(self.remaining(org)),
            "X-Quota-Remaining-By-Day": str(max(0, PER_DAY - self._calls[org])),
        }

    def too_many(self, retry_after: int) -> Response:
        """Sellsy says only that one has to wait a few seconds."""
        return SellsyError(429, "quota_exceeded").response()

    def unknown(self, call: Call, *, other_method: bool) -> SellsyError:
        """No such address."""
        return SellsyError(405 if other_method else 404, "route_not_found")

    def authenticate(self, call: Call) -> str:
        """The organization whose access token comes as a bearer token."""
        kind, _, token = call.headers.get("authorization", "").partition(" ")
        org = self._tokens.org_of(token.strip(), "access") if kind.lower() == "bearer" else None
        if org is None:
            raise SellsyError(401, "The access token is invalid or has expired")
        return org

    def _token(self, call: Call) -> Response:
        """OAuth's token endpoint (RFC 6749); id and secret stand in the form."""
        form = dict(parse_qsl(call.body.decode("utf-8", "replace")))
        org = self.org_with("client_id", form.get("client_id", ""))
        given = form.get("client_secret", "").encode()
        if org is None or not secrets.compare_digest(self.login(org)["client_secret"].encode(), given):
            words = {"error": "invalid_client", "error_description": "Client authentication failed"}
            raise StandInError(401, words)
        if form.get("grant_type") != "client_credentials":
            raise StandInError(400, {"error": "unsupported_grant_type"})
        token = self._tokens.issue(org, "access", ACCESS_SECONDS)
        return json_answer({"token_type": "Bearer", "expires_in": int(ACCESS_SECONDS), "access_token": token})

    def _allowed(self, org: str, scope: str) -> None:
        if scope not in self.login(org)["scopes"].split():
            raise SellsyError(403, f"The access token has no scope {scope}")

    def _custom_fields(self, org: str, call: Call) -> Response:
        self._allowed(org, "custom-fields.read")
        limit, offset, _, down = window(call, ("id",))
        fields = sorted(CUSTOM_FIELDS, key=lambda field: field["id"], reverse=down)
        if isinstance(offset, int):
            fields = fields[offset:]
        else:
            last = int(offset[-1])
            fields = [field for field in fields if (field["id"] < last if down else field["id"] > last)]
        found = fields[:limit]
        seek = [str(found[-1]["id"])] if found else []
        return _list(found, limit, len(CUSTOM_FIELDS), seek)

    def _search(self, org: str, call: Call, kind: str) -> Response:
        self._allowed(org, f"{kind}.read")
        limit, offset, order, down = window(call, ("id", *_ORDERS))
        embeds = self._embeds(org, call)
        conditions, values = conditions_of(call, kind)
        identity = _ID[kind]
        like = "NOT LIKE" if kind == "companies" else "LIKE"
        where = f"org = ? AND NOT deleted AND customer_id {like} 'individual-%' {conditions}"
        key = "CAST('' AS TEXT)" if order == "id" else f"coalesce(CAST({_ORDERS[order]} AS TEXT), '')"
        counted = self.state.row(f"SELECT count(*) AS n FROM billing_customer WHERE {where}", org, *values)
        seek, after, skip = "", [], 0
        if isinstance(offset, int):
            skip = offset
        else:
            seek = f"AND ({key}, {identity}) {'<' if down else '>'} (?, ?)"
            after = ["" if order == "id" else offset[0], int(offset[-1])]
        way = "DESC" if down else "ASC"
        rows = self.state.rows(
            f"SELECT *, {key} AS place, {identity} AS number, {TYPE} AS type FROM billing_customer"
            f" WHERE {where} {seek} ORDER BY place {way}, number {way} LIMIT ? OFFSET ?",
            *(org, *values, *after, limit, skip),
        )
        last = ([] if order == "id" else [rows[-1]["place"]]) + [str(rows[-1]["number"])] if rows else []
        return _list([_record(row, kind, embeds) for row in rows], limit, int(counted["n"]) if counted else 0, last)

    def _embeds(self, org: str, call: Call) -> list[int]:
        """Ids of the custom fields asked for. What else can be embedded is not here."""
        found = []
        for name, value in call.query:
            if name == "embed[]":
                if not re.fullmatch(r"cf\.[0-9]{1,9}", value) or int(value[3:]) not in ON_CUSTOMERS:
                    raise SellsyError(400, f"embed: {value} is not valid")
                found.append(int(value[3:]))
        if found:
            self._allowed(org, "custom-fields.read")
        return found

    def _page(self, call: Call, customer: str) -> Response:
        return self.page_of(customer, "Customer in Sellsy")


def _list(data: list[dict[str, Any]], limit: int, total: int, last: list[str]) -> Response:
    """A page; its offset leads to the next one, whether there is one or not. † Without a record it is 0."""
    offset: str | int = base64.b64encode(json.dumps(last, separators=(",", ":")).encode()).decode() if last else 0
    return json_answer(
        {"pagination": {"limit": limit, "count": len(data), "total": total, "offset": offset}, "data": data}
    )


def _record(row: sqlite3.Row, kind: str, embeds: list[int]) -> dict[str, Any]:
    """A company or an individual as Sellsy shows it."""
    dice, first, last = row["dice"], *_names(row["name"])
    own: Mapping[str, Any] = (
        {"name": row["name"], "legal_france": {"siret": None, "siren": None, "vat": None}, "capital": None}
        if kind == "companies"
        else {"last_name": last, "first_name": first, "civility": ("mr", "mrs", "ms")[dice % 3]}
    )
    record = {
        "id": row["number"],
        "type": row["type"],
        **own,
        "email": row["email"],
        "website": None,
        "phone_number": row["phone"],
        "reference": f"CLI-{row['position'] + 1:06d}" if dice % 5 else None,
        "note": "",
        "auxiliary_code": f"C{row['position'] + 1:05d}" if dice % 2 else None,
        "rate_category_id": None,
        "main_contact_id": dice % 9000 + 1 if dice % 3 else None,
        "owner": {"id": 1 + dice % 4, "type": "staff"},
        "created": _time(row["created"]),
        "updated_at": _time(row["updated"]),
        "is_archived": bool(row["archived"]),
    }
    if embeds:
        record["_embed"] = {"custom_fields": values_of(embeds, row["identifier"], dice)}
    return with_extra(record, row)


def _names(name: str | None) -> tuple[str | None, str]:
    first, _, last = (name or "").rpartition(" ")
    return first or None, last


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), ZONE).isoformat()


def _credentials() -> dict[str, str]:
    return {
        "client_id": secrets.token_hex(16),
        "client_secret": secrets.token_urlsafe(36),
        "scopes": SCOPES,
        "access_token": secrets.token_urlsafe(48),
    }


STAND_IN = StandIn(
    name="sellsy",
    field="cf.12345",
    identified_by="account_id",
    customer_id=lambda number, dice: f"individual-{number}" if dice % 9 == 0 else str(number + 1),
    credentials=_credentials,
    app=SellsyApp,
    login_path="/oauth2/access-tokens",
)
