"""Questions on a terminal, or answers from a pipe, a line each."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

from rich.table import Table

from sync_pipeline.cli.output import err
from sync_pipeline.errors import ConfigurationError


def ask(question: str, default: str | None = None) -> str:
    """One line, without white space at its ends.

    Args:
        question: what is asked.
        default: for an empty line. Without one, an empty line is no answer.

    Raises:
        ConfigurationError: there is nobody to answer, or no text.
    """
    hint = "" if default is None else f" [{default}]" if default else " (empty for none)"
    while True:
        err.print(f"{question}{hint}: ", end="", markup=False)
        try:
            line = sys.stdin.readline()
        except UnicodeDecodeError:
            if not sys.stdin.isatty():  # the lines after it are lost with it
                raise ConfigurationError("The answers are no text; nothing was written.") from None
            complain("This is no text in the terminal's encoding.")
            continue
        if not sys.stdin.isatty():
            err.print()  # a terminal shows the line that was typed; it is not shown here, whatever it holds
        if not line:
            raise ConfigurationError(
                "The answers ended before the questions did; nothing was written.",
                next_step="Run it in a terminal, or give it a line for each question.",
            )
        answer = line.strip() or default
        if answer and re.search("[\0-\x1f\x7f-\x9f\ud800-\udfff]", answer):
            complain("It holds what is no character, as an arrow key leaves it. Type it again.")
        elif answer is not None:
            return answer


def agreed(question: str, default: str | None = None) -> bool:
    """Yes or no; an empty line says what the default says."""
    while True:
        answer = ask(f"{question} (yes or no)", default).lower()
        if answer in ("y", "yes", "n", "no"):
            return answer.startswith("y")
        complain("Allowed: yes, no.")


def choose(question: str, choices: Mapping[str, str], *, others: bool = False, default: str | None = None) -> str:
    """One of several, by its name or its number.

    Args:
        question: what to choose.
        choices: name to what is said about it.
        others: whether something else may be typed.
        default: for an empty line.
    """
    names = list(choices)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", min_width=4)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for number, (name, about) in enumerate(choices.items(), 1):
        table.add_row(str(number), *(" ".join(part.split()).replace("[", r"\[") for part in (name, about)))
    err.print(table, soft_wrap=False)
    while True:
        answer = ask(question, default)
        if answer in names or answer == default:
            return answer
        if answer.isascii() and answer.isdigit() and 0 < int(answer) <= len(names):
            return names[int(answer) - 1]
        if others:
            return answer
        complain(f"Allowed: {', '.join(names)}, or the number before it.")


def say(text: str) -> None:
    """A paragraph, broken between words."""
    lead = "\n" * (len(text) - len(text.lstrip("\n")))
    err.print(lead + " ".join(text.split()), markup=False, soft_wrap=False)


def complain(why: str) -> None:
    """What is wrong with an answer."""
    err.print(f"  {why}", style="red", markup=False, soft_wrap=False)
