"""Xero's contacts over real HTTP: the login, pages that change while they are read, changes, and odd answers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline.billing import customer_url, load_customers
from sync_pipeline.billing.systems.xero import SOURCE
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.logins.grants import Grant, GrantStore, Secrets
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.billing.systems.scripted import Answer, Asked, Server, said, serving
from sync_pipeline_tests.orgs.factory import load, make_organization, merged

Read = Callable[[Organization], list[tuple[Any, ...]]]
Make = Callable[..., Organization]
CONTACTS, TOKEN = "/api.xro/2.0/Contacts", "/connect/token"
TENANT, SECRET = "45e4708e-d862-4111-ab3a-dd8cd03913e1", "geheim-geheim"


def contact(number: int, **more: Any) -> dict[str, Any]:
    name = {"ContactID": f"{number:08x}-0000-4000-8000-000000000000", "ContactStatus": "ACTIVE", "Name": f"N{number}"}
    return name | {"UpdatedDateUTC": "/Date(1573755038314+0000)/", "AccountNumber": f"A{number}"} | more


class Xero:
    """Contacts as Xero pages over them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.contacts = {c["ContactID"]: c for c in map(contact, range(0, 500, 2))}
        self.changed: dict[str, datetime] = {}
        self.before: Callable[[int], None] = lambda page: None
        server.at = {TOKEN: [said({"access_token": "t1", "expires_in": 1800})], CONTACTS: self.answer}

    def put(self, number: int, **more: Any) -> None:
        made = contact(number, **more)
        self.contacts[made["ContactID"]] = made
        self.changed[made["ContactID"]] = datetime.now(UTC)

    def drop(self, number: int) -> None:
        del self.contacts[contact(number)["ContactID"]]

    def answer(self, asked: Asked) -> Answer:
        assert asked.headers["xero-tenant-id"] == TENANT
        assert (asked.query["order"], asked.query["includeArchived"]) == ("ContactID", "true")
        page, size = int(asked.query["page"]), int(asked.query["pageSize"])
        since = asked.headers.get("If-Modified-Since")
        if not since and size > 1:
            self.before(page)
        moment = datetime.fromisoformat(since or "1900-01-01T00:00:00Z")
        old = datetime(2019, 11, 14, tzinfo=UTC)
        found = [c for key, c in sorted(self.contacts.items()) if self.changed.get(key, old) >= moment]
        numbers = {"page": page, "pageSize": size, "pageCount": math.ceil(len(found) / size), "itemCount": len(found)}
        return said({"pagination": numbers, "Contacts": found[(page - 1) * size : page * size]})


