"""Customers in JSON lines: one object a line, in UTF-8.

Python reads them, not DuckDB: DuckDB takes NaN for a number and a trailing comma for nothing, leaves repeated keys to
whoever asks first, and names the wrong line where it stops.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from sync_pipeline import progress
from sync_pipeline.billing.plain import LONGEST_ROW, PlainFile, csv_relation
from sync_pipeline.billing.records import ABSENT, flat, lookup
from sync_pipeline.billing.source import Organization, Reading, inexact, no_single_value
from sync_pipeline.billing.tabular import Columns, Layout, dotted_names, reading_over
from sync_pipeline.billing.values import is_blank, is_exact, text_of
from sync_pipeline.errors import ConfigurationError, DataError, TransientError

LINE_BYTES = 4 * LONGEST_ROW
LINES_OF_EACH = 4
"""As many lines are looked up for a customer id in question."""
REPORT_EVERY = 50_000
PROBED_LINES = 100_000
"""A probe looks at no more; it takes half a second."""
SAFE_DIGITS = 15
"""A float keeps so many digits of any number."""


def reading(
    org: Organization, path: Path, folder: Path, columns: Columns, unchanged: Callable[[], None] = lambda: None
) -> Reading:
    """Read the file twice: for the fields it has, and for what they say.

    Args:
        org: the organization.
        path: a file on disk, not compressed.
        folder: where the rows are laid out.
        columns: `billing.columns`.
        unchanged: as of `Reading`.

    Raises:
        ConfigurationError: no line has a field that the YAML names, or it is no single value.
        DataError: a line is no JSON object, says a key twice or is too long, or digits of an id are lost already.
        TransientError: the last line is cut off.
    """
    place = org.where("billing", "path")
    layout = layout_of(org, path, columns)
    needed = sorted({*layout.used.values(), layout.identifier})
    exact = {layout.identifier, layout.used["customer_id"]}
    consumed = layout.consumed
    plain = folder / "plain.csv"
    encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps makes one for every call
    with PlainFile(place, plain, len(needed) + 1) as file:
        for line, record in records(place, path):
            row = [_cell(org, line, layout, at, lookup(record, layout.names[at]), at in exact) for at in needed]
            rest = {name: value for name, value in record.items() if name not in consumed}
            file.write([*row, encode(rest if org.identifier.billing_field else flat(rest))])
            if file.count % REPORT_EVERY == 0:
                progress.report("customers read", file.count)
    relation, params = csv_relation(plain, PlainFile.delimiter, [*(f"c{at}" for at in needed), "custom"], file.longest)

    def lines(wanted: set[str]) -> dict[str, list[int]]:
        return _lines_of(place, path, layout.names[layout.used["customer_id"]], wanted)

    return reading_over(org, relation, params, layout, custom_fields="custom", unchanged=unchanged, lines=lines)


def layout_of(org: Organization, path: Path, columns: Columns, at_most: int | None = None) -> Layout:
    """Which field says what.

    Args:
        org: the organization.
        path: the file.
        columns: `billing.columns`.
        at_most: lines to look at. Where they lack a field that the YAML names, a later one may have it: all are read.

    Raises:
        As `reading` does.
    """
    inner = dotted_names(org, columns)
    found: dict[str, None] = {}
    nested: dict[str, None] = {}
    count = 0
    for _, record in islice(records(org.where("billing", "path"), path), at_most):
        if not record.keys() <= found.keys():
            found.update(dict.fromkeys(record))
        nested.update((name, None) for name in inner if name not in nested and lookup(record, name) is not ABSENT)
        count += 1
    header = [*found, *(name for name in nested if name not in found)] if count else _declared(org, columns)
    try:
        layout = Layout.of(org, header, columns)
        return replace(layout, inner=frozenset(at for at, name in enumerate(header) if count and name not in found))
    except ConfigurationError:
        if count != at_most:
            raise
    return layout_of(org, path, columns)


def records(place: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line that is not blank, as an object, with its number from 1.

    Numbers keep all their digits: one that a float would round stands as its text.

    Raises:
        DataError, TransientError: as `reading` does.
    """
    decode = json.JSONDecoder(object_pairs_hook=_once, parse_float=_exact, parse_constant=_refuse_constant).decode
    with path.open("rb") as file:
        line = 0
        while raw := file.readline(LINE_BYTES):
            line += 1
            if line == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            if not raw.strip():
                continue
            if len(raw) == LINE_BYTES:
                raise DataError(
                    f"{place}: line {line} is longer than {LONGEST_ROW:,} characters.",
                    next_step="Write one JSON object per line, without what is no data of the customer.",
                )
            try:
                record = decode(raw.decode("utf-8").strip())
            except _RepeatedError as error:
                raise DataError(
                    f"{place}: line {line} says the key {error.args[0]!r} twice in one object.",
                    next_step="Write it once: which of its values counts can't be known.",
                ) from None
            except (ValueError, RecursionError) as error:
                raise _unreadable(place, path, line, raw, error) from None
            if not isinstance(record, dict):
                raise _no_object(place, line, record)
            yield line, record


