"""Answers that become an organization's file: asked for as the models say, and held to them at once."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sync_pipeline.cli.asking import agreed, ask, choose, complain, say
from sync_pipeline.orgs import Organization, findings_of
from sync_pipeline.orgs.sections import alternatives, choices_of, keys_of, kind_of, model_at, words_of

Keys = tuple[str, ...]
"""Where a value stands: ("billing", "login", "client_id")."""


class Answers:
    """What has been answered so far.

    Attributes:
        data: the data of the file-to-be, keys as it writes them.
    """

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}

    def put(self, at: Keys, value: Any) -> list[str]:
        """Keep a value if the models and rules have nothing against it; else what they say."""
        before = self.data
        self.data = section = copy.deepcopy(before)
        for key in at[:-1]:
            section = section.setdefault(key, {})
        section[at[-1]] = value
        if wrong := self.wrong(at):
            self.data = before
        return wrong

    def wrong(self, at: Keys) -> list[str]:
        """What the models and rules have against what stands here, or against nothing standing here."""
        return [sentence for path, sentence in findings_of(self.data) if path[: len(at)] == at]

    def key(self, at: Keys, default: str | None = None) -> None:
        """Ask for what a key takes until nothing is wrong with it; of a section, for all that it needs.

        Args:
            at: where it stands.
            default: for an empty line. Without it, an empty line leaves out a key that may be left out.
        """
        info = self._info(at)
        kind = kind_of(info)
        if kind == "choice":
            self.choice(at)
        if kind in ("choice", "section"):
            self._section(at, model_at(info, self._at(at)))
            return
        if kind == "words" and len(words_of(info)) == 1:
            self.put(at, words_of(info)[0])
            return
        self.head(at)
        while True:
            try:
                value = self._value(at, info, default)
            except ValueError as error:
                complain(str(error))
                continue
            wrong = self.put(at, value) if value is not None else []
            for sentence in wrong:
                complain(sentence)
            if not wrong:
                return

    def choice(self, at: Keys) -> None:
        """Ask which of several sections a key takes, unless it is known already."""
        info = self._info(at)
        word, choices = str(info.discriminator), choices_of(info)
        if word in self._at(at):
            return
        self.head(at)
        about = {tag: " ".join((model.__doc__ or "").split()) for tag, model in choices.items()}
        self.put((*at, word), choose(f"Which {word}", about))

    def settle(self) -> None:
        """Ask again for what a later answer has made wrong."""
        while found := next(((path, sentence) for path, sentence in findings_of(self.data) if path), None):
            path, sentence = found
            complain(sentence)
            at: Keys = ()
            for key in map(str, path):
                at = (*at, key)
                if kind_of(self._info(at)) not in ("choice", "section"):
                    break
            self._at(at[:-1]).pop(at[-1], None)
            self.key(at)

    def _section(self, at: Keys, model: type[BaseModel]) -> None:
        """Ask for every key that is needed and not known yet, then for those that may be left out."""
        keys, others = keys_of(model), alternatives(model)
        for key, info in keys.items():
            here = (*at, key)
            if key in others:
                while not any(other in self._at(at) for other in others):
                    say(f"\n{'.'.join(at)}: exactly one of these.")
                    self.key((*at, choose("Which", {name: keys[name].description or "" for name in others})))
            elif key in self._at(at):
                if kind_of(info) == "choice":  # so far only which one
                    self.key(here)
            elif info.is_required():
                self.key(here)
        for key in keys:  # a key that another's answer has made needed
            if key not in {*self._at(at), *others} and self.wrong((*at, key)):
                self.key((*at, key))
        self._options(at, {key: info for key, info in keys.items() if key not in {*self._at(at), *others}})

    def _options(self, at: Keys, options: dict[str, FieldInfo]) -> None:
        about = {key: f"{info.description}{_shown(_default(info))}" for key, info in options.items()}
        while about:
            say(f"\n{'.'.join(at)}: these may be left out.")
            for sentence in (wrong := self.wrong(at)):  # the section as a whole still lacks something
                complain(sentence)
            key = choose("Which to set", about, default=None if wrong else "")
            if not key:
                return
            self.key((*at, key))
            about = {other: "" for other in about if other != key}  # explained once is enough

    def _value(self, at: Keys, info: FieldInfo, default: str | None) -> Any:
        """One answer; None for an empty line where the key may be left out. ValueError where it can't be read."""
        kind = kind_of(info)
        if kind == "secret":
            return {"env": _variable_name(ask("Name of the environment variable", self._variable(at)))}
        # Who logs in belongs to the secret beside it; anything else is better read in the file.
        if kind == "setting" and "login" in at and info.is_required():
            default = f"${self._variable(at)}"
        proposed = default
        if default is None and not self.wrong(at[:-1]):  # else it is asked for because the section lacks it
            proposed = _default(info)
        if kind == "yes or no":
            return agreed(at[-1], proposed)
        if kind == "words":
            answer = choose("Which", dict.fromkeys(words_of(info), ""), default=proposed)
        else:
            answer = ask(_QUESTIONS[kind].format(like=_example(info)), proposed)
        if default is None and answer == proposed:
            return None
        return _READ.get(kind, str)(answer)

    def head(self, at: Keys) -> None:
        """Say which key the next question is about, in the models' words."""
        say(f"\n{'.'.join(at)}: {self._info(at).description}")

    def _variable(self, at: Keys) -> str:
        """The name proposed for an environment variable, e.g. ACME_STRIPE_KEY."""
        section = self.data.get(at[0], {})
        told = section.get("system") or section.get("platform")
        parts = [self.data["name"], *([told] if told else []), at[-1].removeprefix("api_")]
        return "_".join(parts).upper()

    def _at(self, at: Keys) -> dict[str, Any]:
        """What is known of a section."""
        section = self.data
        for key in at:
            section = section.get(key, {})
        return section

    def _info(self, at: Keys) -> FieldInfo:
        """What the models say of a key."""
        model: type[BaseModel] = Organization
        for length, key in enumerate(at[:-1], 1):
            model = model_at(keys_of(model)[key], self._at(at[:length]))
        return keys_of(model)[at[-1]]


