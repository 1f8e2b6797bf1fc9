"""Text tables between Python and DuckDB: files of one plain dialect, and how DuckDB is told to read CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sync_pipeline.errors import DataError

LONGEST_ROW = 1_000_000
"""Characters of one row. Beyond it a quote without its partner is likelier than a customer."""
UNKNOWN = 2 * LONGEST_ROW
"""Characters to be ready for in a row of a file nobody has looked through: DuckDB loses a row that is longer than its buffer
without a word, so only a file that was written here may have a small one."""
_LEAST = 250_000


def csv_relation(
    path: Path, delimiter: str, columns: Sequence[str], longest: int = UNKNOWN
) -> tuple[str, dict[str, object]]:
    """A CSV file with a header line for a FROM clause, every column as text (null where empty), and its parameters.

    Nothing is guessed: a row that does not have exactly the given columns is an error (duckdb.InvalidInputException, whose
    message may hold personal data).

    Args:
        path: a UTF-8 file.
        delimiter: one character.
        columns: names for the columns, plain identifiers.
        longest: characters of the longest row.
    """
    names = ", ".join(f"{name}: 'VARCHAR'" for name in columns)
    line = 4 * max(longest, _LEAST) + 3 * len(columns)  # a character takes up to four bytes, a quote two
    relation = (
        f"read_csv($path, columns = {{{names}}}, auto_detect = false, header = true, delim = $delimiter,"
        " quote = '\"', escape = '\"', strict_mode = true, null_padding = false, ignore_errors = false,"
        f" compression = 'none', max_line_size = {line}, buffer_size = {2 * line})"
    )
    return relation, {"path": not_a_pattern(path), "delimiter": delimiter}


class PlainFile:
    """A CSV file of the one dialect that nobody reads two ways: commas, every value in quotes, lines ending in \\n.

    Its header only counts the columns: DuckDB takes the first line break, even inside a name, for the kind that ends
    every line.
    """

    delimiter = ","

    def __init__(self, place: str, path: Path, width: int) -> None:
        self._place = place
        self._file = path.open("w", encoding="utf-8", errors="replace", newline="")
        self._writer = csv.writer(self._file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        self._writer.writerow(f"c{at}" for at in range(width))
        self.count = 0
        self.longest = 0
        """Characters of the longest row."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, row: Sequence[str | None]) -> None:
        """Write one row; None becomes an empty value.

        Raises:
            DataError: the row is longer than any customer.
        """
        length = sum(map(len, filter(None, row)))
        if length > LONGEST_ROW:
            raise DataError(
                f"{self._place}: row {self.count + 1:,} is longer than {LONGEST_ROW:,} characters.",
                next_step="Leave out the columns that are no data of the customer.",
            )
        self._writer.writerow(row)
        self.count += 1
        if length > self.longest:
            self.longest = length


def not_a_pattern(path: Path) -> str:
    """The path with brackets around what DuckDB would take as a pattern for several files."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in str(path))
