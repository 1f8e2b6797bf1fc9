"""Somebody who answers the questions of `sync-pipeline init`."""

from __future__ import annotations

import io
import re
from collections import Counter

from rich.console import Console

TRIES = ("acme", "https://acme.example.com/{customer_id}", "SELECT * FROM customers", "12345", "customers.csv")
"""What is answered to a question for a plain value, one after another, until it is taken."""


class Person:
    """Answers what is asked, by what stands on the screen.

    Args:
        answers: by key ("billing.api_key") or by the question itself; each answer once, one after another.
        picks: which of several is taken where the answers don't say it (from 0), one choice after another, then the first.
    """

    def __init__(self, answers: dict[str, list[str]], picks: tuple[int, ...] = ()) -> None:
        self.answers = {question: list(given) for question, given in answers.items()}
        self.picks = list(picks)
        self.screen = io.StringIO()
        self.console = Console(file=self.screen, highlight=False, soft_wrap=True, width=400)
        self.asked: Counter[str] = Counter()

    def isatty(self) -> bool:
        return False

    def readline(self) -> str:
        lines = self.screen.getvalue().splitlines()
        question = lines[-1]
        at = max(number for number, line in enumerate(lines) if re.match(r"[a-z_.]+: |$", line))
        head = lines[at]
        key = head if head.endswith("these may be left out.") else head.partition(":")[0]
        asked = key + question
        self.asked[asked] += 1
        assert self.asked[asked] < 20, asked
        for start in (key, re.split(r" [\[(]|: $", question)[0]):
            if self.answers.get(start):
                return self.answers[start].pop(0) + "\n"
        if question.endswith(("]: ", "(empty for none): ")):
            return "\n"
        if question.startswith("Which"):
            offered = sum(1 for line in lines[at:] if re.match(r" +\d+  ", line))
            pick = self.picks.pop(0) if self.picks else 0
            return f"{pick % offered + 1}\n"
        return TRIES[(self.asked[asked] - 1) % len(TRIES)] + "\n"
