"""Customers of systems that answer JSON: one record a row in a file on disk, from where SQL takes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sync_pipeline.billing.plain import PlainFile, csv_relation
from sync_pipeline.billing.source import Organization, no_such_field
from sync_pipeline.billing.values import is_exact, is_inexact, text_of
from sync_pipeline.errors import ConfigurationError, DataError

REMEMBERED_FIELDS = 1000
"""Custom keys may be as many as customers; no message lists more."""
DEEPEST = 8
"""Objects within objects that are looked into for their fields."""
ABSENT = object()
"""What `lookup` answers for a field that a record does not have."""


def lookup(record: Mapping[str, Any], field: str) -> object:
    """The value at `field`, or `ABSENT` where the record does not have it.

    A dot leads into an object; a key that itself contains dots (custom keys may) is found as well, and comes first.
    """
    if field in record:
        return record[field]
    dot = field.find(".")
    while dot != -1:
        inner = record.get(field[:dot])
        if isinstance(inner, Mapping):
            found = lookup(inner, field[dot + 1 :])
            if found is not ABSENT:
                return found
        dot = field.find(".", dot + 1)
    return ABSENT


def flat(record: Mapping[str, Any], prefix: str = "", depth: int = 1) -> dict[str, Any]:
    """Every value that is no object, under the name by which `lookup` finds it; objects beyond `DEEPEST` stay whole."""
    found = {
        f"{prefix}{name}": value for name, value in record.items() if not isinstance(value, dict) or depth == DEEPEST
    }
    for name, value in record.items():
        if isinstance(value, dict) and depth < DEEPEST:
            found = flat(value, f"{prefix}{name}.", depth + 1) | found
    return found


def _first(record: Mapping[str, Any], names: Sequence[str]) -> object:
    for name in names:
        if name in record:
            return record[name]
        if "." in name and (found := lookup(record, name)) is not ABSENT:
            return found
    return None


def _is_id(value: object) -> bool:
    """Whether one customer can be told from another by it; what is missing is told when all are read.

    Objects, yes and no, rounded numbers and half surrogate pairs (`?` in the file) would make several customers one.
    """
    if isinstance(value, str):
        return value.isascii() or re.search("[\ud800-\udfff]", value) is None
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and is_exact(value))


class Spool:
    """Writes records to a file, a row each: the values that have a column of their own, and the rest as one JSON object.

    Args:
        org: the organization, whose `identifier.billing_field` is looked up.
        path: the file to write.
        system: name of the billing system for messages.
        fields: column name to the record's own field, or to several of which the first present one counts; a dot leads
            into objects.
        without: fields that say nothing about the customer.
        whole: keep what has a column of its own in custom_fields too, and the fields of objects by their dotted names.
    """

    def __init__(
        self,
        org: Organization,
        path: Path,
        system: str,
        fields: Mapping[str, Sequence[str]],
        without: Sequence[str] = (),
        *,
        whole: bool = False,
    ) -> None:
        self._org = org
        self._field = org.identifier.billing_field
        self._system = system
        self._fields = fields
        self._paths = list(fields.values())
        self._consumed = set(without) if whole else {name for names in fields.values() for name in names} | set(without)
        self._whole = whole
        self._path = path
        self._columns = ("position", "identifier", *fields, "custom_fields")
        self._file = PlainFile(org.where("billing"), path, len(self._columns))
        self._id_at = [*fields].index("customer_id") if "customer_id" in fields else None
        self._found = False
        self._seen: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)

    @property
    def count(self) -> int:
        """Records written so far."""
        return self._file.count

    def add(self, record: Mapping[str, Any]) -> None:
        """Write one record.

        Raises:
            ConfigurationError: the identifier field holds an object or a list.
            DataError: the record can't be written down exactly, or its id is none.
        """
        identifier = lookup(record, self._field)
        if identifier is not ABSENT:
            self._found = True
        elif not self._found:
            self._remember(record)
        own = [_first(record, names) for names in self._paths]
        if self._id_at is not None and not _is_id(own[self._id_at]):
            raise DataError(
                f"{self._org.where('billing')}: {self._system} delivered a customer whose id is no text and no whole number."
            )
        rest = {name: value for name, value in record.items() if name not in self._consumed}
        try:
            custom = json.dumps(flat(rest) if self._whole else rest, ensure_ascii=False, allow_nan=False)
        except ValueError:
            raise DataError(
                f"{self._org.where('billing')}: {self._system} delivered a number beyond all bounds."
            ) from None
        self._file.write([str(self.count), self._text(identifier), *map(text_of, own), custom])

    def require_field(self) -> None:
        """Raise ConfigurationError if there were records and none of them has the identifier field."""
        if self.count and not self._found:
            subject = f"none of the {self.count:,} customers of {self._system} has"
            place = ("identifier", "billing_field")
            raise no_such_field(self._org, place, self._field, sorted(self._seen), subject)

    def relation(self) -> tuple[str, dict[str, object]]:
        """The rows for a FROM clause, and its parameters: position, identifier, the columns of `fields`, custom_fields.

        All of them are text; what is empty is null.
        """
        return csv_relation(self._path, PlainFile.delimiter, self._columns, self._file.longest)

    def _text(self, identifier: object) -> str | None:
        if identifier is ABSENT:
            return None
        place = self._org.where("identifier", "billing_field")
        if isinstance(identifier, (dict, list)):
            raise ConfigurationError(
                f"{place}: {self._field!r} of {self._system} is no single value.",
                next_step="Name a field inside it, e.g. metadata.salesforce_account_id.",
            )
        if is_inexact(identifier):
            raise DataError(
                f"{place}: {self._field!r} of {self._system} holds numbers too long to be exact.",
                next_step="Keep the identifier as text there.",
            )
        return text_of(identifier)

    def _remember(self, record: Mapping[str, Any]) -> None:
        if len(self._seen) >= REMEMBERED_FIELDS:
            return
        for name, value in record.items():
            if isinstance(value, Mapping):
                self._seen.update(f"{name}.{inner}" for inner in value)
            else:
                self._seen.add(name)
