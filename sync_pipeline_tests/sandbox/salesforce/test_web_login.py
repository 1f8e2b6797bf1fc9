"""The web-server flow with PKCE, refresh tokens that rotate, and the five approvals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sync_pipeline.sandbox.salesforce import create_app
from sync_pipeline_tests.sandbox.salesforce import browser, world
from sync_pipeline_tests.sandbox.salesforce.conftest import Served
from sync_pipeline_tests.sandbox.salesforce.test_oauth import SECRET, refused

EXPIRED = ("invalid_grant", "expired access/refresh token")


def test_allow_and_deny(served: Served) -> None:
    page = browser.visit(served)
    assert "Company 1" in page.text
    assert f"admin@{world.ORG}.example" in page.text
    told = browser.answer(browser.press(served, page))
    assert told.keys() == {"code", "state"}
    assert told["state"] == "s & t"
    assert browser.answer(browser.press(served, page, "deny")) == {
        "error": "access_denied",
        "error_description": "end-user denied authorization",
        "state": "s & t",
    }


def test_what_a_code_gives(served: Served) -> None:
    held = browser.connected(served)
    assert held.keys() == {
        *("access_token", "refresh_token", "signature", "scope", "instance_url", "id", "token_type", "issued_at")
    }
    assert set(held["scope"].split()) == {"id", "api", "refresh_token"}
    assert held["id"] == f"{served.url}/id/{world.ORGANIZATION_ID}/{world.USER}"
    assert browser.lives(served, held["access_token"])


def test_no_refresh_token_unless_asked_for(served: Served) -> None:
    assert "refresh_token" not in browser.redeemed(served, browser.allowed(served, scope="api full")).json()
    assert "refresh_token" in browser.redeemed(served, browser.allowed(served, scope=None)).json()
    assert "refresh_token" in browser.redeemed(served, browser.allowed(served, scope="offline_access")).json()


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"client_id": "nobody"}, ("invalid_client_id", "client identifier invalid")),
        ({"redirect_uri": None}, ("invalid_request", "missing required parameter: redirect_uri")),
        ({"redirect_uri": "https://example.com/OauthRedirect"}, ("redirect_uri_mismatch", None)),
        ({"redirect_uri": "https://localhost:1717/OauthRedirect"}, ("redirect_uri_mismatch", None)),
        ({"redirect_uri": "http://localhost:1717/elsewhere"}, ("redirect_uri_mismatch", None)),
        ({"redirect_uri": "http://localhost:x/OauthRedirect"}, ("redirect_uri_mismatch", None)),
        ({"redirect_uri": "http://localhost@example.com/OauthRedirect"}, ("redirect_uri_mismatch", None)),
        ({"scope": "api everything"}, ("invalid_scope", "the requested scope is not allowed")),
    ],
)
def test_errors_that_only_the_person_sees(
    served: Served, changed: dict[str, Any], error: tuple[str, str | None]
) -> None:
    sent_on = browser.visit(served, **changed)
    assert sent_on.status_code == 302
    where = urlsplit(sent_on.headers["Location"])
    told = parse_qs(where.query)
    assert where.path == "/setup/secur/RemoteAccessErrorPage.apexp"
    assert told["error"] == [error[0]]
    assert told["error_description"] == [error[1] or "redirect_uri must match configuration"]
    shown = served.http.get(f"{served.url}{sent_on.headers['Location']}")
    assert (shown.status_code, error[0] in shown.text) == (400, True)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, ("unsupported_response_type", "response type not supported")),
        ({"code_challenge": None}, ("invalid_request", "missing required code challenge")),
        ({"code_challenge": "short"}, ("invalid_request", "invalid code challenge")),
        ({"code_challenge_method": "plain"}, ("invalid_request", "invalid code challenge method")),
    ],
)
def test_errors_that_the_app_hears_of(served: Served, changed: dict[str, Any], error: tuple[str, str]) -> None:
    told = browser.answer(browser.visit(served, **changed))
    assert (told["error"], told["error_description"]) == error
    assert told["state"] == "s & t"


def test_a_challenge_without_a_method_is_sha_256(served: Served) -> None:
    assert browser.redeemed(served, browser.allowed(served, code_challenge_method=None)).status_code == 200


def test_a_form_that_nobody_was_shown(served: Served) -> None:
    posted = served.http.post(
        f"{served.url}/services/oauth2/authorize",
        data={**browser.ASKED, "code_challenge": "", "decision": "allow"},
        allow_redirects=False,
    )
    assert browser.answer(posted)["error"] == "invalid_request"


def test_a_code_is_good_once(served: Served) -> None:
    code = browser.allowed(served)
    assert browser.redeemed(served, code).status_code == 200
    assert refused(browser.redeemed(served, code)) == ("invalid_grant", "expired authorization code")
    late = browser.allowed(served)
    served.state.db.execute("UPDATE authorization_code SET created_at = created_at - 1000")
    assert refused(browser.redeemed(served, late)) == ("invalid_grant", "expired authorization code")


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"code": "guessed"}, ("invalid_grant", "invalid authorization code")),
        ({"code_verifier": "w" * 64}, ("invalid_grant", "invalid code verifier")),
        ({"code_verifier": ""}, ("invalid_grant", "invalid code verifier")),
        ({"redirect_uri": "http://localhost:1718/OauthRedirect"}, ("redirect_uri_mismatch", None)),
        ({"client_id": f"client-{world.OTHER}"}, ("invalid_grant", "invalid authorization code")),
        ({"client_id": "nobody"}, ("invalid_client_id", "client identifier invalid")),
        ({"client_secret": "wrong"}, ("invalid_client", "invalid client credentials")),
    ],
)
def test_codes_that_give_nothing(served: Served, changed: dict[str, str], error: tuple[str, str | None]) -> None:
    form = {"code": browser.allowed(served), **changed}
    assert refused(browser.redeemed(served, **form)) == (error[0], error[1] or "redirect_uri must match configuration")


def test_a_secret_is_not_needed_but_a_right_one_is_taken(served: Served) -> None:
    assert browser.redeemed(served, browser.allowed(served), client_secret=SECRET).status_code == 200


def test_each_refresh_replaces_the_refresh_token(served: Served) -> None:
    first = browser.connected(served)
    second = browser.refreshed(served, first["refresh_token"]).json()
    third = browser.refreshed(served, second["refresh_token"]).json()
    assert len({held["refresh_token"] for held in (first, second, third)}) == 3
    assert second["scope"] == first["scope"]
    assert all(browser.lives(served, held["access_token"]) for held in (first, second, third))


def test_a_replaced_token_ends_everything(served: Served) -> None:
    first, bystander = browser.connected(served), browser.connected(served)
    second = browser.refreshed(served, first["refresh_token"]).json()
    assert refused(browser.refreshed(served, first["refresh_token"])) == EXPIRED
    assert refused(browser.refreshed(served, second["refresh_token"])) == EXPIRED
    assert not browser.lives(served, first["access_token"])
    assert not browser.lives(served, second["access_token"])
    assert browser.lives(served, bystander["access_token"])
    assert browser.refreshed(served, bystander["refresh_token"]).status_code == 200


def test_two_refreshes_at_once_end_everything(served: Served) -> None:
    held = browser.connected(served)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: browser.refreshed(served, held["refresh_token"]), range(4)))
    won = [answer.json() for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    assert refused(browser.refreshed(served, won[0]["refresh_token"])) == EXPIRED
    assert not browser.lives(served, won[0]["access_token"])


def test_refreshes_that_are_refused(served: Served) -> None:
    held = browser.connected(served)
    assert refused(browser.refreshed(served, "guessed")) == EXPIRED
    form = {"grant_type": "refresh_token", "refresh_token": held["refresh_token"]}
    assert refused(browser.token(served, **form, client_id=f"client-{world.OTHER}")) == EXPIRED
    wrong = browser.token(served, **form, client_secret="wrong")
    assert refused(wrong) == ("invalid_client", "invalid client credentials")
    served.state.db.execute("UPDATE refresh_token SET created_at = created_at - 31 * 86400")
    assert refused(browser.refreshed(served, held["refresh_token"])) == EXPIRED
    served.listening.app = create_app(served.state, refresh_idle_days=0)
    assert browser.refreshed(served, held["refresh_token"]).status_code == 200


def test_the_sixth_approval_ends_the_oldest(served: Served) -> None:
    without = browser.redeemed(served, browser.allowed(served, scope="api")).json()  # does not count
    held = [browser.connected(served) for _ in range(6)]
    assert [browser.lives(served, one["access_token"]) for one in held] == [False, *[True] * 5]
    assert refused(browser.refreshed(served, held[0]["refresh_token"])) == EXPIRED
    assert browser.lives(served, without["access_token"])
    assert all(browser.refreshed(served, one["refresh_token"]).status_code == 200 for one in held[1:])


def test_approvals_survive_what_a_restart_keeps(served: Served) -> None:
    held = browser.connected(served)
    served.restart()
    assert browser.refreshed(served, held["refresh_token"]).status_code == 200


def test_revoking(served: Served) -> None:
    held, other = browser.connected(served), browser.connected(served)
    address = f"{served.url}/services/oauth2/revoke"
    assert served.http.post(address, data={"token": held["access_token"]}).status_code == 200
    assert not browser.lives(served, held["access_token"])
    renewed = browser.refreshed(served, held["refresh_token"]).json()
    assert refused(served.http.get(address, params={"token": held["refresh_token"]})) == (
        "invalid_token",
        "token is invalid",
    )
    assert served.http.get(address, params={"token": renewed["refresh_token"]}).status_code == 200
    assert not browser.lives(served, renewed["access_token"])
    assert refused(browser.refreshed(served, renewed["refresh_token"])) == EXPIRED
    assert browser.lives(served, other["access_token"])


def test_a_user_who_left(served: Served) -> None:
    held = browser.connected(served)
    served.state.db.execute('UPDATE "user" SET "IsActive" = 0 WHERE "Id" = ?', (world.USER,))
    assert refused(browser.refreshed(served, held["refresh_token"])) == ("inactive_user", "user is inactive")
