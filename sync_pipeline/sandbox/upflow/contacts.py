"""Contacts of customers, users and custom fields."""

from __future__ import annotations

import sqlite3
import uuid
from typing import Any

from starlette.responses import Response

from sync_pipeline.sandbox.state import State
from sync_pipeline.sandbox.upflow.customers import Customers, check_fields, paging
from sync_pipeline.sandbox.upflow.shapes import (
    ENTITIES,
    FIELD_TYPES,
    Problem,
    contact_json,
    field_json,
    read_contact,
    read_object,
    refuse_unknown,
    text,
    user_json,
)
from sync_pipeline.sandbox.web import Call, json_answer


class Contacts:
    """Handlers of /customers/{customer}/contacts. No two contacts of an organization have the same address."""

    def __init__(self, state: State, customers: Customers) -> None:
        self._state, self._customers = state, customers

    def list(self, org: str, call: Call, customer: str) -> Response:
        """GET .../contacts."""
        rows = self._state.rows(
            "SELECT * FROM upflow_contact WHERE org = ? AND customer_id = ? ORDER BY position_in_list",
            org,
            self._customers.find(org, customer)["id"],
        )
        return json_answer({"contacts": [contact_json(row) for row in rows]})

    def create(self, org: str, call: Call, customer: str) -> Response:
        """POST .../contacts."""
        customer_id = self._customers.find(org, customer)["id"]
        values = self._read(org, call)
        contact_id = str(uuid.uuid4())
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        self._save(
            org,
            customer_id,
            contact_id,
            values,
            f"INSERT INTO upflow_contact (org, id, customer_id, position_in_list, {columns}) SELECT ?, ?, ?, coalesce(("
            f"SELECT max(position_in_list) FROM upflow_contact WHERE org = ? AND customer_id = ?), -1) + 1, {marks}",
            (org, contact_id, customer_id, org, customer_id, *values.values()),
        )
        return json_answer(contact_json(self._find(org, customer_id, contact_id)), 201)

    def get(self, org: str, call: Call, customer: str, contact: str) -> Response:
        """GET .../contacts/{contact}."""
        return json_answer(contact_json(self._find(org, self._customers.find(org, customer)["id"], contact)))

    def replace(self, org: str, call: Call, customer: str, contact: str) -> Response:
        """PUT .../contacts/{contact}: what the body leaves out is emptied."""
        customer_id = self._customers.find(org, customer)["id"]
        self._find(org, customer_id, contact)
        values = self._read(org, call)
        changes = ", ".join(f"{column} = ?" for column in values)
        sql = f"UPDATE upflow_contact SET {changes} WHERE org = ? AND id = ?"
        self._save(org, customer_id, contact, values, sql, (*values.values(), org, contact))
        return json_answer(contact_json(self._find(org, customer_id, contact)))

    def delete(self, org: str, call: Call, customer: str, contact: str) -> Response:
        """DELETE .../contacts/{contact}."""
        self._find(org, self._customers.find(org, customer)["id"], contact)
        self._state.db.execute("DELETE FROM upflow_contact WHERE org = ? AND id = ?", (org, contact))
        return Response(status_code=204)

    def _find(self, org: str, customer_id: str, contact: str) -> sqlite3.Row:
        sql = "SELECT * FROM upflow_contact WHERE org = ? AND customer_id = ? AND id = ?"
        row = self._state.row(sql, org, customer_id, contact)
        if row is None:
            raise Problem(404, "Contact not found")
        return row

    def _read(self, org: str, call: Call) -> dict[str, Any]:
        values = read_contact(read_object(call.body))
        check_fields(self._state, org, "CONTACT", values["customFields"])
        return values

    def _save(
        self, org: str, customer_id: str, contact: str, values: dict[str, Any], sql: str, parameters: tuple[Any, ...]
    ) -> None:
        """Write the contact; a main contact takes the place of the one before."""
        try:
            with self._state.transaction() as db:
                db.execute(sql, parameters)
                if values["isMain"]:
                    db.execute(
                        "UPDATE upflow_contact SET isMain = 0 WHERE org = ? AND customer_id = ? AND id <> ? AND isMain",
                        (org, customer_id, contact),
                    )
        except sqlite3.IntegrityError as error:
            raise Problem(400, "A contact with this email already exists") from error


class Users:
    """Handler of /users."""

    def __init__(self, state: State) -> None:
        self._state = state

    def list(self, org: str, call: Call) -> Response:
        """GET /users."""
        rows = self._state.rows("SELECT * FROM upflow_user WHERE org = ? ORDER BY email", org)
        return json_answer({"users": [user_json(row) for row in rows]})


class CustomFields:
    """Handlers of /custom_fields."""

    def __init__(self, state: State) -> None:
        self._state = state

    def list(self, org: str, call: Call) -> Response:
        """GET /custom_fields."""
        offset, limit = paging(call)
        rows = self._state.rows("SELECT * FROM upflow_custom_field WHERE org = ? ORDER BY entity, name", org)
        shown = [field_json(row) for row in rows[offset : offset + limit]]
        return json_answer({"customFields": shown, "offset": offset, "limit": limit, "total": len(rows)})

    def create(self, org: str, call: Call) -> Response:
        """POST /custom_fields."""
        content = read_object(call.body)
        refuse_unknown(content, {"name", "type", "entity"})
        name = (text(content, "name") or "").strip()
        if not name:
            raise Problem(400, "name is required")
        for key, allowed in (("type", FIELD_TYPES), ("entity", ENTITIES)):
            if content.get(key) not in allowed:
                raise Problem(400, f"{key} must be one of {', '.join(allowed)}")
        row = (org, str(uuid.uuid4()), name, content["type"], content["entity"])
        try:
            self._state.db.execute("INSERT INTO upflow_custom_field VALUES (?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            raise Problem(400, "A custom field with this name already exists") from error
        return json_answer({"id": row[1], "name": name, "type": row[3], "entity": row[4]}, 201)

    def delete(self, org: str, call: Call, field: str) -> Response:
        """DELETE /custom_fields/{field}, with its values."""
        row = self._state.row("SELECT entity FROM upflow_custom_field WHERE org = ? AND id = ?", org, field)
        if row is None:
            raise Problem(404, "Custom field not found")
        table = "upflow_customer" if row["entity"] == "CUSTOMER" else "upflow_contact"
        with self._state.transaction() as db:
            db.execute(
                f"UPDATE {table} SET customFields = (SELECT json_group_array(json(value)) FROM json_each(customFields)"
                " WHERE value ->> 'id' <> ?) WHERE org = ? AND instr(customFields, ?) > 0",
                (field, org, field),
            )
            db.execute("DELETE FROM upflow_custom_field WHERE org = ? AND id = ?", (org, field))
        return Response(status_code=204)
