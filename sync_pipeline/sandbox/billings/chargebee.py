"""Chargebee's customers: the list, its pages, filters and orders, and a page for people.

Customers are identified by the custom field cf_salesforce_id. What Chargebee could be asked and this can't answer, it refuses.
Codes and types of errors are the contract's; messages marked † are not Chargebee's own words, which its documents leave out.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import sqlite3
from typing import Any

from starlette.responses import Response

from sync_pipeline.sandbox.billings.frame import BillingApp, Limits, StandIn, StandInError, with_extra
from sync_pipeline.sandbox.ids import DIGITS
from sync_pipeline.sandbox.state import State
from sync_pipeline.sandbox.web import Call, json_answer

FIELD = "cf_salesforce_id"
TOLD_SINCE = 1_475_020_800
"""2016-09-28: a customer not changed since then has no updated_at, and no filter by it finds it."""
_DEFAULT, _MOST = 10, 100
_KEYS = {"created_at": ("position",), "updated_at": ("updated", "position")}
"""What the list can be sorted by, and how the state does it: customers are created in the order of their positions."""
_TIMES = {"after": ">", "before": "<"}
_TEXTS = {"id": "customer_id", "email": "email"}


class ChargebeeError(StandInError):
    """An answer that is an error."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        kind: str = "invalid_request",
        *,
        param: str | None = None,
        older_code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        body: dict[str, Any] = {"message": message, "type": kind, "api_error_code": code}
        if param:
            body["param"] = param
        older = {"error_code": older_code or code, "error_msg": message}  # its first version's words for the same
        super().__init__(status, body | older | {"http_status_code": status}, headers)


def _wrong(param: str, message: str) -> ChargebeeError:
    return ChargebeeError(400, "param_wrong_value", f"{param} : {message}", param=param)  # †


class ChargebeeApp(BillingApp):
    """The stand-in, with the limit of a test site. Sites are told apart by their key, as all of them are on one host here."""

    name = "chargebee"
    per_minute = 150

    def __init__(self, state: State, limits: Limits) -> None:
        super().__init__(state, limits)
        self.open_route("GET", "/d/customers/{customer}", self._page)
        self.route("GET", "/api/v2/customers", self._list)

    def too_large(self) -> Response:
        """In the words of any wrong request. †"""
        return ChargebeeError(400, "invalid_request", "The request is too large").response()

    def too_many(self, retry_after: int) -> Response:
        """Nothing is served until the minute's requests are few enough again."""
        message = "Sorry, access has been blocked temporarily due to request count exceeding acceptable limits."
        headers = {"Retry-After": str(retry_after)}
        return ChargebeeError(
            429, "api_request_limit_exceeded", message, "operation_failed", headers=headers
        ).response()

    def unknown(self, call: Call, *, other_method: bool) -> ChargebeeError:
        """No such address, or not with this method. †"""
        if other_method:
            return ChargebeeError(405, "http_method_not_supported", f"{call.method} is not supported here")
        return ChargebeeError(404, "resource_not_found", "Sorry, we couldn't find that resource")

    def authenticate(self, call: Call) -> str:
        """The organization whose key is the user of HTTP Basic, without a password."""
        kind, _, given = call.headers.get("authorization", "").partition(" ")
        key = password = ""
        if kind.lower() == "basic":
            try:
                key, _, password = base64.b64decode(given, validate=True).decode().partition(":")
            except ValueError:  # of base64, or of the characters in it
                key = ""
        org = self.org_with("api_key", key) if key and not password else None
        if org is None:
            message = "Sorry, authentication failed. Invalid api key"
            older = "api_authentication_invalid_key"
            raise ChargebeeError(401, "api_authentication_failed", message, "untyped", older_code=older)
        return org

    def _list(self, org: str, call: Call) -> Response:
        given = dict(call.query)
        limit = _limit(given.pop("limit", str(_DEFAULT)))
        attribute, descending = _order(given)
        keys, direction = _KEYS[attribute], "DESC" if descending else "ASC"
        where, values = ["org = ?"], list[Any]([org])
        if not _yes("include_deleted", given.pop("include_deleted", "false")):
            where.append("NOT deleted")
        if "offset" in given:
            last_one = _offset(given.pop("offset"))
            where.append(f"({', '.join(keys)}) {'<' if descending else '>'} ({', '.join('?' * len(keys))})")
            values += [last_one[key] for key in keys]
        for name, value in given.items():
            condition, bound = _filter(name, value)
            where.append(condition)
            values.append(bound)
        order = ", ".join(f"{key} {direction}" for key in keys)
        sql = f"SELECT * FROM billing_customer WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?"
        rows = self.state.rows(sql, *values, limit + 1)
        answer: dict[str, Any] = {"list": [_entry(row) for row in rows[:limit]]}
        if len(rows) > limit:  # the last one's time in milliseconds, and Chargebee's own number of it
            last = rows[limit - 1]
            token = [str(last[attribute.removesuffix("_at")] * 1000), str(last["position"] + 1)]
            answer["next_offset"] = json.dumps(token, separators=(",", ":"))
        return json_answer(answer)

    def _page(self, call: Call, customer: str) -> Response:
        return self.page_of(customer, "Customer in Chargebee")