class _RepeatedError(Exception):
    """An object says a key twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RepeatedError(key[:80])
            seen.add(key)
    return found


def _exact(written: str) -> float | str:
    number = float(written)
    safe = len(written) <= SAFE_DIGITS and "e" not in written and "E" not in written
    return number if safe or Decimal(written) == Decimal(repr(number)) else _Digits(written)


class _Digits(str):
    """A number with a fraction or an exponent and more digits than a float holds, as it is written."""

    __slots__ = ()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _unreadable(place: str, path: Path, line: int, raw: bytes, error: Exception) -> DataError | TransientError:
    if isinstance(error, UnicodeDecodeError):
        return DataError(f"{place}: line {line} is not UTF-8 (byte {error.start + 1:,}).", next_step="Write UTF-8.")
    if not raw.endswith(b"\n") and raw.lstrip().startswith(b"{") and line > 1:
        return TransientError(
            f"{place}: line {line}, the last one, is cut off.",
            next_step="Let the export finish and sync again; if it has finished, its transfer broke off.",
        )
    if line == 1 and raw.startswith(b"PAR1"):
        return DataError(f"{place}: {path.name} is Parquet, not JSON lines.", next_step="Set format: parquet.")
    column = f", column {error.pos + 1:,}" if isinstance(error, json.JSONDecodeError) else ""
    return DataError(
        f"{place}: line {line} is no JSON{column}.",
        next_step="Write one whole JSON object per line, without line breaks.",
    )


def _no_object(place: str, line: int, record: object) -> DataError:
    kinds = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    step = (
        "Write the list's objects one per line, e.g. with `jq -c '.[]'`."
        if isinstance(record, list)
        else "Write one JSON object per line."
    )
    return DataError(f"{place}: line {line} is {kinds.get(type(record), 'a number')}, no object.", next_step=step)


def _cell(org: Organization, line: int, layout: Layout, at: int, value: object, exact: bool) -> str | None:
    if value is ABSENT:
        return None
    if exact and isinstance(value, (dict, list)):
        raise no_single_value(org, layout.names[at])
    if exact and (isinstance(value, _Digits) or not is_exact(value)):
        raise inexact(org, layout.names[at], f" (line {line})")
    return text_of(value)


def _declared(org: Organization, columns: Columns) -> Sequence[str]:
    """An empty file has no fields, and that is no error: the ones that the YAML names."""
    return list(
        dict.fromkeys([columns.get("customer_id", "customer_id"), org.identifier.billing_field, *columns.values()])
    )


def _lines_of(place: str, path: Path, field: str, wanted: set[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for line, record in records(place, path):
        value = lookup(record, field)
        text = "" if value is ABSENT else text_of(value) or ""
        at = found.setdefault("" if is_blank(text) else text, []) if text in wanted or is_blank(text) else []
        if len(at) < LINES_OF_EACH:
            at.append(line)
    return found
