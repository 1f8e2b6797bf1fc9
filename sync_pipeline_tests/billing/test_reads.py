"""Reading only what has changed: the table must end as a whole reading would leave it, whatever happened meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.auth import AuthBase

from sync_pipeline.billing import load, load_customers
from sync_pipeline.billing.api import Api, ApiSource, KeyAuth, Limits
from sync_pipeline.billing.settings import ChangingSettings
from sync_pipeline.errors import ConfigurationError, LimitReached
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.billing.systems.scripted import Answer, Asked, Server, said, serving


class Ledger:
    """A billing system that knows what has changed, over a real socket."""

    def __init__(self, server: Server) -> None:
        self.url, self.asked = server.url, server.asked
        self.customers: dict[str, dict[str, Any]] = {}
        self.left = "5000"
        server.at = {"/customers": self.answer}

    def answer(self, asked: Asked) -> Answer:
        assert asked.method == "GET"
        since = float(asked.query.get("since", 0))
        found = [c for c in self.customers.values() if c["changed"] >= since]
        return said({"customers": found, "total": len(self.customers)}, **{"X-Left": self.left})

    def put(self, key: str, identifier: str | None = None, *, at: datetime | None = None) -> None:
        """Add or change a customer."""
        changed = (at or datetime.now(UTC)).timestamp()
        self.customers[key] = {"id": key, "number": identifier, "name": f"{key} {identifier}", "changed": changed}


class Settings(ChangingSettings):
    system: Literal["ledger"] = "ledger"


class LedgerSource(ApiSource):
    title = "Ledger"
    fields: ClassVar = {"customer_id": ("id",), "name": ("name",)}
    without = ("changed",)
    expressions: ClassVar = {"customer_id": "customer_id", "name": "name", "status": "'active'"}
    overlap = timedelta(minutes=10)
    new_key = "Ask for another key."

    def auth(self, org: Any) -> AuthBase:
        return KeyAuth("Bearer key", "key")

    def limits(self, org: Any) -> Limits:
        return Limits(60_000, {"x-left": 10})

    def pages(self, api: Api, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
        given = {"since": str(since.replace(tzinfo=UTC).timestamp())} if since else {}
        answer = api.get("/customers", given)
        self.total = answer["total"]
        yield api.records(answer, "customers")

    def count(self, api: Api) -> int | None:
        return int(self.total)


class Org:
    """As much of an organization as a billing system knows."""

    name = "acme"

    def __init__(self, url: str, field: str = "number", days: int = 7) -> None:
        self.billing = Settings(url=url, full_read_days=days)
        self.identifier = type("Identifier", (), {"billing_field": field})()

    def where(self, *path: str | int) -> str:
        return "acme.yaml:1"

    def path(self, setting: Any) -> Path:
        return Path(str(setting))


@pytest.fixture(scope="module")
def ledger() -> Iterator[Ledger]:
    with serving() as server:
        yield Ledger(server)


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> None:
    monkeypatch.setattr(load, "sources", lambda: {"ledger": LedgerSource()})
    ledger.customers.clear()
    ledger.asked.clear()
    ledger.left = "5000"


def rows(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return con.execute("SELECT customer_id, identifier, name FROM billing_customers ORDER BY ALL").fetchall()


def state(con: duckdb.DuckDBPyConnection) -> tuple[Any, ...]:
    found = con.execute("SELECT why_whole, changed FROM billing_reads").fetchone()
    assert found is not None
    return found


LONG_AGO = datetime.now(UTC) - timedelta(days=30)


def test_the_second_reading_brings_only_what_has_changed(con: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    for key in "abc":
        ledger.put(key, f"N{key}", at=LONG_AGO)
    assert load_customers(con, Org(ledger.url)) == 3
    assert state(con) == ("nothing has been read yet", 3)
    ledger.put("b", "changed")
    ledger.put("d", "new")
    assert load_customers(con, Org(ledger.url)) == 4
    assert state(con) == (None, 2)
    assert rows(con) == [("a", "Na", "a Na"), ("b", "changed", "b changed"), ("c", "Nc", "c Nc"), ("d", "new", "d new")]
    assert load_customers(con, Org(ledger.url)) == 4
    assert len(ledger.asked) == 3


def test_a_deletion_shows_in_the_count_and_everything_is_read(con: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    for key in "abc":
        ledger.put(key, key, at=LONG_AGO)
    load_customers(con, Org(ledger.url))
    del ledger.customers["b"]
    assert load_customers(con, Org(ledger.url)) == 2
    assert state(con) == ("customers were deleted since the last read", 2)
    assert [row[0] for row in rows(con)] == ["a", "c"]
    assert "since" in ledger.asked[1].query
    assert "since" not in ledger.asked[2].query


@pytest.mark.parametrize(
    ("then", "why"),
    [
        (lambda url: Org(url, field="name"), "identifier"),
        (lambda url: Org(url.replace("127.0.0.1", "localhost")), "another account"),
    ],
)
def test_another_identifier_or_account_reads_everything(
    con: duckdb.DuckDBPyConnection, ledger: Ledger, then: Any, why: str
) -> None:
    ledger.put("a", "1", at=LONG_AGO)
    load_customers(con, Org(ledger.url))
    load_customers(con, then(ledger.url))
    assert why in state(con)[0]
    assert "since" not in ledger.asked[-1].query


def test_after_some_days_everything_is_read_again(con: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    ledger.put("a", "1", at=LONG_AGO)
    load_customers(con, Org(ledger.url))
    con.execute("UPDATE billing_reads SET whole_read_at = whole_read_at - INTERVAL 8 DAY")
    load_customers(con, Org(ledger.url))
    assert state(con)[0] == "the last whole read was 8 days ago (billing.full_read_days)"


def test_a_field_that_no_changed_customer_has_is_no_error(con: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    ledger.put("a", "1", at=LONG_AGO)
    load_customers(con, Org(ledger.url))
    ledger.put("b")
    del ledger.customers["b"]["number"]
    assert load_customers(con, Org(ledger.url)) == 2


def test_a_field_on_no_record_lists_those_there_are(con: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    ledger.put("a", "1")
    with pytest.raises(ConfigurationError, match=r"none of the 1 customers of Ledger has 'nr'.*'number'"):
        load_customers(con, Org(ledger.url, field="nr"))
    assert con.execute("FROM billing_reads").fetchall() == []


def test_a_reading_stops_before_the_budget_is_used_up(con: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    ledger.put("a", "1")
    ledger.left = "9"
    with pytest.raises(LimitReached, match="only 9 requests left"):
        load_customers(con, Org(ledger.url))


STEPS = st.lists(st.tuples(st.sampled_from(["put", "delete", "read"]), st.sampled_from("abcd")), max_size=12)


@settings(max_examples=40)
@given(steps=STEPS)
def test_changes_end_in_what_a_whole_reading_gives(
    tmp_path_factory: pytest.TempPathFactory, ledger: Ledger, steps: list[tuple[str, str]]
) -> None:
    ledger.customers.clear()
    folder = tmp_path_factory.mktemp("history")
    with Warehouse(folder, "acme").connect() as con:
        for number, (what, key) in enumerate(steps):
            if what == "put":
                ledger.put(key, str(number))
            elif what == "delete":
                ledger.customers.pop(key, None)
            else:
                load_customers(con, Org(ledger.url))
        load_customers(con, Org(ledger.url))
        told = [(c["id"], c["number"], c["name"]) for c in ledger.customers.values()]
        assert rows(con) == sorted(told)
