"""YAML text to plain data, with the line of every key.

PyYAML composes nodes that know their place; they become plain data here instead of in PyYAML's constructors, which
silently keep the last of two equal keys, turn `1:30` into 90 and a bad date into a traceback.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sync_pipeline.orgs.composing import BOOL, DATE, FLOAT, INT, NULL, TEXT, Unreadable, compose

Path = tuple[str | int, ...]

Finding = tuple[Path, str]
"""(path of the key, what is wrong and what is allowed)."""

_YES, _NO = {"yes", "true", "on"}, {"no", "false", "off"}


@dataclass(frozen=True, slots=True)
class NotText:
    """A scalar that YAML reads as something other than text and that no setting wants, e.g. a date."""

    kind: str


@dataclass
class Tree:
    """What a file says.

    Attributes:
        data: plain data; None for an empty file.
        lines: path of every key and list item to its line, from 1.
        raw: path of every scalar that YAML does not read as text, to how it is written.
        problems: (line, what is wrong) of what is no data at all.
    """

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    raw: dict[Path, str] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)


def read_tree(text: str) -> Tree:
    """Read YAML text. The answer to any text is a tree, with problems where it is no YAML or no plain data."""
    tree = Tree()
    node: Node | None = None
    try:
        node = compose(text)
    except Unreadable as error:
        tree.problems.append((error.line, error.message))
    if node is not None:
        tree.lines[()] = node.start_mark.line + 1
        tree.data = _plain(node, (), tree)
    return tree


def _plain(node: Node, path: Path, tree: Tree) -> Any:
    if isinstance(node, MappingNode):
        return _mapping(node, path, tree)
    if isinstance(node, SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            tree.lines[*path, index] = item.start_mark.line + 1
            items.append(_plain(item, (*path, index), tree))
        return items
    return _scalar(node, path, tree)


def _mapping(node: MappingNode, path: Path, tree: Tree) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, ScalarNode):
            tree.problems.append(
                (line, "a key must be text, not a list or a mapping. Is this {{ a template }} that nobody filled in?")
            )
            continue
        key = key_node.value  # as written: `no:` and `12:` are the keys "no" and "12"
        _check_characters(key, line, tree)
        here = (*path, key)
        if key in data:
            first = tree.lines[here]
            tree.problems.append((line, f"{dotted(here)} is written twice, first in line {first}. Keep one of them."))
            continue
        tree.lines[here] = line
        data[key] = _plain(value_node, here, tree)
    return data


def _check_characters(text: str, line: int, tree: Tree) -> None:
    # Escapes such as "\0" and "\ud800" bring in what no file name, no terminal and no database takes.
    if re.search("[\0\ud800-\udfff]", text):
        tree.problems.append((line, "a NUL or half a surrogate pair stands in the text. Allowed: characters."))


def _scalar(node: Node, path: Path, tree: Tree) -> Any:
    written = str(node.value)
    if node.tag == TEXT:
        _check_characters(written, node.start_mark.line + 1, tree)
        return re.sub("[\0\ud800-\udfff]", "\ufffd", written)
    tree.raw[path] = written
    if node.tag == NULL:
        return None
    if node.tag == BOOL and written.lower() in _YES | _NO:
        return written.lower() in _YES
    if node.tag == INT and re.fullmatch(r"[-+]?(0|[1-9]\d{0,17})", written):
        return int(written)
    if node.tag == FLOAT and re.fullmatch(r"[-+]?\d{1,17}\.\d{1,17}", written):
        return float(written)
    return NotText({DATE: "a date"}.get(node.tag, "a number"))


def dotted(path: Path) -> str:
    """`salesforce.login.client_id`, `identifier.normalize[1]`; a path for a message."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{key_text(part)}"
    return text.removeprefix(".")


def key_text(key: str) -> str:
    """A key for a message: short and on one line."""
    plain = key if re.fullmatch(r"[\w .-]{1,60}", key) else repr(key)
    return plain if len(plain) <= 60 else plain[:57] + "..."
