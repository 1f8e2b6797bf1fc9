"""Connecting to a billing system and disconnecting, against an authorization server that does what a test says."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipeline.errors import ConfigurationError, GuardStop, ReconnectError, TransientError
from sync_pipeline.logins import connecting
from sync_pipeline.logins.connecting import Attempt, finish, from_refresh_token
from sync_pipeline.logins.grants import AuthorizationServer, Grant, GrantStore
from sync_pipeline.logins.rotating import RotatingLogin
from sync_pipeline.salesforce.logins.tokens import TokenStore
from sync_pipeline_tests.logins.granting import (
    CLIENT_SECRET,
    Granting,
    connected_to,
    granting,
    held,
    lost,
    parameters,
)
from sync_pipeline_tests.salesforce.scripted import Reply

REDIRECT = "http://localhost:1717/OauthRedirect"


def log_in(there: Granting, server: AuthorizationServer | None = None, **came_back: str) -> Grant:
    tried = Attempt("acme", server or there.server(), REDIRECT)
    return finish(tried, there.allow(tried.address, **came_back))


def quickbooks(there: Granting, **changes: Any) -> AuthorizationServer:
    """A server without proof keys that names the company when the browser comes back."""
    told = {"title": "QuickBooks", "pkce": False, "tenants": None, "tenant_parameter": "realmId"}
    return there.server(tenant_key="realm_id", **(told | changes))


def test_a_login_is_kept_with_whose_it_is(there: Granting) -> None:
    grant = log_in(there)
    assert (grant.title, grant.tenant, grant.tenant_name) == ("Xero", "t-1", "Acme SA")
    assert grant.connected_at.startswith("20")
    assert held().refresh_token == there.refresh_token
    assert RotatingLogin("acme", there.server()).access_token() == "session-1"
    assert there.refreshes == 0
    assert TokenStore().grants() == []  # Salesforce's are others


def test_the_address_asks_for_what_is_needed_and_no_more(there: Granting) -> None:
    first, second = (Attempt("acme", there.server(), REDIRECT) for _ in range(2))
    asked = parameters(first.address)
    assert set(asked) == {
        *("response_type", "client_id", "redirect_uri", "scope", "state"),
        *("code_challenge", "code_challenge_method"),
    }
    assert asked["state"] != parameters(second.address)["state"]
    for secret in (first.state, first.verifier, CLIENT_SECRET):
        assert secret not in repr(first)
    assert first.verifier not in first.address
    assert "code_challenge" not in Attempt("acme", quickbooks(there), REDIRECT).address


@pytest.mark.parametrize("state", ["", "forged"])
def test_an_answer_to_another_login_is_not_used(there: Granting, state: str) -> None:
    tried = Attempt("acme", there.server(), REDIRECT)
    with pytest.raises(ReconnectError, match=r"state differs.*sync-pipeline connect acme --billing"):
        finish(tried, there.allow(tried.address) | {"state": state})
    assert len(there.codes) == 1  # the code was sent nowhere


def test_a_code_without_its_verifier_is_worthless(there: Granting) -> None:
    tried, other = (Attempt("acme", there.server(), REDIRECT) for _ in range(2))
    answer = there.allow(other.address) | {"state": tried.state}
    with pytest.raises(ReconnectError, match=rf"invalid_grant: bad \*\*\*.*lists {REDIRECT}"):
        finish(tried, answer)


def test_a_denial_is_told(there: Granting) -> None:
    tried = Attempt("acme", there.server(), REDIRECT)
    with pytest.raises(ReconnectError, match=r"Access was not allowed \(access_denied: no description\)"):
        finish(tried, {"state": tried.state, "error": "access_denied"})
    with pytest.raises(ReconnectError, match="Xero refuses the login"):
        finish(tried, {"state": tried.state, "error": "invalid_scope"})


def test_a_server_that_gives_no_refresh_token(there: Granting) -> None:
    there.next_token = lambda reply: Reply(200, {"access_token": "session-1"})
    with pytest.raises(ConfigurationError, match="gives no refresh token"):
        log_in(there)


def test_of_several_tenants_the_file_has_to_name_one(there: Granting) -> None:
    there.tenants = {"t-1": "Acme SA", "t-2": "Acme GmbH"}
    with pytest.raises(ConfigurationError) as several:
        log_in(there)
    assert "tenant_id names none; the login reaches: Acme SA (t-1), Acme GmbH (t-2)." in str(several.value)
    assert GrantStore().grants() == []
    assert log_in(there, there.server(tenant="t-2")).tenant_name == "Acme GmbH"
    with pytest.raises(ConfigurationError, match="tenant_id says t-3; the login reaches: Acme SA"):
        log_in(there, there.server(tenant="t-3"))
    there.tenants = {}
    with pytest.raises(ConfigurationError, match="reaches: none"):
        log_in(there)
    assert held().refresh_token != there.refresh_token  # the earlier login stays


def test_a_company_comes_back_with_the_browser(there: Granting) -> None:
    assert log_in(there, quickbooks(there), realmId="123").tenant == "123"
    assert RotatingLogin("acme", quickbooks(there)).tenant == "123"
    with pytest.raises(ConfigurationError, match="realm_id says 456; the login reaches: 123"):
        log_in(there, quickbooks(there, tenant="456"), realmId="123")
    with pytest.raises(ConfigurationError, match="realm_id names none"):
        log_in(there, quickbooks(there))


def test_another_tenant_than_before_is_meant_or_not(there: Granting) -> None:
    log_in(there, quickbooks(there), realmId="123")
    before = held()
    with pytest.raises(GuardStop, match=r"connected to 123 of QuickBooks.*to 456.*disconnect acme --billing"):
        log_in(there, quickbooks(there), realmId="456")
    assert held() == before
    assert log_in(there, quickbooks(there, tenant="456"), realmId="456").tenant == "456"


def test_a_server_without_tenants(there: Granting) -> None:
    server = there.server(tenants=None)
    assert log_in(there, server).tenant is None
    assert RotatingLogin("acme", server).tenant is None


def test_a_refresh_token_that_somebody_has(there: Granting) -> None:
    grant = from_refresh_token("acme", quickbooks(there, tenant="123"), "refresh-0")
    assert grant.tenant == "123"
    assert (held().refresh_token, held().access_token, held().rotates) == ("refresh-1", "session-1", True)
    with pytest.raises(ReconnectError, match=r"invalid_grant: unknown \*\*\*.*app-1.*connect acme --billing") as old:
        from_refresh_token("acme", quickbooks(there, tenant="123"), "refresh-0")
    assert "refresh-0" not in str(old.value)
    assert held().refresh_token == "refresh-1"
    there.next_token = lost
    with pytest.raises(TransientError):
        from_refresh_token("acme", quickbooks(there, tenant="123"), "refresh-1")


def test_a_refresh_token_for_nobody_knows_which_company(there: Granting) -> None:
    with pytest.raises(ConfigurationError, match="Write realm_id into the section billing"):
        from_refresh_token("acme", quickbooks(there), "refresh-0")


def test_disconnecting_revokes_where_that_can_be_done(there: Granting) -> None:
    server = there.server(revoke_url=f"{there.url}/revoke")
    log_in(there, server)
    assert connecting.disconnect("acme", server) == (
        "acme is disconnected: Xero has revoked its login, and nothing of it is kept here."
    )
    assert there.revoked == [there.refresh_token]
    assert GrantStore().grant("acme") is None
    with pytest.raises(ConfigurationError, match="nothing to forget"):
        connecting.disconnect("acme", server)


@pytest.mark.parametrize("which", ["no address", "no file", "another app", "refused", "away"])
def test_forgetting_what_is_not_revoked(there: Granting, which: str) -> None:
    log_in(there)
    server: AuthorizationServer | None = there.server(revoke_url=f"{there.url}/revoke")
    if which == "no address":
        server = there.server()
    elif which == "no file":
        server = None
    elif which == "another app":
        server = there.server(revoke_url=f"{there.url}/revoke", client_id="app-2")
    elif which == "refused":
        server = there.server(revoke_url=f"{there.url}/revoke", client_secret="wrong")
    else:
        with granting() as gone:
            pass
        server = there.server(revoke_url=f"{gone.url}/revoke")
    said = connecting.disconnect("acme", server)
    assert "acme is forgotten here." in said
    assert "End it in Xero too" in said
    assert there.revoked == []
    assert GrantStore().grant("acme") is None


def test_a_damaged_file_is_forgotten_and_replaced(there: Granting) -> None:
    connected_to(there)
    file = GrantStore().folder / "acme.json"
    file.write_text("{")
    with pytest.raises(ConfigurationError, match="sync-pipeline connect acme --billing"):
        RotatingLogin("acme", there.server()).access_token()
    assert "End it in the billing system too" in connecting.disconnect("acme", there.server())
    assert not file.exists()
    log_in(there)
    file.write_text("{")
    log_in(there)
    assert held().refresh_token == there.refresh_token
