"""QuickBooks' customers over real HTTP: the rotating login, pages that change while they are read, changes, odd answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline.billing import customer_url, load_customers
from sync_pipeline.billing.systems.quickbooks import SOURCE
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.logins.grants import Grant, GrantStore, Secrets
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.billing.systems.scripted import Answer, Asked, Server, said, serving
from sync_pipeline_tests.orgs.factory import load, make_organization, merged

Read = Callable[[Organization], list[tuple[Any, ...]]]
Make = Callable[..., Organization]
COMPANY, TOKEN = "9130357992221046", "/token"
QUERY = f"/v3/company/{COMPANY}/query"


def customer(number: int, **more: Any) -> dict[str, Any]:
    times = {"CreateTime": "2015-06-15T14:30:25-07:00", "LastUpdatedTime": "2016-01-02T03:04:05-08:00"}
    return {"Id": f"{number:05d}", "DisplayName": f"N{number}", "Active": True, "MetaData": times} | more


class Company:
    """Customers as QuickBooks answers queries, ten at a time."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.customers = {c["Id"]: c for c in map(customer, range(0, 50, 2))}
        self.changed: dict[str, datetime] = {}
        self.before: Callable[[int], None] = lambda start: None
        server.at = {
            TOKEN: [said({"access_token": "t1", "refresh_token": "r2", "expires_in": 3600})],
            QUERY: self.answer,
        }

    def put(self, number: int, **more: Any) -> None:
        made = customer(number, **more)
        self.customers[made["Id"]] = made
        self.changed[made["Id"]] = datetime.now(UTC)

    def drop(self, number: int) -> None:
        self.customers.pop(f"{number:05d}", None)

    def answer(self, asked: Asked) -> Answer:
        query = asked.query["query"]
        assert asked.query["minorversion"] == "75"
        if query.startswith("select count(*)"):
            return said({"QueryResponse": {"totalCount": len(self.customers)}})
        told = re.fullmatch(
            r"select \* from Customer where Active in \(true, false\)(?: and MetaData\.LastUpdatedTime >= '(.*)')?"
            r" orderby Id startposition (\d+) maxresults (\d+)",
            query,
        )
        assert told, query
        start, most = int(told[2]), int(told[3])
        if not told[1]:
            self.before(start)
        since = datetime.fromisoformat(told[1] or "1900-01-01T00:00:00+00:00")
        old = datetime(2016, 1, 2, tzinfo=UTC)
        found = [c for key, c in sorted(self.customers.items()) if self.changed.get(key, old) >= since]
        page = found[start - 1 : start - 1 + most]
        return said(
            {"QueryResponse": {"Customer": page, "startPosition": start, "maxResults": len(page)} if page else {}}
        )


@pytest.fixture
def company(monkeypatch: pytest.MonkeyPatch) -> Iterator[Company]:
    monkeypatch.setattr("sync_pipeline.http.BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr("sync_pipeline.billing.systems.quickbooks.PER_MINUTE", 60_000)
    monkeypatch.setattr("sync_pipeline.billing.systems.quickbooks.PAGE_SIZE", 10)
    with serving() as server:
        yield Company(server)


@pytest.fixture
def org(company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("INTUIT_SECRET", "geheim-geheim")
    monkeypatch.setenv("SYNC_PIPELINE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SYNC_PIPELINE_TOKENS", "file")

    def make(field: str = "Id", *, connected: bool = True, **more: Any) -> Organization:
        login = {"method": "browser", "client_id": "app", "client_secret": {"env": "INTUIT_SECRET"}}
        billing = {"system": "quickbooks", "company_id": COMPANY, "login": login, "url": company.server.url}
        billing |= {"login_url": f"{company.server.url}{TOKEN}"} | more
        kept = {key: value for key, value in billing.items() if value is not None}
        org = make_organization(folder=tmp_path / "config", billing=kept, identifier__billing_field=field)
        if connected:
            server = (org.name, "QuickBooks", f"{company.server.url}{TOKEN}", "app", COMPANY, None)
            GrantStore().save(Grant(*server, "2026-01-01T00:00:00+00:00"), Secrets("r1", "t0", 0.0))
        return org

    return make


def ids(rows: list[tuple[Any, ...]]) -> set[int]:
    return {int(row[0]) for row in rows}


EVEN = set(range(0, 50, 2))


def test_pages_to_the_end(org: Make, company: Company, read: Read) -> None:
    found = read(org())
    assert ids(found) == EVEN
    assert found[1][:3] == ("00002", "00002", "N2")
    asked = [one.query["query"] for one in company.server.of(QUERY)]
    assert [re.findall(r"startposition (\d+)", query) for query in asked] == [["1"], ["10"], ["19"], ["1"]]
    assert {one.headers["Authorization"] for one in company.server.of(QUERY)} == {"Bearer t1"}
    assert not any("include" in one.query for one in company.server.of(QUERY))


def test_a_renewed_refresh_token_is_kept(org: Make, company: Company, read: Read) -> None:
    read(org())
    (token,) = company.server.of(TOKEN)
    assert token.form == {"grant_type": "refresh_token", "refresh_token": "r1"}
    grant = GrantStore().grant("acme")
    assert grant
    assert GrantStore().secrets(grant).refresh_token == "r2"


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 19, 20])
def test_pages_that_end_anywhere(org: Make, company: Company, read: Read, count: int) -> None:
    company.customers = {c["Id"]: c for c in map(customer, range(count))}
    assert ids(read(org())) == set(range(count))


