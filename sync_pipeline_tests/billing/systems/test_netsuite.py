"""NetSuite's customers by SuiteQL over real HTTP: paging by id, changes, and what else it may answer."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline.billing import customer_url, load_customers
from sync_pipeline.billing.systems.netsuite import SOURCE
from sync_pipeline.errors import ConfigurationError, DataError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.billing.netsuite_account import CERTIFICATE, KEY, Account, Make, error, items, maker, pem
from sync_pipeline_tests.billing.systems.scripted import Answer, said, serving
from sync_pipeline_tests.orgs.factory import load, merged

Read = Callable[[Organization], list[tuple[Any, ...]]]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    monkeypatch.setattr("sync_pipeline.http.BACKOFF_SECONDS", 0.001)
    with serving() as server:
        yield Account(server)


@pytest.fixture
def org(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    return maker(account, tmp_path / "config", monkeypatch)


def test_a_customer_becomes_a_row(org: Make, account: Account, con: duckdb.DuckDBPyConnection) -> None:
    account.put(
        *(7, "2026-07-01 09:30:00"),
        links=[],
        entityid="C-7 Ada",
        altname="Ada & Söhne 🦆",
        companyname="Ada GmbH",
        isperson="F",
        email="ada@example.com",
        currency="2",
        balancesearch="-12.5",
        isinactive="T",
        parent="5",
        custentity_sf_id="001A",
        lastmodifieddate="1.7.2026",
        subsidiary="3",
    )
    account.put(8, altname="", isperson="T", entityid="C-8", parent="8", balance=1e3, isinactive="F")
    assert load_customers(con, org(user_timezone="Europe/Paris")) == 2
    first, second = con.execute(
        "SELECT source, customer_id, identifier, display_id, name, company_name, is_individual, emails, primary_email,"
        " currency, balance::VARCHAR, status, parent_id, updated_at::VARCHAR, custom_fields"
        " FROM billing_customers ORDER BY customer_id"
    ).fetchall()
    assert first[:14] == (
        *("netsuite", "7", "001A", "C-7 Ada", "Ada & Söhne 🦆", "Ada GmbH", False),
        *(["ada@example.com"], "ada@example.com", "USD", "-12.500000", "archived", "5", "2026-07-01 07:30:00"),
    )
    own = {"custentity_sf_id": "001A", "lastmodifieddate": "1.7.2026", "subsidiary": "3"}
    assert own.items() <= json.loads(first[14]).items()
    assert not {name for name in json.loads(first[14]) if name.startswith("sync_") or name == "links"}
    assert second[1:13] == ("8", None, "C-8", "C-8", None, True, None, None, None, "1000.000000", "active", None)


def test_pages_by_id_in_the_fewest_requests(org: Make, account: Account, read: Read) -> None:
    for number in (9, 10, 1000, 99_999_999):  # in the order of numbers, not of text
        account.put(number, custentity_sf_id=f"S{number}")
    account.page_size = 2
    assert {row[:2] for row in read(org())} == {(str(n), f"S{n}") for n in (9, 10, 1000, 99_999_999)}
    asked = [query for query in account.queries if "customer.*" in query]
    assert [re.findall(r"id > (\d+)", query) for query in asked] == [[], ["10"]]
    assert len(account.queries) + len(account.assertions) <= len(asked) + 3
    assert {asked.headers["Prefer"] for asked in account.asked} == {"transient"}
    assert {asked.pairs for asked in account.asked} == {(("limit", "1000"),)}


def test_data_that_changes_between_pages(org: Make, account: Account, read: Read) -> None:
    """Nobody who stays is missed, whoever goes before them, comes behind, or changes."""
    for number in range(1, 31):
        account.put(number)
    account.page_size = 7
    gone: list[int] = []

    def change() -> None:
        gone.append(min(account.customers))
        del account.customers[gone[-1]]
        account.put(100 + len(gone), at="2026-11-24 12:00:00")

    account.between = change
    found = [int(row[0]) for row in read(org(field="id"))]
    assert len(found) == len(set(found))
    assert set(range(8, 31)) <= set(found)
    assert set(found) <= set(range(1, 31)) | set(account.customers)


def test_more_customers_than_the_ceiling(org: Make, account: Account, read: Read) -> None:
    """With a ceiling of ten rows instead of 100,000: an offset ends there, the id goes on."""
    for number in range(25):
        account.put(number + 1)
    account.page_size, account.ceiling = 5, 10
    assert len(read(org(field="id"))) == 25


def test_changes_are_asked_for_with_thirteen_hours_of_overlap(
    org: Make, account: Account, con: duckdb.DuckDBPyConnection
) -> None:
    account.put(1, altname="old")
    account.put(2)
    configured = org(field="id")
    load_customers(con, configured)
    # Twelve hours behind UTC, as seen by a user on Baker Island; a time zone of the account is never known.
    local = datetime.fromtimestamp(time.time() - 12 * 3600, UTC).strftime("%Y-%m-%d %H:%M:%S")
    account.put(1, local, altname="new")
    account.put(3, local)
    account.server.asked.clear()
    assert load_customers(con, configured) == 3
    (asked,) = [query for query in account.queries if "customer.*" in query]
    told = re.search(r"lastmodifieddate >= TO_DATE\('([\d -:]+)', 'YYYY-MM-DD HH24:MI:SS'\)", asked)
    assert told
    assert 12.9 * 3600 < time.time() - datetime.fromisoformat(told[1]).replace(tzinfo=UTC).timestamp() < 13.1 * 3600
    rows = con.execute("SELECT customer_id, name FROM billing_customers ORDER BY 1").fetchall()
    assert rows == [("1", "new"), ("2", None), ("3", None)]
    assert con.execute("SELECT why_whole, changed FROM billing_reads").fetchone() == (None, 2)


def test_a_deletion_leads_to_a_whole_read(org: Make, account: Account, con: duckdb.DuckDBPyConnection) -> None:
    for number in (1, 2, 3):
        account.put(number)
    load_customers(con, org(field="id"))
    del account.customers[2]
    assert load_customers(con, org(field="id")) == 2
    assert con.execute("SELECT why_whole FROM billing_reads").fetchone() == (
        "customers were deleted since the last read",
    )


@pytest.mark.parametrize("told", ["11/24/2026", "24.11.2026 10:00", "2026-02-30 10:00:00", 5, None])
def test_a_time_in_the_account_s_own_format_is_not_guessed(
    org: Make, account: Account, con: duckdb.DuckDBPyConnection, told: object
) -> None:
    account.put(1, sync_updated=told)
    load_customers(con, org(field="id", user_timezone="UTC"))
    assert con.execute("SELECT updated_at FROM billing_customers").fetchone() == (None,)


def test_without_a_time_zone_there_is_no_time(org: Make, account: Account, con: duckdb.DuckDBPyConnection) -> None:
    account.put(1, "2026-07-01 09:30:00")
    load_customers(con, org(field="id"))
    assert con.execute("SELECT updated_at FROM billing_customers").fetchone() == (None,)


@pytest.mark.parametrize(
    ("value", "text"), [(12345678901234567890123, "12345678901234567890123"), (7.0, "7"), ("07", "07")]
)
def test_numbers_where_text_was(*, org: Make, account: Account, read: Read, value: object, text: str) -> None:
    account.put(1, custentity_sf_id=value)
    account.customers[1]["id"] = 1
    assert read(org())[0][:2] == ("1", text)


def test_a_field_on_no_customer_lists_those_there_are(org: Make, account: Account, read: Read) -> None:
    account.put(1, custentity_sf_idd="x")
    with pytest.raises(
        ConfigurationError, match="none of the 1 customers of NetSuite has 'custentity_sf_id'"
    ) as caught:
        read(org())
    assert "Is it 'custentity_sf_idd'?" in str(caught.value)


def test_no_customers(org: Make, read: Read) -> None:
    assert read(org()) == []


def test_the_same_customer_twice_is_one(org: Make, account: Account, read: Read) -> None:
    account.script = [
        items([{"id": "1", "altname": "old"}, {"id": "2"}], more=True),
        items([{"id": "1", "altname": "new"}, {"id": "3"}]),
    ]
    assert [(row[0], row[2]) for row in read(org(field="id"))] == [("1", "new"), ("2", None), ("3", None)]


def test_an_account_without_currencies(org: Make, account: Account, read: Read) -> None:
    account.currencies = error(400, "INVALID_PARAMETER", "Record 'currency' was not found.")
    account.put(1, balance="5")
    assert len(read(org(field="id"))) == 1
    account.put(2, currency="1")
    with pytest.raises(ConfigurationError, match=r"which currencies customers have\. Give its role the permission"):
        SOURCE.probe(org(field="id"))


@pytest.mark.parametrize(
    "script",
    [
        [items([{"id": "1"}], more=True)],  # the same page for ever
        [items([{"id": "1"}], more=True), items([], more=True)],
        [items([{"id": "10"}, {"id": "9"}], more=True)],
        [items([{"altname": "no id"}], more=True)],
        [items([{"id": ""}])],
        [items([{"id": "1", "balance": "much"}])],
        [items([{"id": "1"}], more="no")],
        [said({"hasMore": False})],
        [said([])],
        [(200, {"Content-Type": "text/html"}, b"\n<!DOCTYPE html><html>Sign in</html>")],
        [(200, {}, b"")],
    ],
)
def test_answers_that_are_no_list_of_customers(org: Make, account: Account, read: Read, script: list[Answer]) -> None:
    account.script = list(script)
    with pytest.raises(DataError, match=r"acme\.yaml:\d+"):
        read(org(field="id"))
    assert len(account.queries) <= 4


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"Content-Length": "5000"}, b'{"items": ['),  # the connection breaks
        (200, {}, b'{"items": [{"id": "1", "alt'),  # whole for HTTP, not for JSON
        (503, {}, b"<html>oops</html>"),
        error(429, "USER_ERROR", "Concurrent request limit exceeded. Request blocked."),
        error(400, "CONCURRENCY_LIMIT_EXCEEDED", "Concurrent request limit exceeded. Request blocked."),
    ],
)
def test_what_may_work_later(org: Make, account: Account, con: duckdb.DuckDBPyConnection, answer: Answer) -> None:
    con.execute("INSERT INTO billing_customers (customer_id) VALUES ('before')")
    account.script = [items([{"id": "1"}], more=True), answer]
    with pytest.raises(TransientError, match=r"acme\.yaml:\d+: NetSuite.*[Tt]ry again later"):
        load_customers(con, org(field="id"))
    assert con.execute("SELECT customer_id FROM billing_customers").fetchall() == [("before",)]


@pytest.mark.parametrize(
    "once", [(503, {}, b""), error(429, "X", "slow down"), (200, {"Content-Length": "5000"}, b'{"items": [')]
)
def test_a_passing_trouble_is_not_noticed(org: Make, account: Account, read: Read, once: Answer) -> None:
    account.script = [once, items([{"id": "1"}])]
    assert len(read(org(field="id"))) == 1


def test_other_refusals_are_the_configuration_s(org: Make, account: Account, read: Read) -> None:
    account.script = [error(404, "NONEXISTENT_ACCOUNT", "The account does not exist.")]
    with pytest.raises(ConfigurationError, match=r"The account does not exist \(HTTP 404\)"):
        read(org())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"account": None}, "billing.account"),
        ({"account": "https://1234567.app.netsuite.com"}, "no account id"),
        ({"login": CERTIFICATE}, "billing.login: private_key_file is missing"),
        ({"login": CERTIFICATE | {"private_key_file": pem(KEY)}}, "the private key itself stands here"),
        ({"login": CERTIFICATE | {"private_key_file": "a", "private_key": {"env": "A"}}}, "can't both be given"),
    ],
    ids=["none", "address", "no key", "key for path", "two keys"],
)
def test_settings_that_can_not_be(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    login = CERTIFICATE | {"private_key_file": "key.pem"}
    billing = {"system": "netsuite", "account": "1234567", "login": login} | change
    loaded = load(tmp_path, merged(billing={name: value for name, value in billing.items() if value is not None}))
    assert any(says in str(problem) for problem in loaded.problems), loaded.problems


def test_an_account_in_the_environment_is_held_to_the_same(
    org: Make, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NS_ACCOUNT", "evil.example.com/?x=")
    with pytest.raises(ConfigurationError, match="this is no account id"):
        read(org(account={"env": "NS_ACCOUNT"}, url=None))


@pytest.mark.parametrize("name", ["1234567_SB1", "1234567-sb1"])
def test_where_an_account_is(org: Make, name: str) -> None:
    configured = org(account=name, url=None)
    assert SOURCE.url(configured) == "https://1234567-sb1.suitetalk.api.netsuite.com"
    page = "https://1234567-sb1.app.netsuite.com/app/common/entity/custjob.nl?id="
    assert customer_url(configured, "a&b") == page + "a%26b"


def test_the_page_of_a_customer_of_a_stand_in(org: Make, account: Account) -> None:
    assert customer_url(org(), "7") == f"{account.server.url}/app/common/entity/custjob.nl?id=7"
