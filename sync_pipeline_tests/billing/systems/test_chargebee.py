"""Chargebee's customers over real HTTP: pages that change while they are read, changes, refusals, and odd answers."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline.billing import customer_url, load_customers, probe
from sync_pipeline.billing.systems.chargebee import SOURCE
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.billing.systems.scripted import Answer, Asked, Server, said, serving
from sync_pipeline_tests.orgs.factory import load, make_organization, merged

Read = Callable[[Organization], list[tuple[Any, ...]]]
Make = Callable[..., Organization]
PATH = "/api/v2/customers"
KEY = "test_geheimgeheim"
BASIC = base64.b64encode(f"{KEY}:".encode()).decode()
LONG_AGO = 1_517_505_747


def customer(number: int, **more: Any) -> dict[str, Any]:
    made = {"id": f"c{number:04}", "object": "customer", "company": f"N{number}", "cf_salesforce_id": f"A{number}"}
    return made | {"created_at": LONG_AGO + number, "updated_at": LONG_AGO + number, "deleted": False} | more


class Chargebee:
    """Customers as Chargebee pages over them; an offset is the last customer of a page, or how many have been given."""

    def __init__(self, server: Server) -> None:
        self.server, self.numbered = server, False
        self.customers = {c["id"]: c for c in map(customer, range(250))}
        self.before: Callable[[int], None] = lambda page: None
        self.page = 0
        server.at = {PATH: self.answer}

    def put(self, number: int, **more: Any) -> None:
        known = self.customers.get(f"c{number:04}", {"created_at": int(time.time())})
        made = customer(number) | known | {"updated_at": int(time.time())} | more
        self.customers[made["id"]] = made

    def answer(self, asked: Asked) -> Answer:
        query = asked.query
        assert (asked.headers["Authorization"], query["include_deleted"]) == (f"Basic {BASIC}", "true")
        if "updated_at[after]" not in query:
            self.page += 1
            self.before(self.page)
        by = query["sort_by[asc]"]
        found = sorted(self.customers.values(), key=lambda c: (c.get(by, 0), c["id"]))
        if "updated_at[after]" in query:
            found = [c for c in found if c.get("updated_at", 0) > int(query["updated_at[after]"])]
        offset = json.loads(query.get("offset", "[]"))
        if offset and self.numbered:
            found = found[int(offset[0]) :]
        elif offset:
            found = [c for c in found if [c.get(by, 0), c["id"]] > offset]
        page = found[: int(query["limit"])]
        more: dict[str, Any] = {}
        if len(page) < len(found):
            given = int(offset[0]) if offset and self.numbered else 0
            token = [str(given + len(page))] if self.numbered else [page[-1].get(by, 0), page[-1]["id"]]
            more = {"next_offset": json.dumps(token)}
        return said({"list": [{"customer": c, "card": {"masked_number": "****1111"}} for c in page]} | more)


@pytest.fixture
def chargebee(monkeypatch: pytest.MonkeyPatch) -> Iterator[Chargebee]:
    monkeypatch.setattr("sync_pipeline.http.BACKOFF_SECONDS", 0.001)
    with serving() as server:
        yield Chargebee(server)


@pytest.fixture
def org(chargebee: Chargebee, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("CHARGEBEE_KEY", KEY)

    def make(field: str = "cf_salesforce_id", **more: Any) -> Organization:
        billing = {"system": "chargebee", "api_key": {"env": "CHARGEBEE_KEY"}, "url": chargebee.server.url}
        billing |= {"requests_per_minute": 100_000} | more
        kept = {key: value for key, value in billing.items() if value is not None}
        return make_organization(folder=tmp_path / "config", billing=kept, identifier__billing_field=field)

    return make


def ids(rows: list[tuple[Any, ...]]) -> set[int]:
    return {int(row[0][1:]) for row in rows}


def test_pages_to_the_end_with_as_few_requests_as_can_be(org: Make, chargebee: Chargebee, read: Read) -> None:
    found = read(org())
    assert ids(found) == set(range(250))
    assert found[1][:3] == ("c0001", "A1", "N1")
    asked = chargebee.server.of(PATH)
    assert [one.query.get("offset") is None for one in asked] == [True, False, False, True]
    assert ["updated_at[after]" in one.query for one in asked] == [False, False, False, True]  # what changed meanwhile
    assert {one.query["limit"] for one in asked} == {"100"}


def test_one_page_is_one_request(org: Make, chargebee: Chargebee, read: Read) -> None:
    chargebee.customers = {c["id"]: c for c in map(customer, range(100))}
    assert len(read(org())) == 100
    assert len(chargebee.server.of(PATH)) == 1
    assert probe(org()) == "Chargebee answers; its first page has 100 customers."


@pytest.mark.parametrize("numbered", [False, True])
def test_customers_that_come_change_and_go_while_pages_are_read(
    *, org: Make, chargebee: Chargebee, con: duckdb.DuckDBPyConnection, numbered: bool
) -> None:
    def before(page: int) -> None:
        chargebee.put(1000 + page)
        for number in (5 + page, 105, 249):  # of a page that was read, of this one, and of the last
            chargebee.put(number, company=f"changed {page}")
        chargebee.put(50 + page, deleted=True)

    chargebee.before, chargebee.numbered = before, numbered
    load_customers(con, org())
    found = {
        row[0]: row[1:] for row in con.execute("SELECT customer_id, name, status FROM billing_customers").fetchall()
    }
    assert set(found) == {f"c{number:04}" for number in (*range(250), 1001, 1002, 1003)}
    assert {found[one][0] for one in ("c0105", "c0249")} == {"changed 3"}
    assert [found[f"c{number:04}"][0] for number in (6, 7, 8)] == ["changed 1", "changed 2", "changed 3"]
    assert {one for one, row in found.items() if row[1] == "deleted"} == {"c0051", "c0052", "c0053"}


@pytest.mark.parametrize("numbered", [False, True])
def test_changes_of_several_pages_that_change_while_they_are_read(
    *, org: Make, chargebee: Chargebee, read: Read, numbered: bool
) -> None:
    chargebee.numbered = numbered
    read(org())
    for number in range(220):
        chargebee.put(number, company="once", updated_at=int(time.time()) - 60)
    whole = chargebee.answer

    def answer(asked: Asked) -> Answer:
        if "offset" in asked.query:  # one of the first page moves to the end of what was changed last
            chargebee.put(3, company="twice")
        return whole(asked)

    chargebee.server.at[PATH] = answer
    names = {row[0]: row[2] for row in read(org())}
    assert names == {f"c{n:04}": "twice" if n == 3 else "once" if n < 220 else f"N{n}" for n in range(250)}


def test_only_changes_the_next_time_and_deletions_are_among_them(
    org: Make, chargebee: Chargebee, con: duckdb.DuckDBPyConnection
) -> None:
    load_customers(con, org())
    chargebee.server.asked.clear()
    chargebee.put(300)
    chargebee.put(4, deleted=True)
    assert load_customers(con, org()) == 251
    gone = con.execute("SELECT customer_id, name FROM billing_customers WHERE status = 'deleted'").fetchall()
    assert gone == [("c0004", "N4")]
    (changes,) = chargebee.server.of(PATH)
    assert 600 <= time.time() - int(changes.query["updated_at[after]"]) < 660


def test_who_was_not_changed_since_2016_is_read_too(
    org: Make, chargebee: Chargebee, con: duckdb.DuckDBPyConnection
) -> None:
    for number in (0, 120):
        del chargebee.customers[f"c{number:04}"]["updated_at"]
    assert load_customers(con, org()) == 250
    found = con.execute("SELECT customer_id FROM billing_customers WHERE updated_at IS NULL ORDER BY 1").fetchall()
    assert found == [("c0000",), ("c0120",)]


def test_a_customer_becomes_a_row(org: Make, chargebee: Chargebee, con: duckdb.DuckDBPyConnection) -> None:
    contacts = [{"id": "k1", "email": "b@x.com"}, {"id": "k2"}, {"id": "k3", "email": "a@x.com"}]
    full = customer(
        *(1,),
        company="Ada & Söhne 🦆",
        first_name="Ada",
        last_name="Lovelace",
        email="a@x.com",
        contacts=contacts,
        preferred_currency_code="nzd",
        excess_payments=5000,
        balances=[{"excess_payments": 5000, "currency_code": "NZD"}],
        relationship={"parent_id": "c0002", "invoice_owner_id": "c0002"},
        meta_data={"plan": {"id": 7}},
        cf_rank=1.5,
        resource_version=1517505747000,
        unheard="of",
    )
    rest = [customer(2, company=None, first_name="Zoë", last_name="O'Neil", relationship={"parent_id": "c0002"})]
    rest += [{"id": "c0003"}, customer(4, company=" ", email="", first_name="", deleted=True)]
    rest += [dict.fromkeys(full) | {"id": "nulls"}]
    chargebee.customers = {c["id"]: c for c in [full, *rest]}
    for one in chargebee.customers.values():
        one["created_at"] = one.get("created_at") or 0
    assert load_customers(con, org()) == 5
    one, two, three, four, nulls = con.execute(
        "SELECT identifier, name, company_name, is_individual, emails, primary_email, currency, balance, status, parent_id,"
        " merged_into_id, display_id, created_at::VARCHAR, updated_at::VARCHAR, custom_fields FROM billing_customers"
        " ORDER BY customer_id"
    ).fetchall()
    assert one[:6] == ("A1", "Ada & Söhne 🦆", "Ada & Söhne 🦆", False, ["a@x.com", "b@x.com"], "a@x.com")
    assert one[6:14] == ("NZD", None, "active", "c0002", None, None, "2018-02-01 17:22:28", "2018-02-01 17:22:28")
    without = {"id", "object", "company", "email", "preferred_currency_code", "deleted", "created_at", "updated_at"}
    assert json.loads(one[14]) == {key: full[key] for key in full.keys() - without - {"resource_version"}}
    assert two[:4] == ("A2", "Zoë O'Neil", None, True)
    assert two[9] is None  # nobody's own parent
    assert three[:12] == (*[None] * 8, "active", None, None, None)
    assert (four[1], four[3], four[4], four[8]) == (None, None, None, "deleted")
    assert nulls[:12] == (*[None] * 8, "active", None, None, None)


@pytest.mark.parametrize(
    ("field", "more", "identifier"),
    [
        ("meta_data.salesforce_id", {"meta_data": {"salesforce_id": "001A"}}, "001A"),
        ("cf_number", {"cf_number": 12345678901234567890}, "12345678901234567890"),
        ("cf_number", {"cf_number": "007"}, "007"),
        ("relationship.parent_id", {"relationship": {"parent_id": "c0009"}}, "c0009"),
        ("company", {}, "N1"),
    ],
)
def test_any_field_may_be_the_identifier(
    *, org: Make, chargebee: Chargebee, read: Read, field: str, more: dict[str, Any], identifier: str
) -> None:
    chargebee.customers = {"a": customer(1, **more)}
    assert read(org(field))[0][1] == identifier


def test_a_field_on_no_customer_lists_those_there_are(org: Make, chargebee: Chargebee, read: Read) -> None:
    chargebee.customers["c0000"]["meta_data"] = {"sf": 1}
    wanted = r"none of the 250 customers of Chargebee has 'cf_sales'.*'cf_salesforce_id'.*'meta_data\.sf'"
    with pytest.raises(ConfigurationError, match=wanted):
        read(org("cf_sales"))
    with pytest.raises(ConfigurationError, match="'meta_data' of Chargebee is no single value"):
        read(org("meta_data"))


def test_a_site_without_customers(org: Make, chargebee: Chargebee, read: Read) -> None:
    chargebee.customers = {}
    assert read(org()) == []
    chargebee.server.at[PATH] = [said({"list": [], "next_offset": None})]
    assert read(org()) == []


def page(*customers: Any, **more: Any) -> Answer:
    return said({"list": [{"customer": one} for one in customers]} | more)


def test_a_customer_on_two_pages_is_one(org: Make, chargebee: Chargebee, read: Read) -> None:
    pages = [
        page(customer(1), customer(2, company="old"), next_offset="o"),
        page(customer(2, company="new"), customer(3)),
    ]
    chargebee.server.at[PATH] = [*pages, page()]
    assert [row[2] for row in read(org())] == ["N1", "new", "N3"]


ODD: list[Answer] = [
    said({"customers": []}),
    said({"list": {}}),
    said({"list": [customer(1)]}),
    said({"list": [{"customer": [1]}]}),
    page({"cf_salesforce_id": "no id"}),
    page(customer(1, created_at="soon")),
    page(customer(1), next_offset=1),
    page(customer(1), next_offset=""),
    page(customer(1), next_offset="always the same"),
    (200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html>Sign in</html>"),
    (200, {}, b"[]"),
]


@pytest.mark.parametrize("odd", ODD)
def test_answers_that_are_no_customers(org: Make, chargebee: Chargebee, read: Read, odd: Answer) -> None:
    chargebee.server.at[PATH] = [odd]
    with pytest.raises(DataError, match=r"acme\.yaml:\d+"):
        read(org())


def refused(
    status: int, code: str, message: str = "Sorry.", headers: dict[str, str] | None = None, **more: Any
) -> Answer:
    body = {
        "message": message,
        "type": "untyped",
        "api_error_code": code,
        "error_code": code,
        "http_status_code": status,
    }
    return said(body | more, status, **(headers or {}))


LATER = [
    ((200, {}, b'{"list": [{"customer": {"id": "a", "na'), "breaks off"),
    ((200, {"Content-Length": "5000"}, b'{"list": ['), "stopped answering"),
    (refused(503, "site_not_ready", "Maintenance."), r"can't answer now: Maintenance \(HTTP 503\)"),
    (refused(500, "internal_error"), "can't answer now"),
    (refused(429, "lock_timeout"), r"asked too often.*billing\.requests_per_minute"),
    (refused(429, "api_request_limit_exceeded", headers={"Retry-After": "900"}), "asked too often"),
    (refused(400, "param_wrong_value", param="offset"), "does not go on with the list"),
]


@pytest.mark.parametrize(("answer", "message"), LATER)
def test_what_may_work_later(
    *, org: Make, chargebee: Chargebee, con: duckdb.DuckDBPyConnection, answer: Answer, message: str
) -> None:
    con.execute("INSERT INTO billing_customers (customer_id) VALUES ('before')")
    chargebee.server.at[PATH] = [answer]
    with pytest.raises(TransientError, match=rf"acme\.yaml:\d+: .*{message}.*[Tt]ry again"):
        load_customers(con, org())
    assert con.execute("SELECT customer_id FROM billing_customers").fetchall() == [("before",)]


def test_retry_after_is_waited_for(org: Make, chargebee: Chargebee, read: Read) -> None:
    chargebee.server.at[PATH] = [
        refused(429, "api_request_limit_exceeded", headers={"Retry-After": "1"}),
        page(customer(1)),
    ]
    began = time.monotonic()
    assert len(read(org())) == 1
    assert time.monotonic() - began >= 1


def test_a_fifth_of_the_smallest_limit_is_left_to_others(org: Make) -> None:
    assert SOURCE.limits(org(requests_per_minute=None)).per_minute == 0.8 * 150
    assert SOURCE.limits(org(requests_per_minute=900)).per_minute == 900


WRONG = [
    (refused(401, "api_authentication_failed", f"Invalid {KEY}, {BASIC}"), ReconnectError, "Invalid key_\\*{3}, key_"),
    (
        refused(401, "basic_authentication_failed"),
        ReconnectError,
        "refuses the key in CHARGEBEE_KEY.*put it into CHARG",
    ),
    (
        refused(403, "api_authorization_failed", "No {right}."),
        ReconnectError,
        r"No {right} \(HTTP 403\).*read-only key",
    ),
    ((403, {}, b"<html>"), ReconnectError, "refuses the key in CHARGEBEE_KEY: no reason given"),
    (
        refused(403, "request_blocked", "The site is not enabled"),
        ConfigurationError,
        "has blocked the site: The site is",
    ),
    (refused(404, "site_not_found"), ConfigurationError, "no such site.*-test belongs to"),
    (refused(404, "resource_not_found"), ConfigurationError, r"refuses to list customers: Sorry \(HTTP 404\)"),
    (refused(400, "configuration_incompatible", "Catalog"), ConfigurationError, "refuses to list customers: Catalog"),
    (refused(400, "param_wrong_value", param="limit"), ConfigurationError, "refuses to list customers"),
]


@pytest.mark.parametrize(("answer", "kind", "message"), WRONG)
def test_what_a_person_has_to_change(
    *, org: Make, chargebee: Chargebee, read: Read, answer: Answer, kind: type[SyncError], message: str
) -> None:
    chargebee.server.at[PATH] = [answer]
    with pytest.raises(kind, match=rf"acme\.yaml:\d+: .*{message}") as caught:
        read(org())
    assert type(caught.value) is kind
    assert KEY not in str(caught.value)
    assert BASIC not in str(caught.value)


@pytest.mark.parametrize("key", ["", "two words", "ключ"])
def test_a_key_that_can_t_be_one(org: Make, read: Read, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    configured = org()
    monkeypatch.setenv("CHARGEBEE_KEY", key)
    with pytest.raises(ConfigurationError, match="CHARGEBEE_KEY"):
        read(configured)


def test_a_site_names_its_address(org: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    named = org(url=None, site="Acme-test")
    assert SOURCE.account(named) == SOURCE.url(named) == "https://acme-test.chargebee.com"
    assert SOURCE.account(named) != SOURCE.account(org(url=None, site="acme"))
    assert customer_url(named, "a/b") == "https://acme-test.chargebee.com/d/customers/a%2Fb"
    monkeypatch.setenv("SITE", "acme.chargebee.com")
    with pytest.raises(ConfigurationError, match=r"acme\.yaml:\d+: this is no site of Chargebee"):
        SOURCE.url(org(url=None, site={"env": "SITE"}))


def test_the_page_of_a_customer_is_on_the_host_of_the_api(org: Make, chargebee: Chargebee) -> None:
    assert customer_url(org(url="https://acme.private.example/"), "a") == "https://acme.private.example/d/customers/a"
    assert customer_url(org(), "a") == f"{chargebee.server.url}/d/customers/a"


@pytest.mark.parametrize(
    ("billing", "complaint"),
    [
        ({}, "billing: site is missing, or url instead of it"),
        ({"site": "acme", "url": "https://acme.chargebee.com"}, r"billing\.url: site and url can't both be given"),
        ({"site": "acme.chargebee.com"}, r"billing\.site: this is no site of Chargebee.*acme-test"),
        ({"site": "-acme"}, r"billing\.site: this is no site"),
        ({"url": "http://acme.chargebee.com"}, r"billing\.url: .*unencrypted"),
        ({"site": "acme", "requests_per_minute": 0}, r"billing\.requests_per_minute"),
        ({"site": "acme", "api_key": KEY}, r"billing\.api_key: a secret never stands in the file"),
        ({"site": "acme", "api_key": None}, r"billing\.api_key: this key is missing|nothing is written"),
    ],
)
def test_settings_that_can_t_be(tmp_path: Path, billing: dict[str, Any], complaint: str) -> None:
    loaded = load(tmp_path, merged(billing={"system": "chargebee", "api_key": {"env": "X"}} | billing))
    assert re.search(complaint, "\n".join(map(str, loaded.problems)))
    assert KEY not in "\n".join(map(str, loaded.problems))


def test_nobody_there(org: Make, read: Read) -> None:
    with pytest.raises(SyncError, match="Chargebee"):
        read(org(url="http://127.0.0.1:9"))