def test_customers_that_come_and_change_while_pages_are_read(org: Make, company: Company, read: Read) -> None:
    def before(start: int) -> None:
        company.put(start * 2 - 3 if start > 1 else 49)
        company.put(48, DisplayName=f"changed {start}")

    company.before = before
    found = read(org())
    assert EVEN | {49} <= ids(found)
    assert {row[2] for row in found if row[0] == "00048"} == {company.customers["00048"]["DisplayName"]}


@pytest.mark.parametrize("gone", [range(4, 6, 2), range(0, 20, 2), range(18, 30, 2), range(18, 50, 2)])
def test_customers_that_disappear_take_nobody_along(org: Make, company: Company, read: Read, gone: range) -> None:
    def before(start: int) -> None:
        if start == 10:
            for number in gone:
                company.drop(number)

    company.before = before
    assert ids(read(org())) >= EVEN - set(gone)


def test_customers_that_go_on_disappearing(org: Make, company: Company, read: Read) -> None:
    def before(start: int) -> None:
        first = 100 + max(map(int, company.customers))
        company.customers = {c["Id"]: c for c in map(customer, range(first, first + 25))}

    company.before = before
    with pytest.raises(TransientError, match="customers disappear from QuickBooks"):
        read(org())


def test_only_changes_the_next_time(org: Make, company: Company, read: Read) -> None:
    configured = org()
    read(configured)
    company.server.asked.clear()
    company.put(7)
    company.put(4, Active=False)
    assert ids(read(configured)) == EVEN | {7}
    changes, count = (one.query["query"] for one in company.server.of(QUERY))
    (told,) = re.findall(r">= '(.*)'", changes)
    assert timedelta(minutes=10) <= datetime.now(UTC) - datetime.fromisoformat(told) < timedelta(minutes=11)
    assert count == "select count(*) from Customer where Active in (true, false)"


def test_one_that_is_gone_is_noticed(org: Make, company: Company, read: Read) -> None:
    configured = org()
    read(configured)
    company.drop(8)
    assert ids(read(configured)) == EVEN - {8}


def test_a_customer_becomes_a_row(org: Make, company: Company, con: duckdb.DuckDBPyConnection) -> None:
    fields = [{"DefinitionId": "1", "Name": "SF Id", "Type": "StringType", "StringValue": "001"}]
    fields += [{"DefinitionId": "2", "Name": "Size", "Type": "NumberType", "NumberValue": 5}]
    fields += [{"DefinitionId": "3", "Name": "Twin", "StringValue": "a"}, {"Name": "Twin", "StringValue": "b"}]
    full = customer(
        1,
        DisplayName="Ada:Söhne 🦆",
        CompanyName="Ada & Söhne",
        PrimaryEmailAddr={"Address": "a@x.com, b@x.com;a@x.com,"},
        CurrencyRef={"value": "USD", "name": "Dollar"},
        Balance=-12.345,
        ParentRef={"value": "00002"},
        Job=True,
        CustomField=fields,
        Unheard="of",
        SyncToken="3",
    )
    rest = [customer(2, Active=False, DisplayName=None, CustomField=[{"Name": "SF Id"}])]
    rest += [dict.fromkeys(full) | {"Id": "nulls"}]
    company.customers = {c["Id"]: c for c in [full, *rest]}
    assert load_customers(con, org("CustomField.SF Id")) == 3
    one, two, nulls = con.execute(
        "SELECT customer_id, identifier, name, company_name, emails, primary_email, currency, balance::VARCHAR, status,"
        " parent_id, created_at::VARCHAR, updated_at::VARCHAR, custom_fields FROM billing_customers ORDER BY customer_id"
    ).fetchall()
    assert one[1:12] == (
        *(
            "001",
            "Ada:Söhne 🦆",
            "Ada & Söhne",
            ["a@x.com", "b@x.com"],
            "a@x.com",
            "USD",
            "-12.345000",
            "active",
            "00002",
        ),
        *("2015-06-15 21:30:25", "2016-01-02 11:04:05"),
    )
    custom = json.loads(one[12])
    assert custom["CustomField"] == {"SF Id": "001", "Size": 5, "Twin": ["a", "b"]}
    assert (custom["Job"], custom["Unheard"], "SyncToken" in custom) == (True, "of", False)
    assert two[1:10] == (None, None, None, None, None, None, None, "archived", None)
    assert nulls[1:12] == (None, None, None, None, None, None, None, "active", None, None, None)
    assert {one.query["include"] for one in company.server.of(QUERY)} == {"enhancedAllCustomFields"}