def pairs(answer: str) -> dict[str, str]:
    """`a=b, c=d` as a mapping; ValueError where it is none."""
    found: dict[str, str] = {}
    for pair in filter(None, map(str.strip, answer.split(","))):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or key in found:
            raise ValueError(f"Allowed: pairs with = between and commas after them, each key once; not {pair!r}.")
        found[key] = value
    return found


def _list(answer: str) -> list[str]:
    return [part for part in map(str.strip, answer.split(",")) if part]


def _number(answer: str) -> int | str:
    return int(answer) if re.fullmatch(r"-?[0-9]{1,18}", answer) else answer  # the model says what is wrong with it


def _setting(answer: str) -> Any:
    named = re.fullmatch(r"\$([A-Za-z_]\w*)|\$?\{(?:env: *)?([A-Za-z_]\w*)\}", answer, re.A)
    return {"env": named[1] or named[2]} if named else answer


def _variable_name(answer: str) -> str:
    """The name; ValueError, without what was typed, for what may be the secret itself."""
    name = re.sub(r"^\$?\{(?:env: *)?(.*)\}$|^\$", r"\1", answer)
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name) and name not in os.environ:
        raise ValueError(
            "Allowed: the name of an environment variable in capital letters, digits and underscores, or of one that is "
            "set here. The secret itself is not asked for, and never stands in the file."
        )
    return name


_QUESTIONS = {
    "setting": "Value, or $NAME of an environment variable",
    "number": "Whole number",
    "list": "Some{like}, commas between",
    "pairs": "Pairs{like}, commas between",
    "text": "Value{like}",
}
_READ: dict[str, Callable[[str], Any]] = {"setting": _setting, "number": _number, "list": _list, "pairs": pairs}


def _default(info: FieldInfo) -> str | None:
    """What counts where a key is left out, as text: "" for nothing; None where it can't be left out."""
    if info.is_required():
        return None
    default = info.get_default(call_default_factory=True)
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, list):
        return ", ".join(map(str, default))
    return str(default) if isinstance(default, str | int) else ""


def _shown(default: str | None) -> str:
    return f" [{default}]" if default else ""


def _example(info: FieldInfo) -> str:
    if words := words_of(info):
        return f" of {', '.join(words)}"
    example = next(iter(info.examples or ()), {"name": "value"} if kind_of(info) == "pairs" else None)
    if isinstance(example, dict):
        example = ", ".join(f"{key}={value}" for key, value in example.items())
    return f" like {example}" if example else ""
