"""Customers in a CSV file."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pydantic import Field

from sync_pipeline.billing.delimited import check_text, dialect_of, lines_of, rewrite, transcode
from sync_pipeline.billing.plain import PlainFile
from sync_pipeline.billing.settings import BillingSettings
from sync_pipeline.billing.source import Organization, Reading
from sync_pipeline.billing.tabular import Columns, Layout, reading_of
from sync_pipeline.errors import ConfigurationError, TransientError
from sync_pipeline.yaml_types.shapes import CustomerUrl, Delimiter, Encoding
from sync_pipeline.yaml_types.values import Setting

LINES_OF_EACH = 4
"""As many lines are looked up for a customer id in question."""


class Settings(BillingSettings):
    """Customers in a CSV file."""

    system: Literal["file"]
    """The billing system."""
    path: Setting
    """The CSV file, relative to this file."""
    encoding: Encoding = "utf-8"
    """Encoding of the file, e.g. utf-8, cp1252, latin-1."""
    delimiter: Delimiter | None = None
    """One character; found out where it is not given."""
    columns: Columns = Field(default_factory=dict)
    """What a customer row says (customer_id, name, ...): the column that says it, where the names differ."""
    customer_url: CustomerUrl | None = None
    """Address of a customer's page, with {customer_id} in it; checks link there."""


def read(org: Organization, folder: Path, since: datetime | None = None) -> Reading:
    """The file itself where DuckDB can take it as it is, else a plain copy of it.

    Raises:
        ConfigurationError: there is no such file, or it lacks a column that the YAML names.
        DataError: it is no CSV in the given encoding, with the line and what is wrong with it.
        TransientError: it is still being written.
    """
    path = org.path(_settings(org).path)
    unchanged = partial(_refuse_changed, org, path, _state(org, path))
    try:
        return _reading(org, path, folder, unchanged)
    finally:
        unchanged()  # before anything else that may be wrong with half a file


def probe(org: Organization) -> str:
    """Look at the file's beginning: its encoding, its delimiter, its columns."""
    settings = _settings(org)
    path = org.path(settings.path)
    _state(org, path)
    if codecs.lookup(settings.encoding).name not in ("utf-8", "utf-8-sig"):
        return f"{path.name} is there; its columns are known when it is read (encoding {settings.encoding})."
    dialect = dialect_of(org.where("billing", "path"), path, settings.delimiter)
    Layout.of(org, dialect.header, settings.columns)
    return (
        f"{path.name} is there; it has {len(dialect.header)} columns, the identifier and the customer's id among them."
    )


def customer_url(org: Organization, customer_id: str) -> str | None:
    """The page that `billing.customer_url` names."""
    template = _settings(org).customer_url
    return template.replace("{customer_id}", quote(customer_id, safe="")) if template else None


def _reading(org: Organization, path: Path, folder: Path, unchanged: Callable[[], None]) -> Reading:
    settings = _settings(org)
    place = org.where("billing", "path")
    if codecs.lookup(settings.encoding).name not in ("utf-8", "utf-8-sig"):
        transcode(org.where("billing", "encoding"), path, settings.encoding, folder / path.name)
        path = folder / path.name
    dialect = dialect_of(place, path, settings.delimiter)
    layout = Layout.of(org, dialect.header, settings.columns)
    column = layout.used["customer_id"]

    def lines(wanted: set[str]) -> dict[str, list[int]]:
        return lines_of(place, path, dialect.delimiter, column, wanted, LINES_OF_EACH)

    def otherwise() -> Reading:
        check_text(place, path, "utf-8")
        plain = folder / "plain.csv"
        rewrite(place, path, plain, dialect)
        return reading_of(org, plain, PlainFile.delimiter, layout, unchanged=unchanged, lines=lines)

    if not dialect.plain:
        return otherwise()
    return reading_of(org, path, dialect.delimiter, layout, unchanged=unchanged, lines=lines, otherwise=otherwise)


def _settings(org: Organization) -> Settings:
    if not isinstance(org.billing, Settings):
        raise TypeError(f"{org.name} is billed by {org.billing.system}")
    return org.billing


def _state(org: Organization, path: Path) -> tuple[int, int, int]:
    """What changes when somebody writes to the file or puts another in its place."""
    place = org.where("billing", "path")
    try:
        state = path.stat()
        if not path.is_file():
            what = "a folder" if path.is_dir() else "no ordinary file"
            raise ConfigurationError(f"{place}: {path} is {what}.", next_step="Name a CSV file at billing.path.")
        path.open("rb").close()
    except OSError as error:
        raise ConfigurationError(
            f"{place}: {path} can't be opened: {error.strerror}.",
            next_step="Check billing.path (relative to the YAML file's folder) and the right to read it.",
        ) from None
    return state.st_ino, state.st_size, state.st_mtime_ns


def _refuse_changed(org: Organization, path: Path, before: tuple[int, int, int]) -> None:
    try:
        unchanged = _state(org, path) == before
    except ConfigurationError:
        unchanged = False
    if not unchanged:
        raise TransientError(
            f"{org.where('billing', 'path')}: {path.name} changed while it was read.",
            next_step="Let the export finish and sync again; one that writes under another name and renames is safe.",
        ) from None