def test_a_field_on_no_customer_lists_those_there_are(org: Make, company: Company, read: Read) -> None:
    company.customers["00048"] = customer(48, CustomField=[{"Name": "Salesforce", "StringValue": "x"}])
    with pytest.raises(
        ConfigurationError, match=r"none of the \d+ customers.*'CustomField\.SF'.*CustomField\.Salesforce"
    ):
        read(org("CustomField.SF"))


def test_a_customer_on_two_pages_is_one(org: Make, company: Company, read: Read) -> None:
    page = [customer(n) for n in range(10)]
    more = [customer(9, DisplayName="new"), customer(10)]
    company.server.at[QUERY] = [
        said({"QueryResponse": {"Customer": page}}),
        said({"QueryResponse": {"Customer": more}}),
        said({"QueryResponse": {}}),
    ]
    assert [row[2] for row in read(org())][9:] == ["new", "N10"]


def fault(code: str, message: str, status: int, *, small: bool = False) -> Answer:
    error = {"Message": message, "Detail": f"{message} in detail", "code": code}
    body: dict[str, Any] = {"Fault": {"Error": [error], "type": "x"}, "time": "2026-01-01T00:00:00Z"}
    if small:
        body = {"fault": {"error": [{key.lower(): value for key, value in error.items()}]}, "warnings": None}
    return said(body, status)


@pytest.mark.parametrize(
    "odd",
    [
        said({"QueryResponse": []}),
        said({"QueryResponse": {"Customer": {}}}),
        said({"Customers": []}),
        said({"QueryResponse": {"Customer": [customer(n) for n in range(10)]}}),  # for ever
        said({"QueryResponse": {"Customer": [{"Id": None}]}}),
        said({"QueryResponse": {"Customer": [customer(1, Balance="much")]}}),
        said({"QueryResponse": {"Customer": [customer(1, MetaData={"CreateTime": "soon"})]}}),
        (200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html>Sign in</html>"),
        (200, {}, b"[]"),
    ],
)
def test_answers_that_are_no_customers(org: Make, company: Company, read: Read, odd: Answer) -> None:
    company.server.at[QUERY] = [odd]
    with pytest.raises(DataError, match=r"acme\.yaml:\d+"):
        read(org())


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b'{"QueryResponse": {"Customer": [{"Id": "1", "Di'),
        (200, {"Content-Length": "5000"}, b'{"QueryResponse": {'),
        (503, {}, b""),
        fault("3001", "message=ThrottleExceeded; errorCode=003001; statusCode=429", 429, small=True),
        fault("003001", "ThrottleExceeded", 403),
    ],
)
def test_what_may_work_later(org: Make, company: Company, con: duckdb.DuckDBPyConnection, answer: Answer) -> None:
    con.execute("INSERT INTO billing_customers (customer_id) VALUES ('before')")
    company.server.at[QUERY] = [answer]
    with pytest.raises(TransientError, match=r"acme\.yaml:\d+: QuickBooks.*[Tt]ry again later"):
        load_customers(con, org())
    assert con.execute("SELECT customer_id FROM billing_customers").fetchall() == [("before",)]


EXPIRED = fault("3200", "message=AuthenticationFailed; errorCode=003200; statusCode=401", 401, small=True)


def test_a_token_that_ends_while_pages_are_read_is_renewed(org: Make, company: Company, read: Read) -> None:
    whole = company.answer
    company.server.at[TOKEN] = [said({"access_token": f"t{n}", "refresh_token": f"r{n + 1}"}) for n in (1, 2)]
    company.server.at[QUERY] = lambda asked: (
        EXPIRED
        if "startposition 10" in asked.query["query"] and asked.headers["Authorization"] == "Bearer t1"
        else whole(asked)
    )
    assert len(read(org())) == 25
    assert [one.form["refresh_token"] for one in company.server.of(TOKEN)] == ["r1", "r2"]


