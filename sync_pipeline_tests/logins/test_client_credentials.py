"""A server's login: fetched when needed, renewed before its end and once where it is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest

from sync_pipeline.errors import ConfigurationError, ReconnectError, TransientError
from sync_pipeline.http import ApiSession
from sync_pipeline.logins import answers
from sync_pipeline.logins.client_credentials import ClientCredentialsLogin
from sync_pipeline_tests.salesforce.scripted import Reply, Request, Server, serving

SECRET = "app-secret"


class Tokens:
    """Gives session-1, session-2, ...; the newest is good."""

    def __init__(self) -> None:
        self.number, self.expires_in = 0, 3600
        self.next: Reply | None = None

    def __call__(self, request: Request) -> Reply:
        if request.path == "/token":
            if self.next:
                refused, self.next = self.next, None
                return refused
            self.number += 1
            return Reply(200, {"access_token": f"session-{self.number}", "expires_in": self.expires_in})
        good = request.headers["Authorization"] == f"Bearer session-{self.number}"
        return Reply(200 if good else 401, {})


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def there(machine: object, tokens: Tokens) -> Iterator[Server]:
    with serving(tokens) as server:
        yield server


def login_to(there: Server, **changes: Any) -> ClientCredentialsLogin:
    form: Callable[[], dict[str, str]] = lambda: {  # noqa: E731
        "grant_type": "client_credentials",
        "client_id": "app",
        "client_secret": SECRET,
    }
    settings = {"title": "Sellsy", "where": "acme.yaml:9", "token_url": f"{there.url}/token", "form": form}
    return ClientCredentialsLogin(**(settings | changes))


def ask(there: Server, login: ClientCredentialsLogin) -> int:
    with ApiSession(retries=0) as session:
        session.auth = login
        return session.get(f"{there.url}/rows").status_code


def test_one_token_serves_many_requests(there: Server, tokens: Tokens) -> None:
    login = login_to(there)
    assert [ask(there, login) for _ in range(3)] == [200] * 3
    assert tokens.number == 1
    assert login.secrets == ("session-1",)
    (asked,) = there.asked("POST", "/token")
    assert parse_qs(asked.body.decode())["client_secret"] == [SECRET]
    assert "Authorization" not in asked.headers


def test_a_minute_before_its_end_another_is_fetched(
    there: Server, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000_000.0]
    monkeypatch.setattr(answers.time, "time", lambda: now[0])
    login = login_to(there)
    assert login.access_token() == "session-1"
    now[0] += 3600 - 61
    assert login.access_token() == "session-1"
    now[0] += 2
    assert login.access_token() == "session-2"


def test_a_refused_token_is_replaced(there: Server, tokens: Tokens) -> None:
    login = login_to(there)
    assert not login.renew()  # nothing was sent that could have been refused
    assert ask(there, login) == 200
    tokens.number += 1
    assert ask(there, login) == 401
    assert login.renew()
    assert ask(there, login) == 200


def test_a_form_is_made_anew_and_basic_is_sent(there: Server, tokens: Tokens) -> None:
    made = iter(["jwt-1", "jwt-2"])
    login = login_to(there, form=lambda: {"client_assertion": next(made)}, basic=("app", SECRET))
    login.access_token()
    login.renew()
    asked = there.asked("POST", "/token")
    assert [request.body for request in asked] == [b"client_assertion=jwt-1", b"client_assertion=jwt-2"]
    assert asked[0].headers["Authorization"] == "Basic YXBwOmFwcC1zZWNyZXQ="
    assert SECRET in login.secrets


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (
            Reply(401, {"error": "invalid_client", "error_description": f"{SECRET} is\nwrong"}),
            ReconnectError,
            r"acme.yaml:9: Sellsy refuses the login \(invalid_client: \*\*\* is wrong\). Check client_id",
        ),
        (Reply(401, {"reasons": [{"message": f"bad {SECRET}"}]}), ReconnectError, r"refuses the login \(bad \*\*\*"),
        (Reply(401, "<html>"), ReconnectError, r"refuses the login \(HTTP 401\)"),
        (Reply(404, "<html>"), ConfigurationError, "HTTP 404, but not as Sellsy does"),
        (Reply(200, "<html>"), ConfigurationError, "HTTP 200, but not as Sellsy does"),
        (Reply(200, {"access_token": "a b"}), ConfigurationError, "HTTP 200"),
        (Reply(429, "", {"Retry-After": "600"}), TransientError, "HTTP 429"),
    ],
)
def test_what_is_no_token(there: Server, tokens: Tokens, reply: Reply, error: type[Exception], words: str) -> None:
    def said(answer: Any) -> str | None:
        return answer["reasons"][0]["message"] if "reasons" in answer else None

    tokens.next = reply
    login = login_to(there, said=said)
    with pytest.raises(error, match=words) as refused:
        login.access_token()
    assert SECRET not in str(refused.value)
    assert login.access_token() == "session-1"


def test_a_passing_failure_is_asked_again(there: Server, tokens: Tokens) -> None:
    tokens.next = Reply(503)
    assert login_to(there).access_token() == "session-1"


def test_a_life_beyond_all_bounds_is_none_that_is_known() -> None:
    assert answers.good_until({"expires_in": 10**400}, 0.0) is None
