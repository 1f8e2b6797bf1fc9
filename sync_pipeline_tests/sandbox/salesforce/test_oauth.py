"""The token endpoint: who gets in, who does not, and in which words."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.conftest import Served

CLIENT, SECRET = f"client-{world.ORG}", f"secret+{world.ORG}/%"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def ask(served: Served, data: Any, **options: Any) -> requests.Response:
    served.http.headers.pop("Authorization", None)
    return served.http.post(f"{served.url}/services/oauth2/token", data=data, **options)


def refused(answer: requests.Response) -> tuple[str, str]:
    assert answer.status_code == 400
    body = answer.json()
    return body["error"], body["error_description"]


def assertion(**claims: Any) -> dict[str, str]:
    given = {
        "iss": CLIENT,
        "sub": f"admin@{world.ORG}.example",
        "aud": "https://login.salesforce.com",
        "exp": time.time() + 120,
    }
    return {"grant_type": JWT_BEARER, "assertion": jwt.encode(given | claims, world.PRIVATE_KEY, algorithm="RS256")}


def test_client_credentials_by_form_and_by_basic(served: Served) -> None:
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
    answer = ask(served, form).json()
    assert answer["instance_url"] == served.url
    assert answer["access_token"].startswith(world.ORGANIZATION_ID[:15] + "!")
    assert answer["id"] == f"{served.url}/id/{world.ORGANIZATION_ID}/{world.USER}"
    assert answer.keys() == {"access_token", "signature", "scope", "instance_url", "id", "token_type", "issued_at"}
    served.http.headers["Authorization"] = f"Bearer {answer['access_token']}"
    assert served.query("SELECT Name FROM Organization") == [{"Name": "Company 1"}]
    basic = ask(served, {"grant_type": "client_credentials"}, auth=(CLIENT, SECRET))
    assert basic.status_code == 200


def test_a_chunked_form(served: Served) -> None:
    def pieces() -> Any:
        yield f"grant_type=client_credentials&client_id={CLIENT}".encode()
        yield b"&client_secret=secret%2Bstripe%2F%25"

    answer = ask(served, pieces(), headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, ("unsupported_grant_type", "grant type not supported")),
        ({"grant_type": "implicit"}, ("unsupported_grant_type", "grant type not supported")),
        (
            {"grant_type": "client_credentials", "client_id": "nobody"},
            ("invalid_client_id", "client identifier invalid"),
        ),
        (
            {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": "é"},
            ("invalid_client", "invalid client credentials"),
        ),
        ({"grant_type": JWT_BEARER, "assertion": "a.b"}, ("invalid_grant", "invalid assertion")),
    ],
)
def test_refused_clients(served: Served, form: dict[str, str], error: tuple[str, str]) -> None:
    assert refused(ask(served, form)) == error
    not_base64 = ask(served, {"grant_type": "client_credentials"}, headers={"Authorization": "Basic é".encode()})
    assert refused(not_base64) == ("invalid_client", "invalid client credentials")


def test_login_hosts_know_no_client_credentials(served: Served) -> None:
    answer = ask(served, {"grant_type": "client_credentials"}, headers={"Host": "login.salesforce.com"})
    assert refused(answer) == ("invalid_grant", "request not supported on this domain")


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"aud": "https://login.salesforce.com/"},
        {"aud": "https://test.salesforce.com"},
        {"exp": lambda now: str(int(now + 120))},
        {"exp": lambda now: int((now + 120) * 1000)},
        {"exp": lambda now: now - 60},  # a client whose clock is slow
        {"sub": f"ADMIN@{world.ORG}.example"},
    ],
)
def test_assertions_that_are_taken(served: Served, claims: dict[str, Any]) -> None:
    told = {name: claim(time.time()) if callable(claim) else claim for name, claim in claims.items()}
    answer = ask(served, assertion(**told))
    assert answer.status_code == 200, answer.text


def test_the_instance_is_an_audience(served: Served) -> None:
    assert ask(served, assertion(aud=f"{served.url}/")).status_code == 200


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"aud": "http://login.salesforce.com"}, ("invalid_grant", "Audience validation failed")),
        ({"aud": ["https://test.salesforce.com"]}, ("invalid_grant", "Audience validation failed")),
        ({"aud": "https://[half"}, ("invalid_grant", "Audience validation failed")),
        ({"aud": "https://login.example.com"}, ("invalid_grant", "Audience validation failed")),
        ({"exp": time.time() - 3600}, ("invalid_grant", "expired authorization code")),
        ({"exp": "soon"}, ("invalid_grant", "invalid assertion")),
        ({"exp": float("nan")}, ("invalid_grant", "expired authorization code")),
        ({"sub": "somebody@else.example"}, ("invalid_grant", "user hasn't approved this consumer")),
        ({"iss": "nobody"}, ("invalid_client_id", "client identifier invalid")),
        ({"iss": f"client-{world.OTHER}"}, ("invalid_grant", "user hasn't approved this consumer")),
    ],
)
def test_assertions_that_are_not(served: Served, claims: dict[str, Any], error: tuple[str, str]) -> None:
    assert refused(ask(served, assertion(**claims))) == error


def test_a_signature_by_somebody_else(served: Served) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = {"iss": CLIENT, "sub": "x", "aud": "https://login.salesforce.com", "exp": time.time() + 60}
    forged = jwt.encode(claims, key, algorithm="RS256")
    unsigned = jwt.encode(claims, None, algorithm="none")
    shared = jwt.encode(claims, "x" * 32, algorithm="HS256")
    for text in (forged, unsigned, shared):
        answer = ask(served, {"grant_type": JWT_BEARER, "assertion": text})
        assert refused(answer) == ("invalid_grant", "invalid assertion")


def test_who_is_connected(served: Served) -> None:
    info = served.http.get(f"{served.url}/services/oauth2/userinfo").json()
    assert (info["organization_id"], info["user_id"], info["preferred_username"]) == (
        world.ORGANIZATION_ID,
        world.USER,
        "ada@stripe.example",
    )
    assert len(info) >= 21
    identity = served.http.get(f"{served.url}/id/{world.ORGANIZATION_ID}/{world.USER}").json()
    assert identity["username"] == "ada@stripe.example"
    assert served.http.get(f"{served.url}/id/{world.ORGANIZATION_ID}/{world.LEAVER}").status_code == 403


def test_revoked_and_expired_sessions(served: Served) -> None:
    revoke = f"{served.url}/services/oauth2/revoke"
    assert served.http.post(revoke, data={"token": world.TOKEN}).status_code == 200
    assert served.http.get(served.data("limits")).status_code == 401
    assert served.http.post(revoke, data={"token": world.TOKEN}).json()["error"] == "invalid_token"
    assert served.http.get(f"{served.url}/services/oauth2/userinfo").text == "Bad_OAuth_Token"
    served.state.db.execute("UPDATE session SET expires_at = 1")
    other = {"Authorization": f"Bearer {world.OTHER_TOKEN}"}
    assert served.http.get(served.data("limits"), headers=other).status_code == 401
