"""Zuora's accounts over real HTTP: the login, pages that change while they are read, refusals by code, and odd answers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline.billing import customer_url, load_customers, probe
from sync_pipeline.billing.systems.zuora import SOURCE
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.billing.systems.scripted import Answer, Asked, Server, said, serving
from sync_pipeline_tests.orgs.factory import load, make_organization, merged

Read = Callable[[Organization], list[tuple[Any, ...]]]
Make = Callable[..., Organization]
ACCOUNTS, TOKEN = "/object-query/accounts", "/oauth/token"
CLIENT, SECRET, ENTITY = "b64e42ba-7e1a-4bc6-9146-5e1b420306b5", "geheim-geheim", "1a2b7a37-3e7d-4cb3-b0e2-883de9e766cc"
UNAUTHORIZED = said({"message": "Authentication error"}, 401)


def account(number: int, **more: Any) -> dict[str, Any]:
    made = {"id": f"{number:032x}", "accountNumber": f"A{number:08d}", "name": f"N{number}", "status": "Active"}
    return made | {"crmId": f"001{number}", "updatedDate": "2025-03-21T03:24:15-07:00"} | more


def refused(code: int | str, message: str, status: int = 200) -> Answer:
    return said({"success": False, "processId": "7F2E", "reasons": [{"code": code, "message": message}]}, status)


class Zuora:
    """Accounts as Zuora pages over them: a cursor names the id that a page ended with."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.accounts = {one["id"]: one for one in map(account, range(0, 260, 2))}
        self.changed: dict[str, datetime] = {}
        self.before: Callable[[int], None] = lambda page: None
        self.pages = 0
        server.at = {TOKEN: [said({"access_token": "t1", "expires_in": 3599})], ACCOUNTS: self.answer}

    def put(self, number: int, **more: Any) -> None:
        made = account(number, **more)
        self.accounts[made["id"]] = made
        self.changed[made["id"]] = datetime.now(UTC)

    def drop(self, number: int) -> None:
        del self.accounts[account(number)["id"]]

    def answer(self, asked: Asked) -> Answer:
        assert (asked.query["sort[]"], asked.query["expand[]"]) == ("id.ASC", "billto")
        field, _, since = asked.query.get("filter[]", "updateddate.GT:1900-01-01T00:00:00Z").partition(".GT:")
        assert field == "updateddate"
        if "filter[]" not in asked.query:
            self.pages += 1
            self.before(self.pages)
        old, moment = datetime(2025, 3, 21, tzinfo=UTC), datetime.fromisoformat(since)
        after, size = asked.query.get("cursor", ""), int(asked.query["pageSize"])
        found = [a for key, a in sorted(self.accounts.items()) if key > after and self.changed.get(key, old) > moment]
        more = {"nextPage": found[size - 1]["id"]} if len(found) > size else {}
        return said(more | {"data": found[:size]})


@pytest.fixture
def zuora(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zuora]:
    monkeypatch.setattr("sync_pipeline.http.BACKOFF_SECONDS", 0.001)
    with serving() as server:
        yield Zuora(server)


