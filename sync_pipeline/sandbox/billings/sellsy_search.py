"""What Sellsy's lists can be asked: limit, offset, order, filters; and what is said about a question that makes no sense."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sync_pipeline.sandbox.billings.frame import StandInError
from sync_pipeline.sandbox.web import Call

DEFAULT, MOST, CEILING = 25, 100, 100_000
ZONE = ZoneInfo("Europe/Paris")
TYPE = "coalesce(json_extract(extra, '$.type'), CASE WHEN dice % 10 = 0 THEN 'prospect' ELSE 'client' END)"
"""SQL of what a company or an individual is."""
_TYPES = ("prospect", "client", "supplier")
_MOMENTS = {"created": "created", "updated_at": "updated"}
_FILTERS = {"created", "updated_at", "name", "email", "type", "is_archived", "id", "favourite_filter"}
_OF_COMPANIES = {"contacts", "siret", "country_code", "postal_code"}


class SellsyError(StandInError):
    """A refusal. The shape is Sellsy's; † the words are in none of its documents."""

    def __init__(self, status: int, context: str) -> None:
        messages = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Not Allowed"}
        message = messages.get(status, "Too Many Requests" if status == 429 else "Not Implemented")
        super().__init__(status, {"error": {"code": status, "message": message, "context": context}})


def window(call: Call, orders: tuple[str, ...]) -> tuple[int, int | list[str], str, bool]:
    """Limit, offset (rows to leave out, or the values of the last one), order, and whether it is descending."""
    given = dict(call.query)
    if unknown := given.keys() - {"limit", "offset", "order", "direction", "embed[]"}:
        raise SellsyError(400, f"{min(unknown)}: this parameter is not known here")
    limit, order, direction = given.get("limit", str(DEFAULT)), given.get("order", "id"), given.get("direction", "asc")
    if not re.fullmatch(r"[0-9]{1,9}", limit) or int(limit) > MOST:
        raise SellsyError(400, f"limit: this value should be between 0 and {MOST}")
    if order not in orders:
        raise SellsyError(400, f"order: the value you selected is not a valid choice: {', '.join(orders)}")
    if direction not in ("asc", "desc"):
        raise SellsyError(400, "direction: the value you selected is not a valid choice: asc, desc")
    return int(limit), _offset(given.get("offset", "0"), 1 if order == "id" else 2), order, direction == "desc"


def _offset(told: str, keys: int) -> int | list[str]:
    if re.fullmatch(r"[0-9]{1,9}", told):
        if int(told) > CEILING:
            raise SellsyError(400, f"offset: by number only the first {CEILING} can be read")
        return int(told)
    try:
        values = json.loads(base64.b64decode(told, validate=True))
        if [type(value) for value in values] != [str] * keys or not re.fullmatch(r"[0-9]{1,18}", values[-1]):
            raise ValueError
    except (ValueError, TypeError):
        raise SellsyError(400, "offset: this value is not valid") from None
    return list(values)


def conditions_of(call: Call, kind: str) -> tuple[str, list[Any]]:
    """SQL and values of the body's filters."""
    try:
        body = json.loads(call.body)
        filters = body["filters"]
    except (ValueError, KeyError, TypeError):
        raise SellsyError(400, "filters: this value should not be blank") from None
    known = _FILTERS | (_OF_COMPANIES if kind == "companies" else set())
    if not isinstance(filters, dict) or body.keys() != {"filters"} or filters.keys() - known:
        raise SellsyError(400, "filters: this form should not contain extra fields")
    sql, values = "", []
    for name, value in filters.items():
        if name == "type":
            wanted = value if isinstance(value, list) else [value]
            if not all(one in _TYPES for one in wanted) or len(set(wanted)) != len(wanted):
                raise SellsyError(400, f"type: the value you selected is not a valid choice: {', '.join(_TYPES)}")
            sql += f" AND {TYPE} IN ({', '.join('?' * len(wanted))})"
            values += wanted
        elif name in _MOMENTS and isinstance(value, dict):
            for end, sign in (("start", ">="), ("end", "<=")):
                if end in value:
                    sql += f" AND {_MOMENTS[name]} {sign} ?"
                    values.append(_seconds(name, value[end]))
        elif name == "is_archived" and isinstance(value, bool):
            sql += " AND archived = ?"
            values.append(value)
        else:
            raise SellsyError(501, f"{name}: the sandbox does not filter by it")
    return sql, values


def _seconds(name: str, told: object) -> float:
    try:
        moment = datetime.fromisoformat(str(told))
    except ValueError:
        raise SellsyError(400, f"{name}: this value is not a valid datetime") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZONE)).timestamp()
