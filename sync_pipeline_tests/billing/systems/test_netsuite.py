"""NetSuite's customers by SuiteQL over real HTTP: logins, paging by id, changes, and what else it may answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from requests_oauthlib import OAuth1

from sync_pipeline.billing import customer_url, load_customers
from sync_pipeline.billing.netsuite_login import TokenAuth, signature_base
from sync_pipeline.billing.systems.netsuite import SOURCE
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.orgs.factory import load, make_organization, merged

Read = Callable[[Organization], list[tuple[Any, ...]]]
Answer = tuple[int, dict[str, str], bytes]
KEY = ec.generate_private_key(ec.SECP256R1())
TBA = {"consumer_key": "ck-1", "consumer_secret": "geheim&1", "token_id": "tk-1", "token_secret": "geheim=2"}
CERTIFICATE = {"method": "certificate", "client_id": "client-1", "certificate_id": "cert-1"}
CURRENCIES = [{"links": [], "id": "1", "symbol": "EUR"}, {"links": [], "id": "2", "symbol": "usd"}]


def pem(key: Any) -> str:
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.decode()


def answered(content: object, status: int = 200, **headers: str) -> Answer:
    return status, headers, json.dumps(content).encode()


def items(found: list[dict[str, Any]], more: object = False) -> Answer:
    return answered({"links": [], "count": len(found), "hasMore": more, "items": found, "offset": 0})


def error(status: int, code: str, detail: str) -> Answer:
    kind = "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.5.1"
    body = {"type": kind, "title": "Title", "status": status}
    return answered(body | {"o:errorDetails": [{"detail": detail, "o:errorCode": code}]}, status)


class Account:
    """As much of a NetSuite account as a reading asks for; `script` answers customer queries instead, if given."""

    def __init__(self) -> None:
        self.customers: dict[int, dict[str, Any]] = {}
        self.page_size = 1000
        self.ceiling = 100_000
        self.script: list[Answer] = []
        self.token: Answer | None = None
        self.currencies = items(CURRENCIES)
        self.queries: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.targets: list[str] = []
        self.assertions: list[str] = []
        self.good_tokens: set[str] = set()
        self.between: Callable[[], None] = lambda: None

    def put(self, number: int, at: str = "2020-01-01 00:00:00", **more: Any) -> None:
        self.customers[number] = {"id": str(number), "sync_updated": at} | more

    def reply(self, target: str, headers: dict[str, str], body: bytes) -> Answer:
        if target.endswith("/oauth2/v1/token"):
            self.assertions.append(parse_qs(body.decode())["client_assertion"][0])
            if self.token:
                return self.token
            self.good_tokens = {f"token-{len(self.assertions)}"}
            return answered(
                {"access_token": next(iter(self.good_tokens)), "expires_in": "3600", "token_type": "bearer"}
            )
        query = json.loads(body)["q"]
        self.queries.append(query)
        self.headers.append(headers)
        self.targets.append(target)
        if headers["Authorization"].startswith("Bearer") and headers["Authorization"][7:] not in self.good_tokens:
            return error(401, "INVALID_LOGIN", "Invalid login attempt.")
        if "FROM currency" in query:
            return self.currencies
        if "COUNT(*)" in query:
            return items([{"links": [], "customers": str(len(self.customers))}])
        if self.script:
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]
        after = re.search(r"customer\.id > (-?\d+)", query)
        since = re.search(r"lastmodifieddate >= TO_DATE\('([^']+)'", query)
        found = [
            customer
            for number, customer in sorted(self.customers.items())
            if (not after or number > int(after[1])) and (not since or customer["sync_updated"] >= since[1])
        ]
        start = int(parse_qs(urlsplit(target).query).get("offset", ["0"])[0])
        if start + self.page_size > self.ceiling:
            return error(400, "INVALID_PARAMETER", "Only so many results can be read.")
        answer = items(found[start : start + self.page_size], len(found) > start + self.page_size)
        self.between()
        return answer


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Account, str]]:
    monkeypatch.setattr("sync_pipeline.http.BACKOFF_SECONDS", 0.001)
    account = Account()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, body = account.reply(self.path, dict(self.headers), sent)
            self.send_response_only(status)
            for name, value in ({"Content-Length": str(len(body)), "Date": formatdate(usegmt=True)} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = int(headers.get("Content-Length", len(body))) != len(body)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield account, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def account(served: tuple[Account, str]) -> Account:
    return served[0]


@pytest.fixture
def org(served: tuple[Account, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Organization]:
    def make(*, field: str = "custentity_sf_id", key: Any = KEY, tba: bool = False, **more: Any) -> Organization:
        monkeypatch.setenv("NS_KEY", key if isinstance(key, str) else pem(key))
        monkeypatch.setenv("NS_CONSUMER_SECRET", TBA["consumer_secret"])
        monkeypatch.setenv("NS_TOKEN_SECRET", TBA["token_secret"])
        hidden = {"consumer_secret": {"env": "NS_CONSUMER_SECRET"}, "token_secret": {"env": "NS_TOKEN_SECRET"}}
        login = {"method": "tba", **TBA, **hidden} if tba else CERTIFICATE | {"private_key": {"env": "NS_KEY"}}
        billing = {"system": "netsuite", "account": "1234567_SB1", "login": login, "url": served[1]} | more
        billing = {name: value for name, value in billing.items() if value is not None}
        return make_organization(folder=tmp_path / "config", billing=billing, identifier__billing_field=field)

    return make


def test_a_customer_becomes_a_row(
    org: Callable[..., Organization], account: Account, con: duckdb.DuckDBPyConnection
) -> None:
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


def test_pages_by_id_in_the_fewest_requests(org: Callable[..., Organization], account: Account, read: Read) -> None:
    for number in (9, 10, 1000, 99_999_999):  # in the order of numbers, not of text
        account.put(number, custentity_sf_id=f"S{number}")
    account.page_size = 2
    assert {row[:2] for row in read(org())} == {(str(n), f"S{n}") for n in (9, 10, 1000, 99_999_999)}
    asked = [query for query in account.queries if "customer.*" in query]
    assert [re.findall(r"id > (\d+)", query) for query in asked] == [[], ["10"]]
    assert len(account.queries) + len(account.assertions) <= len(asked) + 3
    assert {headers["Prefer"] for headers in account.headers} == {"transient"}
    assert {urlsplit(target).query for target in account.targets} == {"limit=1000"}


def test_data_that_changes_between_pages(org: Callable[..., Organization], account: Account, read: Read) -> None:
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


def test_more_customers_than_the_ceiling(org: Callable[..., Organization], account: Account, read: Read) -> None:
    """With a ceiling of ten rows instead of 100,000: an offset ends there, the id goes on."""
    for number in range(25):
        account.put(number + 1)
    account.page_size, account.ceiling = 5, 10
    assert len(read(org(field="id"))) == 25


def test_changes_are_asked_for_with_thirteen_hours_of_overlap(
    org: Callable[..., Organization], account: Account, con: duckdb.DuckDBPyConnection
) -> None:
    account.put(1, altname="old")
    account.put(2)
    configured = org(field="id")
    load_customers(con, configured)
    # Twelve hours behind UTC, as seen by a user on Baker Island; a time zone of the account is never known.
    local = datetime.fromtimestamp(time.time() - 12 * 3600, UTC).strftime("%Y-%m-%d %H:%M:%S")
    account.put(1, local, altname="new")
    account.put(3, local)
    account.queries.clear()
    assert load_customers(con, configured) == 3
    (asked,) = [query for query in account.queries if "customer.*" in query]
    told = re.search(r"lastmodifieddate >= TO_DATE\('([\d -:]+)', 'YYYY-MM-DD HH24:MI:SS'\)", asked)
    assert told
    assert 12.9 * 3600 < time.time() - datetime.fromisoformat(told[1]).replace(tzinfo=UTC).timestamp() < 13.1 * 3600
    rows = con.execute("SELECT customer_id, name FROM billing_customers ORDER BY 1").fetchall()
    assert rows == [("1", "new"), ("2", None), ("3", None)]
    assert con.execute("SELECT why_whole, changed FROM billing_reads").fetchone() == (None, 2)


def test_a_deletion_leads_to_a_whole_read(
    org: Callable[..., Organization], account: Account, con: duckdb.DuckDBPyConnection
) -> None:
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
    org: Callable[..., Organization], account: Account, con: duckdb.DuckDBPyConnection, told: object
) -> None:
    account.put(1, sync_updated=told)
    load_customers(con, org(field="id", user_timezone="UTC"))
    assert con.execute("SELECT updated_at FROM billing_customers").fetchone() == (None,)


def test_without_a_time_zone_there_is_no_time(
    org: Callable[..., Organization], account: Account, con: duckdb.DuckDBPyConnection
) -> None:
    account.put(1, "2026-07-01 09:30:00")
    load_customers(con, org(field="id"))
    assert con.execute("SELECT updated_at FROM billing_customers").fetchone() == (None,)


@pytest.mark.parametrize(
    ("value", "text"), [(12345678901234567890123, "12345678901234567890123"), (7.0, "7"), ("07", "07")]
)
def test_numbers_where_text_was(
    *, org: Callable[..., Organization], account: Account, read: Read, value: object, text: str
) -> None:
    account.put(1, custentity_sf_id=value)
    account.customers[1]["id"] = 1
    assert read(org())[0][:2] == ("1", text)


def test_a_field_on_no_customer_lists_those_there_are(
    org: Callable[..., Organization], account: Account, read: Read
) -> None:
    account.put(1, custentity_sf_idd="x")
    with pytest.raises(
        ConfigurationError, match="none of the 1 customers of NetSuite has 'custentity_sf_id'"
    ) as caught:
        read(org())
    assert "Is it 'custentity_sf_idd'?" in str(caught.value)


def test_no_customers(org: Callable[..., Organization], read: Read) -> None:
    assert read(org()) == []


def test_the_same_customer_twice_is_one(org: Callable[..., Organization], account: Account, read: Read) -> None:
    account.script = [
        items([{"id": "1", "altname": "old"}, {"id": "2"}], more=True),
        items([{"id": "1", "altname": "new"}, {"id": "3"}]),
    ]
    assert [(row[0], row[2]) for row in read(org(field="id"))] == [("1", "new"), ("2", None), ("3", None)]


def test_an_account_without_currencies(org: Callable[..., Organization], account: Account, read: Read) -> None:
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
        [answered({"hasMore": False})],
        [answered([])],
        [(200, {"Content-Type": "text/html"}, b"\n<!DOCTYPE html><html>Sign in</html>")],
        [(200, {}, b"")],
    ],
)
def test_answers_that_are_no_list_of_customers(
    org: Callable[..., Organization], account: Account, read: Read, script: list[Answer]
) -> None:
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
def test_what_may_work_later(
    org: Callable[..., Organization], account: Account, con: duckdb.DuckDBPyConnection, answer: Answer
) -> None:
    con.execute("INSERT INTO billing_customers (customer_id) VALUES ('before')")
    account.script = [items([{"id": "1"}], more=True), answer]
    with pytest.raises(TransientError, match=r"acme\.yaml:\d+: NetSuite.*[Tt]ry again later"):
        load_customers(con, org(field="id"))
    assert con.execute("SELECT customer_id FROM billing_customers").fetchall() == [("before",)]


@pytest.mark.parametrize(
    "once", [(503, {}, b""), error(429, "X", "slow down"), (200, {"Content-Length": "5000"}, b'{"items": [')]
)
def test_a_passing_trouble_is_not_noticed(
    org: Callable[..., Organization], account: Account, read: Read, once: Answer
) -> None:
    account.script = [once, items([{"id": "1"}])]
    assert len(read(org(field="id"))) == 1


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (KEY, "ES256"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
        (rsa.generate_private_key(65537, 2048), "PS256"),
    ],
)
def test_the_assertion_that_is_signed(
    org: Callable[..., Organization], account: Account, read: Read, key: Any, algorithm: str
) -> None:
    read(org(key=key))
    (assertion,) = account.assertions
    audience = org().billing.url + "/services/rest/auth/oauth2/v1/token"  # type: ignore[attr-defined]
    claims = jwt.decode(assertion, key.public_key(), algorithms=[algorithm], audience=audience)
    assert (claims["iss"], claims["scope"]) == ("client-1", ["rest_webservices"])
    assert 0 < claims["exp"] - claims["iat"] <= 3600
    assert jwt.get_unverified_header(assertion) == {"alg": algorithm, "kid": "cert-1", "typ": "JWT"}


def test_a_token_that_ends_while_customers_are_read(
    org: Callable[..., Organization], account: Account, read: Read
) -> None:
    for number in range(1, 5):
        account.put(number)
    account.page_size = 2
    account.between = lambda: account.good_tokens.clear()
    assert len(read(org(field="id"))) == 4
    assert len(account.assertions) >= 2


@pytest.mark.parametrize(
    ("status", "body", "shown"),
    [
        (400, {"error": "invalid_grant"}, "invalid_grant (HTTP 400)."),
        (401, {"error": "invalid_client", "error_description": "expired"}, "invalid_client: expired (HTTP 401)."),
    ],
)
def test_a_wrong_key_or_an_expired_certificate(
    *, org: Callable[..., Organization], account: Account, read: Read, status: int, body: object, shown: str
) -> None:
    account.token = answered(body, status)
    with pytest.raises(ReconnectError) as caught:
        read(org())
    assert re.search(r"acme\.yaml:\d+: NetSuite refuses the login: " + re.escape(shown), str(caught.value))
    assert "the certificate has not expired" in str(caught.value)
    assert len(account.assertions) == 1


def test_no_assertion_is_shown(org: Callable[..., Organization], account: Account, read: Read) -> None:
    account.token = (503, {}, b"down")
    with pytest.raises(TransientError, match="can't answer now"):
        read(org())
    original = account.reply
    account.reply = lambda target, headers, body: answered(  # type: ignore[method-assign]
        {"error": "invalid_request", "error_description": parse_qs(body.decode())["client_assertion"][0]}, 400
    )
    with pytest.raises(ReconnectError, match=r"invalid_request: \*\*\* \(HTTP 400\)"):
        read(org())
    account.reply = original  # type: ignore[method-assign]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"access_token": 5}', b'{"access_token": "a\\nb"}'])
def test_a_token_that_is_none(org: Callable[..., Organization], account: Account, read: Read, body: bytes) -> None:
    account.token = (200, {}, body)
    with pytest.raises(DataError, match="gives no access token"):
        read(org())


@pytest.mark.parametrize("tba", [True, False])
def test_a_refused_login_is_tried_again_once_at_most(
    org: Callable[..., Organization], account: Account, read: Read, tba: bool
) -> None:
    account.script = [error(401, "INVALID_LOGIN", "Invalid login attempt.")]
    with pytest.raises(
        ReconnectError, match=r"refuses the login: Invalid login attempt \(HTTP 401\)\. Check"
    ) as caught:
        read(org(tba=tba))
    assert "Login Audit Trail" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in TBA.values())
    assert len(account.queries) <= 3


def test_other_refusals_are_the_configuration_s(org: Callable[..., Organization], account: Account, read: Read) -> None:
    account.script = [error(404, "NONEXISTENT_ACCOUNT", "The account does not exist.")]
    with pytest.raises(ConfigurationError, match=r"The account does not exist \(HTTP 404\)"):
        read(org())


@pytest.mark.parametrize(
    "key",
    ["nonsense", pem(KEY)[:80], pem(ec.generate_private_key(ec.SECP256K1()))],
    ids=["nonsense", "cut off", "another curve"],
)
def test_a_key_that_is_none_is_not_shown(
    org: Callable[..., Organization], account: Account, read: Read, key: str
) -> None:
    with pytest.raises(ConfigurationError, match="no private key that NetSuite takes") as caught:
        read(org(key=key))
    assert key not in str(caught.value)
    assert account.assertions == []


def test_a_key_in_a_file(org: Callable[..., Organization], account: Account, read: Read, tmp_path: Path) -> None:
    login = CERTIFICATE | {"private_key_file": "netsuite.pem"}
    with pytest.raises(ConfigurationError, match="can't be read from"):
        read(org(login=login))
    (tmp_path / "config" / "netsuite.pem").write_text(pem(KEY))
    assert read(org(login=login)) == []


def test_requests_signed_as_requests_oauthlib_signs_them(
    org: Callable[..., Organization], account: Account, read: Read
) -> None:
    account.put(1)
    configured = org(field="id", tba=True)
    assert len(read(configured)) == 1
    for target, headers in zip(account.targets, account.headers, strict=True):
        given = dict(re.findall(r'(\w+)="([^"]*)"', headers["Authorization"]))
        others = OAuth1(
            TBA["consumer_key"],
            TBA["consumer_secret"],
            TBA["token_id"],
            TBA["token_secret"],
            signature_method="HMAC-SHA256",
            realm="1234567_SB1",
            nonce=given["oauth_nonce"],
            timestamp=given["oauth_timestamp"],
        )
        url = configured.billing.url + target  # type: ignore[attr-defined]
        theirs = requests.Request("POST", url, json={"q": ""}, auth=others).prepare().headers["Authorization"]
        text = theirs.decode() if isinstance(theirs, bytes) else theirs
        assert given == dict(re.findall(r'(\w+)="([^"]*)"', text))
    nonces = {re.search(r'oauth_nonce="(\w+)"', headers["Authorization"])[1] for headers in account.headers}  # type: ignore[index]
    assert len(nonces) == len(account.headers)


def test_the_base_string_of_rfc_5849() -> None:
    """Section 3.4.1.1, without the form in its body, which SuiteQL's requests do not have."""
    oauth = {
        "oauth_consumer_key": "9djdj82h48djs9d2",
        "oauth_token": "kkk9d7dh3k39sjv7",
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": "137131201",
        "oauth_nonce": "7d8f3e4a",
    }
    assert signature_base("post", "http://EXAMPLE.com:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b", oauth) == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26"
        "oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26"
        "oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )


