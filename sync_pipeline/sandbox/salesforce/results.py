"""Results on disk: rows in one file, the offset of each in another, so that a page is a slice and memory stays flat."""

from __future__ import annotations

import os
import shutil
import zlib
from array import array
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from starlette.concurrency import run_in_threadpool

_FETCHED_ROWS = 5_000
_CHUNK_BYTES = 1 << 20
_OFFSET_BYTES = 8


@dataclass(frozen=True, slots=True)
class Result:
    """A finished result: its folder holds `rows` (header, then rows) and `offsets` (of each row, and the end)."""

    folder: Path

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return (self.folder / "offsets").stat().st_size // _OFFSET_BYTES - 1

    def span(self, first: int, count: int) -> tuple[int, int]:
        """Start and end, in bytes, of `count` rows from row `first` on."""
        with (self.folder / "offsets").open("rb") as file:
            return _offset(file, first), _offset(file, min(first + count, self.rows))

    def header(self) -> bytes:
        """What comes before the first row."""
        with (self.folder / "rows").open("rb") as file:
            return file.read(self.span(0, 0)[0])

    def page(self, first: int, count: int) -> bytes:
        """Rows as one piece, without the header; for pages that are small."""
        start, end = self.span(first, count)
        with (self.folder / "rows").open("rb") as file:
            file.seek(start)
            return file.read(end - start)


def _offset(file: Any, row: int) -> int:
    file.seek(row * _OFFSET_BYTES)
    offsets = array("q")
    offsets.frombytes(file.read(_OFFSET_BYTES))
    return offsets[0]


def write_result(folder: Path, header: bytes, rows: Iterable[list[bytes]]) -> Result:
    """Write a result; it appears under `folder` only when it is whole. `rows` comes in lists of any length."""
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    position = len(header)
    with (unfinished / "rows").open("wb") as out, (unfinished / "offsets").open("wb") as index:
        out.write(header)
        array("q", [position]).tofile(index)
        for lines in rows:
            out.write(b"".join(lines))
            ends = array("q", accumulate(map(len, lines), initial=position))
            position = ends[-1]
            ends[1:].tofile(index)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    return Result(folder)


def fetched(connection: Connection, sql: str, parameters: tuple[Any, ...]) -> Iterable[list[bytes]]:
    """The only column of a query, in lists."""
    cursor = connection.execute(sql, parameters)
    cursor.row_factory = None
    while found := cursor.fetchmany(_FETCHED_ROWS):
        yield [row[0] for row in found]


async def stream(
    path: Path, start: int, end: int, before: bytes = b"", *, compress: bool = False
) -> AsyncIterator[bytes]:
    """A slice of a file in large chunks, after `before`, as gzip if asked; compressing happens in a thread."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31) if compress else None
    with path.open("rb") as file:
        file.seek(start)
        piece = before
        while piece:
            yield await run_in_threadpool(packer.compress, piece) if packer else piece
            piece = file.read(min(_CHUNK_BYTES, end - start))
            start += len(piece)
    if packer:
        yield packer.flush()