@pytest.fixture
def org(zuora: Zuora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("ZUORA_SECRET", SECRET)

    def make(field: str = "crmId", **more: Any) -> Organization:
        login = {"method": "client_credentials", "client_id": CLIENT, "client_secret": {"env": "ZUORA_SECRET"}}
        billing = {"system": "zuora", "login": login, "url": zuora.server.url} | more
        return make_organization(folder=tmp_path / "config", billing=billing, identifier__billing_field=field)

    return make


def ids(rows: list[tuple[Any, ...]]) -> list[int]:
    return sorted(int(row[0], 16) for row in rows)


def test_pages_to_the_end_with_as_few_requests_as_can_be(org: Make, zuora: Zuora, read: Read) -> None:
    found = read(org())
    assert ids(found) == list(range(0, 260, 2))
    assert found[1][:3] == (f"{2:032x}", "0012", "N2")
    asked = zuora.server.of(ACCOUNTS)
    assert [one.query.get("cursor") for one in asked] == [None, f"{98:032x}", f"{198:032x}", None]
    assert {one.query["pageSize"] for one in asked} == {"50"}
    (token,) = zuora.server.of(TOKEN)
    assert token.form == {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
    assert "Authorization" not in token.headers
    assert {one.headers["Authorization"] for one in asked} == {"Bearer t1"}
    assert not any("Zuora-Entity-Ids" in one.headers for one in asked)


def test_one_page_is_one_request(org: Make, zuora: Zuora, read: Read) -> None:
    zuora.accounts = {one["id"]: one for one in map(account, range(99))}
    assert len(read(org(page_size=99))) == 99
    assert len(zuora.server.of(ACCOUNTS)) == 1


def test_every_sync_reads_everything(org: Make, zuora: Zuora, read: Read) -> None:
    read(org())
    zuora.accounts[account(4)["id"]] = account(4, balance=7)  # a change that no time tells of
    zuora.drop(8)
    found = read(org())
    assert ids(found) == [number for number in range(0, 260, 2) if number != 8]
    assert not any("filter[]" in one.query for one in zuora.server.of(ACCOUNTS) if "cursor" in one.query)


def test_accounts_that_come_and_change_while_pages_are_read(org: Make, zuora: Zuora, read: Read) -> None:
    def before(page: int) -> None:
        zuora.put(2 * page - 1)  # from the second page on before every page that is still to come
        zuora.put(4, name=f"changed {page}")
        zuora.put(258, name=f"changed {page}")

    zuora.before = before
    found = read(org())
    assert ids(found) == sorted([*range(0, 260, 2), 1, 3, 5])
    assert {row[2] for row in found if int(row[0], 16) in (4, 258)} == {"changed 3"}
    (again,) = [one for one in zuora.server.of(ACCOUNTS) if "filter[]" in one.query]
    since = datetime.fromisoformat(again.query["filter[]"].partition(".GT:")[2])
    assert timedelta(minutes=10) <= datetime.now(UTC) - since < timedelta(minutes=11)


@pytest.mark.parametrize("gone", [range(98, 100), range(100), range(90, 130)])
def test_accounts_that_disappear_take_nobody_along(org: Make, zuora: Zuora, read: Read, gone: range) -> None:
    def before(page: int) -> None:
        for number in range(gone.start, gone.stop, 2) if page == 2 else ():
            zuora.drop(number)

    zuora.before = before
    assert set(ids(read(org()))) >= set(range(0, 260, 2)) - set(gone)


def test_an_account_on_two_pages_is_one(org: Make, zuora: Zuora, read: Read) -> None:
    pages = [[account(1), account(2, name="old")], [account(2, name="new"), account(3)]]
    zuora.server.at[ACCOUNTS] = [said({"data": page, "nextPage": str(n)}) for n, page in enumerate(pages)]
    zuora.server.at[ACCOUNTS] += [said({"data": []})]
    assert [row[2] for row in read(org())] == ["N1", "new", "N3"]


def test_an_account_becomes_a_row(org: Make, zuora: Zuora, con: duckdb.DuckDBPyConnection) -> None:
    contact = {"id": "c", "lastName": "Müller", "workEmail": "a@x.com", "personalEmail": "p@x.com"}
    own = {
        "Salesforce_Id__c": "0015",
        "Region__c": {"a": [1]},
        "CustomerType__NS": "Company",
        "mrr": 2950,
        "unheard": "of",
    }
    full = account(
        1,
        name="Ada & Söhne 🦆",
        currency="nzd",
        balance=-760.1,
        parentId=account(2)["id"],
        billTo=contact,
        additionalEmailAddresses="b@x.com, a@x.com; c@x.com,",
        createdDate="2024-11-10T17:35:45-08:00",
        **own,
    )
    rest = [account(2, name=None, balance=0.1, currency="JPY", billTo={"city": "Rom"})]
    rest += [account(3, status="Canceled", billTo=None, additionalEmailAddresses="b@x.com", balance=9999999999999.99)]
    rest += [account(4, status="Draft"), account(5, name=7, accountNumber=42, balance="12.50")]
    rest += [dict.fromkeys(full) | {"id": "nulls"}]
    zuora.accounts = {one["id"]: one for one in [full, *rest]}
    assert load_customers(con, org()) == 6
    one, two, three, four, five, nulls = con.execute(
        "SELECT identifier, display_id, name, company_name, is_individual, emails, primary_email, currency,"
        " balance::VARCHAR, status, parent_id, merged_into_id, created_at::VARCHAR, updated_at::VARCHAR, custom_fields"
        " FROM billing_customers ORDER BY customer_id"
    ).fetchall()
    everywhere = ["a@x.com", "p@x.com", "b@x.com", "c@x.com"]
    assert one[:14] == (
        *("0011", "A00000001", "Ada & Söhne 🦆", None, None, everywhere, "a@x.com", "NZD", "-760.100000", "active"),
        *(account(2)["id"], None, "2024-11-11 01:35:45", "2025-03-21 10:24:15"),
    )
    assert json.loads(one[14]) == {"crmId": "0011", "billTo": contact} | own
    assert two[2:9] == (None, None, None, None, None, "JPY", "0.100000")
    assert three[4:10] == (None, ["b@x.com"], "b@x.com", None, "9999999999999.990000", "archived")
    assert four[9] == "active"
    assert (five[1], five[2], five[8]) == ("42", "7", "12.500000")
    assert nulls[:14] == (*(None,) * 9, "active", None, None, None, None)


@pytest.mark.parametrize("field", ["accountNumber", "Salesforce_Id__c", "IntegrationId__NS", "billTo.workEmail"])
def test_native_and_custom_fields_may_be_the_identifier(org: Make, zuora: Zuora, read: Read, field: str) -> None:
    value = {"workEmail": "a@x.com"} if "." in field else 12345678901234567890
    zuora.accounts = {"a": account(1, **{field.partition(".")[0]: value}), "b": account(2)}
    first = read(org(field))[0][1]
    assert first == ("a@x.com" if "." in field else "12345678901234567890")


def test_a_field_on_no_account_lists_those_there_are(org: Make, zuora: Zuora, read: Read) -> None:
    with pytest.raises(
        ConfigurationError, match=r"none of the 130 customers of Zuora has 'CrmAccount__c'.*'accountNumber', 'crmId'"
    ):
        read(org("CrmAccount__c"))


def test_a_tenant_without_accounts(org: Make, zuora: Zuora, read: Read) -> None:
    zuora.accounts = {}
    assert read(org()) == []


def test_the_first_page_is_enough_to_see_whether_it_works(org: Make, zuora: Zuora) -> None:
    assert probe(org()) == "Zuora answers; its first page has 50 customers."
    assert len(zuora.server.of(ACCOUNTS)) == 1


ODD: list[Answer] = [
    said({}),
    said({"data": None}),
    said({"data": ["A00000001"]}),
    said({"data": [account(1)], "nextPage": {"cursor": 1}}),
    said({"data": [account(1)], "nextPage": "always the same"}),
    said({"data": [], "nextPage": "another"}),
    said({"data": [{"crmId": "no id"}]}),
    said({"data": [account(1, updatedDate="soon")]}),
    said({"data": [account(1, balance="much")]}),
    said({"data": [account(1, crmId=1e22)]}),
    (200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html>Sign in</html>"),
    (200, {}, b"[]"),
]


@pytest.mark.parametrize("odd", ODD)
def test_answers_that_are_no_accounts(org: Make, zuora: Zuora, read: Read, odd: Answer) -> None:
    zuora.server.at[ACCOUNTS] = [odd]
    with pytest.raises(DataError, match=r"acme\.yaml:\d+"):
        read(org())


LATER: list[Answer] = [
    (200, {}, b'{"data": [{"id": "a", "na'),
    (200, {"Content-Length": "5000"}, b'{"data": ['),
    (503, {}, b""),
    (429, {"Retry-After": "900", "ratelimit-remaining": "0"}, b""),
    said({"data": []}, **{"ratelimit-remaining": "99"}),
    refused(50000070, "Request exceeded limit"),
    refused(50000061, "A temporary error occurred", 400),
    refused(50000060, "Internal error", 500),
    said({"message": "Failed to get user info"}, 401),
]


@pytest.mark.parametrize("answer", LATER)
def test_what_may_work_later(org: Make, zuora: Zuora, con: duckdb.DuckDBPyConnection, answer: Answer) -> None:
    con.execute("INSERT INTO billing_customers (customer_id) VALUES ('before')")
    zuora.server.at[ACCOUNTS] = [answer]
    with pytest.raises(TransientError, match=r"acme\.yaml:\d+: .*Zuora.*[Tt]ry again"):
        load_customers(con, org())
    assert con.execute("SELECT customer_id FROM billing_customers").fetchall() == [("before",)]
    assert len(zuora.server.of(ACCOUNTS)) <= 5


@pytest.mark.parametrize(
    "wait",
    [
        (429, {"Retry-After": "0"}, b""),
        refused(50000070, "Request exceeded limit"),
        refused("50000050", "locked", 409),
        said({"code": 50000061, "message": "A temporary error occurred"}, 400),
    ],
)
def test_what_is_refused_for_the_moment_is_asked_for_again(org: Make, zuora: Zuora, read: Read, wait: Answer) -> None:
    zuora.server.at[ACCOUNTS] = [wait, wait, said({"data": [account(1)]})]
    assert len(read(org())) == 1


def test_retry_after_is_waited_for(org: Make, zuora: Zuora, read: Read) -> None:
    zuora.server.at[ACCOUNTS] = [(429, {"Retry-After": "1"}, b""), said({"data": [account(1)]})]
    began = time.monotonic()
    assert len(read(org())) == 1
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    ("url", "per_minute"),
    [
        ("https://rest.zuora.com", 50_000),
        ("https://rest.eu.zuora.com", 50_000),
        ("https://rest.test.zuora.com", 12_500),
        ("https://rest.apisandbox.zuora.com", 2_500),
        ("https://rest.sandbox.eu.zuora.com/", 2_500),
    ],
)
def test_an_environment_s_own_limit_is_kept_from_the_start(org: Make, url: str, per_minute: int) -> None:
    limits = SOURCE.limits(org(url=url))
    assert (limits.per_minute, limits.left) == (per_minute, {"ratelimit-remaining": 100})


@pytest.mark.parametrize(
    "how", [UNAUTHORIZED, refused(90000011, "This resource is protected, please sign in first", 401)]
)
def test_a_token_that_ends_while_pages_are_read_is_replaced(org: Make, zuora: Zuora, read: Read, how: Answer) -> None:
    zuora.server.at[TOKEN] = [said({"access_token": f"t{n}", "expires_in": 3599}) for n in (1, 2)]
    zuora.server.at[ACCOUNTS] = lambda asked: (
        how if "cursor" in asked.query and asked.headers["Authorization"] == "Bearer t1" else zuora.answer(asked)
    )
    assert len(read(org())) == 130
    assert len(zuora.server.of(TOKEN)) == 2


def test_a_token_that_is_always_refused(org: Make, zuora: Zuora, read: Read) -> None:
    zuora.server.at[ACCOUNTS] = [UNAUTHORIZED]
    with pytest.raises(ReconnectError, match=r"Zuora refuses the login: Authentication error \(HTTP 401\).*client_id"):
        read(org())


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (
            refused(90000011, "This resource is protected, please sign in first"),
            ReconnectError,
            r"refuses the login: This resource is protected, please sign in first \(90000011\) \(HTTP 200\)",
        ),
        (refused(50000010, "No permission"), ReconnectError, r"does not let this login list accounts: No permission"),
        (
            refused(90000010, "No such entity", 403),
            ReconnectError,
            "a role that may read accounts, and check entity_id",
        ),
        (refused(50000027, "Invalid sort", 400), ConfigurationError, r"Invalid sort \(50000027\) \(HTTP 400\)"),
        (said({"code": 50000040, "message": "Not found"}), ConfigurationError, r"Not found \(50000040\) \(HTTP 200\)"),
        (refused("x", "Strange"), ConfigurationError, r"refuses to list customers: Strange \(x\) \(HTTP 200\)"),
        (said({"success": False, "reasons": "none"}), ConfigurationError, r"no reason given \(HTTP 200\)"),
        ((404, {}, b"<html>"), ConfigurationError, r"no reason given \(HTTP 404\).*section billing"),
    ],
)
def test_refusals_by_consequence(
    *, org: Make, zuora: Zuora, read: Read, answer: Answer, error: type[SyncError], words: str
) -> None:
    zuora.server.at[ACCOUNTS] = [answer]
    with pytest.raises(error, match=rf"acme\.yaml:\d+: Zuora .*{words}"):
        read(org())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (said({"error": "invalid_client", "error_description": f"not {SECRET}"}, 401), "invalid_client: not "),
        (said({"message": f"Invalid client {SECRET}"}, 401), "Invalid client "),
        (refused(90000011, "Bad credentials", 401), "Bad credentials"),
    ],
)
def test_a_wrong_secret_is_refused_in_zuora_s_words_and_not_shown(
    *, org: Make, zuora: Zuora, read: Read, answer: Answer, words: str
) -> None:
    zuora.server.at[TOKEN] = [answer]
    match = rf"acme\.yaml:\d+: Zuora refuses the login \({words}.*its own environment only"
    with pytest.raises(ReconnectError, match=match) as caught:
        read(org())
    assert SECRET not in str(caught.value)
    assert zuora.server.of(ACCOUNTS) == []


