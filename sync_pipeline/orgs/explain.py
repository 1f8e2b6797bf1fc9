"""pydantic's findings in the words of the file's reader: what is wrong, and what is allowed there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sync_pipeline.orgs.models import Organization, name_from
from sync_pipeline.orgs.tree import Finding, Path, Tree, dotted, key_text
from sync_pipeline.yaml_types.shapes import shown
from sync_pipeline.yaml_types.values import EnvRef

BAD_ENV = (
    "after env stands the name of an environment variable, never its value. Allowed: letters, digits and underscores, "
    "not starting with a digit, e.g. {env: ACME_CLIENT_SECRET}."
)


def shape_findings(error: ValidationError, tree: Tree) -> Iterator[Finding]:
    """Every finding of pydantic as (path, sentence). What may be a secret is never in the sentence."""
    for details in error.errors(include_url=False):
        path = _path(details["loc"], details["type"])
        model = _places().models.get(details["loc"][:-1])
        if (
            model is EnvRef and details["loc"][-1] != "<text>"
        ):  # what stands there may be the secret itself, even as a key: {sk_live_...}
            yield path[:-1], f"{dotted(path[:-1])}: {BAD_ENV}"
        elif details["type"] == "extra_forbidden":
            yield path, _unknown(path, model or Organization)
        else:
            sentence = f"{dotted(path) or 'the file'}: {_sentence(details, path, tree)}"
            wrong_word = details["type"] == "union_tag_invalid"  # pydantic names the section, the reader wants its key
            yield (*path, _discriminator(details)) if wrong_word else path, sentence


@dataclass
class _Places:
    """Pydantic's locations, which name the chosen member of a union in between: (billing, stripe, api_key)."""

    models: dict[tuple[str | int, ...], type[BaseModel]] = field(default_factory=dict)
    choices: dict[tuple[str | int, ...], list[str]] = field(default_factory=dict)

    def collect(self, model: type[BaseModel], at: tuple[str | int, ...] = ()) -> None:
        self.models[at] = model
        for name, info in model.model_fields.items():
            here = (*at, info.alias or name)
            for member in _models(info.annotation):
                if info.discriminator:
                    (tag,) = get_args(member.model_fields[str(info.discriminator)].annotation)
                    self.choices.setdefault(here, []).append(tag)
                    self.collect(member, (*here, tag))
                else:
                    self.collect(member, here)
                    self.models[*here, "<env>"] = member  # of a Setting


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


@lru_cache(maxsize=1)
def _places() -> _Places:
    places = _Places()
    places.collect(Organization)
    return places


def _path(loc: tuple[str | int, ...], kind: str = "") -> Path:
    """The keys of `loc`, without what pydantic adds to them."""
    unions = _places().choices
    whole = len(loc) if kind in ("extra_forbidden", "missing") else 0  # these end with a key, whatever it looks like
    return tuple(
        part
        for index, part in enumerate(loc, 1)
        if index == whole or (loc[: index - 1] not in unions and part not in ("<text>", "<env>", "[key]"))
    )


def _unknown(path: Path, model: type[BaseModel]) -> str:
    key = str(path[-1])
    where = f" under {dotted(path[:-1])}" if len(path) > 1 else ""
    return f"{key_text(key)} is no key{where}.{_suggestion(key, path, model)} Allowed: {', '.join(_keys(model))}."


def _suggestion(key: str, path: Path, model: type[BaseModel]) -> str:
    at_home = [loc for loc, other in _places().models.items() if loc and other is not EnvRef and key in _keys(other)]
    siblings = [str(loc[-1]) for loc in at_home if loc[:-1] in _places().choices and _path(loc) == path[:-1]]
    if siblings:
        return f" It belongs to {', '.join(siblings)}."
    if at_home:
        return f" It belongs under {' or '.join(sorted({dotted(_path(loc)) for loc in at_home}))}."
    near = get_close_matches(key.strip().lower().replace("-", "_"), _keys(model), n=1)
    return f" Is it {near[0]}?" if near else ""


