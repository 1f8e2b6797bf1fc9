from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sync_pipeline.errors import ConfigurationError, ReconnectError, TransientError
from sync_pipeline.salesforce.logins.login import log_in
from sync_pipeline_tests.salesforce.organizations import organization
from sync_pipeline_tests.salesforce.scripted import Reply, Request, in_turn, serving

SECRET = "0123456789ABCDEF-secret"


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_SECRET", SECRET)


def refusal(error: str, description: str, status: int = 400) -> Reply:
    return Reply(status, {"error": error, "error_description": description})


def jwt_login(**settings: object) -> dict[str, object]:
    login = {"method": "jwt", "client_id": "3MVG9", "username": "sync@acme.example"} | settings
    return {"domain": "http://127.0.0.1:1", "login": login}


def test_client_credentials_are_exchanged_for_a_session() -> None:
    def answer(request: Request) -> Reply:
        return Reply(200, {"access_token": "00Dx!token", "instance_url": server.url})

    with serving(answer) as server:
        token = log_in(organization(server.url))
    assert token.instance_url == server.url
    assert "00Dx!token" not in repr(token)
    (request,) = server.requests
    assert request.path == "/services/oauth2/token"
    form = {"grant_type": ["client_credentials"], "client_id": ["3MVG9"], "client_secret": [SECRET]}
    assert parse_qs(request.body.decode()) == form


@pytest.mark.parametrize(
    ("error", "description", "advice"),
    [
        ("invalid_client", "invalid client credentials", "client_secret"),
        ("invalid_grant", "no client credentials user enabled", "Run As"),
        ("invalid_grant", "request not supported on this domain", "My Domain"),
        ("unsupported_grant_type", "grant type not supported", "Enable the client credentials flow"),
        ("inactive_user", "user is inactive", "Activate"),
    ],
)
def test_a_refused_login_says_salesforces_own_reason_and_what_to_do(error: str, description: str, advice: str) -> None:
    with serving(in_turn(refusal(error, description))) as server, pytest.raises(ReconnectError) as caught:
        log_in(organization(server.url))
    assert f"{error}: {description}" in str(caught.value)
    assert advice in str(caught.value)


def test_no_error_repeats_the_secret() -> None:
    echo = refusal("invalid_client", f"client secret {SECRET} is wrong")
    with serving(in_turn(echo)) as server, pytest.raises(ReconnectError) as caught:
        log_in(organization(server.url))
    assert SECRET not in str(caught.value)
    assert "client secret ***" in str(caught.value)


def test_a_login_that_is_put_off_is_tried_later() -> None:
    with serving(in_turn(refusal("invalid_grant", "login rate exceeded"))) as server, pytest.raises(TransientError):
        log_in(organization(server.url))


@pytest.mark.parametrize("status", [503, 420, 406])
def test_a_busy_login_host_is_transient_whatever_its_body(status: int) -> None:
    with serving(in_turn(Reply(status))) as server, pytest.raises(TransientError, match=f"HTTP {status}"):
        log_in(organization(server.url))


@pytest.mark.parametrize("reply", [Reply(404, "<html>no such page"), Reply(200, "<html>"), Reply(200, {"token": 1})])
def test_a_host_that_is_not_salesforce_is_told_apart(reply: Reply) -> None:
    with serving(in_turn(reply)) as server, pytest.raises(ConfigurationError, match="not as Salesforce does"):
        log_in(organization(server.url))


def test_a_dead_host_is_transient_and_named() -> None:
    with serving(in_turn(Reply())) as server:
        url = server.url
    with pytest.raises(TransientError, match=url.removeprefix("http://")):
        log_in(organization(url))


@pytest.mark.parametrize(
    "instance_url",
    [
        "https://evil.example.com",
        "https://acme.my.salesforce.com.evil.example.com",
        "https://acme.my.salesforce.com@evil.example.com",
        "https://evil.example.com/acme.my.salesforce.com",
        "http://acme.my.salesforce.com",
        "https://acme.my.salesforce.com",  # Salesforce's, but named by a host on loopback
        "https://[broken",
        "",
    ],
)
def test_a_session_is_never_sent_to_a_host_that_is_not_salesforces(instance_url: str) -> None:
    token = Reply(200, {"access_token": "00Dx!token", "instance_url": instance_url})
    refused = pytest.raises(ConfigurationError, match="not a Salesforce host")
    with serving(in_turn(token)) as server, refused as caught:
        log_in(organization(server.url))
    assert "00Dx!token" not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("domain", ["evil.example.com", "login.salesforce.com", "acme.my.salesforce.com/..", "a b"])
def test_a_domain_from_the_environment_is_checked_before_anything_is_sent(
    domain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_DOMAIN", domain)
    login = {"method": "client_credentials", "client_id": "3MVG9", "client_secret": {"env": "ACME_SECRET"}}
    with pytest.raises(ConfigurationError):
        log_in(organization("", salesforce={"domain": {"env": "ACME_DOMAIN"}, "login": login}))


def test_a_missing_secret_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_SECRET")
    with pytest.raises(ConfigurationError, match="ACME_SECRET"):
        log_in(organization("http://127.0.0.1:1"))


@pytest.mark.parametrize("escaped", [False, True])
def test_a_jwt_is_signed_for_three_minutes(escaped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    monkeypatch.setenv("ACME_KEY", pem.replace("\n", "\\n") if escaped else pem)

    def answer(request: Request) -> Reply:
        return Reply(200, {"access_token": "00Dx!token", "instance_url": server.url})

    with serving(answer) as server:
        settings = jwt_login(private_key={"env": "ACME_KEY"}) | {"domain": server.url}
        log_in(organization(server.url, salesforce=settings))
    form = parse_qs(server.requests[0].body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    claims = jwt.decode(form["assertion"][0], key.public_key(), algorithms=["RS256"], audience=server.url)
    assert (claims["iss"], claims["sub"]) == ("3MVG9", "sync@acme.example")


def test_what_is_no_key_is_named_but_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", "not-a-key-but-secret")
    with pytest.raises(ConfigurationError, match="no private key that RS256 can sign with") as caught:
        log_in(organization("", salesforce=jwt_login(private_key={"env": "ACME_KEY"})))
    assert "not-a-key-but-secret" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"can't be read from .*gone\.pem"):
        log_in(organization("", salesforce=jwt_login(private_key_file=str(tmp_path / "gone.pem"))))
    with pytest.raises(ConfigurationError, match="needs a private key"):
        log_in(organization("", salesforce=jwt_login()))
