"""Single questions, answered from a pipe."""

from __future__ import annotations

import io
import sys

import pytest

from sync_pipeline.cli.asking import ask, choose
from sync_pipeline.errors import ConfigurationError


def typed(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text), encoding="utf-8", newline="\n"))


@pytest.mark.parametrize(
    ("answer", "taken"), [(b"b\n", "b"), (b"1\n", "b"), (b"2\n", "2"), (b"3\n", "2"), (b"9\n0\nb\n", "b")]
)
def test_a_choice_by_name_before_number(monkeypatch: pytest.MonkeyPatch, answer: bytes, taken: str) -> None:
    typed(monkeypatch, answer)
    assert choose("Which", {"b": "", "a": "", "2": "a column has this name"}) == taken


def test_any_other_answer_where_others_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, b"[x]\n")
    assert choose("Which", {"[a]": "[b]"}, others=True) == "[x]"


@pytest.mark.parametrize("noise", [b"\x1b[Aacme", "ac\x85me".encode(), b"", b"   "])
def test_what_is_no_answer_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], noise: bytes
) -> None:
    typed(monkeypatch, noise + b"\n acme \n")
    assert ask("Name") == "acme"
    assert capsys.readouterr().err.count("Name: ") == 2


@pytest.mark.parametrize("answers", [b"", b"\xff\xfe\nacme\n"])
def test_nobody_or_no_text_ends_it(monkeypatch: pytest.MonkeyPatch, answers: bytes) -> None:
    typed(monkeypatch, answers)
    with pytest.raises(ConfigurationError, match="nothing was written"):
        ask("Name")
