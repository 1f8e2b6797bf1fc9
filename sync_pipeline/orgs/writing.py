"""An organization's YAML file from plain data, each key with its model's own words above it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from sync_pipeline.orgs.models import Organization
from sync_pipeline.orgs.sections import keys_of, kind_of, model_at, words_of

WIDTH = 118
HEAD = (
    "Secrets never stand in here, only the names of the environment variables that hold them: {env: NAME}. Paths are "
    "relative to this file's folder. config/orgs/_example.yaml shows every key there is."
)


def written(data: Mapping[str, Any], *, schema: str | None = None) -> str:
    """The file's text.

    Args:
        data: what the file shall say, keys as it writes them; it need not be whole yet.
        schema: where the JSON schema lies beside the file, for editors.
    """
    lines = [f"# yaml-language-server: $schema={schema}", "#"] if schema else []
    lines += _comment(HEAD, "")
    for block in _blocks(Organization, data, ""):
        lines += ["", *block]
    return "\n".join(lines) + "\n"


def _blocks(model: type[BaseModel], data: Mapping[str, Any], indent: str) -> Iterator[list[str]]:
    """The lines of each key that is written, in the model's order after the word that tells what the section is."""
    for key, info in sorted(keys_of(model).items(), key=lambda item: len(words_of(item[1])) != 1):
        if key not in data:
            continue
        value, kind = data[key], kind_of(info)
        lines = _comment((model.__doc__ if len(words_of(info)) == 1 else info.description) or "", indent)
        if kind in ("section", "choice"):
            lines.append(f"{indent}{key}:")
            for block in _blocks(model_at(info, value), value, indent + "  "):
                lines += block
        elif kind == "pairs":
            lines.append(f"{indent}{key}:")
            lines += [f"{indent}  {_plain(inner)}: {_plain(at)}" for inner, at in value.items()]
        else:
            lines.append(f"{indent}{key}: {_plain(value)}")
        yield lines


def _comment(words: str, indent: str) -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(
        " ".join(words.split()), WIDTH, initial_indent=start, subsequent_indent=start, break_long_words=False
    )


def _plain(value: Any) -> str:
    """A value on one line, quoted where YAML would read it as something else."""
    for unicode in (True, False):  # escaped where it does not print: \x85 would end the line
        shown = yaml.safe_dump(value, default_flow_style=True, allow_unicode=unicode, width=10**6, sort_keys=False)
        shown = shown.removesuffix("\n").removesuffix("\n...")
        if shown.isprintable():
            break
    return shown