def _keys(model: type[BaseModel]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


def _discriminator(details: ErrorDetails) -> str:
    """The key that says which member of a union is meant."""
    return str(details["ctx"]["discriminator"]).strip("'")


def _sentence(details: ErrorDetails, path: Path, tree: Tree) -> str:
    context, value = details.get("ctx") or {}, details["input"]
    match details["type"]:
        case "missing":
            return _missing(details["loc"], path, tree)
        case "union_tag_not_found":
            word = _discriminator(details)
            return f"{word} is missing, which says what the other keys mean. Allowed: {', '.join(_choices(details))}."
        case "union_tag_invalid":
            return _choose(
                f"{_discriminator(details)} {shown(context['tag'])}",
                context["tag"],
                _choices(details),
            )
        case "model_type" | "model_attributes_type" | "dict_type":
            return _no_mapping(details, path, value)
        case "value_error":
            return str(context["error"])
        case "literal_error":
            allowed = [word.strip("' ") for word in str(context["expected"]).replace(" or ", ", ").split(",")]
            return _choose(shown(value) if isinstance(value, str) else _read_as(value), value, allowed)
        case kind:
            return _wrong_value(kind, context, value, tree.raw.get(path))


def _choices(details: ErrorDetails) -> list[str]:
    return _places().choices[details["loc"]]


def _missing(loc: tuple[str | int, ...], path: Path, tree: Tree) -> str:
    model = _places().models[loc[:-1]]
    infos = (info for name, info in model.model_fields.items() if loc[-1] in (info.alias, name))
    meaning = " ".join((next(infos).description or "").split())  # a docstring may have several lines
    if path in tree.lines:
        return f"nothing is written after the colon, and it can't be left out. {meaning}"
    return f"this key is missing. {meaning}"


def _choose(what: str, value: object, allowed: Iterable[str]) -> str:
    allowed = list(allowed)
    near = get_close_matches(str(value).lower(), allowed, n=1)
    hint = f" Is it {near[0]}?" if near else ""
    return f"{what} is not possible.{hint} Allowed: {', '.join(allowed)}."


def _no_mapping(details: ErrorDetails, path: Path, value: object) -> str:
    model = _places().models.get(details["loc"])
    if model is EnvRef:
        key = path[-1]
        return (
            "a secret never stands in the file. Put it into an environment variable and write the variable's name: "
            f"{key}: {{env: ACME_{str(key).upper()}}}. If the file has left this machine, have the secret replaced."
        )
    if path in _places().choices or model is None:
        return f"keys with values belong here, not {_read_as(value)}."
    return f"keys with values belong here, not {_read_as(value)}. Allowed: {', '.join(_keys(model))}."


_TEXTS = {
    "string_too_short": "it is empty. Allowed: text.",
    "string_unicode": "it holds characters that can't be stored. Allowed: text.",
    "bool_type": "{found} is not possible. Allowed: true, false.",
    "int_type": "{found} is not possible. Allowed: a whole number, without quotes.",
    "list_type": "a list belongs here, not {found}, e.g. [trim].",
    "greater_than_equal": "{found} is too small. Allowed: {ge} or more.",
    "less_than_equal": "{found} is too large. Allowed: {le} or less.",
}


def _wrong_value(kind: str, context: dict[str, Any], value: object, raw: str | None) -> str:
    if kind == "string_type":
        if raw is None:
            only = (
                " {env: NAME} is possible for secrets, addresses, logins and paths only."
                if _names_a_variable(value)
                else ""
            )
            return f"text belongs here, not {_read_as(value)}.{only}"
        if raw == "":
            return "nothing is written here. Allowed: text."
        return f'YAML reads {shown(raw)} as {_read_as(value)}, and text belongs here. Write it in quotes: "{raw[:60]}".'
    if kind == "string_pattern_mismatch":  # of the name; every other pattern has a check with a text of its own
        return (
            f"{shown(value)} is not possible. Is it {name_from(str(value))}? Allowed: up to 63 lower-case letters, "
            "digits and underscores, starting with a letter; for people there is label."
        )
    found = shown(value) if isinstance(value, str) else _read_as(value) if raw is None else _as_written(raw)
    return _TEXTS.get(kind, "this is not possible.").format(found=found, **context)


def _names_a_variable(value: object) -> bool:
    return isinstance(value, dict) and set(value) == {"env"}


def _as_written(raw: str) -> str:
    """A scalar as it is written, short."""
    return shown(raw).strip("'\"")


def _read_as(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "a yes-or-no value"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case dict():
            return "keys with values"
        case list():
            return "a list"
    return str(getattr(value, "kind", "this"))
