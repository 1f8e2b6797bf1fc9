"""Customers of systems that answer JSON: one record a line in a file on disk, from where SQL takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sync_pipeline.billing.source import no_such_field
from sync_pipeline.billing.values import is_inexact, text_of
from sync_pipeline.errors import ConfigurationError, DataError
from sync_pipeline.orgs.models import Organization

REMEMBERED_FIELDS = 1000
"""Custom keys may be as many as customers; no message lists more."""
_ABSENT = object()


def lookup(record: Mapping[str, Any], field: str) -> object:
    """The value at `field`, or a marker that is no value where the record does not have it.

    A dot leads into an object; a key that itself contains dots (custom keys may) is found as well, and comes first.
    """
    if field in record:
        return record[field]
    dot = field.find(".")
    while dot != -1:
        inner = record.get(field[:dot])
        if isinstance(inner, Mapping):
            found = lookup(inner, field[dot + 1 :])
            if found is not _ABSENT:
                return found
        dot = field.find(".", dot + 1)
    return _ABSENT


class Spool:
    """Writes records to a file, each with the shared identifier as text, and notes whether any record has that field.

    Args:
        org: the organization, whose `identifier.billing_field` is looked up.
        path: the file to write.
        system: name of the billing system for messages.
    """

    def __init__(self, org: Organization, path: Path, system: str) -> None:
        self._org = org
        self._field = org.identifier.billing_field
        self._path = path
        self._system = system
        self._file = path.open("wb")
        self._found = False
        self._fields: set[str] = set()
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, record: Mapping[str, Any]) -> None:
        """Write one record.

        Raises:
            ConfigurationError: the identifier field holds an object or a list.
            DataError: the record can't be written down exactly.
        """
        identifier = lookup(record, self._field)
        if identifier is _ABSENT:
            if not self._found:
                self._remember(record)
        else:
            self._found = True
        line = {"position": self.count, "identifier": self._text(identifier), "record": record}
        try:
            written = json.dumps(line, ensure_ascii=False, allow_nan=False)
        except ValueError:
            raise DataError(f"{self._place()}: {self._system} delivered a number beyond all bounds.") from None
        self._file.write(_utf8(written) + b"\n")
        self.count += 1

    def require_field(self) -> None:
        """Raise ConfigurationError if there were records and none of them has the identifier field."""
        if self.count and not self._found:
            subject = f"none of the {self.count:,} customers of {self._system} has"
            raise no_such_field(self._org, ("identifier", "billing_field"), self._field, sorted(self._fields), subject)

    def relation(self) -> tuple[str, dict[str, object]]:
        """The records for a FROM clause (columns position, identifier, record), and its parameters."""
        columns = "{position: 'BIGINT', identifier: 'VARCHAR', record: 'JSON'}"
        return f"read_json($spool, columns = {columns}, format = 'newline_delimited')", {"spool": str(self._path)}

    def _text(self, identifier: object) -> str | None:
        if identifier is _ABSENT:
            return None
        if isinstance(identifier, (dict, list)):
            raise ConfigurationError(
                f"{self._place()}: {self._field!r} of {self._system} is no single value.",
                next_step="Name a field inside it, e.g. metadata.salesforce_account_id.",
            )
        if is_inexact(identifier):
            raise DataError(
                f"{self._place()}: {self._field!r} of {self._system} holds numbers too long to be exact.",
                next_step="Keep the identifier as text there.",
            )
        return text_of(identifier)

    def _remember(self, record: Mapping[str, Any]) -> None:
        if len(self._fields) >= REMEMBERED_FIELDS:
            return
        for name, value in record.items():
            if isinstance(value, Mapping):
                self._fields.update(f"{name}.{inner}" for inner in value)
            else:
                self._fields.add(name)

    def _place(self) -> str:
        return self._org.where("identifier", "billing_field")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: no text has it, and nothing that reads text takes it
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()