@pytest.fixture
def xero(monkeypatch: pytest.MonkeyPatch) -> Iterator[Xero]:
    monkeypatch.setattr("sync_pipeline.http.BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr("sync_pipeline.billing.systems.xero.PER_MINUTE", 60_000)
    with serving() as server:
        yield Xero(server)


@pytest.fixture
def org(xero: Xero, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("XERO_SECRET", SECRET)
    monkeypatch.setenv("SYNC_PIPELINE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SYNC_PIPELINE_TOKENS", "file")

    def make(field: str = "AccountNumber", method: str = "client_credentials", **more: Any) -> Organization:
        login = {"method": method, "client_id": "app", "client_secret": {"env": "XERO_SECRET"}}
        billing = {"system": "xero", "tenant_id": TENANT, "login": login, "url": xero.server.url, "page_size": 100}
        billing |= {"login_url": f"{xero.server.url}{TOKEN}"} | more
        kept = {key: value for key, value in billing.items() if value is not None}
        return make_organization(folder=tmp_path / "config", billing=kept, identifier__billing_field=field)

    return make


def ids(rows: list[tuple[Any, ...]]) -> set[int]:
    return {int(row[0][:8], 16) for row in rows}


def test_pages_to_the_end_with_as_few_requests_as_can_be(org: Make, xero: Xero, read: Read) -> None:
    found = read(org())
    assert ids(found) == set(range(0, 500, 2))
    assert found[1][:3] == ("00000002-0000-4000-8000-000000000000", "A2", "N2")
    assert [one.query["page"] for one in xero.server.of(CONTACTS)] == ["1", "2", "3", "1"]  # and what changed meanwhile
    (token,) = xero.server.of(TOKEN)
    assert token.form == {"grant_type": "client_credentials", "scope": "accounting.contacts.read"}
    assert token.headers["Authorization"] == "Basic YXBwOmdlaGVpbS1nZWhlaW0="
    assert {one.headers["Authorization"] for one in xero.server.of(CONTACTS)} == {"Bearer t1"}


def test_one_page_is_one_request(org: Make, xero: Xero, read: Read) -> None:
    assert len(read(org(page_size=1000))) == 250
    assert len(xero.server.of(CONTACTS)) == 1


def test_a_page_smaller_than_asked_for_is_no_hindrance(org: Make, xero: Xero, read: Read) -> None:
    whole = xero.answer
    xero.server.at[CONTACTS] = lambda asked: whole(
        Asked(
            "GET",
            asked.path,
            asked.query | {"pageSize": str(min(100, int(asked.query["pageSize"])))},
            asked.headers,
            {},
        )
    )
    assert len(read(org(page_size=1000))) == 250


def test_contacts_that_come_and_change_while_pages_are_read(org: Make, xero: Xero, read: Read) -> None:
    def before(page: int) -> None:
        xero.put(2 * page - 1)  # before every page that is still to come
        xero.put(498, Name=f"changed {page}")

    xero.before = before
    found = read(org())
    assert ids(found) == {*range(0, 500, 2), 1, 3, 5}
    assert {row[2] for row in found if row[0].startswith("000001f2")} == {"changed 3"}


@pytest.mark.parametrize("gone", [1, 30, 100])
def test_contacts_that_disappear_take_nobody_along(org: Make, xero: Xero, read: Read, gone: int) -> None:
    def before(page: int) -> None:
        if page == 2 and len(xero.contacts) == 250:
            for number in range(0, 2 * gone, 2):
                xero.drop(number)

    xero.before = before
    assert ids(read(org())) >= set(range(200, 500, 2))


def test_a_list_that_only_gets_shorter(org: Make, xero: Xero, read: Read) -> None:
    xero.before = lambda page: xero.drop(min(int(key[:8], 16) for key in xero.contacts))
    with pytest.raises(TransientError, match="contacts disappear from Xero"):
        read(org())


def test_only_changes_the_next_time(org: Make, xero: Xero, read: Read) -> None:
    read(org())
    xero.server.asked.clear()
    xero.put(7, Name="new")
    xero.put(4, ContactStatus="ARCHIVED")
    assert ids(read(org())) == {*range(0, 500, 2), 7}
    changes, count = xero.server.of(CONTACTS)
    asked_from = datetime.fromisoformat(changes.headers["If-Modified-Since"])
    assert timedelta(minutes=10) <= datetime.now(UTC) - asked_from < timedelta(minutes=11)
    assert (count.query["pageSize"], count.headers.get("If-Modified-Since")) == ("1", None)


def test_nothing_has_changed(org: Make, xero: Xero, read: Read) -> None:
    read(org())
    whole = xero.answer
    xero.server.at[CONTACTS] = lambda asked: (304, {}, b"") if "If-Modified-Since" in asked.headers else whole(asked)
    assert len(read(org())) == 250


def test_one_that_is_gone_is_noticed(org: Make, xero: Xero, read: Read) -> None:
    read(org())
    xero.drop(8)
    assert ids(read(org())) == {*range(0, 500, 2)} - {8}


def test_another_tenant_s_changes_are_not_taken_for_this_one_s(org: Make, xero: Xero) -> None:
    assert SOURCE.account(org()) != SOURCE.account(org(tenant_id="other"))


def test_a_contact_becomes_a_row(org: Make, xero: Xero, con: duckdb.DuckDBPyConnection) -> None:
    persons = [{"FirstName": "B", "EmailAddress": "b@x.com"}, {"FirstName": "C"}, {"EmailAddress": "a@x.com"}]
    full = contact(
        1,
        Name="Ada & Söhne 🦆",
        EmailAddress="a@x.com",
        ContactPersons=persons,
        DefaultCurrency="NZD",
        Balances={"AccountsReceivable": {"Outstanding": -760.5, "Overdue": 1}, "AccountsPayable": {"Outstanding": 9}},
        IsCustomer=False,
        Unheard="of",
    )
    rest = [contact(2, Name=None, EmailAddress="", AccountNumber="", UpdatedDateUTC=None)]
    rest += [contact(3, ContactStatus="ARCHIVED", MergedToContactID=full["ContactID"]), contact(4)]
    rest += [contact(5, ContactStatus="GDPRREQUEST"), dict.fromkeys(full) | {"ContactID": "nulls"}]
    xero.contacts = {c["ContactID"]: c for c in [full, *rest]}
    assert load_customers(con, org()) == 6
    one, two, three, _, five, nulls = con.execute(
        "SELECT customer_id, identifier, display_id, name, emails, primary_email, currency, balance::VARCHAR, status,"
        " merged_into_id, updated_at::VARCHAR, custom_fields FROM billing_customers ORDER BY customer_id"
    ).fetchall()
    assert one[1:11] == (
        *("A1", "A1", "Ada & Söhne 🦆", ["a@x.com", "b@x.com"], "a@x.com", "NZD", "-760.500000", "active", None),
        "2019-11-14 18:10:38.314",
    )
    assert json.loads(one[11]) == {key: full[key] for key in ("ContactPersons", "Balances", "IsCustomer", "Unheard")}
    assert two[1:11] == (None, None, None, None, None, None, None, "active", None, None)
    assert three[8:10] == ("archived", full["ContactID"])
    assert five[8] == "deleted"
    assert nulls[1:11] == (None, None, None, None, None, None, None, "active", None, None)


@pytest.mark.parametrize(
    ("told", "moment"),
    [
        ("/Date(1573755038314+0000)/", "2019-11-14 18:10:38.314"),
        ("/Date(1573755038314)/", "2019-11-14 18:10:38.314"),
        ("/Date(1573755038314+1300)/", "2019-11-14 18:10:38.314"),  # the milliseconds are UTC's whatever is beside them
        ("/Date(-1000+0000)/", "1969-12-31 23:59:59"),
        ("2009-05-14T01:44:26.747", "2009-05-14 01:44:26.747"),
        ("2009-05-14T01:44:26+02:00", "2009-05-13 23:44:26"),
    ],
)
def test_times(*, org: Make, xero: Xero, con: duckdb.DuckDBPyConnection, told: str, moment: str) -> None:
    xero.contacts = {"a": contact(1, UpdatedDateUTC=told)}
    load_customers(con, org())
    assert con.execute("SELECT updated_at::VARCHAR FROM billing_customers").fetchone() == (moment,)


def test_contact_number_may_be_the_identifier(org: Make, xero: Xero, read: Read) -> None:
    xero.contacts = {"a": contact(1, ContactNumber=12345678901234567890)}
    assert read(org("ContactNumber"))[0][1] == "12345678901234567890"


def test_a_field_on_no_contact_lists_those_there_are(org: Make, xero: Xero, read: Read) -> None:
    with pytest.raises(
        ConfigurationError, match=r"none of the 250 customers of Xero has 'SalesforceId'.*'AccountNumber'"
    ):
        read(org("SalesforceId"))


def test_an_organisation_without_contacts(org: Make, xero: Xero, read: Read) -> None:
    xero.contacts = {}
    assert read(org()) == []
    xero.server.at[CONTACTS] = [said({"Contacts": []})]
    assert read(org()) == []


def test_a_contact_on_two_pages_is_one(org: Make, xero: Xero, read: Read) -> None:
    numbers = {"pageSize": 2, "pageCount": 2, "itemCount": 3}
    pages = [[contact(1), contact(2, Name="old")], [contact(2, Name="new"), contact(3)], []]
    xero.server.at[CONTACTS] = [said({"pagination": numbers, "Contacts": page}) for page in pages[:2]]
    xero.server.at[CONTACTS] += [said({"Contacts": []})]
    assert [row[2] for row in read(org())] == ["N1", "new", "N3"]


ODD: list[Answer] = [
    said({"Contacts": [contact(1)]}),
    said({"Contacts": {}, "pagination": {}}),
    said({"pagination": {"pageSize": 1, "pageCount": 9, "itemCount": 9}, "Contacts": [contact(1)]}),
    said({"pagination": {"pageSize": 9, "pageCount": 1, "itemCount": 1}, "Contacts": [{"AccountNumber": "no id"}]}),
    said(
        {
            "pagination": {"pageSize": 9, "pageCount": 1, "itemCount": 1},
            "Contacts": [contact(1, UpdatedDateUTC="/Date(soon)/")],
        }
    ),
    (200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html>Sign in</html>"),
    (200, {}, b"[]"),
]


@pytest.mark.parametrize("odd", ODD)
def test_answers_that_are_no_contacts(org: Make, xero: Xero, read: Read, odd: Answer) -> None:
    xero.server.at[CONTACTS] = [odd]
    with pytest.raises(DataError, match=r"acme\.yaml:\d+"):
        read(org())


LATER: list[Answer] = [
    (200, {}, b'{"Contacts": [{"ContactID": "a", "Na'),
    (200, {"Content-Length": "5000"}, b'{"Contacts": ['),
    said({"pagination": {"pageSize": 100, "pageCount": 3, "itemCount": 250}, "Contacts": [contact(1)]}),  # truncated
    (503, {}, b""),
    (429, {"Retry-After": "900", "X-Rate-Limit-Problem": "day"}, b""),
    said({"Contacts": []}, **{"X-DayLimit-Remaining": "99"}),
]


@pytest.mark.parametrize("answer", LATER)
def test_what_may_work_later(org: Make, xero: Xero, con: duckdb.DuckDBPyConnection, answer: Answer) -> None:
    con.execute("INSERT INTO billing_customers (customer_id) VALUES ('before')")
    xero.server.at[CONTACTS] = [answer]
    with pytest.raises(TransientError, match=r"acme\.yaml:\d+: .*Xero.*[Tt]ry again"):
        load_customers(con, org())
    assert con.execute("SELECT customer_id FROM billing_customers").fetchall() == [("before",)]


def test_a_minute_s_limit_is_waited_for(org: Make, xero: Xero, read: Read) -> None:
    wait = (429, {"Retry-After": "0", "X-Rate-Limit-Problem": "minute"}, b"")
    numbers = {"pageSize": 100, "pageCount": 1, "itemCount": 1}
    xero.server.at[CONTACTS] = [wait, said({"pagination": numbers, "Contacts": [contact(1)]})]
    assert len(read(org())) == 1


def test_xero_s_own_limit_is_kept_from_the_start(org: Make) -> None:
    assert SOURCE.limits(org()).left == {"x-daylimit-remaining": 100}


UNAUTHORIZED = {"Type": None, "Title": "Unauthorized", "Status": 401, "Detail": "TokenExpired: token expired"}


def test_a_token_that_ends_while_pages_are_read_is_replaced(org: Make, xero: Xero, read: Read) -> None:
    whole = xero.answer
    xero.server.at[TOKEN] = [said({"access_token": f"t{n}", "expires_in": 1800}) for n in (1, 2)]
    xero.server.at[CONTACTS] = lambda asked: (
        said(UNAUTHORIZED, 401)
        if asked.query["page"] == "2" and asked.headers["Authorization"] == "Bearer t1"
        else whole(asked)
    )
    assert len(read(org())) == 250
    assert len(xero.server.of(TOKEN)) == 2


def test_a_token_that_is_always_refused(org: Make, xero: Xero, read: Read) -> None:
    xero.server.at[CONTACTS] = [said(UNAUTHORIZED, 401)]
    with pytest.raises(ReconnectError, match=r"Xero refuses the login: TokenExpired: token expired \(HTTP 401\)"):
        read(org())


def test_a_wrong_secret_is_not_shown(org: Make, xero: Xero, read: Read) -> None:
    xero.server.at[TOKEN] = [said({"error": "invalid_client", "error_description": f"not {SECRET}"}, 400)]
    with pytest.raises(
        ReconnectError, match=r"acme\.yaml:\d+: Xero refuses the login \(invalid_client.*client_id"
    ) as caught:
        read(org())
    assert SECRET not in str(caught.value)
    assert xero.server.of(CONTACTS) == []


def test_a_missing_secret(org: Make, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = org()
    monkeypatch.delenv("XERO_SECRET")
    with pytest.raises(ConfigurationError, match="XERO_SECRET is not set"):
        read(configured)


def test_a_tenant_that_is_not_this_login_s(org: Make, xero: Xero, read: Read) -> None:
    refused = {"Title": "Forbidden", "Status": 403, "Detail": "AuthenticationUnsuccessful"}
    xero.server.at[CONTACTS] = [said(refused, 403)]
    with pytest.raises(ReconnectError, match=r"AuthenticationUnsuccessful.*Check tenant_id \(GET https://api\.xero"):
        read(org())


def test_a_refused_request(org: Make, xero: Xero, read: Read) -> None:
    wrong = {"ErrorNumber": 16, "Type": "QueryParseException", "Message": "No property or field 'x' exists"}
    xero.server.at[CONTACTS] = [said(wrong, 400)]
    with pytest.raises(ConfigurationError, match=r"No property or field 'x' exists \(HTTP 400\)"):
        read(org())


def connected(org: Organization, xero: Xero) -> None:
    grant = Grant(org.name, "Xero", f"{xero.server.url}{TOKEN}", "app", TENANT, "Acme", "2026-01-01T00:00:00+00:00")
    GrantStore().save(grant, Secrets("r1", "t0", 0.0))


def test_a_person_s_login_is_renewed_and_knows_its_tenant(org: Make, xero: Xero, read: Read) -> None:
    configured = org(method="browser", tenant_id=None)
    connected(configured, xero)
    xero.server.at[TOKEN] = [said({"access_token": "t1", "refresh_token": "r2", "expires_in": 1800})]
    assert len(read(configured)) == 250
    assert xero.server.of(TOKEN)[0].form == {"grant_type": "refresh_token", "refresh_token": "r1"}
    grant = GrantStore().grant(configured.name)
    assert grant
    assert GrantStore().secrets(grant).refresh_token == "r2"


def test_a_revoked_refresh_token(org: Make, xero: Xero, read: Read) -> None:
    configured = org(method="browser")
    connected(configured, xero)
    xero.server.at[TOKEN] = [said({"error": "invalid_grant"}, 400)]
    with pytest.raises(ReconnectError, match=r"Xero has ended the login.*Connect again: sync-pipeline connect acme"):
        read(configured)


def test_nobody_has_connected_it(org: Make, xero: Xero, read: Read) -> None:
    with pytest.raises(ReconnectError, match="nobody has connected acme to Xero"):
        read(org(method="browser", tenant_id=None))


def test_the_organisations_a_login_reaches(org: Make, xero: Xero) -> None:
    import requests

    found = [{"tenantId": TENANT, "tenantType": "ORGANISATION", "tenantName": "Acme"}]
    found += [{"tenantId": "p", "tenantType": "PRACTICE", "tenantName": "Books & Co"}]
    xero.server.at["/connections"] = [said(found)]
    server = SOURCE.authorization(org(method="browser"))
    assert server
    assert server.tenants
    with requests.Session() as session:
        assert server.tenants(session) == {TENANT: "Acme"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [("page_size", 1001, "page_size"), ("login", None, "login"), ("url", "http://api.xero.com", "url")],
)
def test_settings_that_can_t_be(tmp_path: Path, key: str, value: Any, complaint: str) -> None:
    login = {"method": "client_credentials", "client_id": "app", "client_secret": {"env": "X"}}
    billing = {"system": "xero", "tenant_id": TENANT, "login": login} | {key: value}
    loaded = load(tmp_path, merged(billing=billing))
    assert re.search(rf"billing\.{complaint}", "\n".join(map(str, loaded.problems)))


def test_the_page_of_a_contact(org: Make, xero: Xero) -> None:
    assert customer_url(org(url="https://api.xero.com"), "a/b") == "https://go.xero.com/Contacts/View/a%2Fb"
    assert customer_url(org(), "a") == f"{xero.server.url}/Contacts/View/a"


def test_nobody_there(org: Make, read: Read) -> None:
    with pytest.raises(SyncError, match="Xero"):
        read(org(url="http://127.0.0.1:9"))


def test_a_last_page_that_lacks_contacts_is_no_end(org: Make, xero: Xero, read: Read) -> None:
    pagination = {"page": 1, "pageSize": 100, "pageCount": 1, "itemCount": 3}
    xero.server.at[CONTACTS] = [said({"pagination": pagination, "Contacts": [contact(1), contact(2)]})]
    with pytest.raises(TransientError, match="Xero gave 2 of the 3 contacts of page 1"):
        read(org())


def test_a_tenant_that_no_header_holds_is_none(org: Make, read: Read) -> None:
    with pytest.raises(ConfigurationError, match=r"acme\.yaml:\d+: this is no id of an organisation of Xero"):
        read(org(tenant_id="é☃"))
