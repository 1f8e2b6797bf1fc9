"""What YAML text can do to its reader."""

import time

import pytest

from sync_pipeline.orgs.tree import NotText, read_tree


def test_every_key_and_item_knows_its_line() -> None:
    tree = read_tree("# a comment\na:\n  b: 1\n  c:\n    - x\n    - y: 2\n")
    assert tree.data == {"a": {"b": 1, "c": ["x", {"y": 2}]}}
    assert tree.lines == {
        (): 2,
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "c"): 4,
        ("a", "c", 0): 5,
        ("a", "c", 1): 6,
        ("a", "c", 1, "y"): 6,
    }


@pytest.mark.parametrize(
    ("written", "data"),
    [
        ("no", False),
        ("On", True),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("66.0", 66.0),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("2024-01-31", NotText("a date")),
        ("2024-99-99", NotText("a date")),
        ("1:30", NotText("a number")),
        ("007", NotText("a number")),
        ("0x_", NotText("a number")),
        ("1" * 5000, NotText("a number")),
        (".inf", NotText("a number")),
    ],
)
def test_scalars_are_read_without_surprises(written: str, data: object) -> None:
    tree = read_tree(f"key: {written}\n")
    assert tree.problems == []
    assert tree.data == {"key": data}


def test_keys_are_text_as_written() -> None:
    assert read_tree("on: a\n12: b\n2024-01-31: c\n").data == {"on": "a", "12": "b", "2024-01-31": "c"}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "a is written twice, first in line 1"),
        ("x:\n  a: 1\n  'a': 3\n", 3, "x.a is written twice, first in line 2"),
        ("a:\n\tb: 1\n", 2, "tab"),
        ("a: b: c\n", 1, "colon"),
        ("a: [1, 2\nb: 3\n", 1, "bracket"),
        ("a: 1\n  b: 2\n", 2, "colon"),
        ("a:\n  - 1\n  b: 2\n", 3, "indentation"),
        ("a: 1\nb\nc: 2\n", 2, "no key with a colon"),
        ("a: 1\nb: 'open\n\n", 2, "never closed"),
        ("a: @b\n", 1, "quotes"),
        ("a: 1\n---\nb: 1\n", 2, "second document"),
        ("a: &x 1\nb: *x\n", 1, "anchor"),
        ("a: 1\nb: *x\n", 2, "alias"),
        ("a: 1\n<<: *x\n", 2, "alias"),
        ("a: !!python/object/apply:os.system ['true']\n", 1, "tag"),
        ("a: !secret x\n", 1, "tag"),
        ("a: !!binary aGk=\n", 1, "tag"),
        ("a: 1\nb: {{ name }}\n", 2, "template"),
        ("? [a, b]\n: 1\n", 1, "a key must be text"),
        ('a: "\\0"\n', 1, "NUL"),
        ('a: "\\ud800"\n', 1, "surrogate"),
        ('"\\ud800": 1\n', 1, "surrogate"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', 2, "no YAML"),
        ("a: 1\nb: \x07\n", 2, "U+0007"),
        ("a: 1\r\nb: \x07\r\n", 2, "U+0007"),
        ("%YAML 9.9\n---\na: 1\n", 1, "no YAML"),
        ("a: " + "[" * 5000, 1, "levels deep"),
        ("a:\n" + "".join(" " * n + "- \n" for n in range(60)) + "x", 60, ""),
    ],
)
def test_what_is_no_plain_data_is_a_problem_with_its_line(text: str, line: int, says: str) -> None:
    problems = read_tree(text).problems
    assert problems
    assert problems[0][0] <= line if not says else problems[0][0] == line
    assert says in problems[0][1]


@pytest.mark.parametrize("sign", ["*", "&", "!", "!a!", "'", '"', "%", "@"])
def test_an_unquoted_password_is_not_repeated(sign: str) -> None:
    (problem,) = read_tree(f"client_secret: {sign}hunter2\n").problems
    assert "hunter2" not in problem[1]


def test_a_bomb_of_aliases_costs_nothing() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    start = time.perf_counter()
    assert read_tree(bomb).problems
    assert time.perf_counter() - start < 1
