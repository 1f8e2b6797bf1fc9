"""The truth: what was planted, and the verdict a person gives every record for exact matching."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

COLUMNS = ("side", "record_id", "counterpart_id", "verdict", "near_miss_rule", "trouble")


class Verdict(NamedTuple):
    """One record: `side` is billing or salesforce; the counterpart is that of a pair or of a near miss."""

    side: str
    record_id: str
    counterpart_id: str | None
    verdict: str
    near_miss_rule: str | None
    trouble: str


class TruthFile:
    """A CSV file of verdicts, one row per account that is not deleted and per customer that is not deleted."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def add(self, verdicts: Iterable[Verdict]) -> None:
        """Write a portion."""
        self._writer.writerows(verdicts)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
