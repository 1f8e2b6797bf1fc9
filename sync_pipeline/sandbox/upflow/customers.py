"""Customers, their assigned user and their portal link."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
import uuid
from typing import Any

from starlette.responses import Response

from sync_pipeline.sandbox.state import State
from sync_pipeline.sandbox.upflow.shapes import (
    Problem,
    customer_json,
    email_of,
    read_customer,
    read_object,
    refuse_unknown,
    text,
    user_json,
)
from sync_pipeline.sandbox.web import Call, json_answer

MOST_PER_PAGE = 500
DEFAULT_PAGE = 100
DEFAULT_LIFE = 86_400
EXTERNAL = "external:"


class Customers:
    """Handlers of /customers, but for contacts."""

    def __init__(self, state: State) -> None:
        self._state = state

    def find(self, org: str, customer: str) -> sqlite3.Row:
        """A customer by Upflow's id or external:{externalId}; 404 where there is none."""
        column, value = ("externalId", customer[len(EXTERNAL) :]) if customer.startswith(EXTERNAL) else ("id", customer)
        row = self._state.row(f"SELECT * FROM upflow_customer WHERE org = ? AND {column} = ?", org, value)
        if row is None:
            raise Problem(404, "Customer not found")
        return row

    def list(self, org: str, call: Call) -> Response:
        """GET /customers: in order of creation."""
        offset, limit = paging(call)
        rows = self._state.rows(
            "SELECT * FROM upflow_customer WHERE org = ? ORDER BY position LIMIT ? OFFSET ?", org, limit, offset
        )
        total = self._state.rows("SELECT count(*) FROM upflow_customer WHERE org = ?", org)[0][0]
        shown = [customer_json(row, call.base) for row in rows]
        return json_answer({"customers": shown, "offset": offset, "limit": limit, "total": total})

    def create(self, org: str, call: Call) -> Response:
        """POST /customers: creates, or replaces the one that has this externalId."""
        values = self._read(org, call)
        external = values["externalId"]
        known = self._state.row("SELECT id FROM upflow_customer WHERE org = ? AND externalId = ?", org, external)
        if known is not None:
            return self._write(org, known["id"], values, call)
        customer_id = str(uuid.uuid4())
        columns = ", ".join(values)
        marks = ", ".join("?" * len(values))
        self._state.db.execute(
            f"INSERT INTO upflow_customer (org, id, position, {columns}) SELECT ?, ?,"
            f" coalesce((SELECT max(position) FROM upflow_customer WHERE org = ?), -1) + 1, {marks}",
            (org, customer_id, org, *values.values()),
        )
        return json_answer(customer_json(self.find(org, customer_id), call.base), 201)

    def get(self, org: str, call: Call, customer: str) -> Response:
        """GET /customers/{customer}."""
        return json_answer(customer_json(self.find(org, customer), call.base))

    def replace(self, org: str, call: Call, customer: str) -> Response:
        """PUT /customers/{customer}: what the body leaves out is emptied."""
        return self._write(org, self.find(org, customer)["id"], self._read(org, call), call)

    def delete(self, org: str, call: Call, customer: str) -> Response:
        """DELETE /customers/{customer}, with its contacts and links."""
        customer_id = self.find(org, customer)["id"]
        with self._state.transaction() as db:
            db.execute("DELETE FROM upflow_contact WHERE org = ? AND customer_id = ?", (org, customer_id))
            db.execute("DELETE FROM upflow_portal_link WHERE org = ? AND customer_id = ?", (org, customer_id))
            db.execute("DELETE FROM upflow_customer WHERE org = ? AND id = ?", (org, customer_id))
        return Response(status_code=204)

    def managers(self, org: str, call: Call, customer: str) -> Response:
        """GET /customers/{customer}/account-managers: the assigned user, in a list."""
        manager = self.find(org, customer)["accountManagerId"]
        rows = self._state.rows("SELECT * FROM upflow_user WHERE org = ? AND id = ?", org, manager)
        return json_answer({"accountManagers": [user_json(row) for row in rows]})

    def assign(self, org: str, call: Call, customer: str) -> Response:
        """POST /customers/{customer}/account-managers: assigns; a user nobody knew is created, and not invited."""
        customer_id = self.find(org, customer)["id"]
        content = read_object(call.body)
        refuse_unknown(content, {"email", "firstName", "lastName"})
        email = email_of(content)
        first, last = text(content, "firstName"), text(content, "lastName")
        with self._state.transaction() as db:
            db.execute(
                "INSERT INTO upflow_user VALUES (?, ?, ?, ?, ?, NULL, 0) ON CONFLICT (org, email) DO NOTHING",
                (org, str(uuid.uuid4()), email, first, last),
            )
            user = db.execute("SELECT * FROM upflow_user WHERE org = ? AND email = ?", (org, email)).fetchone()
            db.execute(
                "UPDATE upflow_customer SET accountManagerId = ? WHERE org = ? AND id = ?",
                (user["id"], org, customer_id),
            )
        return json_answer(user_json(user), 201)

    def portal(self, org: str, call: Call, customer: str) -> Response:
        """POST /customers/{customer}/portal: a new link, alive for `expiresIn` seconds."""
        row = self.find(org, customer)
        content = read_object(call.body)
        refuse_unknown(content, {"expiresIn", "frameAncestors"})
        life = content.get("expiresIn", DEFAULT_LIFE)
        if not isinstance(life, int) or isinstance(life, bool) or life < 1:
            raise Problem(400, "expiresIn must be a whole number of seconds, at least 1")
        if not row["portal"]:
            raise Problem(404, "Portal not found")
        token, now = secrets.token_urlsafe(32), time.time()
        self._state.db.execute(
            "INSERT INTO upflow_portal_link VALUES (?, ?, ?, ?, ?, ?)",
            (org, token, row["id"], now, now + life, text(content, "frameAncestors")),
        )
        return json_answer({"url": f"{call.base}/portal/{token}"}, 201)

    def _read(self, org: str, call: Call) -> dict[str, Any]:
        values = read_customer(read_object(call.body))
        manager = values["accountManagerId"]
        if manager and not self._state.row("SELECT 1 FROM upflow_user WHERE org = ? AND id = ?", org, manager):
            raise Problem(400, "accountManagerId is not the id of a user")
        check_fields(self._state, org, "CUSTOMER", values["customFields"])
        return values

    def _write(self, org: str, customer_id: str, values: dict[str, Any], call: Call) -> Response:
        changes = ", ".join(f"{column} = ?" for column in values)
        try:
            self._state.db.execute(
                f"UPDATE upflow_customer SET {changes} WHERE org = ? AND id = ?", (*values.values(), org, customer_id)
            )
        except sqlite3.IntegrityError as error:
            raise Problem(400, "externalId is already used by another customer") from error
        return json_answer(customer_json(self.find(org, customer_id), call.base))


def check_fields(state: State, org: str, entity: str, custom_fields: str) -> None:
    """400 for values of custom fields that do not exist for customers, or for contacts."""
    for value in json.loads(custom_fields):
        sql = "SELECT 1 FROM upflow_custom_field WHERE org = ? AND id = ? AND entity = ?"
        if state.row(sql, org, value["id"], entity) is None:
            raise Problem(400, f"Custom field {value['id'][:60]} does not exist for {entity.lower()}s")


def paging(call: Call) -> tuple[int, int]:
    """`offset` and `limit` of a list; `page` counts from 1. Other parameters are overlooked, as by Upflow itself."""
    given = dict(call.query)
    try:
        limit = int(given.get("limit", DEFAULT_PAGE))
        offset = int(given["offset"]) if "offset" in given else (int(given.get("page", 1)) - 1) * limit
    except ValueError as error:
        raise Problem(400, "offset, limit and page must be whole numbers") from error
    if not 1 <= limit <= MOST_PER_PAGE or not 0 <= offset < 2**62:
        raise Problem(400, f"limit must be between 1 and {MOST_PER_PAGE}, offset 0 or more")
    return offset, limit
