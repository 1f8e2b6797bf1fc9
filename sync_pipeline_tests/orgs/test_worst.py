"""Whatever is done to a valid file: problems with a line inside the file, never a traceback, and never a secret."""

from __future__ import annotations

import copy
import tempfile
from datetime import date
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipeline.orgs import Loaded, load_organizations
from sync_pipeline.orgs.tree import read_tree
from sync_pipeline_tests.orgs.factory import VALID

BILLINGS: list[dict[str, Any]] = [
    {"system": "stripe", "api_key": {"env": "KEY"}},
    {"system": "database", "url": "sqlite:///x.db", "table": "customers", "columns": {"name": "title"}},
    VALID["billing"],
]
RECEIVABLES: list[dict[str, Any]] = [
    VALID["receivables"],
    {"platform": "upflow", "api_key": {"env": "K"}, "api_secret": {"env": "S"}, "portal_link": {"lifetime_days": 60}},
]
FULL: dict[str, Any] = {
    **VALID,
    "label": "Acme SA",
    "identifier": {**VALID["identifier"], "normalize": ["trim", "case"], "salesforce_id": False},
    "schedule": {"cron": "0 6 * * *", "timezone": "Europe/Paris"},
}
STARTS = [{**FULL, "billing": billing, "receivables": platform} for billing in BILLINGS for platform in RECEIVABLES]

NASTY = ["", "~", "no", "[", "{env: X}", "\0", "\ud800", "x" * 10_000, "' OR 1=1 --", "{customer_id}", "\x85", "\u2028"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(min_value=date(1000, 1, 1)),
    st.text(max_size=30),
    st.sampled_from(NASTY),
)
KEYS = st.one_of(st.text(max_size=10), st.sampled_from(["env", "system", "url", "[key]", "<env>"]))
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=5,
)
MARKS = st.text("\t\r\n:-[]{}'\"&*!|>%@#? \x85\u2028a1", max_size=20).map(str.encode)
SOUP = "ab:- \n\t[]{}'\"&*!|>%@#?,\\U0\x85\u2028"
SECRET = "hunter2-ZQ9"
IN_THE_CLEAR = [
    "{s}",
    "*{s}",
    "'{s}",
    "{{{s}}}",
    "{{{s}: x}}",
    "[{s}]",
    "{{env: {s}}}",
    "!{s}",
    "!a!{s} x",
    "| \n{s}",
    "{{{{ {s} }}}}",
    "&{s}",
    "x: {s}",
    "{{env: {{{s}: 1}}}}",
]


def load_bytes(content: bytes) -> Loaded:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "acme.yaml").write_bytes(content)
        loaded = load_organizations(Path(folder))
    lines = max(1, len(content.splitlines()))
    for problem in loaded.problems:
        assert 1 <= problem.line <= lines
        assert problem.message.isprintable()
        assert len(problem.message) < 2000
    assert bool(loaded.organizations) != bool(loaded.broken)
    assert (not loaded.problems) == bool(loaded.organizations)
    return loaded


def dump(data: Any) -> bytes:
    return yaml.dump(data, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")


def organizations() -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(STARTS).map(copy.deepcopy)


def spoiled(organization: dict[str, Any]) -> st.SearchStrategy[str]:
    text = dump(organization).decode()
    cut = st.integers(0, len(text))
    return st.builds(lambda start, end, new: text[:start] + new + text[end:], cut, cut, st.text(SOUP, max_size=10))


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def at(data: Any, path: tuple[Any, ...]) -> Any:
    return reduce(getitem, path, data)


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    at(data, path[:-1])[path[-1]] = value
    return data


@pytest.mark.parametrize("organization", STARTS)
def test_the_files_before_the_mutation_are_right(organization: dict[str, Any]) -> None:
    assert load_bytes(dump(organization)).organizations


@given(organizations(), st.data())
def test_a_dropped_key(organization: dict[str, Any], data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(places(organization)[1:]))
    del at(organization, path[:-1])[path[-1]]
    load_bytes(dump(organization))


@given(organizations(), st.data(), ANYTHING)
def test_a_replaced_value(organization: dict[str, Any], data: st.DataObject, value: Any) -> None:
    path = data.draw(st.sampled_from(places(organization)))
    load_bytes(dump(changed(organization, path, value)))


@given(organizations(), st.data(), ANYTHING, KEYS)
def test_an_added_key(organization: dict[str, Any], data: st.DataObject, value: Any, key: str) -> None:
    sections = [section for path in places(organization) if isinstance(section := at(organization, path), dict)]
    data.draw(st.sampled_from(sections))[key] = value
    load_bytes(dump(organization))


@given(organizations(), st.integers(0, 2000))
def test_a_truncated_file(organization: dict[str, Any], end: int) -> None:
    load_bytes(dump(organization)[:end])


@given(organizations(), st.integers(0, 1500), st.integers(0, 20), st.one_of(st.binary(max_size=20), MARKS))
@settings(max_examples=200)
def test_bytes_in_the_middle(organization: dict[str, Any], start: int, gone: int, new: bytes) -> None:
    content = dump(organization)
    load_bytes(content[:start] + new + content[start + gone :])


@given(st.binary(max_size=200))
def test_any_bytes_at_all(content: bytes) -> None:
    load_bytes(content)


@given(st.text(SOUP, max_size=60))
@settings(max_examples=300)
def test_yaml_soup(text: str) -> None:
    load_bytes(text.encode())


@given(st.one_of(st.text(SOUP, max_size=60), organizations().flatmap(spoiled)))
@settings(max_examples=300)
def test_both_of_pyyamls_readers_say_the_same(text: str) -> None:
    fast = read_tree(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "__with_libyaml__", False)
        exact = read_tree(text)
    if exact.data is not None:  # the fast reader lets a few more tabs pass
        assert fast == exact


@given(organizations(), st.data(), st.sampled_from(IN_THE_CLEAR))
def test_a_secret_written_in_the_clear_is_refused_and_never_repeated(
    organization: dict[str, Any], data: st.DataObject, form: str
) -> None:
    path = data.draw(st.sampled_from([path[:-1] for path in places(organization) if path[-1:] == ("env",)]))
    text = dump(changed(organization, path, "PLACEHOLDER")).decode().replace("PLACEHOLDER", form.format(s=SECRET))
    loaded = load_bytes(text.encode())
    assert loaded.problems
    assert SECRET not in "".join(map(str, loaded.problems))
