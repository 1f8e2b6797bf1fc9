"""The custom fields of every account of Sellsy's stand-in, and what a customer has in them."""

from __future__ import annotations

from typing import Any

IDENTIFIER, SEGMENT, CREDIT, BIRTHDAY = 12345, 12346, 12350, 12360
_SEGMENTS = ("Small", "Medium", "Large")


def _field(number: int, name: str, related: list[str], kind: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": number,
        "name": name,
        "code": name.lower().replace(" ", "-"),
        "description": "",
        "mandatory": False,
        "rank": number - IDENTIFIER + 1,
        "related_object": related,
        "customfield_group": {"id": 7, "name": "CRM", "code": "crm", "open_by_default": True},
        "type": kind,
        "parameters": parameters,
    }


def _choices(chosen: int | None) -> list[dict[str, Any]]:
    return [{"id": 900 + n, "label": label, "checked": n == chosen} for n, label in enumerate(_SEGMENTS)]


CUSTOM_FIELDS = [
    _field(
        IDENTIFIER,
        "Salesforce account",
        ["client", "prospect"],
        "simple-text",
        {"default_value": None, "char_min": None, "char_max": 18},
    ),
    _field(SEGMENT, "Segment", ["client", "prospect", "supplier"], "select", {"items": _choices(None)}),
    _field(
        CREDIT,
        "Credit limit",
        ["client", "document"],
        "amount",
        {"default_value": None, "min_value": None, "max_value": None, "currency": "EUR"},
    ),
    _field(BIRTHDAY, "Birthday", ["contact"], "date", {"min_date": None, "max_date": None}),
]
"""As GET /custom-fields lists them."""
ON_CUSTOMERS = {field["id"]: field for field in CUSTOM_FIELDS if field["related_object"] != ["contact"]}
"""Those a company or an individual has, by id."""


def values_of(embeds: list[int], identifier: str | None, dice: int) -> list[dict[str, Any]]:
    """The fields asked for, each with the customer's value."""
    chosen = dice % 3 if dice % 7 else None
    values = {
        IDENTIFIER: identifier,
        SEGMENT: None if chosen is None else 900 + chosen,
        CREDIT: {"amount": f"{dice % 500}.50", "currency": "EUR"},
    }
    found = [ON_CUSTOMERS[number] | {"value": values[number]} for number in embeds]
    return [field | {"parameters": {"items": _choices(chosen)}} if field["id"] == SEGMENT else field for field in found]
