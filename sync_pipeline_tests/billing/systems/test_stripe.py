"""Stripe's list of customers over real HTTP: paging, money, limits, and everything it may answer instead."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline import progress
from sync_pipeline.billing import customer_url, load_customers
from sync_pipeline.billing.systems.stripe import THOUSANDTHS, WITHOUT_MINOR_UNIT, without_keys
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.billing.systems.scripted import Answer, Asked, Server, said, serving
from sync_pipeline_tests.orgs.factory import make_organization

KEY = "sk_live_51GeheimGeheimGeheim4242"
Read = Callable[[Organization], list[tuple[Any, ...]]]
CUSTOMERS = "/v1/customers"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("sync_pipeline.http.BACKOFF_SECONDS", 0.001)
    with serving() as found:
        yield found
    assert all(asked.method == "GET" for asked in found.asked)


@pytest.fixture
def org(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Organization]:
    def make(*, field: str = "metadata.salesforce_account_id", key: str = KEY, url: str | None = None) -> Organization:
        monkeypatch.setenv("STRIPE_KEY", key)
        billing = {"system": "stripe", "api_key": {"env": "STRIPE_KEY"}, "url": url or server.url}
        return make_organization(folder=tmp_path / "config", billing=billing, identifier__billing_field=field)

    return make


def customer(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"cus_{number:05d}", "object": "customer", "created": 1_700_000_000, "metadata": {}} | more


def page(customers: list[dict[str, Any]], more: bool = False, **headers: str) -> Answer:
    return 200, headers, json.dumps({"object": "list", "data": customers, "has_more": more}, indent=2).encode()


def error(status: int, message: str = "", **more: str) -> Answer:
    return said({"error": {"message": message, "type": "invalid_request_error"} | more}, status)


def serve(customers: list[dict[str, Any]]) -> Callable[[Asked], Answer]:
    """Page over customers as Stripe does."""

    def answer(asked: Asked) -> Answer:
        query = asked.query
        ids = [c["id"] for c in customers]
        start = ids.index(query["starting_after"]) + 1 if "starting_after" in query else 0
        end = start + int(query["limit"])
        return page(customers[start:end], more=end < len(customers))

    return answer


def test_pages_to_the_end(org: Callable[..., Organization], server: Server, read: Read) -> None:
    server.at[CUSTOMERS] = serve([customer(n, metadata={"salesforce_account_id": f"00{n}"}) for n in range(250)])
    seen: list[int] = []
    with progress.watched(lambda what, done, total: seen.append(done)):
        found = read(org())
    assert [row[:2] for row in found] == [(f"cus_{n:05d}", f"00{n}") for n in range(250)]
    assert [asked.query.get("starting_after") for asked in server.asked] == [None, "cus_00099", "cus_00199"]
    assert {asked.query["limit"] for asked in server.asked} == {"100"}
    assert {asked.headers["Stripe-Version"] for asked in server.asked} == {"2023-08-16"}
    assert {asked.headers["Authorization"] for asked in server.asked} == {f"Bearer {KEY}"}
    assert seen == [100, 200, 250, 250]


def test_a_customer_becomes_a_row(
    org: Callable[..., Organization], server: Server, con: duckdb.DuckDBPyConnection
) -> None:
    full = customer(
        1,
        name="Ada & Söhne 🦆",
        email="ada@example.com",
        currency="eur",
        balance=-1250,
        address={"city": "Paris", "line2": None},
        metadata={"salesforce_account_id": "001", "Ünï\"'; DROP TABLE x; --": "v"},
        delinquent=None,
    )
    server.at[CUSTOMERS] = [page([full, customer(2, name="", email=None, metadata=None)])]
    assert load_customers(con, org()) == 2
    first, second = con.execute(
        "SELECT source, customer_id, identifier, name, emails, primary_email, currency, balance::VARCHAR, status,"
        " created_at::VARCHAR, custom_fields FROM billing_customers ORDER BY customer_id"
    ).fetchall()
    assert first[:10] == (
        *("stripe", "cus_00001", "001", "Ada & Söhne 🦆", ["ada@example.com"], "ada@example.com", "EUR"),
        *("-12.500000", "active", "2023-11-14 22:13:20"),
    )
    assert json.loads(first[10]) == {key: full[key] for key in ("address", "metadata", "delinquent")}
    assert second[2:9] == (None, None, None, None, None, None, "active")


@pytest.mark.parametrize(
    ("currency", "minor", "units"),
    [
        *[(code, 500, "500.000000") for code in WITHOUT_MINOR_UNIT],
        *[(code, 5120, "5.120000") for code in THOUSANDTHS],
        *[(code, 500, "5.000000") for code in ("EUR", "usd", "ISK", "UGX", "HUF", "TWD")],
        ("eur", 99_999_999_999_999, "999999999999.990000"),
        (None, 0, "0.000000"),
        (None, 500, None),
    ],
)
def test_money_comes_in_units(
    *,
    org: Callable[..., Organization],
    server: Server,
    con: duckdb.DuckDBPyConnection,
    currency: str | None,
    minor: int,
    units: str | None,
) -> None:
    server.at[CUSTOMERS] = [page([customer(1, currency=currency, balance=minor)])]
    load_customers(con, org(field="id"))
    assert con.execute("SELECT balance::VARCHAR FROM billing_customers").fetchone() == (units,)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "cus_00001"),
        ("email", "ada@example.com"),
        ("metadata.dotted.key", "with dots"),
        ("metadata.number", "12345678901234567890123"),
        ("address.postal_code", "01234"),
        ("next_invoice_sequence", "7"),
        ("livemode", "false"),
        ("metadata.empty", None),
    ],
)
def test_the_identifier_may_be_any_field(
    *, org: Callable[..., Organization], server: Server, read: Read, field: str, value: str | None
) -> None:
    metadata = {"dotted.key": "with dots", "number": 12345678901234567890123, "empty": ""}
    address = {"postal_code": "01234"}
    record = customer(1, email="ada@example.com", metadata=metadata, address=address, livemode=False)
    server.at[CUSTOMERS] = [page([record | {"next_invoice_sequence": 7}])]
    assert read(org(field=field))[0][1] == value


def test_a_field_on_no_customer_lists_those_there_are(
    org: Callable[..., Organization], server: Server, read: Read
) -> None:
    server.at[CUSTOMERS] = [page([customer(1, metadata={"salesforce_id": "x"}), customer(2, email=None)])]
    with pytest.raises(ConfigurationError) as caught:
        read(org())
    told = str(caught.value)
    assert re.search(r"acme\.yaml:\d+: none of the 2 customers of Stripe has 'metadata.salesforce_account_id'", told)
    assert "'metadata.salesforce_id'" in told
    assert "'email'" in told


def test_an_object_is_no_identifier(org: Callable[..., Organization], server: Server, read: Read) -> None:
    server.at[CUSTOMERS] = [page([customer(1, metadata={"a": "b"})])]
    with pytest.raises(ConfigurationError, match="'metadata' of Stripe is no single value"):
        read(org(field="metadata"))


def test_no_customers(org: Callable[..., Organization], server: Server, read: Read) -> None:
    server.at[CUSTOMERS] = [page([])]
    assert read(org()) == []


def test_text_that_no_text_may_hold(org: Callable[..., Organization], server: Server, read: Read) -> None:
    server.at[CUSTOMERS] = [page([customer(1, name="a\ud800b\u0000c\u2028d")])]
    assert read(org(field="id"))[0][2] == "a?b\x00c\u2028d"


def test_a_customer_on_two_pages_is_one(org: Callable[..., Organization], server: Server, read: Read) -> None:
    server.at[CUSTOMERS] = [
        page([customer(1, name="old"), customer(2)], more=True),
        page([customer(1, name="new"), customer(3)]),
    ]
    assert [(row[0], row[2]) for row in read(org(field="id"))] == [
        ("cus_00001", "new"),
        ("cus_00002", None),
        ("cus_00003", None),
    ]


def test_a_page_s_last_customer_may_be_deleted_meanwhile(
    org: Callable[..., Organization], server: Server, read: Read
) -> None:
    """Whatever is deleted between two pages, nobody who stays is missed and nobody comes twice."""
    customers = [customer(n) for n in range(250)]
    whole = serve(customers)

    def answer(asked: Asked) -> Answer:
        after = asked.query.get("starting_after")
        if after in ("cus_00099", "cus_00199"):  # somebody deletes the last three of the page just given
            doomed = range(int(after[-3:]) - 2, int(after[-3:]) + 1)
            customers[:] = [c for c in customers if int(c["id"][-3:]) not in doomed]
        if after and after not in [c["id"] for c in customers]:
            gone = {"code": "resource_missing", "param": "starting_after"}
            return error(400, f"No such customer: '{after}'", **gone)
        return whole(asked)

    server.at[CUSTOMERS] = answer
    found = {row[0] for row in read(org(field="id"))}
    assert found == {f"cus_{n:05d}" for n in range(250)}  # those deleted were still there when their page was read


def test_a_whole_page_deleted(org: Callable[..., Organization], server: Server, read: Read) -> None:
    gone = error(400, "No such customer", code="resource_missing", param="starting_after")
    server.at[CUSTOMERS] = [page([customer(1), customer(2)], more=True), gone]
    with pytest.raises(TransientError, match="deleted from Stripe while they were read"):
        read(org(field="id"))


@pytest.mark.parametrize(
    "answers",
    [
        [page([customer(1)], more=True)],  # the same page for ever
        [page([customer(1)], more=True), page([], more=True)],
        [page([{"object": "customer"}], more=True)],
        [page([customer(1) | {"id": None}])],
        [page([customer(1, created="soon")])],
        [page([customer(1, balance="much")])],
        [(200, {}, b"[1, 2]")],
        [(200, {}, b'{"data": {}, "has_more": false}')],
        [(200, {}, b'{"data": [1], "has_more": false}')],
        [(200, {}, b'{"data": []}')],
        [(200, {}, b'{"data": [{"id": "a", "n": 1e999}], "has_more": false}')],
        [(200, {"Content-Type": "text/html"}, b"\n<!DOCTYPE html><html>Sign in</html>")],
        [(200, {}, b"")],
        [(200, {}, b"OK")],
        [(200, {}, b"\xff\xfe")],
    ],
)
def test_answers_that_are_no_list_of_customers(
    org: Callable[..., Organization], server: Server, read: Read, answers: list[Answer]
) -> None:
    server.at[CUSTOMERS] = list(answers)
    with pytest.raises(DataError, match=r"acme\.yaml:\d+"):
        read(org(field="id"))
    assert len(server.asked) <= 2


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"Content-Length": "5000"}, b'{"data": ['),  # the connection breaks
        (200, {}, b'{"data": [{"id": "cus_1", "na'),  # whole for HTTP, not for JSON
        (503, {}, b""),
        (500, {}, b"<html>oops</html>"),
        error(429, "Too many requests"),
    ],
)
def test_what_may_work_later(
    org: Callable[..., Organization], server: Server, con: duckdb.DuckDBPyConnection, answer: Answer
) -> None:
    con.execute("INSERT INTO billing_customers (customer_id) VALUES ('before')")
    server.at[CUSTOMERS] = [page([customer(1)], more=True), answer]
    with pytest.raises(TransientError, match=r"acme\.yaml:\d+: Stripe.*[Tt]ry again later"):
        load_customers(con, org(field="id"))
    assert con.execute("SELECT customer_id FROM billing_customers").fetchall() == [("before",)]


@pytest.mark.parametrize(
    "once", [(503, {}, b""), error(429, "slow down"), (200, {"Content-Length": "5000"}, b'{"data": [')]
)
def test_a_passing_trouble_is_not_noticed(
    org: Callable[..., Organization], server: Server, read: Read, once: Answer
) -> None:
    server.at[CUSTOMERS] = [once, page([customer(1)])]
    assert len(read(org(field="id"))) == 1


def test_nobody_there(org: Callable[..., Organization], read: Read) -> None:
    with pytest.raises(TransientError, match="Stripe"):
        read(org(url="http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("status", "message", "shown"),
    [
        (401, "Invalid API Key provided: sk_live_********4242", "Invalid API Key provided (HTTP 401)."),
        (401, "Expired API Key provided: rk_live_*****************1euf", "Expired API Key provided (HTTP 401)."),
        (401, f"Invalid API Key provided: {KEY}", "Invalid API Key provided (HTTP 401)."),
        (
            403,
            "The provided key 'rk_test_****BYBoGA' does not have the required permissions for this endpoint on account"
            " 'acct_1AF6'. Having the 'rak_customer_read' permission would allow this request to continue.",
            "The provided key does not have the required permissions for this endpoint on account 'acct_1AF6'. Having"
            " the 'rak_customer_read' permission would allow this request to continue (HTTP 403).",
        ),
        (401, "", "no reason given (HTTP 401)."),
    ],
)
def test_a_refused_key_is_never_shown(
    *, org: Callable[..., Organization], server: Server, read: Read, status: int, message: str, shown: str
) -> None:
    server.at[CUSTOMERS] = [error(status, message)]
    with pytest.raises(ReconnectError) as caught:
        read(org())
    assert f"Stripe refuses the key in STRIPE_KEY: {shown} Create" in str(caught.value)
    assert not any(part in str(caught.value) for part in (KEY, "4242", "1euf", "BYBoGA", "***"))
    assert len(server.asked) == 1


@given(st.text("abcXYZ019_*", min_size=4, max_size=30))
def test_no_masked_key_survives(tail: str) -> None:
    assert tail not in without_keys(f"Invalid API Key provided: sk_live_{tail}*")


def test_other_refusals_are_the_configuration_s(org: Callable[..., Organization], server: Server, read: Read) -> None:
    server.at[CUSTOMERS] = [error(404, "Unrecognized request URL (GET: /v1/customers).")]
    with pytest.raises(ConfigurationError, match=r"Unrecognized request URL .* \(HTTP 404\)"):
        read(org())


@pytest.mark.parametrize("key", ["sk_live_with space", "sk_live_ünï", "sk_live_two\nlines"])
def test_a_key_that_is_none_is_not_sent(org: Callable[..., Organization], server: Server, read: Read, key: str) -> None:
    with pytest.raises(ConfigurationError, match="what STRIPE_KEY holds is no key of Stripe") as caught:
        read(org(key=key))
    assert not any(part in str(caught.value) for part in ("with space", "ünï", "two"))
    assert server.asked == []


def test_a_missing_key(org: Callable[..., Organization], read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = org()
    monkeypatch.delenv("STRIPE_KEY")
    with pytest.raises(ConfigurationError, match="STRIPE_KEY is not set"):
        read(configured)


@pytest.mark.parametrize(("key", "per_second"), [("rk_test_1", 25), ("sk_live_1", 100)])
def test_stripe_s_limit_is_kept_from_the_start(
    *, org: Callable[..., Organization], server: Server, read: Read, key: str, per_second: int
) -> None:
    at: list[float] = []
    whole = serve([customer(n) for n in range(1500)])

    def answer(asked: Asked) -> Answer:
        at.append(time.monotonic())
        return whole(asked)

    server.at[CUSTOMERS] = answer
    read(org(field="id", key=key))
    assert len(at) == len(server.asked) == 15
    assert at[-1] - at[0] >= 14 / per_second * 0.95


def test_a_redirect_does_not_take_the_key_along(org: Callable[..., Organization], server: Server, read: Read) -> None:
    server.at[CUSTOMERS] = [(302, {"Location": "https://example.com/login"}, b"")]
    with pytest.raises(SyncError, match="redirects"):
        read(org())
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("key", "url", "page_url"),
    [
        ("sk_live_1", "https://api.stripe.com", "https://dashboard.stripe.com/customers/cus_1"),
        ("rk_test_1", "https://api.stripe.com", "https://dashboard.stripe.com/test/customers/cus_1"),
        ("rk_test_1", "http://localhost:8420/", "http://localhost:8420/customers/cus_1"),
    ],
)
def test_the_page_of_a_customer(org: Callable[..., Organization], key: str, url: str, page_url: str) -> None:
    assert customer_url(org(key=key, url=url), "cus_1") == page_url


def test_the_page_of_a_customer_needs_no_key(org: Callable[..., Organization], monkeypatch: pytest.MonkeyPatch) -> None:
    configured = org(url="https://api.stripe.com")
    monkeypatch.delenv("STRIPE_KEY")
    assert customer_url(configured, "a/b") == "https://dashboard.stripe.com/customers/a%2Fb"


def test_pages_that_lead_in_a_circle_are_followed_once(
    org: Callable[..., Organization], server: Server, read: Read
) -> None:
    server.at[CUSTOMERS] = lambda asked: page(
        [customer(2 if asked.query.get("starting_after") == "cus_00001" else 1)], more=True
    )
    with pytest.raises(DataError, match="there are more customers, but does not give them"):
        read(org(field="id"))
    assert len(server.asked) == 3
