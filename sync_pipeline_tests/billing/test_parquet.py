"""Parquet as others write it: every type as text without losing a digit, and what is said where that is not possible."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline.billing import load_customers, parquet, probe
from sync_pipeline.errors import ConfigurationError, DataError, SyncError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.orgs.factory import make_organization

Make = Callable[..., Organization]
Read = Callable[[Organization], list[tuple[Any, ...]]]


@pytest.fixture
def parquet_org(tmp_path: Path) -> Make:
    """An organization whose customers stand in a Parquet file: the rows of a SELECT, or the bytes that are given."""

    def make(content: str | bytes, *, field: str = "id", options: str = "", **billing: Any) -> Organization:
        folder = tmp_path / "config"
        folder.mkdir(exist_ok=True)
        path = folder / "customers.parquet"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            duckdb.sql(f"COPY ({content}) TO '{path}' (FORMAT parquet{options})")
        settings = {"system": "file", "path": path.name} | billing
        return make_organization(folder=folder, billing=settings, identifier__billing_field=field)

    return make


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("'00285'", "00285"),
        ("28::TINYINT", "28"),
        ("9223372036854775807", "9223372036854775807"),
        ("18446744073709551615::UBIGINT", "18446744073709551615"),
        ("12345678901234567890123456789012345678::DECIMAL(38, 0)", "12345678901234567890123456789012345678"),
        ("285.00::DECIMAL(10, 2)", "285"),
        ("285.50::DECIMAL(10, 2)", "285.50"),
        ("285.0::DOUBLE", "285"),
        ("9007199254740991::DOUBLE", "9007199254740991"),
        ("-0.0::DOUBLE", "0"),
        ("16777215::FLOAT", "16777215"),
        ("'nan'::DOUBLE", None),
        ("NULL::BIGINT", None),
        ("''", None),
        ("true", "true"),
        ("'5b0f1d2e-0000-4000-8000-000000000001'::UUID", "5b0f1d2e-0000-4000-8000-000000000001"),
        ("DATE '2024-03-01'", "2024-03-01"),
        ("TIMESTAMP '2024-03-01 10:00:00'", "2024-03-01T10:00:00"),
        ("TIMESTAMPTZ '2024-03-01 10:00:00+02'", "2024-03-01T08:00:00+00:00"),
    ],
)
def test_an_identifier_of_any_type(parquet_org: Make, read: Read, value: str, text: str | None) -> None:
    assert read(parquet_org(f"SELECT 'c' AS id, {value} AS ref", field="ref"))[0][:2] == ("c", text)


@pytest.mark.parametrize(
    "value",
    ["9007199254740992::DOUBLE", "-1e300", "285.5::DOUBLE", "'inf'::DOUBLE", "16777216::FLOAT", "0.1::FLOAT"],
)
@pytest.mark.parametrize("column", ["id", "ref"])
def test_floats_that_may_have_lost_digits(parquet_org: Make, read: Read, value: str, column: str) -> None:
    other = "ref" if column == "id" else "id"
    org = parquet_org(f"SELECT {value}::{value.partition('::')[2] or 'DOUBLE'} AS {column}, 1 AS {other}", field="ref")
    with pytest.raises(DataError, match=f"acme.yaml:[0-9]+: column '{column}' is floating-point"):
        read(org)


def test_every_column_finds_its_place(parquet_org: Make, con: duckdb.DuckDBPyConnection) -> None:
    org = parquet_org(
        "SELECT 7 AS id, 'Ada' AS name, ['a@x.org', 'b@y.org'] AS emails, 'eur' AS currency, -12.5::DECIMAL(10, 4) AS"
        " balance, true AS is_individual, TIMESTAMPTZ '2024-03-01 10:00:00+02' AS created_at, DATE '2024-03-02' AS"
        " updated_at, 'archived' AS status, {'a.b': [1.10::DECIMAL(5, 2), NULL], 'c': {'d': 'é\"'}} AS doc,"
        " MAP {'k': 1} AS tags, '{\"x\": 1}'::JSON AS raw, '\\xAA'::BLOB AS bin, NULL AS nothing, 0.1::DOUBLE AS share"
    )
    assert load_customers(con, org) == 1
    found = con.execute(
        "SELECT customer_id, identifier, name, emails, primary_email, currency, balance::VARCHAR, is_individual,"
        " created_at::VARCHAR, updated_at::VARCHAR, status, custom_fields FROM billing_customers"
    ).fetchall()[0]
    assert found[:11] == (
        *("7", "7", "Ada", ["a@x.org", "b@y.org"], "a@x.org", "EUR", "-12.500000", True),
        *("2024-03-01 08:00:00", "2024-03-02 00:00:00", "archived"),
    )
    assert json.loads(found[11]) == {
        "balance": "-12.5000",
        "is_individual": "true",
        "created_at": "2024-03-01T08:00:00+00:00",
        "updated_at": "2024-03-02",
        "status": "archived",
        "doc": {"a.b": [1.1, None], "c": {"d": 'é"'}},
        "tags": {"k": 1},
        "raw": {"x": 1},
        "bin": "aa",
        "nothing": None,
        "share": "0.1",
    }


def test_a_field_inside_a_struct(parquet_org: Make, read: Read) -> None:
    content = "SELECT 1 AS id, {'crm': {'i\"d': 9007199254740993}, 'crm.x': 'y'} AS metadata"
    found = read(parquet_org(content, field='metadata.crm.i"d', columns={"name": "metadata.crm.x"}))
    assert found[0][:3] == ("1", "9007199254740993", "y")
    assert set(json.loads(found[0][3])) == {"metadata"}
    with pytest.raises(ConfigurationError, match=r"has no 'metadata\.crm\.no'\. It has: 'id', 'metadata'"):
        read(parquet_org(content, field="metadata.crm.no"))
    with pytest.raises(ConfigurationError, match="'metadata' is no single value"):
        read(parquet_org(content, field="metadata"))


def test_names_that_differ_in_case_only_are_two_columns(parquet_org: Make, read: Read) -> None:
    path = parquet_org("SELECT 1 AS id, 'a' AS \"Reference\", 'b' AS \"Xeference\"").path("customers.parquet")
    content = path.read_bytes().replace(b"Xeference", b"REFERENCE")  # DuckDB would not write it, and renames it
    assert read(parquet_org(content, field="REFERENCE"))[0][1] == "b"
    assert read(parquet_org(content, field="Reference"))[0][1] == "a"
    with pytest.raises(ConfigurationError, match="2 columns named 'reference'"):
        read(parquet_org(content, field="reference"))


def test_binary_is_no_identifier(parquet_org: Make, read: Read) -> None:
    with pytest.raises(DataError, match="column 'ref' is binary"):
        read(parquet_org("SELECT 1 AS id, 'abc'::BLOB AS ref", field="ref"))


def test_null_everywhere_and_no_rows(parquet_org: Make, read: Read) -> None:
    with pytest.raises(DataError, match="1 of the customers have no customer_id"):
        read(parquet_org("SELECT NULL::VARCHAR AS id, NULL::BIGINT AS ref", field="ref"))
    assert read(parquet_org("SELECT 1 AS id, NULL::BIGINT AS ref", field="ref"))[0][:2] == ("1", None)
    assert read(parquet_org("SELECT 1 AS id WHERE false")) == []


def test_customers_that_share_an_id(parquet_org: Make, read: Read) -> None:
    with pytest.raises(DataError, match="share a customer_id: '1'"):
        read(parquet_org("SELECT 1 AS id, unnest(['a', 'b']) AS name"))


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        (lambda whole: whole[:-20], TransientError, "has no end: it is still being written"),
        (lambda whole: whole[:4], TransientError, "has no end"),
        (lambda whole: b"", DataError, "is empty"),
        (lambda whole: b"id,name\n1,geheim\n", DataError, "is no Parquet file"),
        (lambda whole: b"<html><p>geheim</html>", DataError, "is no Parquet file"),
        (lambda whole: b"PAR1" + b"\0" * 100 + whole[104:], DataError, "is damaged"),
        (lambda whole: whole[:-60] + b"\xff" * 50 + whole[-10:], DataError, "is damaged"),
        (lambda whole: b"PARE" + whole[4:-4] + b"PARE", DataError, "is encrypted"),
    ],
)
def test_what_is_no_whole_parquet_file(
    parquet_org: Make, read: Read, damage: Callable[[bytes], bytes], error: type[SyncError], said: str
) -> None:
    org = parquet_org("SELECT n AS id, 'geheim' || n AS name FROM range(1000) t(n)")
    path = org.path("customers.parquet")
    path.write_bytes(damage(path.read_bytes()))
    for attempt in (read, probe):
        if attempt is probe and said == "is damaged" and path.read_bytes()[:104].endswith(b"\0" * 100):
            continue  # a probe reads the footer only
        with pytest.raises(error, match=said) as caught:
            attempt(org)
        assert "geheim" not in str(caught.value)


def test_a_row_longer_than_any_customer(parquet_org: Make, read: Read) -> None:
    with pytest.raises(DataError, match="longer than 1,000,000 characters"):
        read(parquet_org("SELECT 1 AS id, repeat('x', 1_000_000) AS note"))


def test_other_compressions_and_an_unusual_name(parquet_org: Make, read: Read) -> None:
    for codec in ("zstd", "gzip", "lz4_raw", "uncompressed"):
        org = parquet_org("SELECT 1 AS id", options=f", COMPRESSION {codec}")
        path = org.path("customers.parquet")
        path.rename(path.with_name("a [1]*.pq"))
        org = make_organization(
            folder=path.parent,
            billing={"system": "file", "path": "a [1]*.pq", "format": "parquet"},
            identifier__billing_field="id",
        )
        assert [row[0] for row in read(org)] == ["1"]


def test_a_file_that_changes_while_it_is_read(
    parquet_org: Make, con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    org = parquet_org("SELECT 1 AS id")
    original = parquet._refuse_values

    def touched(*arguments: Any) -> None:
        original(*arguments)
        parquet_org("SELECT 2 AS id")

    monkeypatch.setattr(parquet, "_refuse_values", touched)
    with pytest.raises(TransientError, match="changed while it was read"):
        load_customers(con, org)


def test_probe(parquet_org: Make) -> None:
    assert "2 columns" in probe(parquet_org("SELECT 1 AS id, {'a': 1} AS doc", field="doc.a"))
    with pytest.raises(ConfigurationError, match=r"company_number.*'id', 'name'"):
        probe(parquet_org("SELECT 1 AS id, 'x' AS name", field="company_number"))


def test_names_that_would_break_out_of_sql_are_only_names(parquet_org: Make, read: Read) -> None:
    evil = "\"'; DROP TABLE billing_customers; --"
    quoted = '"' + evil.replace('"', '""') + '"'
    found = read(parquet_org(f'SELECT 1 AS id, 2 AS {quoted}, 3 AS "$path", 4 AS k0', field=evil))
    assert found[0][:2] == ("1", "2")
    assert json.loads(found[0][3]) == {evil: "2", "$path": "3", "k0": "4"}