def _limit(told: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", told) or not 1 <= int(told) <= _MOST:
        raise _wrong("limit", f"must be between 1 and {_MOST}")
    return int(told)


def _order(given: dict[str, str]) -> tuple[str, bool]:
    """The attribute, and whether the latest comes first, as it does where nothing is asked for. †"""
    orders = [name for name in given if name.startswith("sort_by[")]
    if not orders:
        return "created_at", True
    attribute = given.pop(orders[0])
    if len(orders) > 1 or orders[0] not in ("sort_by[asc]", "sort_by[desc]") or attribute not in _KEYS:
        raise _wrong("sort_by", "Supported attributes : created_at, updated_at. Supported sort-orders : asc, desc")
    return attribute, orders[0] == "sort_by[desc]"


def _yes(name: str, told: str) -> bool:
    if told not in ("true", "false"):
        raise _wrong(name, "must be true or false")
    return told == "true"


def _offset(token: str) -> dict[str, int]:
    """Where the page before ended."""
    try:
        moment, number = json.loads(token)
        return {"updated": int(moment) // 1000, "position": int(number) - 1}
    except (ValueError, TypeError):
        raise _wrong("offset", "invalid value") from None


def _filter(name: str, value: str) -> tuple[str, Any]:
    """A condition, and the value it is bound to."""
    attribute, _, operator = name.removesuffix("]").partition("[")
    if attribute in _KEYS and operator in _TIMES:
        if not re.fullmatch(r"[0-9]{1,12}", value):
            raise _wrong(name, "must be a timestamp in seconds")
        told = f"updated >= {TOLD_SINCE} AND " if attribute == "updated_at" else ""
        return f"{told}{attribute.removesuffix('_at')} {_TIMES[operator]} ?", int(value)
    if attribute in _TEXTS and operator == "is":
        return f"{_TEXTS[attribute]} = ?", value
    raise ChargebeeError(400, "invalid_request", f"{name} : unknown parameter", param=name)  # †


def _entry(row: sqlite3.Row) -> dict[str, Any]:
    """A customer, and beside it the card that some pay with."""
    entry = {"customer": _customer(row)}
    if row["dice"] % 5 == 0:
        card = {"status": "valid", "gateway": "chargebee", "masked_number": "************1111", "object": "card"}
        entry["card"] = {"customer_id": row["customer_id"], **card}
    return entry


def _customer(row: sqlite3.Row) -> dict[str, Any]:
    """A customer as Chargebee shows it: what is empty is left out."""
    dice, code, name = row["dice"], (row["currency"] or "").upper(), row["name"] or ""
    person = name if row["is_individual"] else "Billing Office" if dice % 7 == 0 else ""
    first, _, last = person.partition(" ")
    second = {"id": f"contact_{row['position']}", "first_name": "Second", "email": f"second+{row['email']}"}
    updated = row["updated"] if row["updated"] >= TOLD_SINCE else None
    credits = max(0, -row["minor_units"])
    balance = {"promotional_credits": 0, "excess_payments": credits, "refundable_credits": 0, "unbilled_charges": 0}
    customer = {
        "id": row["customer_id"],
        "first_name": first,
        "last_name": last,
        "email": row["email"],
        "phone": row["phone"],
        "company": "" if row["is_individual"] else name,
        "auto_collection": "on" if dice % 5 == 0 else "off",
        "net_term_days": 0,
        "allow_direct_debit": False,
        "created_at": row["created"],
        "taxability": "taxable",
        "updated_at": updated,
        "locale": "fr-FR" if dice % 3 == 0 else None,
        "pii_cleared": "active",
        "channel": "web",
        "resource_version": updated and updated * 1000,
        "deleted": bool(row["deleted"]),
        "object": "customer",
        "billing_address": {
            "country": row["country"],
            "validation_status": "not_validated",
            "object": "billing_address",
        }
        if row["country"]
        else None,
        "contacts": [{**second, "enabled": True, "send_billing_email": True, "object": "contact"}]
        if row["email"] and dice % 7 == 0
        else None,
        "card_status": "valid" if dice % 5 == 0 else "no_card",
        "preferred_currency_code": code,
        **balance,
        "balances": [{**balance, "currency_code": code, "balance_currency_code": code, "object": "balance"}]
        if code and credits
        else None,
        "meta_data": {"plan": "pro", "seats": dice % 100} if dice % 3 == 0 else None,
        "relationship": {"parent_id": row["parent_id"], "invoice_owner_id": row["parent_id"]}
        if row["parent_id"]
        else None,
        FIELD: row["identifier"],
    }
    return with_extra({key: value for key, value in customer.items() if value not in (None, "")}, row)


def _customer_id(number: int, dice: int) -> str:
    """16 letters and digits: unique because the number is in the last five of them."""
    value = (dice % 62**11) * 62**5 + number
    return "".join(DIGITS[value // 62**place % 62] for place in range(15, -1, -1))


STAND_IN = StandIn(
    name="chargebee",
    field=FIELD,
    identified_by="account_id",
    customer_id=_customer_id,
    credentials=lambda: {"api_key": f"test_{secrets.token_hex(20)}"},
    app=ChargebeeApp,
)
