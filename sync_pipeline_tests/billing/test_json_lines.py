"""JSON lines as they are really written, and the line that is named where they can't be read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline.billing import customer_url, json_lines, load_customers, probe
from sync_pipeline.errors import ConfigurationError, DataError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.orgs.factory import make_organization

Make = Callable[..., Organization]
Read = Callable[[Organization], list[tuple[Any, ...]]]


@pytest.fixture
def json_org(tmp_path: Path) -> Make:
    """An organization whose customers stand in JSON lines with the given content."""

    def make(content: str | bytes, *, field: str = "id", name: str = "customers.jsonl", **billing: Any) -> Organization:
        folder = tmp_path / "config"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        settings = {"system": "file", "path": name} | billing
        return make_organization(folder=folder, billing=settings, identifier__billing_field=field)

    return make


@pytest.mark.parametrize(
    "content",
    [
        '{"id": 1, "name": "Ada"}\n{"id": 2, "name": "Bob"}\n',
        '{"id": 1, "name": "Ada"}\r\n{"id": 2, "name": "Bob"}\r\n',
        '\ufeff{"id": "1", "name": "Ada"}\n\n  \n{"id": "2", "name": "Bob"}',
        '{"name": "Bob", "id": 2.0}\n\t{ "ID": null, "name": "Ada", "id": 1e0 }  \n',
    ],
)
def test_ways_of_writing_that_read_alike(json_org: Make, read: Read, content: str) -> None:
    assert [row[:3] for row in read(json_org(content))] == [("1", "1", "Ada"), ("2", "2", "Bob")]


@pytest.mark.parametrize("name", ["customers.jsonl.gz", "customers.ndjson", "customers.NDJSON.GZ", "customers.jsonl"])
def test_compressed_or_not_whatever_the_ending(json_org: Make, read: Read, name: str) -> None:
    assert read(json_org(gzip.compress(b'{"id": 1}\n'), name=name))[0][0] == "1"
    assert read(json_org('{"id": 1}\n', name=name))[0][0] == "1"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("12345678901234567890123", "12345678901234567890123"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("285.0", "285"),
        ("9007199254740991.0", "9007199254740991"),
        ("1E3", "1000"),
        ('"00285"', "00285"),
        ("true", "true"),
        ("null", None),
        ('""', None),
    ],
)
def test_an_identifier_of_any_type(json_org: Make, read: Read, value: str, text: str | None) -> None:
    assert read(json_org(f'{{"id": 1, "ref": {value}}}', field="ref"))[0][:2] == ("1", text)


@pytest.mark.parametrize("value", ["9007199254740993.0", "285.5", "1.10", "1e999", "0.12345678901234567891", "1e22"])
@pytest.mark.parametrize("column", ["id", "ref"])
def test_floats_that_may_have_lost_digits(json_org: Make, read: Read, value: str, column: str) -> None:
    other = "ref" if column == "id" else "id"
    with pytest.raises(DataError, match=rf"column '{column}' is floating-point.*\(line 2\)"):
        read(json_org(f'\n{{"{column}": {value}, "{other}": 1}}', field="ref"))


def test_every_field_finds_its_place(json_org: Make, con: duckdb.DuckDBPyConnection) -> None:
    record = (
        '{"id": "c", "name": "Ada", "emails": [{"at": "a@x.org"}, "b@y.org"], "currency": "eur", "balance": 12345678901.123456,'
        ' "is_individual": false, "created_at": "2024-03-01T10:00:00+02:00", "status": "deleted", "big": 1e999,'
        ' "long": 0.12345678901234567891, "doc": {"a": [1.5, null, {"b": "é\\u0000"}]}, "n": null}'
    )
    load_customers(con, json_org(record + '\n{"id": "d"}\n'))
    first, second = con.execute(
        "SELECT emails, currency, balance::VARCHAR, is_individual, created_at::VARCHAR, status, custom_fields"
        " FROM billing_customers ORDER BY customer_id"
    ).fetchall()
    assert first[:6] == (
        *(["a@x.org", "b@y.org"], "EUR", "12345678901.123456", False, "2024-03-01 08:00:00", "deleted"),
    )
    custom = json.loads(first[6])
    assert custom["doc"] == {"a": [1.5, None, {"b": "é\0"}]}
    assert (custom["big"], custom["long"]) == ("1e999", "0.12345678901234567891")
    assert custom["n"] is None
    assert "name" not in custom
    assert second == (
        None,
        None,
        None,
        None,
        None,
        "active",
        "{}",
    )  # what a record does not say is not null, but absent


def test_a_field_inside_an_object(json_org: Make, read: Read) -> None:
    content = '{"id": 1, "a": {"b": {"c": "x"}}}\n{"id": 2, "a.b": {"c": "y"}}\n{"id": 3, "a": null}\n'
    found = read(json_org(content, field="a.b.c", columns={"name": "a.b.c"}))
    assert [row[1:3] for row in found] == [("x", "x"), ("y", "y"), (None, None)]
    assert json.loads(found[0][3]) == {"a": {"b": {"c": "x"}}}
    with pytest.raises(ConfigurationError, match=r"has no 'a\.no'\. It has: 'id', 'a', 'a\.b'"):
        read(json_org(content, field="a.no"))
    with pytest.raises(ConfigurationError, match="'a' is no single value"):
        read(json_org(content, field="a"))


def test_a_field_that_only_late_records_have(json_org: Make, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    org = json_org('{"id": 1}\n{"id": 2}\n{"id": 3, "ref": "x"}\n', field="ref")
    assert [row[1] for row in read(org)] == [None, None, "x"]
    monkeypatch.setattr(json_lines, "PROBED_LINES", 2)
    assert "2 columns" in probe(org)
    with pytest.raises(ConfigurationError, match="has no 'nothing'"):
        probe(json_org('{"id": 1}\n{"id": 2}\n{"id": 3}\n', field="nothing"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"id": 1}\n["geheim"]\n', "line 2 is a list, no object.*jq"),
        ('{"id": 1}\n\n"geheim"\n', "line 3 is a text, no object"),
        ('{"id": 1}\n4711\n', "line 2 is a number, no object"),
        ('{"id": 1}\nnull\n', "line 2 is null, no object"),
        ('[{"id": "geheim"},\n{"id": 2}]\n', "line 1 is no JSON"),
        ('{\n  "id": "geheim"\n}\n', "line 1 is no JSON.*without line breaks"),
        ('{"id": "geheim"} {"id": 2}\n', "line 1 is no JSON, column 18"),
        ('{"id": 1}\n{"id": geheim}\n', "line 2 is no JSON, column 8"),
        ('{"id": NaN}\n', "line 1 is no JSON"),
        ('{"id": 1,}\n', "line 1 is no JSON"),
        ('{"id": 1, "id": 2}\n', "line 1 says the key 'id' twice"),
        ('{"id": 1}\n{"id": 2, "doc": [{"x": 1, "x": 1}]}\n', "line 2 says the key 'x' twice"),
        ("<!doctype html>\n<html>geheim</html>\n", "line 1 is no JSON"),
        ("id,name\n1,geheim\n", "line 1 is no JSON"),
        (b'{"id": 1}\n{"id": "geheim\xfc"}\n', r"line 2 is not UTF-8 \(byte 15\)"),
        ('{"id": 1}\n'.encode("utf-16"), "line 1 is not UTF-8"),
        (b"PAR1\x15\x04", "is Parquet, not JSON lines"),
        ("[" * 100_000, "line 1 is no JSON"),
        ('{"id": ' + "9" * 5_000 + "}\n", "line 1 is no JSON"),
        ('{"id": 1}\n{"id": 2, "note": "' + "x" * 1_000_001 + '"}\n', "row 2 is longer than 1,000,000"),
        ('{"id": 1}\n{"id": 2, "note": "' + "x" * 4_100_000, "line 2 is longer than 1,000,000"),
        ('{"id": 1}\n{"name": "geheim"}\n', r"1 of the customers have no customer_id \(line 2\)"),
        ('{"id": null}\n{"id": " "}\n', r"2 of the customers have no customer_id \(lines 1, 2\)"),
        ('{"id": 1}\n{"id": 2}\n\n{"id": 1, "name": "geheim"}\n', r"share a customer_id: '1' \(lines 1, 4\)"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(json_org: Make, read: Read, content: str | bytes, said: str) -> None:
    with pytest.raises(DataError, match=rf"(?s)acme\.yaml:\d+.*{said}") as caught:
        read(json_org(content))
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("cut", ['{"id": 2, "na', '{"id": 2', '{"id": 2, "name": "x\\', "{"])
def test_a_last_line_that_is_cut_off(json_org: Make, read: Read, cut: str) -> None:
    with pytest.raises(TransientError, match="line 2, the last one, is cut off"):
        read(json_org('{"id": 1}\n' + cut))


@pytest.mark.parametrize("damage", [lambda whole: whole[:-20], lambda whole: whole[:40] + b"\0" * 40 + whole[80:]])
def test_a_compressed_file_that_is_cut_off(json_org: Make, read: Read, damage: Callable[[bytes], bytes]) -> None:
    whole = gzip.compress(b"".join(b'{"id": "%d"}\n' % (n * 7919) for n in range(1000)))
    with pytest.raises(TransientError, match="can't be unpacked to its end"):
        read(json_org(damage(whole), name="customers.jsonl.gz"))


def test_empty_files_are_customers_none(json_org: Make, read: Read) -> None:
    assert read(json_org("", field="metadata.ref", columns={"customer_id": "number"})) == []
    assert read(json_org("\n \n")) == []


def test_null_everywhere(json_org: Make, read: Read) -> None:
    assert read(json_org('{"id": 1, "ref": null, "name": null, "emails": null, "balance": null}', field="ref")) == [
        ("1", None, None, '{"ref": null, "balance": null}')
    ]


def test_an_ending_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Read) -> None:
    (tmp_path / "export.json").write_text('{"id": 1}\n')
    monkeypatch.setenv("EXPORT", str(tmp_path / "export.json"))
    billing = {"system": "file", "path": {"env": "EXPORT"}}
    with pytest.raises(ConfigurationError, match=r"ending does not say.*Add format: csv, parquet or jsonl"):
        read(make_organization(folder=tmp_path, billing=billing, identifier__billing_field="id"))
    org = make_organization(folder=tmp_path, billing={**billing, "format": "jsonl"}, identifier__billing_field="id")
    assert read(org)[0][0] == "1"


def test_the_page_of_a_customer(json_org: Make) -> None:
    org = json_org('{"id": 1}', customer_url="https://erp.example.com/{customer_id}")
    assert customer_url(org, "A/1") == "https://erp.example.com/A%2F1"
