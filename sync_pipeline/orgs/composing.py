"""YAML text to PyYAML's nodes, which know their place; what stands in the way, in the words of the file's reader."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

import yaml
from yaml.composer import Composer, ComposerError
from yaml.events import AliasEvent, CollectionStartEvent, NodeEvent, ScalarEvent
from yaml.nodes import Node
from yaml.resolver import Resolver

MAX_DEPTH = 20
"""The deepest organization has five levels; PyYAML recurses once per level."""

TEXT, NULL, BOOL, INT, FLOAT, DATE = (
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "null", "bool", "int", "float", "timestamp")
)
_KNOWN_TAGS = {TEXT, NULL, BOOL, INT, FLOAT, DATE, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", None}


class Unreadable(Exception):
    """The text is no YAML, or uses what has no place here."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class _Plain(Composer):
    """Composes without aliases, foreign tags and bottomless nesting, each of which is refused with its line."""

    depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[attr-defined]
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            raise Unreadable(line, _SIGN.format(sign="*", what="alias"))
        if isinstance(event, NodeEvent) and event.anchor is not None:
            raise Unreadable(line, _SIGN.format(sign="&", what="anchor"))
        if isinstance(event, (ScalarEvent, CollectionStartEvent)) and event.tag not in _KNOWN_TAGS:
            raise Unreadable(line, _SIGN.format(sign="!", what="tag"))
        if self.depth >= MAX_DEPTH:
            raise Unreadable(line, f"this is nested more than {MAX_DEPTH} levels deep; an organization needs five.")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_SIGN = (
    "what starts with {sign} is a YAML {what}, which has no place here. Write the value out; a text that really starts "
    "with {sign} stands in quotes."
)  # not the name after the sign: an unquoted password may start with it


class _Exact(_Plain, yaml.SafeLoader):
    """Python all the way: tells best what is wrong."""


if TYPE_CHECKING or yaml.__with_libyaml__:
    from yaml._yaml import CParser

    class _Fast(_Plain, CParser, Resolver):
        """Scans and parses in C, twelve times as fast: a thousand organizations are read in a second, not in ten."""

        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            Composer.__init__(self)
            Resolver.__init__(self)


def compose(text: str) -> Node | None:
    """The text's one document; None where there is none.

    Raises:
        Unreadable: whatever the trouble with the text is.
    """
    # YAML breaks lines at these three as well; no editor counts them, and folding makes them spaces anyway.
    text = re.sub("[\x85\u2028\u2029]", " ", text)
    if yaml.__with_libyaml__:
        with suppress(Exception):  # the other reader says what is wrong
            return _Fast(text).get_single_node()
    return _compose_exactly(text)


def _compose_exactly(text: str) -> Node | None:
    loader = None
    try:
        loader = _Exact(text)
        return loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = 1 + len(re.findall("\r\n|[\r\n]", text[: error.position]))
        raise Unreadable(line, f"the character U+{error.character:04X} can't stand in a YAML file.") from None
    except yaml.MarkedYAMLError as error:
        raise _explained(error) from None
    except Unreadable:
        raise
    except Exception as error:  # PyYAML meets some malformed input ("\\UFFFFFFFF") with errors of its own making
        raise Unreadable(loader.line + 1 if loader else 1, f"this is no YAML ({type(error).__name__}).") from None
    finally:
        if loader:
            loader.dispose()


def _explained(error: yaml.MarkedYAMLError) -> Unreadable:
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
    return Unreadable(mark.line + 1 if mark else 1, message)


_QUOTED = re.compile(r"""\s?(['"])((?:(?!\1).)*)\1""")


def _no_value(quoted: re.Match[str]) -> str:
    return quoted[0] if len(quoted[2]) == 1 or re.fullmatch("<[a-z ]+>", quoted[2]) else ""
