"""Questions on a terminal, and the answers held to the models at once."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sync_pipeline.cli.output import err
from sync_pipeline.errors import ConfigurationError
from sync_pipeline.orgs import read_organization
from sync_pipeline.orgs.sections import alternatives, choices_of, key_of, kind_of, models_of
from sync_pipeline.orgs.writing import written

Keys = tuple[str, ...]


def ask(question: str, default: str | None = None) -> str:
    """One line, without white space at its ends; the default for an empty one.

    Raises:
        ConfigurationError: there is nobody to answer.
    """
    while True:
        err.print(f"{question}{f' [{default}]' if default else ''}: ", end="", markup=False)
        try:
            line = sys.stdin.readline()
        except UnicodeDecodeError:
            complain("This is no text in the terminal's encoding.")
            continue
        if not line:
            err.print()
            raise ConfigurationError(
                "The answers ended before the questions did; nothing was written.",
                next_step="Run it in a terminal, or give it a line for each question.",
            )
        if answer := line.strip() or default:
            return answer
        if default is not None:
            return ""


def agreed(question: str, *, default: bool) -> bool:
    """Yes or no."""
    while True:
        answer = ask(f"{question} (yes or no)", "yes" if default else "no").lower()
        if answer in ("y", "yes", "n", "no"):
            return answer.startswith("y")
        complain("Allowed: yes, no.")


def choose(question: str, choices: Mapping[str, str], *, others: bool = False, default: str | None = None) -> str:
    """One of several, by its number or its name; any other answer too where `others`.

    Args:
        question: what to choose.
        choices: name to what is said about it.
        others: whether something else may be typed.
        default: for an empty line.
    """
    names = list(choices)
    width = max(map(len, names), default=0)
    for number, (name, about) in enumerate(choices.items(), 1):
        err.print(f"  {number:>2}  {name:<{width}}  {about}".rstrip(), markup=False)
    while True:
        answer = ask(question, default)
        if answer.isascii() and answer.isdigit() and 0 < int(answer) <= len(names):
            return names[int(answer) - 1]
        if answer in names or others:
            return answer
        complain(f"Allowed: {', '.join(names)}, or the number before it.")


def complain(why: str) -> None:
    """What is wrong with an answer."""
    err.print(f"  {why}", style="red", markup=False)


class Answers:
    """What has been answered so far: the data of the file-to-be.

    Attributes:
        data: keys as the file writes them.
    """

    def __init__(self, file: Callable[[], Path]) -> None:
        self.data: dict[str, Any] = {}
        self._file = file

    def put(self, at: Keys, value: Any) -> list[str]:
        """Keep a value if the models and rules have nothing against it; else what they say."""
        section = self.data
        for key in at[:-1]:
            section = section.setdefault(key, {})
        section[at[-1]] = value
        _, findings = read_organization(written(self.data), self._file())
        wrong = [sentence for path, sentence in findings if path[: len(at)] == at]
        if wrong:
            del section[at[-1]]
        return wrong

    def ask(self, at: Keys, about: str, question: str, read: Callable[[str], Any], default: str | None = None) -> Any:
        """Ask until the models have nothing against the answer; an empty one is kept as nothing where `default` is ""."""
        err.print(f"\n{'.'.join(at)}: {about}", markup=False)
        while True:
            answer = ask(question, default)
            if not answer:
                return None
            try:
                value = read(answer)
            except ValueError as error:
                complain(str(error))
                continue
            wrong = self.put(at, value)
            if not wrong:
                return value
            for sentence in wrong:
                complain(sentence)

    def section(self, at: Keys, model: type[BaseModel], prefix: str, *, skip: Sequence[str] = ()) -> None:
        """Ask for every key that a model requires.

        Args:
            at: where the section stands.
            model: its model.
            prefix: beginning of the names proposed for environment variables, e.g. ACME_STRIPE.
            skip: keys that are answered already.
        """
        others = alternatives(model)
        if others:
            err.print(f"\n{'.'.join(at)}: exactly one of these.", markup=False)
            about = {key: (model.model_fields[key].description or "").partition(". Exactly")[0] for key in others}
            self.key((*at, key := choose("Which", about)), model.model_fields[key], prefix)
        for name, info in model.model_fields.items():
            if info.is_required() and key_of(name, info) not in (*skip, *others):
                self.key((*at, key_of(name, info)), info, prefix)

    def key(self, at: Keys, info: FieldInfo, prefix: str) -> None:
        """Ask for what one key takes."""
        about, kind = info.description or "", kind_of(info)
        variable = f"{prefix}_{at[-1].removeprefix('api_')}".upper()
        if kind == "choice":
            self.choice(at, info, prefix)
        elif kind == "section":
            self.section(at, models_of(info.annotation)[0], prefix)
        elif kind == "secret":
            self.ask(at, about, "Name of the environment variable", _variable, variable)
        elif kind == "setting":
            proposed = None if at[-1].endswith(("domain", "path", "file")) else f"${variable}"
            self.ask(at, about, "Value, or $NAME for an environment variable", _setting, proposed)
        else:
            self.ask(at, about, "Value", int if info.annotation is int else str)

    def choice(self, at: Keys, info: FieldInfo, prefix: str = "", *, first: Sequence[str] = ()) -> type[BaseModel]:
        """Ask which of several sections, then for what that one requires (where there is a prefix for names)."""
        word, choices = str(info.discriminator), choices_of(info)
        err.print(f"\n{'.'.join(at)}: {info.description}", markup=False)
        about = {tag: " ".join((model.__doc__ or "").split()) for tag, model in choices.items()}
        tag = next(iter(choices)) if len(choices) == 1 else choose(f"Which {word}", about)
        self.put((*at, word), tag)
        if prefix:
            self.section(at, choices[tag], prefix, skip=(word, *first))
        return choices[tag]


def pairs(answer: str) -> dict[str, str]:
    """`a=b, c=d` as a mapping; ValueError where it is none."""
    found: dict[str, str] = {}
    for pair in filter(None, map(str.strip, answer.split(","))):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or key in found:
            raise ValueError(f"Allowed: pairs with = between and commas after them, each key once; not {pair!r}.")
        found[key] = value
    return found


def _variable(answer: str) -> dict[str, str]:
    return {"env": answer.removeprefix("$")}


def _setting(answer: str) -> Any:
    named = re.fullmatch(r"\$([A-Za-z_]\w*)|\$?\{(?:env: *)?([A-Za-z_]\w*)\}", answer, re.A)
    return {"env": named[1] or named[2]} if named else answer
