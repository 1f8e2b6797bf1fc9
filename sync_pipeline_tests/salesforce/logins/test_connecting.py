"""Connecting and disconnecting against a Salesforce that does what a test says."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from sync_pipeline.errors import ConfigurationError, GuardStop, ReconnectError, SyncError
from sync_pipeline.logins import callback
from sync_pipeline.orgs import Organization
from sync_pipeline.salesforce.logins import approvals, connecting
from sync_pipeline.salesforce.logins.browser_login import StoredLogin
from sync_pipeline.salesforce.logins.tokens import Grant, TokenStore
from sync_pipeline.salesforce.organization import Identity
from sync_pipeline_tests.salesforce.logins.rotating import (
    PRODUCTION,
    SANDBOX,
    Rotating,
    by_browser,
    connected_to,
    rotating,
)
from sync_pipeline_tests.salesforce.scripted import Reply

REDIRECT = callback.address(1717)


pytestmark = pytest.mark.usefixtures("own_machine")


@pytest.fixture
def org(there: Rotating, tmp_path: Path) -> Organization:
    return by_browser(tmp_path, there.url)


def parameters(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def log_in(there: Rotating, org: Organization, recorded: Identity | None = None) -> Grant:
    tried = connecting.attempt(org, REDIRECT)
    return connecting.finish(tried, parameters(there.allow(tried.address)), recorded)


def stored(org: Organization) -> str:
    store = TokenStore()
    grant = store.grant(org.name)
    assert grant
    return store.secrets(grant).refresh_token


def test_a_login_is_kept_with_who_and_where(there: Rotating, org: Organization) -> None:
    grant = log_in(there, org)
    assert (grant.organization_id, grant.organization_name, grant.is_sandbox) == (PRODUCTION, "Acme SA", False)
    assert grant.username == "sync@acme.example"
    assert stored(org) == there.refresh_token


def test_the_address_asks_for_what_is_needed_and_no_more(org: Organization) -> None:
    first, second = (connecting.attempt(org, REDIRECT) for _ in range(2))
    asked = parameters(first.address)
    assert asked["scope"] == "api refresh_token"
    assert asked["redirect_uri"] == "http://localhost:1717/OauthRedirect"
    assert asked["prompt"] == "login"
    assert first.verifier not in first.address
    assert first.state not in repr(first)
    assert first.verifier not in repr(first)
    assert len(first.verifier) >= 43  # RFC 7636
    assert asked["state"] != parameters(second.address)["state"]


@pytest.mark.parametrize("state", [None, "", "forged"])
def test_an_answer_to_another_login_is_not_used(there: Rotating, org: Organization, state: str | None) -> None:
    tried = connecting.attempt(org, REDIRECT)
    answer = parameters(there.allow(tried.address)) | {"state": state or ""}
    with pytest.raises(ReconnectError, match="state differs"):
        connecting.finish(tried, answer, None)
    assert len(there.challenges) == 1  # the code was sent nowhere


def test_a_code_without_its_verifier_is_worthless(there: Rotating, org: Organization) -> None:
    tried, other = (connecting.attempt(org, REDIRECT) for _ in range(2))
    answer = parameters(there.allow(other.address)) | {"state": tried.state}
    with pytest.raises(ReconnectError, match=r"invalid code verifier.*http://localhost:1717/OauthRedirect"):
        connecting.finish(tried, answer, None)


def test_a_denial_is_told_in_salesforces_words_on_one_line(org: Organization) -> None:
    tried = connecting.attempt(org, REDIRECT)
    denied = {
        "state": tried.state,
        "error": "access_denied",
        "error_description": "end-user denied\x1b[2J\nauthorization",
    }
    with pytest.raises(ReconnectError) as refused:
        connecting.finish(tried, denied, None)
    assert "Access was not allowed (access_denied: end-user denied [2J authorization)" in str(refused.value)
    blocked = {"state": tried.state, "error": "OAUTH_APP_BLOCKED"}
    with pytest.raises(ReconnectError, match=r"refuses the login \(OAUTH_APP_BLOCKED: no description\)"):
        connecting.finish(tried, blocked, None)


def test_an_app_without_refresh_tokens_is_named(there: Rotating, org: Organization) -> None:
    def without(reply: Reply) -> Reply:
        assert isinstance(reply.body, dict)
        del reply.body["refresh_token"]
        return reply

    there.next_token = without
    with pytest.raises(ConfigurationError, match="scope refresh_token"):
        log_in(there, org)


@pytest.mark.parametrize("pinned", [True, False])
def test_a_login_to_another_organization_is_ended_and_not_kept(there: Rotating, tmp_path: Path, pinned: bool) -> None:
    org = by_browser(tmp_path, there.url, **({"organization_id": SANDBOX} if pinned else {}))
    recorded = None if pinned else Identity(SANDBOX, "Acme SA", True)
    with pytest.raises((ConfigurationError, GuardStop), match=f"{PRODUCTION}.*{SANDBOX}") as refused:
        log_in(there, org, recorded)
    assert "acme.yaml" in str(refused.value)
    assert "salesforce.organization_id" in str(refused.value)
    assert there.refresh_token is None
    assert TokenStore().grants() == []


def test_the_first_connection_decides_until_it_is_ended(there: Rotating, org: Organization) -> None:
    log_in(there, org)
    there.organization_id = SANDBOX
    with pytest.raises(GuardStop):
        log_in(there, org)
    connecting.disconnect("acme", org)
    assert log_in(there, org).organization_id == SANDBOX


def test_a_user_who_can_do_nothing_is_not_kept(there: Rotating, org: Organization) -> None:
    there.refuse_sessions = True
    with pytest.raises(ReconnectError, match="INVALID_SESSION_ID"):
        log_in(there, org)
    assert there.refresh_token is None
    assert TokenStore().grants() == []


def test_connecting_again_ends_the_earlier_login(there: Rotating, org: Organization) -> None:
    revoked = []
    revoke = there._revoke
    there._revoke = lambda token: revoked.append(token) or revoke(token)  # type: ignore[method-assign, func-returns-value]
    log_in(there, org)
    first = stored(org)
    log_in(there, org)
    assert revoked == [first]
    assert stored(org) != first


def test_disconnecting_revokes_and_forgets(there: Rotating, org: Organization) -> None:
    log_in(there, org)
    assert "Salesforce has revoked its login" in connecting.disconnect("acme", org)
    assert there.refresh_token is None
    assert TokenStore().grant("acme") is None
    with pytest.raises(ConfigurationError, match="not connected by browser"):
        connecting.disconnect("acme", org)


def test_what_salesforce_revoked_already_is_forgotten(there: Rotating, org: Organization) -> None:
    log_in(there, org)
    there.refresh_token = None
    assert "is disconnected" in connecting.disconnect("acme", org)


def test_a_salesforce_that_is_away_does_not_keep_a_login_here(tmp_path: Path) -> None:
    with rotating() as there:
        org = by_browser(tmp_path, there.url)
        log_in(there, org)
    said = connecting.disconnect("acme", org)
    assert "forgotten here, but Salesforce could not be told" in said
    assert "Revoke" in said
    assert TokenStore().grant("acme") is None


def test_a_damaged_or_shared_file_is_ended_too(there: Rotating, org: Organization) -> None:
    log_in(there, org)
    file = TokenStore().folder / "acme.json"
    file.chmod(0o644)
    assert "Salesforce has revoked" in connecting.disconnect("acme", None)
    assert there.refresh_token is None
    log_in(there, org)
    file.write_text("{")
    assert "could not be told" in connecting.disconnect("acme", org)
    assert not file.exists()


# Five organizations


def six(there: Rotating, folder: Path) -> list[Organization]:
    organizations = []
    for number in range(6):
        org = by_browser(folder, there.url, name=f"org_{number}")
        connected_to(there, org, connected_at=f"2026-01-0{number + 1}T00:00:00+00:00")
        organizations.append(org)
    return organizations


def test_six_organizations_of_one_user_are_named(there: Rotating, tmp_path: Path) -> None:
    organizations = six(there, tmp_path)
    ((*shared,),) = approvals.too_many()
    assert approvals.names(shared) == "org_0, org_1, org_2, org_3, org_4 and org_5"
    with pytest.raises(SyncError) as refused:
        approvals.told(organizations[2])
    said = str(refused.value)
    assert "org_0, org_1, org_2, org_3, org_4 and org_5" in said
    assert "org_0 may stop any time" in said
    assert "sync-pipeline disconnect org_5" in said
    assert "sync@acme.example" not in said
    TokenStore().forget("org_3", None)
    assert approvals.too_many() == []
    assert "5 of at most 5" in approvals.told(organizations[2])


def test_other_users_and_other_apps_count_apart(there: Rotating, tmp_path: Path) -> None:
    organizations = six(there, tmp_path)
    connected_to(there, organizations[0], user_id="0055g000001BBBBAA4")
    assert approvals.too_many() == []
    connected_to(there, organizations[0], client_id="another")
    assert approvals.too_many() == []
    connected_to(there, organizations[0], organization_id=SANDBOX)
    assert approvals.too_many() == []


def test_before_the_sixth_the_others_are_known(there: Rotating, tmp_path: Path) -> None:
    organizations = six(there, tmp_path)
    seventh = by_browser(tmp_path, there.url, name="seventh")
    assert len(approvals.full(seventh)) == 6
    assert len(approvals.full(organizations[5])) == 5
    TokenStore().forget("org_0", None)
    TokenStore().forget("org_1", None)
    assert approvals.full(seventh) == []


def test_a_login_that_an_earlier_version_kept_goes_on(there: Rotating, org: Organization) -> None:
    file = TokenStore().folder / "acme.json"
    file.parent.mkdir(parents=True)
    file.touch(mode=0o600)
    file.write_text(
        '{"organization": "acme", "login_url": "' + there.url + '", "client_id": "3MVG9-browser", '
        f'"organization_id": "{PRODUCTION}", "organization_name": "Acme SA", "is_sandbox": false, '
        '"user_id": "0055g000001AAAAAA4", "username": "sync@acme.example", '
        '"connected_at": "2026-01-02T03:04:05+00:00", "kept_in": "file", "key": "acme-0123456789abcdef", "secrets": '
        '{"refresh_token": "refresh-0", "access_token": "session-9", "instance_url": "' + there.url + '", '
        '"rotates": true, "sent_at": null, "refused": null}}'
    )
    there.expire()
    login = StoredLogin(org)
    assert login().access_token == "session-9"
    assert login().access_token in there.sessions
    assert stored(org) == there.refresh_token != "refresh-0"
