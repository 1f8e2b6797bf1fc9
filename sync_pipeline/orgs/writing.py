"""An organization's YAML file from plain data, each key with its model's own words above it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from sync_pipeline.orgs.models import Organization
from sync_pipeline.orgs.sections import key_of, kind_of, model_at

WIDTH = 118
HEAD = (
    "Secrets never stand in here, only the names of the environment variables that hold them. "
    "config/orgs/_example.yaml shows every other key."
)


def written(data: Mapping[str, Any], *, schema: str | None = None) -> str:
    """The file's text, for data without a problem, or for the beginning of such data.

    Args:
        data: what the file shall say, keys as it writes them.
        schema: where the JSON schema lies beside the file, for editors.
    """
    lines = [f"# yaml-language-server: $schema={schema}", "#"] if schema else []
    lines += _comment(HEAD, "")
    for key, block in _blocks(Organization, data, ""):
        lines += ["", *block] if isinstance(data[key], Mapping) or key == "name" else block
    return "\n".join(lines) + "\n"


def _blocks(model: type[BaseModel], data: Mapping[str, Any], indent: str) -> Iterator[tuple[str, list[str]]]:
    """Each written key, in the model's order, with its lines."""
    for name, info in model.model_fields.items():
        key = key_of(name, info)
        if key not in data:
            continue
        value = data[key]
        told = len(get_args(info.annotation)) == 1 and kind_of(info) == "words"  # the word that tells sections apart
        lines = _comment((model.__doc__ if told else info.description) or "", indent)
        if kind_of(info) in ("section", "choice") and value:
            lines.append(f"{indent}{key}:")
            for _, block in _blocks(model_at(info, value), value, indent + "  "):
                lines += block
        elif isinstance(value, Mapping) and value and set(value) != {"env"}:
            lines.append(f"{indent}{key}:")
            lines += [f"{indent}  {_plain(inner)}: {_plain(at)}" for inner, at in value.items()]
        else:
            lines.append(f"{indent}{key}: {_plain(value)}")
        yield key, lines


def _comment(words: str, indent: str) -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(
        " ".join(words.split()), WIDTH, initial_indent=start, subsequent_indent=start, break_long_words=False
    )


def _plain(value: Any) -> str:
    """A value on one line, quoted where YAML would read it as something else."""
    shown = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False)
    return shown.removesuffix("\n").removesuffix("\n...")