def test_a_token_that_is_always_refused(org: Make, company: Company, read: Read) -> None:
    company.server.at[QUERY] = [EXPIRED]
    with pytest.raises(
        ReconnectError, match=r"errorCode=003200.*\(HTTP 401\)\. Connect again: sync-pipeline connect acme"
    ):
        read(org())


def test_a_revoked_refresh_token(org: Make, company: Company, read: Read) -> None:
    company.server.at[TOKEN] = [said({"error": "invalid_grant"}, 400)]
    with pytest.raises(ReconnectError, match="QuickBooks has ended the login of acme"):
        read(org())
    assert company.server.of(QUERY) == []


def test_a_wrong_app_secret_is_not_shown(org: Make, company: Company, read: Read) -> None:
    company.server.at[TOKEN] = [said({"error": "invalid_client", "error_description": "not geheim-geheim"}, 401)]
    with pytest.raises(ReconnectError, match="invalid_client") as caught:
        read(org())
    assert "geheim" not in str(caught.value)


def test_nobody_has_connected_it(org: Make, read: Read) -> None:
    with pytest.raises(ReconnectError, match="nobody has connected acme to QuickBooks"):
        read(org(connected=False, company_id=None))


def test_the_company_chosen_when_connecting(org: Make, read: Read) -> None:
    assert len(read(org(company_id=None))) == 25


def test_a_company_that_is_not_this_login_s(org: Make, company: Company, read: Read) -> None:
    company.server.at[QUERY] = [fault("3100", "ApplicationAuthorizationFailed", 403)]
    with pytest.raises(ReconnectError, match=r"acme\.yaml:\d+: .*ApplicationAuthorizationFailed.*Check company_id"):
        read(org())


def test_a_grant_without_a_company(org: Make, company: Company, read: Read) -> None:
    configured = org(company_id=None)
    server = ("acme", "QuickBooks", f"{company.server.url}{TOKEN}", "app", None, None)
    GrantStore().save(Grant(*server, "2026-01-01T00:00:00+00:00"), Secrets("r1", "t0", 0.0))
    with pytest.raises(ConfigurationError, match=r"acme\.yaml:\d+: company_id is missing"):
        read(configured)


@pytest.mark.parametrize("status", [200, 400])
def test_a_refused_query(org: Make, company: Company, read: Read, status: int) -> None:
    company.server.at[QUERY] = [fault("4000", "Error parsing query", status)]
    with pytest.raises(ConfigurationError, match=r"Error parsing query: Error parsing query in detail \(HTTP 400\)"):
        read(org())


def test_settings_that_can_t_be(tmp_path: Path) -> None:
    login = {"method": "client_credentials", "client_id": "app", "client_secret": {"env": "X"}}
    loaded = load(tmp_path, merged(billing={"system": "quickbooks", "company_id": COMPANY, "login": login}))
    assert "billing.login.method" in "\n".join(map(str, loaded.problems))


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("https://quickbooks.api.intuit.com", "https://qbo.intuit.com/app/customerdetail?nameId=5"),
        ("https://sandbox-quickbooks.api.intuit.com", "https://sandbox.qbo.intuit.com/app/customerdetail?nameId=5"),
        ("http://127.0.0.1:99", "http://127.0.0.1:99/app/customerdetail?nameId=5"),
    ],
)
def test_the_page_of_a_customer(org: Make, url: str, page: str) -> None:
    assert customer_url(org(url=url), "5") == page


def test_how_a_company_is_connected(org: Make) -> None:
    server = SOURCE.authorization(org())
    assert (server.tenant, server.tenant_parameter, server.scope) == (
        COMPANY,
        "realmId",
        "com.intuit.quickbooks.accounting",
    )


def test_nobody_there(org: Make, read: Read) -> None:
    with pytest.raises(SyncError, match="QuickBooks"):
        read(org(url="http://127.0.0.1:9"))


@pytest.mark.parametrize("odd", [[], {"value": "1"}])
def test_an_id_that_is_no_id_is_the_datas_fault(org: Make, company: Company, read: Read, odd: object) -> None:
    company.server.at[QUERY] = [said({"QueryResponse": {"Customer": [customer(1, Id=odd)]}})]
    with pytest.raises(DataError, match="a customer whose id is no text"):
        read(org())
