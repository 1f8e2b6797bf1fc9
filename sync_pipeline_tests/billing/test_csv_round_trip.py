"""Any table of text that a CSV writer writes comes back as it was."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync_pipeline.billing import load_customers
from sync_pipeline.errors import SyncError
from sync_pipeline.warehouse.load import column_definitions
from sync_pipeline.warehouse.tables import BILLING_READS
from sync_pipeline_tests.orgs.factory import make_organization

TEXT = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    [
        '"',
        '""',
        ",",
        ";",
        "\n",
        "\r\n",
        "\r",
        "'",
        "\\",
        "NULL",
        "null",
        "0",
        "00285",
        "1e5",
        " x ",
        "\t",
        "#",
        "\ufeff",
        "\0",
    ]
)
TABLE = st.integers(1, 4).flatmap(
    lambda width: st.tuples(
        st.lists(TEXT, min_size=width, max_size=width),
        st.lists(st.lists(TEXT, min_size=width, max_size=width), max_size=5),
    )
)


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    """A connection as the warehouse's, but in memory, for hundreds of small readings."""
    con = duckdb.connect()
    con.execute("ATTACH ':memory:' AS warehouse; USE warehouse; SET TimeZone = 'UTC'")
    con.execute(f"CREATE TABLE billing_reads ({column_definitions(BILLING_READS)})")
    return con


def written(header: list[str], table: list[list[str]], delimiter: str, end: str, quoting: int) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow(["customer_id", *header])
    writer.writerows([str(number), *row] for number, row in enumerate(table))
    return out.getvalue()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=TABLE,
    delimiter=st.sampled_from(",;\t|"),
    # With "\n" Python leaves a lone "\r" without quotes, which no reader can tell from the end of a line.
    style=st.sampled_from([("\r\n", csv.QUOTE_MINIMAL), ("\r\n", csv.QUOTE_ALL), ("\n", csv.QUOTE_ALL)]),
    mark=st.booleans(),
    given_delimiter=st.booleans(),
)
def test_round_trip(
    con: duckdb.DuckDBPyConnection,
    table: tuple[list[str], list[list[str]]],
    delimiter: str,
    style: tuple[str, int],
    mark: bool,
    given_delimiter: bool,
) -> None:
    names, rows = table
    # The delimiter can only be found out where the header does not make two readings equally good.
    header = [f"{number}{name}" for number, name in enumerate(names)]
    found_out = not given_delimiter and style[1] == csv.QUOTE_ALL
    content = written(header, rows, delimiter, *style)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "customers.csv").write_text(content, encoding="utf-8-sig" if mark else "utf-8", newline="")
        billing = {"system": "file", "path": "customers.csv"} | ({} if found_out else {"delimiter": delimiter})
        assert load_customers(con, make_organization(folder=Path(name), billing=billing)) == len(rows)
    read = con.execute("SELECT custom_fields FROM billing_customers ORDER BY CAST(customer_id AS INTEGER)").fetchall()
    expected = [dict(zip(header, (value or None for value in row), strict=True)) for row in rows]
    assert [json.loads(fields) for (fields,) in read] == expected


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60)
    | st.lists(
        st.sampled_from([b"customer_id", b",", b";", b'"', b"\n", b"\r", b"\r\n", b"1", b"2", b"\xff", b" "])
    ).map(b"".join)
)
def test_whatever_stands_in_the_file_is_read_or_explained(con: duckdb.DuckDBPyConnection, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "customers.csv").write_bytes(b"customer_id,x\n" + content)
        org = make_organization(folder=Path(name), billing={"system": "file", "path": "customers.csv"})
        with suppress(SyncError):  # anything else would be a traceback for the user
            load_customers(con, org)
