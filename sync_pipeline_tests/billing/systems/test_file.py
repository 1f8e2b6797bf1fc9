"""CSV as it is really written, and what is said where it can't be read."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline import progress
from sync_pipeline.billing import customer_url, load_customers
from sync_pipeline.billing.systems import file as file_module
from sync_pipeline.errors import ConfigurationError, DataError, TransientError
from sync_pipeline.orgs.models import Organization

CsvOrg = Callable[..., Organization]
Read = Callable[[Organization], list[tuple[Any, ...]]]


@pytest.mark.parametrize(
    "content",
    [
        "customer_id,name\n1,Ada\n2,Bob\n",
        "customer_id,name\r\n1,Ada\r\n2,Bob\r\n",
        "customer_id,name\r1,Ada\r2,Bob\r",
        "customer_id,name\n1,Ada\r\n2,Bob",
        "customer_id;name\n1;Ada\n2;Bob\n",
        "customer_id\tname\n1\tAda\n2\tBob\n",
        "customer_id|name\n1|Ada\n2|Bob\n",
        "\ufeffcustomer_id,name\n1,Ada\n2,Bob\n",
        '\ufeff"customer_id";"name"\r\n"1";"Ada"\r\n"2";"Bob"\r\n',
        "sep=;\ncustomer_id;name\n1;Ada\n2;Bob\n",
        "\ufeffsep=;\r\ncustomer_id;name\r\n1;Ada\r\n2;Bob\r\n",
        "\n\ncustomer_id,name\n1,Ada\n\n2,Bob\n\n",
        "customer_id,name\n1,Ada,\n2,Bob,\n",
        " Customer_ID , NAME \n1,Ada\n2,Bob\n",
        "name,id\nAda,1\nBob,2\n",
    ],
)
def test_dialects_read_alike(csv_org: CsvOrg, read: Read, content: str) -> None:
    assert read(csv_org(content)) == [("1", "1", "Ada", "{}"), ("2", "2", "Bob", "{}")]


def test_quotes_line_breaks_and_delimiters_inside_values(csv_org: CsvOrg, read: Read) -> None:
    content = 'customer_id;name;note\r\n1;"O""Hara; & Söhne";"two\r\nlines, one\ncomma"\r\n2;🦆;"a\rb"\r\n'
    assert read(csv_org(content)) == [
        ("1", "1", 'O"Hara; & Söhne', '{"note":"two\\r\\nlines, one\\ncomma"}'),
        ("2", "2", "🦆", '{"note":"a\\rb"}'),
    ]


def test_numbers_stay_text(csv_org: CsvOrg, read: Read) -> None:
    content = "customer_id,company_number\n00285,0000320193\n12345678901234567890123, 007 \n1e5,NULL\n"
    found = read(csv_org(content, field="company_number"))
    assert [row[:2] for row in found] == [
        ("00285", "0000320193"),
        ("12345678901234567890123", " 007 "),
        ("1e5", "NULL"),
    ]


def test_every_column_finds_its_place(csv_org: CsvOrg, con: duckdb.DuckDBPyConnection) -> None:
    content = (
        "number,id,name,email,currency,balance,status,created_at,is_individual,parent_id,region\n"
        "K-7,1,Ada,Ada <a@x.org>; b@y.org,eur,-12.5,Inactive,2024-03-01T10:00:00+02:00,yes,9,North\n"
        "K-8,2,Bob,,,,,,,,\n"
    )
    org = csv_org(content, field="number", columns={"display_id": "number"})
    load_customers(con, org)
    first, second = con.execute(
        "SELECT source, customer_id, identifier, display_id, emails, primary_email, currency, balance::VARCHAR, status,"
        " created_at::VARCHAR, is_individual, parent_id, custom_fields FROM billing_customers ORDER BY customer_id"
    ).fetchall()
    assert first[:12] == (
        *("file", "1", "K-7", "K-7", ["a@x.org", "b@y.org"], "a@x.org", "EUR", "-12.500000", "archived"),
        *("2024-03-01 08:00:00", True, "9"),
    )
    # What had to be read as something else stays as it was written.
    assert json.loads(first[12]) == {
        "balance": "-12.5",
        "status": "Inactive",
        "created_at": "2024-03-01T10:00:00+02:00",
        "is_individual": "yes",
        "region": "North",
    }
    assert second[4:12] == (None, None, None, None, "active", None, None, None)
    assert set(json.loads(second[12]).values()) == {None}


def test_the_customer_row_s_own_name_may_name_the_identifier(csv_org: CsvOrg, read: Read) -> None:
    assert read(csv_org("id,name\n1,Ada\n", field="customer_id"))[0][:2] == ("1", "1")


def test_names_that_would_break_out_of_sql_are_only_names(csv_org: CsvOrg, read: Read) -> None:
    evil = "\"'; DROP TABLE billing_customers; --"
    header = '"' + evil.replace('"', '""') + '"'
    found = read(csv_org(f"customer_id,{header},$path\n1,A-1,x\n", field=evil))
    assert found[0][:2] == ("1", "A-1")
    assert json.loads(found[0][3]) == {evil: "A-1", "$path": "x"}


def test_repeated_and_empty_column_names_are_kept_apart(csv_org: CsvOrg, read: Read) -> None:
    found = read(csv_org("customer_id,city,city,,city (2)\n1,a,b,c,d\n"))
    assert json.loads(found[0][3]) == {"city": "a", "city (3)": "b", "column 4": "c", "city (2)": "d"}


def test_a_single_column(csv_org: CsvOrg, read: Read) -> None:
    assert [row[0] for row in read(csv_org("customer_id\n1\n\n2\n\n"))] == ["1", "2"]


@pytest.mark.parametrize(
    "content", ["customer_id,name\n", "customer_id,name", "customer_id,name\r\n\r\n", "customer_id"]
)
def test_no_customers_is_no_error(csv_org: CsvOrg, read: Read, content: str) -> None:
    assert read(csv_org(content)) == []


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le", "shift_jis", "mac-roman"])
def test_other_encodings(csv_org: CsvOrg, read: Read, encoding: str) -> None:
    name = "表ソ" if encoding == "shift_jis" else "Müller"
    content = f"customer_id,name\r\n1,{name}\r\n".encode(encoding)
    assert read(csv_org(content, encoding=encoding))[0][2] == name


def test_bytes_of_another_encoding_are_named_with_line_and_byte(csv_org: CsvOrg, read: Read) -> None:
    content = b"customer_id,name\n1,Ada\n2,M\xfcller\n"
    with pytest.raises(
        DataError, match=r"acme.yaml:\d+: customers.csv is not utf-8: line 3, byte 27.*cp1252"
    ) as caught:
        read(csv_org(content))
    assert "ller" not in str(caught.value)
    assert read(csv_org(content, encoding="cp1252"))[1][2] == "Müller"


@pytest.mark.parametrize("at", [10, 1_048_570, 1_048_576, 1_100_000])
def test_the_byte_is_exact_wherever_it_stands(csv_org: CsvOrg, read: Read, at: int) -> None:
    head = b"customer_id,name\n"
    content = bytearray(head + b"".join(b"%07d,ab\n" % row for row in range(110_000)))
    at = max(at, len(head) + 8)
    content[at : at + 1] = b"\xff"
    line = bytes(content[:at]).count(b"\n") + 1
    with pytest.raises(DataError, match=f"line {line}, byte {at + 1:,}"):
        read(csv_org(bytes(content)))


@pytest.mark.parametrize(
    ("content", "encoding", "said"),
    [
        ("customer_id,name\n1,Ä\n".encode("utf-16"), "utf-8", "encoding: utf-16"),
        (b"PK\x03\x04\xff\xfe", "utf-8", "Excel workbook.*Save it as CSV"),
        (b"\x28\xb5\x2f\xfd\x00", "utf-8", "is compressed by zstd"),
        ("customer_id,name\n1,あ\n".encode(), "cp1252", "encoding: utf-8"),
        ("\ufeffcustomer_id,name\n1,é\n".encode(), "latin-1", "is not latin-1: line 1, byte 1.*encoding: utf-8"),
        ("customer_id,name\n1,é\n".encode("utf-16"), "latin-1", "encoding: utf-16"),
        ("customer_id,name\n1,Ada\n".encode("utf-16")[:-1], "utf-16", "is not utf-16"),
    ],
)
def test_the_error_says_what_to_try(csv_org: CsvOrg, read: Read, content: bytes, encoding: str, said: str) -> None:
    with pytest.raises(DataError, match=f"(?s){said}"):
        read(csv_org(content, encoding=encoding))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\ufeff", "is empty"),
        ("\n\n", "is empty"),
        ("customer_id,name\n1,Ada\n2,Bob,x\n3,Cy\n", "line 3 has 3 values, the header has 2"),
        ("customer_id,name\n1,Ada\n2\n3,Cy\n", "line 3 has 1 value, the header has 2"),
        ('customer_id,name\n1,"A\nda"\n2,Bob,x\n', "line 4 has 3 values"),
        ('customer_id,name\n1,Ada\n2,"Bob\n3,Cy\n', "starts at line 3 .* a quote is opened and never closed"),
        ('customer_id,name\n1,"Ada" x\n', "starts at line 2 .* a closing quote"),
        ("customer_id,name\n1,Ada\n2,Bob\n\x1a", "line 4 has 1 value"),
        ("customer_id,name\n1," + "x" * 9_000_000 + "\n", "line 2 .* longer than 1,000,000 characters"),
        ("customer_id,name\n1,Ada\n ,Bob\n,Cy\n", r"2 of the customers have no customer_id \(lines 3, 4\)"),
        ("customer_id,name\n1,Ada\n\u200b\u00a0,Bob\n", r"no customer_id \(line 3\)"),
        ("customer_id,name\n1,Ada\n2,B\n1,Adam\n1,Ada\n", r"share a customer_id: '1' \(lines 2, 4, 5\)"),
    ],
)
def test_what_can_t_be_read_is_named_by_its_line(csv_org: CsvOrg, read: Read, content: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        read(csv_org(content))
    assert "Ada" not in str(caught.value)
    assert "acme.yaml:" in str(caught.value)


def test_five_ids_and_the_number_of_the_rest(csv_org: CsvOrg, read: Read) -> None:
    content = "customer_id,name\n" + "".join(f"{n},a\n{n},b\n" for n in range(7))
    with pytest.raises(DataError, match=r"'0' \(lines 2, 3\).*'4' \(lines 10, 11\) and 2 more"):
        read(csv_org(content))


def test_identical_rows_are_one_customer(csv_org: CsvOrg, read: Read) -> None:
    assert len(read(csv_org("customer_id,name,city\n1,Ada,X\n2,Bob,Y\n1,Ada,X\n1,Ada,X\n"))) == 2


def test_a_missing_column_lists_those_there_are(csv_org: CsvOrg, read: Read) -> None:
    with pytest.raises(
        ConfigurationError, match=r"has no 'company_no'. It has: 'customer_id', 'Company_Nr'. Is it 'Company_Nr'"
    ):
        read(csv_org("customer_id,Company_Nr\n1,2\n", field="company_no"))


def test_thirty_columns_are_listed_at_most(csv_org: CsvOrg, read: Read) -> None:
    header = ",".join(f"c{n}" for n in range(40))
    with pytest.raises(ConfigurationError, match=r"'c28' and 11 more"):
        read(csv_org(f"customer_id,{header}\n", field="nothing", columns={"customer_id": "c1"}))


def test_all_problems_of_the_columns_at_once(csv_org: CsvOrg, read: Read) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(csv_org("number,label,label\n1,2,3\n", field="nr", columns={"name": "label", "currency": "curr"}))
    said = str(caught.value)
    assert "2 columns named 'label' (columns 2, 3)" in said
    assert all(part in said for part in ("no 'curr'", "no 'nr'", "no column customer_id or id"))


def test_an_empty_identifier_column_is_no_error_here(csv_org: CsvOrg, read: Read) -> None:
    assert read(csv_org("customer_id,ref\n1,\n2,\n", field="ref"))[0][1] is None


def test_a_column_named_in_the_yaml_must_be_readable(csv_org: CsvOrg, read: Read) -> None:
    content = 'customer_id,saldo\n1,"1.234,50"\n2,"€ 3"\n'
    with pytest.raises(ConfigurationError, match=r"no value of column 'saldo' can be read as a number like 1234\.50"):
        read(csv_org(content, columns={"balance": "saldo"}))


def test_what_merely_has_the_name_is_kept_as_text(
    csv_org: CsvOrg, con: duckdb.DuckDBPyConnection, caplog: pytest.LogCaptureFixture
) -> None:
    org = csv_org('customer_id,balance,created_at\n1,"1.234,50",5 May\n2,7,2024-01-01\n')
    with caplog.at_level(logging.WARNING):
        load_customers(con, org)
    found = con.execute("SELECT balance, custom_fields ->> 'balance' FROM billing_customers ORDER BY 1").fetchall()
    assert [(str(balance), text) for balance, text in found] == [("7.000000", "7"), ("None", "1.234,50")]
    assert "1 of 2 values of column 'balance'" in caplog.text
    assert "1.234,50" not in caplog.text


@pytest.mark.parametrize(("make", "said"), [("folder", "is a folder"), (None, "can't be opened: No such file")])
def test_a_path_that_is_no_file(csv_org: CsvOrg, read: Read, tmp_path: Path, make: str | None, said: str) -> None:
    org = csv_org("customer_id\n", path="other.csv")
    if make:
        (tmp_path / "config" / "other.csv").mkdir()
    with pytest.raises(ConfigurationError, match=f"acme.yaml:\\d+: .*{said}"):
        read(org)


def test_a_pipe_does_not_hang(csv_org: CsvOrg, read: Read, tmp_path: Path) -> None:
    org = csv_org("customer_id\n", path="pipe.csv")
    os.mkfifo(tmp_path / "config" / "pipe.csv")
    with pytest.raises(ConfigurationError, match="is no ordinary file"):
        read(org)


@pytest.mark.parametrize("name", ["a[1].csv", "a*?.csv", "it's.csv", "ünï 🦆.csv"])
def test_file_names_are_names_not_patterns(csv_org: CsvOrg, read: Read, tmp_path: Path, name: str) -> None:
    org = csv_org("customer_id,name\n1,wrong\n", path=name)
    (tmp_path / "config" / name).write_text("customer_id,name\n2,right\n")
    (tmp_path / "config" / "a1.csv").write_text("customer_id,name\n3,wrong\n")
    assert [row[2] for row in read(org)] == ["right"]


@pytest.mark.parametrize("tail", ["3,Cy\n", "3,C", '3,"C'])
def test_a_file_being_written_is_tried_again_later(
    csv_org: CsvOrg, read: Read, tmp_path: Path, tail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    org = csv_org("customer_id,name\n1,Ada\n")
    real = file_module.dialect_of

    def while_somebody_writes(*args: Any) -> Any:
        dialect = real(*args)
        with (tmp_path / "config" / "customers.csv").open("a") as file:
            file.write(tail)
        return dialect

    monkeypatch.setattr(file_module, "dialect_of", while_somebody_writes)
    with pytest.raises(TransientError, match="changed while it was read"):
        read(org)


def test_a_file_that_grows_all_the_time(csv_org: CsvOrg, read: Read, tmp_path: Path) -> None:
    """The same without a patch: a real writer beside the reader."""
    org = csv_org("customer_id,name\n")
    done = threading.Event()

    def write() -> None:
        with (tmp_path / "config" / "customers.csv").open("a", buffering=1) as file:
            number = 0
            while not done.wait(0.0005):
                number += 1
                file.write(f"{number},x\n")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(TransientError):
            read(org)
    finally:
        done.set()
        writer.join()


def test_a_failed_reading_leaves_the_old_rows(csv_org: CsvOrg, con: duckdb.DuckDBPyConnection, read: Read) -> None:
    read(csv_org("customer_id,name\n1,Ada\n"))
    with pytest.raises(DataError):
        read(csv_org("customer_id,name\n1,Ada\n1,Bob\n"))
    assert con.execute("SELECT name FROM billing_customers").fetchall() == [("Ada",)]
    assert read(csv_org("customer_id,name\n5,Eve\n")) == [("5", "5", "Eve", "{}")]  # nothing is left attached


def test_progress_is_reported(csv_org: CsvOrg, read: Read) -> None:
    seen: list[tuple[str, int, int | None]] = []
    with progress.watched(lambda *report: seen.append(report)):
        read(csv_org("customer_id,name\n1,Ada\n2,Bob\n"))
    assert seen == [("customers read", 2, 2)]


def test_the_page_of_a_customer(csv_org: CsvOrg) -> None:
    org = csv_org("customer_id\n", customer_url="https://billing.example.com/c/{customer_id}?tab=1")
    assert customer_url(org, "a/b ?ü") == "https://billing.example.com/c/a%2Fb%20%3F%C3%BC?tab=1"
    assert customer_url(csv_org("customer_id\n"), "1") is None


def test_long_files_with_line_breaks_in_values(csv_org: CsvOrg, con: duckdb.DuckDBPyConnection) -> None:
    """More than one of DuckDB's buffers, so that several threads read, each from a place that may be inside a value."""
    filler = "x" * 350
    body = "".join(f'{n},"line one, {n}\nline ""two""\n{filler}"\n' for n in range(110_000))
    org = csv_org("customer_id,note\n" + body)
    assert load_customers(con, org) == 110_000
    wrong = con.execute(
        "SELECT count(*) FROM billing_customers WHERE custom_fields ->> 'note'"
        " <> 'line one, ' || customer_id || chr(10) || 'line \"two\"' || chr(10) || repeat('x', 350)"
    ).fetchone()
    assert wrong == (0,)


@pytest.mark.parametrize("millions", [9, 17])
@pytest.mark.parametrize("end", ["", "\n", "\nc3,Cy\n"])
def test_no_row_that_is_too_long_is_lost(csv_org: CsvOrg, read: Read, millions: int, end: str) -> None:
    org = csv_org(f"customer_id,name\nc1,Ada\nc2,{'x' * millions * 1_000_000}{end}")
    with pytest.raises(
        DataError, match=r"the row that starts at line 3 can't be read: a value is longer than 1,000,000"
    ):
        read(org)


def test_customers_as_large_as_books(csv_org: CsvOrg, read: Read) -> None:
    """More than the little memory that a load begins with holds at once."""
    book = "".join(f"{number:x}-" for number in range(12_000))
    assert len(read(csv_org("customer_id,note\n" + "".join(f"{n},{n}{book}\n" for n in range(1_100))))) == 1_100
