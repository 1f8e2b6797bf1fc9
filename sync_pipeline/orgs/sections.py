"""The models as others than pydantic need them: what a key takes, and which model a mapping follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sync_pipeline.yaml_types.values import EnvRef

Kind = Literal["secret", "setting", "choice", "section", "words", "list", "yes or no", "number", "pairs", "text"]
"""A variable's name; text or such a name; one of several mappings, told apart by a word; a mapping; one of some words;
several texts or words; true or false; a whole number; a mapping of text to text; text."""

_CONTAINERS: dict[Any, Kind] = {dict: "pairs", list: "list"}
_PLAIN: dict[Any, Kind] = {bool: "yes or no", int: "number"}


def kind_of(info: FieldInfo) -> Kind:
    """What a key takes."""
    models = models_of(info)
    parts = list(_parts(info.annotation))
    if models == [EnvRef]:
        return "setting" if any(part is str for part in parts) else "secret"
    if models:
        return "choice" if info.discriminator else "section"
    for container, kind in _CONTAINERS.items():
        if any(get_origin(part) is container for part in parts):
            return kind
    if words_of(info):
        return "words"
    return next((kind for plain, kind in _PLAIN.items() if any(part is plain for part in parts)), "text")


def models_of(info: FieldInfo) -> list[type[BaseModel]]:
    """Every model that a key may hold."""
    return [part for part in _parts(info.annotation) if isinstance(part, type) and issubclass(part, BaseModel)]


def words_of(info: FieldInfo) -> list[str]:
    """The words of a key that takes one or several of some."""
    return [str(word) for part in _parts(info.annotation) if get_origin(part) is Literal for word in get_args(part)]


def choices_of(info: FieldInfo) -> dict[str, type[BaseModel]]:
    """Of a key that takes one of several mappings: the word that tells them apart, to the mapping's model."""
    return {words_of(model.model_fields[str(info.discriminator)])[0]: model for model in models_of(info)}


def model_at(info: FieldInfo, data: Mapping[str, Any]) -> type[BaseModel]:
    """The model that a mapping follows."""
    return choices_of(info)[data[str(info.discriminator)]] if info.discriminator else models_of(info)[0]


def alternatives(model: type[BaseModel]) -> list[str]:
    """Keys of which exactly one is written, as `values.one_of` declares them."""
    extra: Any = model.model_config.get("json_schema_extra")
    rules = extra.get("oneOf", []) if isinstance(extra, dict) else []
    return [key for rule in rules for key in rule.get("required", [])]


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys as the file writes them."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _parts(annotation: Any) -> Iterator[Any]:
    """The types an annotation is made of; a Literal's words are none."""
    yield annotation
    if get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _parts(part)
