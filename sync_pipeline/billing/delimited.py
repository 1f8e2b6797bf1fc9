"""CSV as it is really written: finding out the dialect, and saying exactly what is wrong where it can't be read.

DuckDB reads the file. Python's reader serves where DuckDB refuses: it either finds the line that is at fault, or brings
what is sound but unusual (mixed line ends, blank lines, `sep=;`) to a dialect that DuckDB takes.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from sync_pipeline import progress
from sync_pipeline.billing.plain import LONGEST_ROW, UNKNOWN, PlainFile
from sync_pipeline.billing.values import is_blank
from sync_pipeline.errors import DataError

DELIMITERS = ",;\t|"
SAMPLE_CHARACTERS = 262_144
SAMPLE_ROWS = 200
CHUNK_BYTES = 1_048_576
REPORT_EVERY = 50_000
_MAGIC = {
    b"PK\x03\x04": "an Excel workbook or another zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"PAR1": "Parquet",
}
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV file is written."""

    header: list[str]
    delimiter: str
    plain: bool
    """Whether DuckDB may try to read it as it is."""


def dialect_of(place: str, path: Path, delimiter: str | None) -> Dialect:
    """Read the header of a UTF-8 file, and find out the delimiter if it is not given.

    Raises:
        DataError: the file holds no header, or is no UTF-8 there.
    """
    with _opened(place, path) as file:
        sample = file.read(SAMPLE_CHARACTERS)
        whole = not file.read(1)
    announced = re.match(r"sep=([^\r\n])(?:\r\n|\r|\n)", sample)  # as Excel writes it
    chosen = delimiter or (announced[1] if announced else _likeliest(sample, whole))
    rows = _records(io.StringIO(sample, newline=""), place, chosen)
    header = next((row for _, row in rows), None)
    if header is None:
        raise DataError(
            f"{place}: {path.name} is empty: there is not even a line with column names.",
            next_step="Export the file again, with column names in its first line.",
        )
    # DuckDB takes a blank line before the header for the header, one in a file of a single column for a row, and the
    # first line break, even inside a name, for the kind all lines end in (and then loses rows without a word).
    plain = not announced and len(header) > 1 and sample[0] not in "\r\n" and not re.search(r"[\r\n]", "".join(header))
    return Dialect(header, chosen, plain and not _loses_silently(path))


def rewrite(place: str, path: Path, target: Path, dialect: Dialect) -> int:
    """Write the rows of a UTF-8 file to `target` as a `PlainFile`; returns the characters of the longest.

    Raises:
        DataError: the first line that can't be read, and why.
    """
    width = len(dialect.header)
    with _opened(place, path) as file, PlainFile(place, target, width) as plain:
        rows = _records(file, place, dialect.delimiter)
        next(rows)
        for line, row in rows:
            while len(row) > width and not row[-1]:  # delimiters at the end of the line say nothing
                row.pop()
            if len(row) != width:
                raise DataError(
                    f"{place}: line {line} has {_values(len(row))}, the header has {width}.",
                    next_step=f"Correct it (a value with {dialect.delimiter!r} in it needs quotes) or export again.",
                )
            plain.write(row)
            if plain.count % REPORT_EVERY == 0:
                progress.report("customers read", plain.count)
    return plain.longest


def lines_of(place: str, path: Path, delimiter: str, column: int, wanted: set[str], most: int) -> dict[str, list[int]]:
    """The first `most` lines whose `column` holds each wanted value; "" stands for every blank one."""
    found: dict[str, list[int]] = {value: [] for value in wanted}
    with _opened(place, path) as file, suppress(DataError):  # DuckDB forgives more: then no lines
        for line, row in islice(_records(file, place, delimiter), 1, None):
            cell = row[column] if column < len(row) else ""
            value = "" if is_blank(cell) else cell
            if value in found and len(found[value]) < most:
                found[value].append(line)
    return found


def check_text(place: str, path: Path, encoding: str) -> None:
    """Read a file from end to end; DataError, as for `transcode`, if it is not of its encoding."""
    for _ in _decoded(place, path, encoding):
        pass


def transcode(place: str, path: Path, encoding: str, target: Path) -> None:
    """Write a file of another encoding as UTF-8 to `target`.

    Raises:
        DataError: the line and the byte that are not of that encoding, and which encoding to try.
    """
    with target.open("w", encoding="utf-8", newline="") as out:
        for text in _decoded(place, path, encoding):
            out.write(text)


