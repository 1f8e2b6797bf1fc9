"""One thing that is wrong with one line of one file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in an organization's file, and what is allowed instead.

    Attributes:
        file: the YAML file, or the folder where that is the trouble.
        line: line in the file, from 1; 0 where the file can't be read at all.
        message: what is wrong and what is allowed, for a person. Never a secret.
        org: the organization's name; made from the file's name where that can't be read.
    """

    file: Path
    line: int
    message: str
    org: str

    def __str__(self) -> str:
        return f"{shown_path(self.file)}{f':{self.line}' if self.line else ''}: {self.message}"


def shown_path(file: Path) -> str:
    """`config/orgs/acme.yaml`: from the current folder where the file lies below it, else whole; always printable."""
    whole = os.path.abspath(file)
    here = os.getcwd() + os.sep
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in whole.removeprefix(here))
