"""Customers in a file: CSV, Parquet or JSON lines, on this machine, in an object store or behind an https address."""

from __future__ import annotations

import codecs
import gzip
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field

from sync_pipeline.billing import json_lines, parquet
from sync_pipeline.billing.delimited import check_text, dialect_of, lines_of, rewrite, transcode
from sync_pipeline.billing.object_store import fetch
from sync_pipeline.billing.plain import PlainFile
from sync_pipeline.billing.settings import BillingSettings
from sync_pipeline.billing.source import Organization, Reading
from sync_pipeline.billing.tabular import Columns, Layout, reading_of
from sync_pipeline.errors import ConfigurationError, TransientError
from sync_pipeline.yaml_types.files import (
    ENDINGS,
    FORMATS,
    FileAddress,
    FileFormat,
    format_of,
    scheme_of,
    without_secret,
)
from sync_pipeline.yaml_types.shapes import CustomerUrl, Delimiter, Encoding
from sync_pipeline.yaml_types.values import text

LINES_OF_EACH = 4
"""As many lines are looked up for a customer id in question."""
title = "the file"
PROBED_BYTES = 16_777_216
"""A probe fetches no larger file from elsewhere."""


class Settings(BillingSettings):
    """Customers in a file: CSV, Parquet or JSON lines."""

    system: Literal["file"]
    """The billing system."""
    path: FileAddress
    """The file, relative to this file; or s3://, gs://, az://, https://. A presigned address is a secret: {env: NAME}."""
    format: FileFormat | None = None
    """csv, parquet or jsonl; found out from the ending (.csv, .tsv, .txt, .parquet, .jsonl, .ndjson) where not given."""
    encoding: Encoding = "utf-8"
    """Encoding of a CSV file, e.g. utf-8, cp1252, latin-1."""
    delimiter: Delimiter | None = None
    """One character, of a CSV file; found out where it is not given."""
    columns: Columns = Field(default_factory=dict)
    """What a customer row says (customer_id, name, ...): the column that says it, where the names differ."""
    customer_url: CustomerUrl | None = None
    """Address of a customer's page, with {customer_id} in it; checks link there."""

    @classmethod
    def findings(cls, section: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
        """A file has a format, and only a CSV file an encoding and a delimiter."""
        path, given = section.get("path"), section.get("format")
        if not (given in FORMATS or (given is None and isinstance(path, str))):
            return
        if isinstance(path, str) and not _is_address(path):
            return  # said already
        chosen = given or format_of(str(path))
        if chosen is None:
            yield (
                ("format",),
                f"this key is missing: the path's ending does not say how the file is written. Allowed: {', '.join(FORMATS)} "
                f"(endings that say it: {', '.join(ENDINGS)}).",
            )
        for key in ("encoding", "delimiter") if chosen in ("parquet", "jsonl") else ():
            if section.get(key) is not None:
                yield (key,), f"only a CSV file has one, and this one is {chosen}. Take it out."


def read(org: Organization, folder: Path, since: datetime | None = None) -> Reading:
    """The file itself where DuckDB can take it as it is, else a plain copy of it.

    Raises:
        ConfigurationError: there is no such file, or it lacks a column that the YAML names.
        ReconnectError: the object store refuses the login.
        DataError: it is not of its format, with the line and what is wrong with it.
        TransientError: it is still being written, or the object store is away.
    """
    settings = _settings(org)
    address = text(settings.path)
    kind = _format(org, address)
    if scheme_of(address):
        path, unchanged = folder / f"customers.{kind}", _always
        fetch(org, settings.path, address, path)
    else:
        path = org.path(settings.path)
        unchanged = partial(_refuse_changed, org, path, _state(org, path))
    try:
        return _reading(org, kind, _unpacked(org, path, folder), folder, unchanged)
    finally:
        unchanged()  # before anything else that may be wrong with half a file


def probe(org: Organization) -> str:
    """Look at the columns of the file: at a CSV file's beginning, at a Parquet file's end, at so many JSON lines."""
    settings = _settings(org)
    address = text(settings.path)
    kind = _format(org, address)
    with TemporaryDirectory(prefix="sync-pipeline-billing-") as name:
        folder = Path(name)
        if scheme_of(address):
            path = folder / f"customers.{kind}"
            if not fetch(org, settings.path, address, path, PROBED_BYTES):
                return (
                    "The file is there; its columns are known when it is read (more than 16 MB, not fetched for this)."
                )
        else:
            path = org.path(settings.path)
            _state(org, path)
        return _probed(org, kind, path.name, _unpacked(org, path, folder))


def customer_url(org: Organization, customer_id: str) -> str | None:
    """The page that `billing.customer_url` names."""
    template = _settings(org).customer_url
    return template.replace("{customer_id}", quote(customer_id, safe="")) if template else None


def _probed(org: Organization, kind: FileFormat, name: str, path: Path) -> str:
    settings = _settings(org)
    if kind == "parquet":
        layout = parquet.layout_of(org, path, settings.columns)
    elif kind == "jsonl":
        layout = json_lines.layout_of(org, path, settings.columns, json_lines.PROBED_LINES)
    elif codecs.lookup(settings.encoding).name not in ("utf-8", "utf-8-sig"):
        return f"{name} is there; its columns are known when it is read (encoding {settings.encoding})."
    else:
        dialect = dialect_of(org.where("billing", "path"), path, settings.delimiter)
        layout = Layout.of(org, dialect.header, settings.columns)
    count = len(layout.names) - len(layout.inner)
    return f"{name} is there; it has {count} columns, the identifier and the customer's id among them."


def _reading(org: Organization, kind: FileFormat, path: Path, folder: Path, unchanged: Callable[[], None]) -> Reading:
    settings = _settings(org)
    if kind == "parquet":
        return parquet.reading(org, path, settings.columns, unchanged)
    if kind == "jsonl":
        return json_lines.reading(org, path, folder, settings.columns, unchanged)
    return _csv_reading(org, path, folder, unchanged)


def _csv_reading(org: Organization, path: Path, folder: Path, unchanged: Callable[[], None]) -> Reading:
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
        longest = rewrite(place, path, plain, dialect)
        return reading_of(org, plain, PlainFile.delimiter, layout, longest=longest, unchanged=unchanged, lines=lines)

    if not dialect.plain:
        return otherwise()
    return reading_of(org, path, dialect.delimiter, layout, unchanged=unchanged, lines=lines, otherwise=otherwise)


def _format(org: Organization, address: str) -> FileFormat:
    found = _settings(org).format or format_of(address)
    if found is None:  # the loader says so where the path stands in the YAML file
        raise ConfigurationError(
            f"{org.where('billing', 'path')}: the file's ending does not say how it is written "
            f"(known: {', '.join(ENDINGS)}).",
            next_step=f"Add format: {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.",
        )
    return found


def _unpacked(org: Organization, path: Path, folder: Path) -> Path:
    """The file, or what is in it where it is compressed by gzip. (DuckDB takes a cut one for a whole one.)"""
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return path
    target = folder / f"unpacked-{path.name.removesuffix('.gz')}"
    try:
        with gzip.open(path) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out, 1_048_576)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise TransientError(
            f"{org.where('billing', 'path')}: {path.name} is compressed, and can't be unpacked to its end.",
            next_step="Let the export finish and sync again; if it has finished, its transfer broke off.",
        ) from None
    return target


def _is_address(path: str) -> bool:
    try:
        without_secret(path)
    except ValueError:
        return False
    return not path.startswith("$")


def _always() -> None:
    """What was fetched does not change any more."""


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
            raise ConfigurationError(f"{place}: {path} is {what}.", next_step="Name one file at billing.path.")
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
