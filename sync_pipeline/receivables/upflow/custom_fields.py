"""Custom field values on Upflow. † PUT may clear what is left out, so a record is read, changed, and written back
whole.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from sync_pipeline.errors import Refusal
from sync_pipeline.receivables.platform import Answer
from sync_pipeline.receivables.upflow.client import Client, Json, Refused
from sync_pipeline.receivables.upflow.contacts import filled, writable

READ_ONLY = ("id", "balance", "countInvoicesDue", "directUrl")
"""† Properties of a customer that Upflow computes; everything else that was read is written back."""

Row = dict[str, Any]
Fields = dict[tuple[str, str], str | Refusal]
"""Record (customer, contact) and name of a field: its id on Upflow, or why it could not be created."""


def create_missing(client: Client, plan: pd.DataFrame) -> Fields:
    """The fields of a plan; those that Upflow lacks are created, one after the other."""
    fields: Fields = {}
    wanted = plan[["record", "platform_field", "platform_field_id"]].drop_duplicates()
    for record, name, field_id in wanted.itertuples(index=False, name=None):
        fields[record, name] = field_id if field_id is not pd.NA else _created(client, record, name)
    return fields


def _created(client: Client, record: str, name: str) -> str | Refusal:
    entity = record.upper()

    def existing() -> Json | None:
        """The field, if there is one by now (an earlier try's answer may have been lost)."""
        return next(
            (f for f in client.fields() if f.get("entity", "CUSTOMER") == entity and _same(f.get("name"), name)), None
        )

    try:
        found = existing()  # the plan may be older than the field
        return str(found["id"]) if found else client.create_field(name, entity, existing)
    except Refused as error:
        return error.refusal


def _same(one: object, other: str) -> bool:
    return str(one).strip().lower() == other.strip().lower()


def write(client: Client, customer_id: str, plan: list[Row], fields: Fields) -> list[Answer]:
    """Bring one customer's values, and its contacts', to what the plan says; one answer per row."""
    answers, writable_rows = [], []
    for row in plan:
        field = fields[row["record"], row["platform_field"]]
        if isinstance(field, Refusal):
            answers.append(_answer(row, field))
        else:
            writable_rows.append((row, field))
    customer_rows = [pair for pair in writable_rows if pair[0]["record"] == "customer"]
    contact_rows = [pair for pair in writable_rows if pair[0]["record"] == "contact"]
    if customer_rows:
        answers += _write_customer(client, customer_id, customer_rows)
    if contact_rows:
        answers += _write_contacts(client, customer_id, contact_rows)
    return answers


def _write_customer(client: Client, customer_id: str, pairs: list[tuple[Row, str]]) -> list[Answer]:
    try:
        customer = client.customer(customer_id)
        values = merged(customer.get("customFields"), pairs)
        if values is not None:
            body = {key: value for key, value in customer.items() if key not in READ_ONLY}
            client.update_customer(customer_id, filled({**body, "customFields": values}))
    except Refused as error:
        return [_answer(row, error.refusal) for row, _ in pairs]
    return [_answer(row) for row, _ in pairs]


def _write_contacts(client: Client, customer_id: str, pairs: list[tuple[Row, str]]) -> list[Answer]:
    try:
        current = client.contacts(customer_id)
    except Refused as error:
        return [_answer(row, error.refusal) for row, _ in pairs]
    answers = []
    for contact_id in dict.fromkeys(row["salesforce_contact_id"] for row, _ in pairs):
        mine = [pair for pair in pairs if pair[0]["salesforce_contact_id"] == contact_id]
        platform_id = mine[0][0]["platform_contact_id"]
        contact = next(
            (c for c in current if str(c.get("id")) == platform_id or c.get("externalId") == contact_id), None
        )
        refusal = None if contact else Refusal("404", "Upflow no longer has this contact.")
        if contact:
            refusal = _write_contact(client, customer_id, contact, mine)
        answers += [_answer(row, refusal) for row, _ in mine]
    return answers


def _write_contact(client: Client, customer_id: str, contact: Json, pairs: list[tuple[Row, str]]) -> Refusal | None:
    values = merged(contact.get("customFields"), pairs)
    if values is None:
        return None
    try:
        client.update_contact(customer_id, str(contact["id"]), filled({**writable(contact), "customFields": values}))
    except Refused as error:
        return error.refusal
    return None


def merged(current: list[Json] | None, pairs: list[tuple[Row, str]]) -> list[Json] | None:
    """Custom fields with the plan's values put in; None where they have those already.

    An emptied value is sent as the empty text: leaving it out might mean "as it was", and the type is STRING.
    """
    held = {str(field.get("id")): field for field in current or []}
    wanted = {field_id: row["value"] for row, field_id in pairs}
    if all((held.get(field_id, {}).get("value") or None) == value for field_id, value in wanted.items()):
        return None
    changed = {
        field_id: {"id": held.get(field_id, {}).get("id", field_id), "value": value or ""}
        for field_id, value in wanted.items()
    }
    return list({**held, **changed}.values())


def _answer(row: Row, refusal: Refusal | None = None) -> Answer:
    return Answer(
        row["billing_customer_id"],
        "refused" if refusal else "imported",
        record=row["record"],
        salesforce_contact_id=row["salesforce_contact_id"],
        platform_field=row["platform_field"],
        code=refusal.code if refusal else None,
        reason=refusal.message if refusal else None,
    )
