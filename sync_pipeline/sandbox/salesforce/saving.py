"""Saving one record: the same rules for single records, collections and ingest jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

from sync_pipeline.sandbox.salesforce.api import Api
from sync_pipeline.sandbox.salesforce.errors import RowError
from sync_pipeline.sandbox.salesforce.ids import id18, make_id, next_number
from sync_pipeline.sandbox.salesforce.objects import NUMBER_TYPES, TEXT_TYPES, Field, SObject
from sync_pipeline.sandbox.salesforce.permissions import require_edit, written
from sync_pipeline.sandbox.salesforce.recycling import RecycleBin, now_text

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_FIRST_NEW_NUMBER = 62**8
"""Numbers of records made through the API start here, far above those of the world."""


class Saver:
    """Saves records of one object for one organization; every refusal is a RowError.

    Statements run in the caller's transaction, if there is one.
    """

    def __init__(self, api: Api, org: str, entity: SObject) -> None:
        self._api = api
        self._org = org
        self._entity = entity
        self._table = f'"{written(entity).table}"'
        self._bin = RecycleBin(api, org, written(entity))
        self._rules = api.validation_rules(org, entity.name)

    def update(self, record_id: str, values: dict[str, Any]) -> str:
        """Change fields of one record; returns its 18-character id.

        Args:
            record_id: 15 or 18 characters.
            values: field name in any case -> value as JSON or as text from CSV; None empties the field.
        """
        whole_id = self.checked_id(record_id)
        self._editable(whole_id)
        columns = self._checked(values, creating=False)
        self._bin.living(whole_id)
        self._refuse_duplicates(columns, whole_id)
        self._api.faults.refuse(whole_id)
        moment = now_text()
        columns |= {"LastModifiedDate": moment, "SystemModstamp": moment}
        assignments = ", ".join(f'"{name}" = ?' for name in columns)
        with self._validated(whole_id):
            self._execute(
                f'UPDATE {self._table} SET {assignments} WHERE org = ? AND "Id" = ?',
                *columns.values(),
                self._org,
                whole_id,
            )
            if "LastName" in columns or "FirstName" in columns:
                self._refresh_name(whole_id)
        return whole_id

    def insert(self, values: dict[str, Any]) -> str:
        """Make a record; returns its id."""
        columns = self._checked(values, creating=True)
        required = [
            f.name for f in self._entity.fields.values() if not f.nillable and f.createable and f.type != "boolean"
        ]
        missing = [name for name in required if columns.get(name) is None and name != "OwnerId"]
        if missing:
            raise RowError(
                "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", tuple(missing)
            )
        self._refuse_duplicates(columns)
        moment = now_text()
        record_id = self._unused_id()
        columns |= {"Id": record_id, "CreatedDate": moment, "LastModifiedDate": moment, "SystemModstamp": moment}
        if "isdeleted" in self._entity.fields:
            columns["IsDeleted"] = 0
        if "ownerid" in self._entity.fields and not columns.get("OwnerId"):
            user = self._api.state.row("SELECT user_id FROM organizations WHERE org = ?", self._org)
            columns["OwnerId"] = user["user_id"] if user else None
        names = ", ".join(f'"{name}"' for name in columns)
        marks = ", ".join("?" * len(columns))
        with self._validated(record_id):
            self._execute(f"INSERT INTO {self._table} (org, {names}) VALUES (?, {marks})", self._org, *columns.values())
            self._refresh_name(record_id)
        return record_id

    def upsert(self, key_field: str, key: Any, values: dict[str, Any]) -> tuple[str, bool]:
        """Update the one record whose external id is `key`, or make it; returns its id and whether it is new."""
        if key_field.lower() == "id":
            return self.update(str(key or ""), values), False
        field = self._field(key_field)
        if key in {None, ""}:
            raise RowError("MISSING_ARGUMENT", f"{field.name} not specified")
        found = self.with_external_id(field, key)
        if len(found) > 1:
            raise RowError(
                "DUPLICATE_EXTERNAL_ID",
                f"{field.name}: more than one record found for external id field: {found}",
                (field.name,),
            )
        if found:
            return self.update(found[0], values), False
        return self.insert({**values, field.name: key}), True

    def delete(self, record_id: str) -> str:
        """Move one record to the recycle bin, and what depends on it; returns its id."""
        whole_id = self.checked_id(record_id)
        self._bin.living(whole_id)
        if not self._entity.deletable:
            raise RowError("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id")
        self._editable(whole_id)
        self._api.faults.refuse(whole_id)
        self._bin.delete(whole_id)
        return whole_id

    def with_external_id(self, field: Field, key: Any) -> list[str]:
        """Ids of the living records that have this value in a field, whatever the case of its letters."""
        self._index(field)
        rows = self._api.state.rows(
            f'SELECT "Id" FROM {self._table} WHERE org = ? AND "{field.name}" = ? COLLATE NOCASE AND "IsDeleted" = 0',
            self._org,
            str(key),
        )
        return [row[0] for row in rows]

    def checked_id(self, record_id: str) -> str:
        """The 18-character form of an id of this object."""
        if not record_id:
            raise RowError("MISSING_ARGUMENT", "Id not specified in an update call")
        whole_id = id18(record_id)
        if whole_id is None:
            raise RowError("MALFORMED_ID", f"malformed id {record_id}", ("Id",))
        if not whole_id.startswith(self._entity.prefix):
            raise RowError("MALFORMED_ID", f"{self._entity.label} ID: id value of incorrect type: {whole_id}", ("Id",))
        return whole_id

    def _index(self, field: Field) -> None:
        """Salesforce indexes external ids and unique fields; here, once somebody asks for one."""
        if field.sql == "":
            self._execute(
                f'CREATE INDEX IF NOT EXISTS "{written(self._entity).table}_{field.name}" '
                f'ON {self._table} (org, "{field.name}" COLLATE NOCASE)'
            )

    # -- checks -----------------------------------------------------------------------------------------------

    def _editable(self, record_id: str) -> None:
        require_edit(self._api.state, self._org, self._api.rights(self._org), self._entity, record_id)

    def _refuse_duplicates(self, columns: dict[str, Any], own_id: str = "") -> None:
        for name in columns:
            field = self._field(name)
            others = self.with_external_id(field, columns[name]) if field.unique and columns[name] is not None else []
            if other := next((record_id for record_id in others if record_id != own_id), None):
                raise RowError(
                    "DUPLICATE_VALUE", f"duplicate value found: {name} duplicates value on record with id: {other}"
                )

    @contextmanager
    def _validated(self, record_id: str) -> Iterator[None]:
        """Around what saves a record: taken back when it then meets the condition of a validation rule."""
        if not self._rules:
            yield
            return
        self._execute("SAVEPOINT validated")
        try:
            yield
            for rule in self._rules:
                sql, parameters = rule.sql(self._api.catalog(self._org), self._org, self._entity, record_id)
                if (found := self._api.state.row(sql, *parameters)) and found[0]:
                    raise rule.refusal()
        except BaseException:
            self._execute("ROLLBACK TO validated")
            raise
        finally:
            self._execute("RELEASE validated")

    def _field(self, name: str) -> Field:
        field = self._entity.fields.get(name.lower())
        if field is None:
            raise RowError("INVALID_FIELD", f"No such column '{name}' on sobject of type {self._entity.name}")
        return field

    def _checked(self, values: dict[str, Any], *, creating: bool) -> dict[str, Any]:
        """The columns to write, each value checked against its field."""
        fields = [(self._field(name), value) for name, value in values.items()]
        closed = [f.name for f, _ in fields if not (f.createable if creating else f.updateable)]
        if closed or not self._entity.updateable:
            names = ", ".join(closed)
            raise RowError(
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                f"Unable to create/update fields: {names}. Please check the security settings of this field and verify "
                "that it is read/write for your profile or permission set.",
                tuple(closed),
            )
        columns = {field.name: self._value(field, value) for field, value in fields}
        missing = [f.name for f, _ in fields if not f.nillable and columns[f.name] is None]
        if missing:
            raise RowError(
                "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", tuple(missing)
            )
        return columns

    def _value(self, field: Field, value: Any) -> Any:
        if value is None or value == "":
            return 0 if field.type == "boolean" else None
        if field.type in TEXT_TYPES:
            return _text(field, value)
        if field.type == "reference":
            return self._reference(field, value)
        if field.type == "boolean":
            return _boolean(field, value)
        if field.type == "date":
            return _date(field, value)
        return _number(field, value) if field.type in NUMBER_TYPES else str(value)

    def _reference(self, field: Field, value: Any) -> str:
        target = self._api.catalog(self._org).get(field.parent or "")
        whole_id = id18(str(value))
        if whole_id is None or target is None or not whole_id.startswith(target.prefix):
            raise RowError("MALFORMED_ID", f"{field.label}: id value of incorrect type: {value}", (field.name,))
        if (
            self._api.state.row(f'SELECT 1 FROM "{target.table}" WHERE org = ? AND "Id" = ?', self._org, whole_id)
            is None
        ):
            raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", (field.name,))
        return whole_id

    def _unused_id(self) -> str:
        """An id that no record of any organization has or had: also those that were purged are never given again."""
        return make_id(self._entity.prefix, next_number(self._api.state, self._entity.name, _FIRST_NEW_NUMBER))

    def _refresh_name(self, record_id: str) -> None:
        """A person's Name is made of the first and the last name."""
        if "lastname" in self._entity.fields:
            self._execute(
                f"""UPDATE {self._table} SET "Name" = trim(coalesce("FirstName", '') || ' ' || "LastName")
                WHERE org = ? AND "Id" = ?""",
                self._org,
                record_id,
            )

    def _execute(self, sql: str, *parameters: Any) -> None:
        self._api.state.db.execute(sql, parameters)