def test_secrets_are_quoted_before_they_sign(org: Callable[..., Organization]) -> None:
    auth = SOURCE.auth(org(tba=True))
    assert isinstance(auth, TokenAuth)
    request = auth(requests.Request("POST", "https://example.com/x").prepare())
    given = dict(re.findall(r'(\w+)="([^"]*)"', request.headers["Authorization"]))
    signed = {name: value for name, value in given.items() if name not in ("realm", "oauth_signature")}
    base = signature_base("POST", "https://example.com/x", signed)
    digest = hmac.digest(b"geheim%261&geheim%3D2", base.encode(), hashlib.sha256)
    assert given["oauth_signature"] == base64.b64encode(digest).decode().replace("+", "%2B").replace(
        "/", "%2F"
    ).replace("=", "%3D")


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
    org: Callable[..., Organization], read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NS_ACCOUNT", "evil.example.com/?x=")
    with pytest.raises(ConfigurationError, match="this is no account id"):
        read(org(account={"env": "NS_ACCOUNT"}, url=None))


@pytest.mark.parametrize("name", ["1234567_SB1", "1234567-sb1"])
def test_where_an_account_is(org: Callable[..., Organization], name: str) -> None:
    configured = org(account=name, url=None)
    assert SOURCE.url(configured) == "https://1234567-sb1.suitetalk.api.netsuite.com"
    page = "https://1234567-sb1.app.netsuite.com/app/common/entity/custjob.nl?id="
    assert customer_url(configured, "a&b") == page + "a%26b"


def test_the_page_of_a_customer_of_a_stand_in(org: Callable[..., Organization], served: tuple[Account, str]) -> None:
    assert customer_url(org(), "7") == f"{served[1]}/app/common/entity/custjob.nl?id=7"


def test_a_redirect_does_not_take_the_token_along(
    org: Callable[..., Organization], account: Account, read: Read
) -> None:
    account.script = [(302, {"Location": "https://example.com/login"}, b"")]
    with pytest.raises(SyncError, match="redirects"):
        read(org())