def test_a_missing_secret(org: Make, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = org()
    monkeypatch.delenv("ZUORA_SECRET")
    with pytest.raises(ConfigurationError, match="ZUORA_SECRET is not set"):
        read(configured)


def test_an_entity(org: Make, zuora: Zuora, read: Read) -> None:
    read(org(entity_id=ENTITY))
    assert {one.headers["Zuora-Entity-Ids"] for one in zuora.server.of(ACCOUNTS)} == {ENTITY}
    with pytest.raises(ConfigurationError, match=r"acme\.yaml:\d+: this is no id of an entity"):
        read(org(entity_id="日本"))


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("page_size", 100, "page_size"),
        ("login", None, "login"),
        ("url", "http://rest.zuora.com", "url"),
        ("url", None, "url"),
    ],
)
def test_settings_that_can_t_be(tmp_path: Path, key: str, value: Any, complaint: str) -> None:
    login = {"method": "client_credentials", "client_id": CLIENT, "client_secret": {"env": "X"}}
    billing = {"system": "zuora", "login": login, "url": "https://rest.na.zuora.com"} | {key: value}
    loaded = load(tmp_path, merged(billing=billing))
    assert re.search(rf"billing\.{complaint}", "\n".join(map(str, loaded.problems)))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://rest.zuora.com", "https://www.zuora.com"),
        ("https://rest.na.zuora.com/", "https://na.zuora.com"),
        ("https://rest.sandbox.eu.zuora.com", "https://sandbox.eu.zuora.com"),
    ],
)
def test_the_page_of_an_account(org: Make, url: str, host: str) -> None:
    assert customer_url(org(url=url), "a&b") == f"{host}/apps/CustomerAccount.do?method=view&id=a%26b"


