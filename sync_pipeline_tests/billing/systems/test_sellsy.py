"""Sellsy's companies and individuals over real HTTP: the login, pages that change meanwhile, custom fields, odd answers."""

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
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.billing.systems.scripted import Answer, Asked, Server, said, serving
from sync_pipeline_tests.orgs.factory import load, make_organization, merged

Read = Callable[[Organization], list[tuple[Any, ...]]]
Make = Callable[..., Organization]
COMPANIES, INDIVIDUALS, FIELDS = "/v2/companies/search", "/v2/individuals/search", "/v2/custom-fields"
TOKEN = "/oauth2/access-tokens"
SECRET = "geheim-geheim"


def company(number: int, **more: Any) -> dict[str, Any]:
    made = {"id": number, "type": "client", "name": f"N{number}", "reference": f"R{number}", "is_archived": False}
    return made | {"created": "2024-01-02T03:04:05+01:00", "updated_at": "2024-07-02T03:04:05+02:00"} | more


def refused(status: int, context: str) -> Answer:
    return said({"error": {"code": status, "message": "Refused", "context": context}}, status)


def listed(data: list[dict[str, Any]], total: int | None = None, offset: Any = 0) -> Answer:
    """A page whose offset leads nowhere."""
    count = len(data) if total is None else total
    return said({"pagination": {"limit": 100, "count": len(data), "total": count, "offset": offset}, "data": data})