@contextmanager
def _opened(place: str, path: Path) -> Iterator[TextIO]:
    """A UTF-8 file as text; DataError with line and byte, as for `transcode`, as soon as it turns out to be none."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield file
        except UnicodeDecodeError:
            check_text(place, path, "utf-8")
            raise


def _decoded(place: str, path: Path, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = 0
    with path.open("rb") as source:
        marked = _marked(source.read(3))
        source.seek(0)
        if marked and not codecs.lookup(encoding).name.startswith(marked):  # single-byte encodings take any byte
            raise _undecodable(place, path, encoding, 0)
        while True:
            chunk = source.read(CHUNK_BYTES)
            pending = len(decoder.getstate()[0])
            try:
                yield decoder.decode(chunk, final=not chunk)
            except UnicodeError as error:
                start = error.start if isinstance(error, UnicodeDecodeError) else 0
                raise _undecodable(place, path, encoding, max(0, offset - pending + start)) from None
            if not chunk:
                return
            offset += len(chunk)


def _undecodable(place: str, path: Path, encoding: str, at: int) -> DataError:
    feeds = returns = seen = 0
    with path.open("rb") as source:
        beginning = source.read(4)
        source.seek(0)
        while seen < at and (chunk := source.read(min(CHUNK_BYTES, at - seen))):
            feeds, returns, seen = feeds + chunk.count(b"\n"), returns + chunk.count(b"\r"), seen + len(chunk)
    line = (feeds or returns) + 1
    kind = next((name for magic, name in _MAGIC.items() if beginning.startswith(magic)), None)
    if kind:
        return DataError(f"{place}: {path.name} is {kind}, not CSV.", next_step="Save it as CSV UTF-8.")
    other = _marked(beginning) or ("cp1252" if codecs.lookup(encoding).name == "utf-8" else "utf-8")
    return DataError(
        f"{place}: {path.name} is not {encoding}: line {line}, byte {at + 1:,}.",
        next_step=f"Say how it is written, e.g. `encoding: {other}`"
        f"{' (Windows, Excel)' if other == 'cp1252' else ''}, or save it as CSV UTF-8.",
    )


def _marked(beginning: bytes) -> str | None:
    """The encoding that a byte order mark announces."""
    return next((name for mark, name in _MARKS.items() if beginning.startswith(mark)), None)


def _records(file: TextIO, place: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank (nor Excel's `sep=;`), with the line it starts at."""
    csv.field_size_limit(LONGEST_ROW)
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    line = 1
    try:
        for row in reader:
            if row and not (line == 1 and re.fullmatch("sep=.?", delimiter.join(row))):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{place}: the row that starts at line {line} can't be read: {_why(str(error))}.",
            next_step="Correct it (a quote inside a value is written twice), or export the file again.",
        ) from None


def _why(complaint: str) -> str:
    if "unexpected end of data" in complaint:
        return "a quote is opened and never closed"
    if "field limit" in complaint:
        return f"a value is longer than {LONGEST_ROW:,} characters, or a quote is never closed"
    if "expected after" in complaint:
        return "a closing quote is followed by something other than the delimiter"
    return complaint


def _likeliest(sample: str, whole: bool) -> str:
    """The delimiter under which the rows agree on the most columns; of the header alone where none makes them agree."""

    def score(delimiter: str) -> tuple[bool, int]:
        widths, sound = _widths(sample, delimiter, whole)
        return sound and len(set(widths)) == 1 and widths[0] > 1, widths[0] if widths else 0

    return max(DELIMITERS, key=score)


def _widths(sample: str, delimiter: str, whole: bool) -> tuple[list[int], bool]:
    """Columns of each row of the sample, and whether nothing in it is against the rules."""
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, strict=True)
    widths: list[int] = []
    try:
        for row in reader:
            if row:
                widths.append(len(row))
            if len(widths) == SAMPLE_ROWS:
                return widths, True
    except csv.Error as error:
        return widths, not whole and "unexpected end" in str(error)
    return (widths if whole or len(widths) < 2 else widths[:-1]), True


def _loses_silently(path: Path) -> bool:
    """Whether DuckDB would drop something without a word: where some lines end in \\r and others don't, or values hold one,
    characters; where the last line is longer than its buffer, that line."""
    returns = pairs = feeds = longest = line = 0
    last = b""
    with path.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            returns, feeds = returns + chunk.count(b"\r"), feeds + chunk.count(b"\n")
            pairs += chunk.count(b"\r\n") + (last == b"\r" and chunk[:1] == b"\n")
            last = chunk[-1:]
            end = max(chunk.rfind(b"\r"), chunk.rfind(b"\n"))
            line = (
                line + len(chunk) if end < 0 else len(chunk) - end - 1
            )  # so far; a line within a chunk is short enough
            longest = max(longest, line)
    return (returns > pairs and feeds > 0) or longest > 4 * UNKNOWN  # bytes


def _values(count: int) -> str:
    return f"{count} value{'' if count == 1 else 's'}"
