"""The models as others than pydantic need them: what a key takes, and which model a mapping follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sync_pipeline.yaml_types.values import EnvRef

Kind = Literal["secret", "setting", "section", "choice", "words", "value"]


def kind_of(info: FieldInfo) -> Kind:
    """What a key takes: an environment variable's name, text or such a name, a mapping, one of several mappings told
    apart by a word, one of some words, or a plain value."""
    models = models_of(info.annotation)
    if models == [EnvRef]:
        return "setting" if str in set(_parts(info.annotation)) else "secret"
    if models:
        return "choice" if isinstance(info.discriminator, str) else "section"
    return "words" if get_origin(info.annotation) is Literal else "value"


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """Every model in an annotation."""
    return [part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]


def choices_of(info: FieldInfo) -> dict[str, type[BaseModel]]:
    """Of a key that takes one of several mappings: the word that tells them apart, to the mapping's model."""
    word = str(info.discriminator)
    return {str(get_args(model.model_fields[word].annotation)[0]): model for model in models_of(info.annotation)}


def model_at(info: FieldInfo, data: Mapping[str, Any]) -> type[BaseModel]:
    """The model that a mapping follows."""
    if kind_of(info) == "choice":
        return choices_of(info)[data[str(info.discriminator)]]
    return models_of(info.annotation)[0]


def alternatives(model: type[BaseModel]) -> list[str]:
    """Keys of which exactly one is written, as `values.one_of` declares them."""
    extra: Any = model.model_config.get("json_schema_extra")
    rules = extra.get("oneOf", []) if isinstance(extra, dict) else []
    return [key for rule in rules for key in rule.get("required", [])]


def key_of(name: str, info: FieldInfo) -> str:
    """The key as the file writes it."""
    return info.alias or name


def _parts(annotation: Any) -> Iterator[Any]:
    """The types an annotation is made of; a Literal's words are none."""
    yield annotation
    if get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _parts(part)