def test_no_page_where_none_is_known_and_the_stand_in_s_own(org: Make, zuora: Zuora) -> None:
    for url in (
        "https://zuora.acme.example",
        "https://rest.pt1.zuora.com",
        "https://rest..zuora.com",
        "https://eu.zuora.com",
    ):
        assert customer_url(org(url=url), "a") is None
    assert customer_url(org(), "a") == f"{zuora.server.url}/apps/CustomerAccount.do?method=view&id=a"


def test_nobody_there(org: Make, read: Read) -> None:
    with pytest.raises(SyncError, match="Zuora"):
        read(org(url="http://127.0.0.1:9"))


def test_one_of_many_wide_accounts_that_changed_meanwhile_takes_no_more_memory(
    org: Make, con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 MB of them: what the plain read needs beyond that is DuckDB's own. Sorting them whole took 20 MB more."""
    monkeypatch.setattr("sync_pipeline.warehouse.load.PASSING_MEMORY", "135MB")
    con.execute("SET threads = 2")
    many = [account(number, notes=f"{number}".rjust(10) * 100) for number in range(30_000)]
    monkeypatch.setattr(type(SOURCE), "pages", lambda self, api, since: iter([many, [account(1, name="changed")]]))
    assert load_customers(con, org()) == 30_000
    assert con.execute("SELECT customer_id FROM billing_customers WHERE name = 'changed'").fetchall() == [
        (account(1)["id"],)
    ]


def test_cursors_that_lead_in_a_circle_are_followed_once(org: Make, zuora: Zuora, read: Read) -> None:
    circle = {"": "a", "a": "b", "b": "a"}
    zuora.server.at[ACCOUNTS] = lambda asked: said(
        {"data": [account(1)], "nextPage": circle[asked.query.get("cursor", "")]}
    )
    with pytest.raises(DataError, match="there are more customers, but does not give them"):
        read(org())
    assert len(zuora.server.of(ACCOUNTS)) == 3
