"""What Upflow takes and gives: reading JSON bodies strictly, and rows as JSON.

A key nobody knows is refused: a stand-in that overlooks a misspelt key would let the client lose data unseen. Keys that
Upflow only gives (id, balance, ...) may come back and are overlooked.
"""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Any

CUSTOMER_TEXTS = ("externalId", "name", "vatNumber", "accountingRef", "accountManagerId", "dunningPlanId")
CUSTOMER_OBJECTS = ("address", "parent", "paymentMethods")
CUSTOMER_GIVEN = frozenset({"id", "balance", "countInvoicesDue", "directUrl"})
CONTACT_TEXTS = ("firstName", "lastName", "phone", "email", "position", "jobTitle", "externalId")
POSITIONS = ("ACCOUNTING", "SALES", "PAYER", "PURCHASER")
FIELD_TYPES = ("STRING", "SELECT", "BOOLEAN")
ENTITIES = ("CUSTOMER", "CONTACT")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


class Problem(Exception):
    """An answer that is an error: status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def read_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object."""
    if not body.strip():
        return {}
    try:
        content = json.loads(body)
    except ValueError as error:
        raise Problem(400, "The body is not valid JSON") from error
    if not isinstance(content, dict):
        raise Problem(400, "The body must be a JSON object")
    return content


def read_customer(content: dict[str, Any]) -> dict[str, Any]:
    """Every writable column of a customer; what is left out is empty."""
    allowed = {*CUSTOMER_TEXTS, *CUSTOMER_OBJECTS, "customFields"}
    refuse_unknown(content, allowed | CUSTOMER_GIVEN)
    values: dict[str, Any] = {key: text(content, key) for key in CUSTOMER_TEXTS}
    if not (values["name"] or "").strip():
        raise Problem(400, "name is required")
    for key in CUSTOMER_OBJECTS:
        value = content.get(key)
        if value is not None and not isinstance(value, dict):
            raise Problem(400, f"{key} must be an object")
        values[key] = None if value is None else json.dumps(value, ensure_ascii=False)
    values["customFields"] = custom_values(content)
    return values


def read_contact(content: dict[str, Any]) -> dict[str, Any]:
    """Every writable column of a contact; what is left out is empty."""
    refuse_unknown(content, {*CONTACT_TEXTS, "isMain", "customFields", "id"})
    values: dict[str, Any] = {key: text(content, key) for key in CONTACT_TEXTS}
    values["email"] = email_of(content)
    if values["position"] is not None and values["position"] not in POSITIONS:
        raise Problem(400, f"position must be one of {', '.join(POSITIONS)}")
    is_main = content.get("isMain", False)
    if not isinstance(is_main, bool):
        raise Problem(400, "isMain must be a boolean")
    values["isMain"] = is_main
    values["customFields"] = custom_values(content)
    return values


def refuse_unknown(content: dict[str, Any], allowed: set[str] | frozenset[str]) -> None:
    """400 for keys that do not exist."""
    if unknown := sorted(content.keys() - allowed):
        raise Problem(400, f"Unknown property: {', '.join(unknown)}")


def text(content: dict[str, Any], key: str) -> str | None:
    """A text or nothing; 400 for any other type."""
    value = content.get(key)
    if value is not None and not isinstance(value, str):
        raise Problem(400, f"{key} must be a string")
    return value


def email_of(content: dict[str, Any]) -> str:
    """The required e-mail address."""
    value = text(content, "email")
    if not value:
        raise Problem(400, "email is required")
    if not _EMAIL.fullmatch(value):
        raise Problem(400, "email must be a valid email")
    return value


def custom_values(content: dict[str, Any]) -> str:
    """`customFields` as JSON text: a list of {id, value}, each id once."""
    values = content.get("customFields")
    if values is None:
        return "[]"
    if not isinstance(values, list) or not all(isinstance(v, dict) and isinstance(v.get("id"), str) for v in values):
        raise Problem(400, "customFields must be a list of {id, value}")
    for value in values:
        refuse_unknown(value, {"id", "value"})
        if not isinstance(value.get("value"), str | bool | None):
            raise Problem(400, "the value of a custom field must be a string, a boolean or null")
    if len({value["id"] for value in values}) < len(values):
        raise Problem(400, "customFields names a field twice")
    kept = [{"id": value["id"], "value": value["value"]} for value in values if value.get("value") is not None]
    return json.dumps(kept, ensure_ascii=False)


def customer_json(row: sqlite3.Row, base: str) -> dict[str, Any]:
    """A customer as Upflow shows it."""
    shown: dict[str, Any] = {key: row[key] for key in ("id", *CUSTOMER_TEXTS)}
    shown |= {key: json.loads(row[key]) if row[key] else None for key in CUSTOMER_OBJECTS}
    shown["customFields"] = json.loads(row["customFields"] or "[]")
    shown["balance"], shown["countInvoicesDue"] = row["balance"], row["countInvoicesDue"]
    shown["directUrl"] = f"{base}/app/customers/{row['id']}"
    return shown


def contact_json(row: sqlite3.Row) -> dict[str, Any]:
    """A contact as Upflow shows it."""
    shown: dict[str, Any] = {key: row[key] for key in ("id", *CONTACT_TEXTS)}
    shown["isMain"] = bool(row["isMain"])
    shown["customFields"] = json.loads(row["customFields"] or "[]")
    return shown


def user_json(row: sqlite3.Row) -> dict[str, Any]:
    """A user as Upflow shows it."""
    return {key: row[key] for key in ("id", "firstName", "lastName", "email", "position")}


def field_json(row: sqlite3.Row) -> dict[str, Any]:
    """A custom field as Upflow shows it."""
    return {key: row[key] for key in ("id", "name", "type", "entity")}
