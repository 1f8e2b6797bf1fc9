"""YAML text to plain data, with the line of every key.

PyYAML composes nodes that know their place; they become plain data here instead of in PyYAML's constructors, which
silently keep the last of two equal keys, turn `1:30` into 90 and a bad date into a traceback.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.events import AliasEvent, CollectionStartEvent, NodeEvent, ScalarEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Path = tuple[str | int, ...]

Finding = tuple[Path, str]
"""(path of the key, what is wrong and what is allowed)."""

MAX_DEPTH = 20
"""The deepest organization has five levels; PyYAML recurses once per level."""

_TEXT, _NULL, _BOOL, _INT, _FLOAT, _DATE = (
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "null", "bool", "int", "float", "timestamp")
)
_KNOWN_TAGS = {_TEXT, _NULL, _BOOL, _INT, _FLOAT, _DATE, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "!", None}
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


class _Unreadable(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class _Loader(yaml.SafeLoader):
    """Composes without aliases, foreign tags and bottomless nesting, each of which is refused with its line."""

    depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            raise _Unreadable(line, _SIGN.format(sign="*", what="alias"))
        if isinstance(event, NodeEvent) and event.anchor is not None:
            raise _Unreadable(line, _SIGN.format(sign="&", what="anchor"))
        if isinstance(event, (ScalarEvent, CollectionStartEvent)) and event.tag not in _KNOWN_TAGS:
            raise _Unreadable(line, _SIGN.format(sign="!", what="tag"))
        if self.depth >= MAX_DEPTH:
            raise _Unreadable(line, f"this is nested more than {MAX_DEPTH} levels deep; an organization needs five.")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_SIGN = (
    "what starts with {sign} is a YAML {what}, which has no place here. Write the value out; a text that really starts "
    "with {sign} stands in quotes."
)  # not the name after the sign: an unquoted password may start with it


def read_tree(text: str) -> Tree:
    """Read YAML text. The answer to any text is a tree, with problems where it is no YAML or no plain data."""
    tree = Tree()
    node: Node | None = None
    try:
        node = _compose(text)
    except _Unreadable as error:
        tree.problems.append((error.line, error.message))
    if node is not None:
        tree.lines[()] = node.start_mark.line + 1
        tree.data = _plain(node, (), tree)
    return tree


def _compose(text: str) -> Node | None:
    loader = None
    try:
        # YAML breaks lines at these three as well; no editor counts them, and folding makes them spaces anyway.
        loader = _Loader(re.sub("[\x85\u2028\u2029]", " ", text))
        return loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = 1 + len(re.findall("\r\n|[\r\n]", text[: error.position]))
        raise _Unreadable(line, f"the character U+{error.character:04X} can't stand in a YAML file.") from None
    except yaml.MarkedYAMLError as error:
        raise _explained(error) from None
    except _Unreadable:
        raise
    except (
        Exception
    ) as error:  # PyYAML meets some malformed input ("\UFFFFFFFF", %YAML 9999...) with errors of its own making
        line = loader.line + 1 if loader else 1
        raise _Unreadable(line, f"this is no YAML ({type(error).__name__}).") from None
    finally:
        if loader:
            loader.dispose()


def _explained(error: yaml.MarkedYAMLError) -> _Unreadable:
    problem, context = error.problem or "", error.context or ""
    mark, message = error.problem_mark or error.context_mark, ""
    if isinstance(error, ComposerError) and "single document" in context:
        message = "a second document starts here (---). Allowed: one organization a file."
    elif "quoted scalar" in context and "end of stream" in problem:
        mark, message = error.context_mark, "a quote is opened here and never closed."
    elif "flow" in context:
        mark, message = error.context_mark, "a bracket is opened here and not closed as it should be."
    elif r"'\t'" in problem:
        message = "there is a tab here. YAML is indented with spaces only."
    elif "mapping values are not allowed" in problem:
        message = (
            "there is a colon where no key can stand. Check the indentation; a value with a colon and a space in it "
            "stands in quotes."
        )
    elif "expected ':'" in problem:
        message = "this line is no key with a colon after it."
        mark = error.context_mark
    elif "expected <block end>" in problem:
        message = "this does not continue what is above it. Check the indentation; a list's items start with a dash."
    elif re.search(r"character '[@`%]'", problem):
        message = f"{problem}. A value that starts with it stands in quotes."
    else:
        # What PyYAML quotes may be a piece of a value, and so of a secret.
        message = f"this is no YAML: {_QUOTED.sub(_no_value, problem) or 'it ends too early'}."
    return _Unreadable(mark.line + 1 if mark else 1, message)


_QUOTED = re.compile(r"""\s?(['"])((?:(?!\1).)*)\1""")


def _no_value(quoted: re.Match[str]) -> str:
    return quoted[0] if len(quoted[2]) == 1 or re.fullmatch("<[a-z ]+>", quoted[2]) else ""


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
    if node.tag in (_TEXT, "!"):
        _check_characters(written, node.start_mark.line + 1, tree)
        return re.sub("[\0\ud800-\udfff]", "\ufffd", written)
    tree.raw[path] = written
    if node.tag == _NULL:
        return None
    if node.tag == _BOOL and written.lower() in _YES | _NO:
        return written.lower() in _YES
    if node.tag == _INT and re.fullmatch(r"[-+]?(0|[1-9]\d{0,17})", written):
        return int(written)
    if node.tag == _FLOAT and re.fullmatch(r"[-+]?\d{1,17}\.\d{1,17}", written):
        return float(written)
    return NotText({_DATE: "a date"}.get(node.tag, "a number"))


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