def _wrong_type(field: Field, value: Any) -> RowError:
    return RowError(
        "INVALID_TYPE_ON_FIELD_IN_RECORD", f"{field.label}: value not of required type: {value}", (field.name,)
    )


def _text(field: Field, value: Any) -> str:
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise _wrong_type(field, value)
    if len(value) > field.length:
        raise RowError(
            "STRING_TOO_LONG",
            f"{field.label}: data value too large: {value} (max length={field.length})",
            (field.name,),
        )
    if field.type == "email" and not _EMAIL.fullmatch(value):
        raise RowError("INVALID_EMAIL_ADDRESS", f"{field.label}: invalid email address: {value}", (field.name,))
    return value


def _boolean(field: Field, value: Any) -> int:
    text = str(value).lower()
    if text not in {"true", "false", "1", "0"}:
        raise _wrong_type(field, value)
    return int(text in {"true", "1"})


def _date(field: Field, value: Any) -> str:
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise _wrong_type(field, value) from None


def _number(field: Field, value: Any) -> float | int:
    try:
        number = float(value)
        whole = int(number)
    except (TypeError, ValueError, OverflowError):
        raise _wrong_type(field, value) from None
    if field.type != "int":
        return number
    if whole != number or abs(whole) >= 2**31:
        raise _wrong_type(field, value)
    return whole
