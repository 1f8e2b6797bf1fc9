"""Logging in to NetSuite over real HTTP: the token that is signed for, requests that are signed, and refusals."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from requests_oauthlib import OAuth1

from sync_pipeline.billing.netsuite_login import TokenAuth, signature_base
from sync_pipeline.billing.systems.netsuite import SOURCE
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.billing.netsuite_account import CERTIFICATE, KEY, TBA, TOKEN, Account, Make, error, maker, pem
from sync_pipeline_tests.billing.systems.scripted import said, serving

Read = Callable[[Organization], list[tuple[Any, ...]]]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    monkeypatch.setattr("sync_pipeline.http.BACKOFF_SECONDS", 0.001)
    with serving() as server:
        yield Account(server)


@pytest.fixture
def org(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    return maker(account, tmp_path / "config", monkeypatch)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (KEY, "ES256"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
        (rsa.generate_private_key(65537, 2048), "PS256"),
    ],
)
def test_the_assertion_that_is_signed(org: Make, account: Account, read: Read, key: Any, algorithm: str) -> None:
    read(org(key=key))
    (assertion,) = account.assertions
    audience = account.server.url + TOKEN
    claims = jwt.decode(assertion, key.public_key(), algorithms=[algorithm], audience=audience)
    assert (claims["iss"], claims["scope"]) == ("client-1", ["rest_webservices"])
    assert 0 < claims["exp"] - claims["iat"] <= 3600
    assert jwt.get_unverified_header(assertion) == {"alg": algorithm, "kid": "cert-1", "typ": "JWT"}


def test_a_token_that_ends_while_customers_are_read(org: Make, account: Account, read: Read) -> None:
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
    *, org: Make, account: Account, read: Read, status: int, body: object, shown: str
) -> None:
    account.server.at[TOKEN] = [said(body, status)]
    with pytest.raises(ReconnectError) as caught:
        read(org())
    assert re.search(r"acme\.yaml:\d+: NetSuite refuses the login: " + re.escape(shown), str(caught.value))
    assert "the certificate has not expired" in str(caught.value)
    assert len(account.assertions) == 1


def test_no_assertion_is_shown(org: Make, account: Account, read: Read) -> None:
    account.server.at[TOKEN] = [(503, {}, b"down")]
    with pytest.raises(TransientError, match="can't answer now"):
        read(org())
    account.server.at[TOKEN] = lambda asked: said(
        {"error": "invalid_request", "error_description": asked.form["client_assertion"]}, 400
    )
    with pytest.raises(ReconnectError, match=r"invalid_request: \*\*\* \(HTTP 400\)"):
        read(org())


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"access_token": 5}', b'{"access_token": "a\\nb"}'])
def test_a_token_that_is_none(org: Make, account: Account, read: Read, body: bytes) -> None:
    account.server.at[TOKEN] = [(200, {}, body)]
    with pytest.raises(DataError, match="gives no access token"):
        read(org())


@pytest.mark.parametrize("tba", [True, False])
def test_a_refused_login_is_tried_again_once_at_most(org: Make, account: Account, read: Read, tba: bool) -> None:
    account.script = [error(401, "INVALID_LOGIN", "Invalid login attempt.")]
    with pytest.raises(
        ReconnectError, match=r"refuses the login: Invalid login attempt \(HTTP 401\)\. Check"
    ) as caught:
        read(org(tba=tba))
    assert "Login Audit Trail" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in TBA.values())
    assert len(account.queries) <= 3


@pytest.mark.parametrize(
    "key",
    ["nonsense", pem(KEY)[:80], pem(ec.generate_private_key(ec.SECP256K1()))],
    ids=["nonsense", "cut off", "another curve"],
)
def test_a_key_that_is_none_is_not_shown(org: Make, account: Account, read: Read, key: str) -> None:
    with pytest.raises(ConfigurationError, match="no private key that NetSuite takes") as caught:
        read(org(key=key))
    assert key not in str(caught.value)
    assert account.assertions == []


def test_a_key_in_a_file(org: Make, account: Account, read: Read, tmp_path: Path) -> None:
    login = CERTIFICATE | {"private_key_file": "netsuite.pem"}
    with pytest.raises(ConfigurationError, match="can't be read from"):
        read(org(login=login))
    (tmp_path / "config" / "netsuite.pem").write_text(pem(KEY))
    assert read(org(login=login)) == []


def test_requests_signed_as_requests_oauthlib_signs_them(org: Make, account: Account, read: Read) -> None:
    account.put(1)
    configured = org(field="id", tba=True)
    assert len(read(configured)) == 1
    for asked in account.asked:
        given = dict(re.findall(r'(\w+)="([^"]*)"', asked.headers["Authorization"]))
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
        url = f"{account.server.url}{asked.path}?{urlencode(asked.pairs)}"
        theirs = requests.Request("POST", url, json={"q": ""}, auth=others).prepare().headers["Authorization"]
        text = theirs.decode() if isinstance(theirs, bytes) else theirs
        assert given == dict(re.findall(r'(\w+)="([^"]*)"', text))
    nonces = {re.search(r'oauth_nonce="(\w+)"', asked.headers["Authorization"])[1] for asked in account.asked}  # type: ignore[index]
    assert len(nonces) == len(account.asked)


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


def test_secrets_are_quoted_before_they_sign(org: Make) -> None:
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


def test_a_redirect_does_not_take_the_token_along(org: Make, account: Account, read: Read) -> None:
    account.script = [(302, {"Location": "https://example.com/login"}, b"")]
    with pytest.raises(SyncError, match="redirects"):
        read(org())