class Sellsy:
    """Lists as Sellsy pages over them: the offset names the id that a page ended with."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.at: dict[str, dict[int, dict[str, Any]]] = {
            COMPANIES: {number: company(number) for number in range(2, 502, 2)},
            INDIVIDUALS: {number: individual(number) for number in (2, 4)},
            FIELDS: {number: {"id": number, "related_object": ["client"]} for number in (7, 8)},
        }
        self.before: Callable[[int], None] = lambda page: None
        self.most = 100
        server.at = {TOKEN: [said({"access_token": "t1", "expires_in": 3600})]} | dict.fromkeys(self.at, self.answer)

    def answer(self, asked: Asked) -> Answer:
        assert asked.headers["Authorization"].startswith("Bearer t")
        assert (asked.query["order"], asked.query["direction"]) == ("id", "asc")
        if asked.path == COMPANIES:
            self.before(len(self.server.of(COMPANIES)))
        size = min(int(asked.query["limit"]), self.most)
        after = int(json.loads(base64.b64decode(asked.query["offset"]))[0]) if "offset" in asked.query else 0
        there = self.at[asked.path]
        found = [one for number, one in sorted(there.items()) if number > after][:size]
        seek = base64.b64encode(json.dumps([str(found[-1]["id"])]).encode()).decode() if found else 0
        return listed(found, len(there), seek)


def individual(number: int, **more: Any) -> dict[str, Any]:
    made = {key: value for key, value in company(number).items() if key != "name"}
    return made | {"first_name": "Ada", "last_name": f"L{number}"} | more


@pytest.fixture
def sellsy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sellsy]:
    monkeypatch.setattr("sync_pipeline.http.BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr("sync_pipeline.billing.systems.sellsy.PER_MINUTE", 60_000)
    with serving() as server:
        yield Sellsy(server)


@pytest.fixture
def org(sellsy: Sellsy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("SELLSY_SECRET", SECRET)

    def make(field: str = "reference", **more: Any) -> Organization:
        login = {"method": "client_credentials", "client_id": "app", "client_secret": {"env": "SELLSY_SECRET"}}
        billing = {"system": "sellsy", "login": login, "url": sellsy.server.url}
        billing |= {"login_url": f"{sellsy.server.url}{TOKEN}"} | more
        return make_organization(folder=tmp_path / "config", billing=billing, identifier__billing_field=field)

    return make


ALL = {*map(str, range(2, 502, 2)), "individual-2", "individual-4"}


def ids(rows: list[tuple[Any, ...]]) -> set[str]:
    return {row[0] for row in rows}


def test_both_lists_with_as_few_requests_as_can_be(org: Make, sellsy: Sellsy, read: Read) -> None:
    found = read(org())
    assert ids(found) == ALL
    assert [row[:3] for row in found if row[0] in ("2", "individual-2")] == [
        ("2", "R2", "N2"),
        ("individual-2", "R2", "Ada L2"),
    ]
    asked = [one.path for one in sellsy.server.asked]
    assert sorted(asked) == sorted([TOKEN, FIELDS, *[COMPANIES] * 3, INDIVIDUALS])
    assert json.loads(sellsy.server.of(COMPANIES)[0].body) == {"filters": {"type": ["client", "prospect"]}}
    (token,) = sellsy.server.of(TOKEN)
    assert token.form == {"grant_type": "client_credentials", "client_id": "app", "client_secret": SECRET}


def test_a_full_last_page_costs_one_request_more(org: Make, sellsy: Sellsy, read: Read) -> None:
    sellsy.at[COMPANIES] = {number: company(number) for number in range(1, 201)}
    assert len(read(org())) == 202
    assert len(sellsy.server.of(COMPANIES)) == 3


def test_which_types_are_customers_is_a_setting(org: Make, sellsy: Sellsy, read: Read) -> None:
    read(org(types=["supplier", "client", "client"]))
    for path in (COMPANIES, INDIVIDUALS):
        assert json.loads(sellsy.server.of(path)[0].body) == {"filters": {"type": ["supplier", "client"]}}


def test_pages_shorter_than_asked_for_are_no_end(org: Make, sellsy: Sellsy, read: Read) -> None:
    sellsy.most = 40
    assert ids(read(org())) == ALL


def test_customers_that_come_change_and_go_while_pages_are_read(org: Make, sellsy: Sellsy, read: Read) -> None:
    def before(page: int) -> None:
        there = sellsy.at[COMPANIES]
        there[1000 + page] = company(1000 + page)
        there[500] = company(500, name=f"changed {page}", updated_at="2026-11-24T00:00:00+01:00")
        for gone in (4 * page, 4 * page + 2):  # were read already, from the second page on
            there.pop(gone, None)

    sellsy.before = before
    found = read(org())
    assert len(ids(found)) == len(found)
    lost = set(map(str, range(2, 502, 2))) - ids(found)
    assert lost == {"4", "6"}  # gone before the first page
    assert ids(found) >= {"1001", "1002", "1003", "individual-2", "individual-4"}
    assert [row[2] for row in found if row[0] == "500"] == ["changed 3"]


def test_many_that_are_deleted_take_nobody_along(org: Make, sellsy: Sellsy, read: Read) -> None:
    def before(page: int) -> None:
        if page == 2:
            for number in range(2, 202, 2):
                sellsy.at[COMPANIES].pop(number, None)

    sellsy.before = before
    assert ids(read(org())) == ALL


def test_what_is_deleted_is_gone_at_the_next_reading(org: Make, sellsy: Sellsy, read: Read) -> None:
    read(org())
    del sellsy.at[COMPANIES][8]
    assert ids(read(org())) == ALL - {"8"}


def test_the_same_number_is_two_customers(org: Make, sellsy: Sellsy, con: duckdb.DuckDBPyConnection) -> None:
    sellsy.at[COMPANIES], sellsy.at[INDIVIDUALS] = {17: company(17)}, {17: individual(17)}
    assert load_customers(con, org("id")) == 2
    found = con.execute("SELECT customer_id, identifier, is_individual FROM billing_customers ORDER BY 1").fetchall()
    assert found == [("17", "17", False), ("individual-17", "17", True)]


def test_a_company_becomes_a_row(org: Make, sellsy: Sellsy, con: duckdb.DuckDBPyConnection) -> None:
    full = company(
        1, name="Ada & Söhne 🦆", email="a@x.com", auxiliary_code="00285", Unheard={"of": 1}, type="prospect"
    )
    blank = company(3, name=None, email="", reference="", updated_at=None)
    nulls = dict.fromkeys(full) | {"id": 4, "_embed": None}
    sellsy.at[COMPANIES] = {1: full, 2: company(2, is_archived=True), 3: blank, 4: nulls}
    sellsy.at[INDIVIDUALS] = {5: individual(5, first_name=None), 6: individual(6, first_name=None, last_name=None)}
    assert load_customers(con, org("auxiliary_code")) == 6
    one, two, three, four, five, six = con.execute(
        "SELECT identifier, display_id, name, company_name, is_individual, emails, primary_email, status,"
        " created_at::VARCHAR, updated_at::VARCHAR, currency, balance, parent_id, custom_fields FROM billing_customers"
        " ORDER BY right(customer_id, 1)"
    ).fetchall()
    name = "Ada & Söhne 🦆"
    assert one[:8] == ("00285", "R1", name, name, False, ["a@x.com"], "a@x.com", "active")
    assert one[8:13] == ("2024-01-02 02:04:05", "2024-07-02 01:04:05", None, None, None)
    assert json.loads(one[13]) == {"type": "prospect", "auxiliary_code": "00285", "Unheard": {"of": 1}}
    assert two[7] == "archived"
    assert three[1:10] == (None, None, None, False, None, None, "active", "2024-01-02 02:04:05", None)
    assert four[:13] == (None, None, None, None, False, None, None, "active", *[None] * 5)
    assert five[2:5] == ("L5", None, True)
    assert six[2:5] == (None, None, True)


def field(number: int, value: Any, **parameters: Any) -> dict[str, Any]:
    return {"id": number, "code": f"c{number}", "type": "x", "parameters": parameters, "value": value}


def test_custom_fields_come_along_whole(org: Make, sellsy: Sellsy, read: Read) -> None:
    related = {1: ["client"], 2: ["prospect"], 3: ["supplier"], 4: ["contact"], 5: ["client"]}
    sellsy.at[FIELDS] = {number: {"id": number, "related_object": to} for number, to in related.items()}
    items = [{"id": 9, "label": "Gold", "checked": True}, {"id": 10, "label": "Tin"}, {"id": 11, "label": "Lead"}]
    given = [field(1, "001A"), field(2, 10, items=items), field(3, [9, 11], items=items)]
    given += [field(5, {"amount": "1.50", "currency": "EUR"}), field(6, None, items=items), field(7, True)]
    sellsy.at[COMPANIES] = {1: company(1, _embed={"custom_fields": given, "acl": {"more": 1}})}
    sellsy.at[INDIVIDUALS] = {2: individual(2, _embed={"custom_fields": [field(1, 12345678901234567890)]})}
    one, two = read(org("cf.1"))
    assert (one[1], two[1]) == ("001A", "12345678901234567890")
    assert {key: value for key, value in json.loads(one[3]).items() if key != "type"} == {
        "cf.1": "001A",
        "cf.2": 10,
        "cf.2.label": "Tin",
        "cf.3": [9, 11],
        "cf.3.label": ["Gold", "Lead"],
        "cf.5": {"amount": "1.50", "currency": "EUR"},
        "cf.6": None,
        "cf.6.checked": ["Gold"],
        "cf.7": True,
        "_embed": {"acl": {"more": 1}},
    }
    for path in (COMPANIES, INDIVIDUALS):
        embeds = [value for name, value in sellsy.server.of(path)[0].pairs if name == "embed[]"]
        assert embeds == ["cf.1", "cf.2", "cf.3", "cf.5"]


def test_custom_fields_of_several_pages(org: Make, sellsy: Sellsy, read: Read) -> None:
    sellsy.at[FIELDS] = {number: {"id": number, "related_object": ["client"]} for number in range(1, 151)}
    read(org())
    assert len(sellsy.server.of(FIELDS)) == 2
    embeds = [value for name, value in sellsy.server.of(COMPANIES)[2].pairs if name == "embed[]"]
    assert embeds == [f"cf.{number}" for number in range(1, 151)]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("cf.99", r"none of the 252 customers of Sellsy has 'cf\.99'.*'cf\.7'.*'reference'"),
        ("cf.7", r"'cf\.7' of Sellsy is no single value"),
    ],
)
def test_a_field_that_can_t_be_the_identifier(
    *, org: Make, sellsy: Sellsy, read: Read, name: str, complaint: str
) -> None:
    sellsy.at[COMPANIES][2] = company(2, _embed={"custom_fields": [field(7, [1])]})
    with pytest.raises(ConfigurationError, match=complaint):
        read(org(name))


def test_numbers_where_text_was(org: Make, sellsy: Sellsy, read: Read) -> None:
    sellsy.at[COMPANIES] = {1: company(1, reference=285, name=12.0)}
    sellsy.at[INDIVIDUALS] = {}
    assert read(org())[0][:3] == ("1", "285", "12")


def test_an_account_without_anybody_and_without_custom_fields(org: Make, sellsy: Sellsy, read: Read) -> None:
    for there in sellsy.at.values():
        there.clear()
    assert read(org("cf.1")) == []
    assert len(sellsy.server.asked) == 4


def test_a_customer_on_two_pages_is_one(org: Make, sellsy: Sellsy, read: Read) -> None:
    pages = [[company(1), company(2, name="old")], [company(2, name="new"), company(3)]]
    sellsy.server.at[COMPANIES] = [listed(pages[0], 3, "WyIyIl0="), listed(pages[1], 3)]
    assert [row[2] for row in read(org()) if len(row[0]) == 1] == ["N1", "new", "N3"]


ODD: list[Answer] = [
    said({"data": [company(1)]}),
    said({"pagination": {"total": 1}}),
    said({"pagination": {"total": 1}, "data": {}}),
    listed([{"name": "no id"}]),
    listed([company(2), company(1)]),
    listed([company(1)], 5, 1),  # would go on by numbers, where customers can be missed
    listed([company(1)], 5, None),
    listed([company(1)], 5, "WyIxIl0="),  # the same on every page
    listed([company(1, created="soon")]),
    listed([company(1, _embed={"custom_fields": [{"value": 1}]})]),
    (200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html>Sign in</html>"),
    (200, {}, b"[]"),
]


@pytest.mark.parametrize("odd", ODD)
def test_answers_that_are_no_customers(org: Make, sellsy: Sellsy, read: Read, odd: Answer) -> None:
    sellsy.server.at[COMPANIES] = [odd]
    with pytest.raises(DataError, match=r"acme\.yaml:\d+"):
        read(org())


LATER: list[Answer] = [
    (200, {}, b'{"data": [{"id": 1, "na'),
    (200, {"Content-Length": "5000"}, b'{"data": ['),
    listed([], 250),  # truncated
    (503, {}, b""),
    (429, {"Retry-After": "900"}, b""),
    refused(429, "quota_exceeded"),
    said({"data": []}, **{"X-Quota-Remaining-By-Day": "99"}),
    said({"data": []}, **{"X-Quota-Remaining-By-Month": "0"}),
]


@pytest.mark.parametrize("answer", LATER)
def test_what_may_work_later(org: Make, sellsy: Sellsy, con: duckdb.DuckDBPyConnection, answer: Answer) -> None:
    con.execute("INSERT INTO billing_customers (customer_id) VALUES ('before')")
    sellsy.server.at[COMPANIES] = [answer]
    with pytest.raises(TransientError, match=r"acme\.yaml:\d+: .*Sellsy.*[Tt]ry again"):
        load_customers(con, org())
    assert con.execute("SELECT customer_id FROM billing_customers").fetchall() == [("before",)]


def test_too_many_requests_are_waited_for(org: Make, sellsy: Sellsy, read: Read) -> None:
    sellsy.server.at[COMPANIES] = [
        refused(429, "quota_exceeded"),
        (429, {"Retry-After": "0"}, b""),
        listed([company(1)]),
    ]
    assert len(read(org())) == 3


def test_a_minute_that_is_used_up_is_waited_for(
    org: Make, sellsy: Sellsy, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("sync_pipeline.billing.api.time.sleep", lambda seconds: seconds < 1 or waits.append(seconds))
    left = iter([2, 1, 0, 9, -1, 8])

    def answer(asked: Asked) -> Answer:
        status, headers, body = sellsy.answer(asked)
        return status, headers | {"X-Quota-Remaining-By-Minute": str(next(left))}, body

    sellsy.server.at |= dict.fromkeys(sellsy.at, answer)
    assert ids(read(org())) == ALL
    assert waits == [60.0, 60.0]


EXPIRED = refused(401, "The access token is invalid or has expired")


def test_a_token_that_is_revoked_while_pages_are_read_is_replaced(org: Make, sellsy: Sellsy, read: Read) -> None:
    sellsy.server.at[TOKEN] = [said({"access_token": f"t{n}", "expires_in": 3600}) for n in (1, 2)]
    sellsy.server.at[COMPANIES] = lambda asked: (
        EXPIRED if "offset" in asked.query and asked.headers["Authorization"] == "Bearer t1" else sellsy.answer(asked)
    )
    assert ids(read(org())) == ALL
    assert len(sellsy.server.of(TOKEN)) == 2


def test_a_token_is_replaced_when_sellsy_says_it_ends(
    org: Make, sellsy: Sellsy, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    sellsy.server.at[TOKEN] = [
        said({"access_token": f"t{n}", "expires_in": life}) for n, life in ((1, 1000), (2, 3600))
    ]
    start = time.time()

    def before(page: int) -> None:
        if page == 2:
            monkeypatch.setattr("sync_pipeline.logins.answers.time.time", lambda: start + 950)

    sellsy.before = before
    assert ids(read(org())) == ALL
    assert [one.headers["Authorization"] for one in sellsy.server.of(COMPANIES)] == [
        "Bearer t1",
        "Bearer t1",
        "Bearer t2",
    ]


def test_a_token_that_is_always_refused(org: Make, sellsy: Sellsy, read: Read) -> None:
    sellsy.server.at[FIELDS] = [EXPIRED]
    with pytest.raises(ReconnectError, match=r"Sellsy refuses the login: Refused: The access token .* \(HTTP 401\)"):
        read(org())
    assert len(sellsy.server.of(TOKEN)) == 2


@pytest.mark.parametrize(
    "words",
    [
        {"error": "invalid_client", "error_description": f"not {SECRET}"},
        {"error": {"code": 401, "message": f"not {SECRET}"}},
    ],
)
def test_a_wrong_secret_is_not_shown(org: Make, sellsy: Sellsy, read: Read, words: dict[str, Any]) -> None:
    sellsy.server.at[TOKEN] = [said(words, 401)]
    with pytest.raises(ReconnectError, match=r"acme\.yaml:\d+: Sellsy refuses the login .*client_id") as caught:
        read(org())
    assert SECRET not in str(caught.value)
    assert [one.path for one in sellsy.server.asked] == [TOKEN]


def test_a_missing_secret(org: Make, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = org()
    monkeypatch.delenv("SELLSY_SECRET")
    with pytest.raises(ConfigurationError, match="SELLSY_SECRET is not set"):
        read(configured)


@pytest.mark.parametrize("path", [FIELDS, COMPANIES, INDIVIDUALS])
def test_a_missing_right_is_named_also_by_a_probe(org: Make, sellsy: Sellsy, path: str) -> None:
    sellsy.server.at[path] = [refused(403, "no such scope")]
    what = path.split("/")[2]
    with pytest.raises(
        ReconnectError, match=rf"let this login read {what}: .*Give it the right {what}\.read"
    ) as caught:
        probe(org())
    assert "acme.yaml" in str(caught.value)


def test_a_probe_asks_for_first_pages_only(org: Make, sellsy: Sellsy) -> None:
    assert "100 customers" in probe(org())
    assert len(sellsy.server.asked) == 4


def test_a_refused_request(org: Make, sellsy: Sellsy, read: Read) -> None:
    sellsy.server.at[INDIVIDUALS] = [refused(400, "filters: extra fields")]
    with pytest.raises(ConfigurationError, match=r"Refused: filters: extra fields \(HTTP 400\)"):
        read(org())


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("types", [], "types"),
        ("types", ["friend"], "types"),
        ("login", None, "login"),
        ("url", "http://api.sellsy.com", "url"),
    ],
)
def test_settings_that_can_t_be(tmp_path: Path, key: str, value: Any, complaint: str) -> None:
    login = {"method": "client_credentials", "client_id": "app", "client_secret": {"env": "X"}}
    loaded = load(tmp_path, merged(billing={"system": "sellsy", "login": login} | {key: value}))
    assert re.search(rf"billing\.{complaint}", "\n".join(map(str, loaded.problems)))


def test_the_page_of_a_customer_is_only_known_of_a_stand_in(org: Make, sellsy: Sellsy) -> None:
    assert customer_url(org(url="https://api.sellsy.com"), "1") is None
    assert customer_url(org(), "individual-1/") == f"{sellsy.server.url}/customers/individual-1%2F"


def test_nobody_there(org: Make, read: Read) -> None:
    with pytest.raises(SyncError, match="Sellsy"):
        read(org(url="http://127.0.0.1:9"))


def test_custom_fields_that_are_no_list(org: Make, sellsy: Sellsy, read: Read) -> None:
    sellsy.server.at[COMPANIES] = [listed([company(1, _embed={"custom_fields": 5})])]
    with pytest.raises(DataError, match="gives a custom field without an id"):
        read(org())
