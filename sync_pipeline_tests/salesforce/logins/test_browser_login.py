"""A person's login: renewed by one process at a time, with a refresh token that is sent once and no more."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipeline import salesforce
from sync_pipeline.errors import ConfigurationError, ReconnectError, TransientError
from sync_pipeline.orgs import Organization
from sync_pipeline.salesforce.logins.browser_login import StoredLogin
from sync_pipeline.salesforce.logins.login import log_in
from sync_pipeline.salesforce.logins.tokens import TokenStore
from sync_pipeline_tests.paths import PROJECT
from sync_pipeline_tests.salesforce.logins.rotating import Rotating, by_browser, connected_to, lost, rotating
from sync_pipeline_tests.salesforce.scripted import Reply

PATH = "/services/data/v66.0/limits"


pytestmark = pytest.mark.usefixtures("own_machine")


@pytest.fixture
def org(there: Rotating, tmp_path: Path) -> Organization:
    organization = by_browser(tmp_path, there.url)
    connected_to(there, organization)
    return organization


def ask(org: Organization) -> int:
    """One request with the organization's login."""
    client = salesforce.connect(org)
    with client.session as session:
        return int(session.get(f"{client.instance_url}{PATH}").status_code)


def held() -> tuple[str, str]:
    store = TokenStore()
    grant = store.grant("acme")
    assert grant
    secrets = store.secrets(grant)
    return secrets.refresh_token, secrets.access_token


def test_the_stored_session_is_used_as_long_as_it_is_good(there: Rotating, org: Organization) -> None:
    assert [ask(org) for _ in range(3)] == [200] * 3
    assert there.refreshes == 0


def test_an_expired_session_is_renewed_once_and_stored_before_it_is_used(there: Rotating, org: Organization) -> None:
    there.expire()
    seen = []
    rows = there._rows
    there._rows = lambda path: seen.append(held()) or rows(path)  # type: ignore[method-assign, func-returns-value]
    assert ask(org) == 200
    assert (there.refreshes, there.reused) == (1, 0)
    assert seen == [(there.refresh_token, "session-2")]
    assert held()[0] not in there.retired


def test_each_expiry_sends_the_newest_token(there: Rotating, org: Organization) -> None:
    for expected in range(1, 5):
        there.expire()
        assert ask(org) == 200
        assert (there.refreshes, there.reused) == (expected, 0)


def test_an_app_that_does_not_rotate_keeps_its_token(there: Rotating, org: Organization) -> None:
    there.rotates = False
    for _ in range(3):
        there.expire()
        assert ask(org) == 200
    assert held()[0] == "refresh-0"


CHILD = """
import sys
from pathlib import Path
from sync_pipeline import salesforce
from sync_pipeline.orgs import load_organizations
org = load_organizations(Path(sys.argv[1])).organizations["acme"]
client = salesforce.connect(org)
sys.stdin.readline()
for _ in range(int(sys.argv[2])):
    client.session.get(client.instance_url + sys.argv[3])
"""


def child(org: Organization, times: int = 1) -> subprocess.Popen[str]:
    """Another process with the same login; it asks when told to."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(org.file.parent), str(times), PATH],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path])},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_several_processes_with_an_expired_session_refresh_once(there: Rotating, org: Organization) -> None:
    processes = [child(org, times=3) for _ in range(4)]
    there.expire()
    there.before_token = lambda: time.sleep(0.7)  # long enough for all to be refused before the first has an answer
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert (there.refreshes, there.reused) == (1, 0)


def test_a_process_killed_before_it_could_store_the_answer_costs_a_reconnect_and_no_more(
    there: Rotating, org: Organization
) -> None:
    there.expire()
    process = child(org)
    there.before_token = process.kill  # Salesforce goes on and replaces the token; nobody reads its answer
    process.communicate("go\n", timeout=60)
    there.before_token = lambda: None
    with pytest.raises(ReconnectError, match=r"answer was lost.*sync-pipeline connect acme"):
        ask(org)
    assert there.reused == 0


def test_a_process_killed_after_it_stored_the_answer_costs_nothing(there: Rotating, org: Organization) -> None:
    there.expire()
    process = child(org)
    rows = there._rows

    def kill_and_answer(path: str) -> Reply:
        process.kill()
        return rows(path)

    there._rows = kill_and_answer  # type: ignore[method-assign]
    process.communicate("go\n", timeout=60)
    assert process.returncode != 0
    there._rows = rows  # type: ignore[method-assign]
    assert ask(org) == 200
    assert (there.refreshes, there.reused) == (1, 0)


@pytest.mark.parametrize(
    "how", [lost, lambda reply: Reply(504), lambda reply: Reply(502, "<html>"), lambda reply: Reply(200, "<html>")]
)
def test_a_token_whose_answer_was_lost_is_not_sent_again(there: Rotating, org: Organization, how: object) -> None:
    there.expire()
    there.next_token = how  # type: ignore[assignment]
    for _ in range(3):
        with pytest.raises(ReconnectError, match=r"may have replaced .* sync-pipeline connect acme"):
            ask(org)
    assert (there.refreshes, there.reused) == (1, 0)


def test_where_tokens_do_not_rotate_a_lost_answer_is_asked_for_again(there: Rotating, org: Organization) -> None:
    there.rotates = False
    there.expire()
    assert ask(org) == 200
    there.expire()
    there.next_token = lost
    with pytest.raises(TransientError):
        ask(org)
    assert ask(org) == 200


@pytest.mark.parametrize("status", [500, 503, 406, 420])
def test_a_busy_salesforce_is_asked_again_later(there: Rotating, org: Organization, status: int) -> None:
    there.expire()
    there.next_refused = Reply(status)
    with pytest.raises(TransientError, match=f"HTTP {status}"):
        ask(org)
    assert ask(org) == 200
    assert there.reused == 0


def test_who_else_refreshes_at_the_same_moment_is_waited_for(there: Rotating, org: Organization) -> None:
    there.expire()
    busy = {"error": "invalid_grant", "error_description": "token request is already being processed"}
    there.next_refused = Reply(400, busy)
    with pytest.raises(TransientError, match="already being processed"):
        ask(org)
    assert ask(org) == 200


def test_a_salesforce_that_is_away_costs_nothing(org: Organization, there: Rotating) -> None:
    login = StoredLogin(org)
    assert login().access_token == "session-0"
    with rotating() as elsewhere:
        dead = elsewhere.url
    moved = by_browser(org.file.parent.parent, dead)
    connected_to(there, moved, login_url=dead)
    login = StoredLogin(moved)
    login()
    for _ in range(2):
        with pytest.raises(TransientError, match="can't be reached"):
            login()


def test_a_login_that_salesforce_ended_is_not_sent_again(there: Rotating, org: Organization) -> None:
    there.expire()
    there.refresh_token = None
    with pytest.raises(ReconnectError) as first:
        ask(org)
    said = str(first.value)
    assert "acme.yaml:" in said
    assert "invalid_grant: expired access/refresh token" in said
    for hint in ("administrator", "login hours or IP", "sync-pipeline connect acme", "sync-pipeline disconnect acme"):
        assert hint in said
    asked = there.refreshes
    there.refresh_token = "refresh-0"  # were it sent, it would be taken
    with pytest.raises(ReconnectError, match="has ended the login"):
        ask(org)
    assert there.refreshes == asked


def test_a_second_refusal_says_reconnect_in_salesforces_words(there: Rotating, org: Organization) -> None:
    there.refuse_sessions = True
    with pytest.raises(ReconnectError) as refused:
        ask(org)
    assert "INVALID_SESSION_ID: Session expired or invalid" in str(refused.value)
    assert "sync-pipeline connect acme" in str(refused.value)
    assert there.refreshes == 1


def test_threads_of_one_session_share_the_renewal(there: Rotating, org: Organization) -> None:
    client = salesforce.connect(org)
    there.expire()
    answers = []

    def get() -> None:
        answers.append(client.session.get(f"{client.instance_url}{PATH}").status_code)

    threads = [threading.Thread(target=get) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 6
    assert (there.refreshes, there.reused) == (1, 0)


def test_nobody_connected(tmp_path: Path, there: Rotating) -> None:
    with pytest.raises(ReconnectError, match=r"acme\.yaml:\d+: nobody has connected acme.*sync-pipeline connect acme"):
        log_in(by_browser(tmp_path, there.url))


def test_a_token_goes_to_no_other_app_and_no_other_host(there: Rotating, org: Organization, tmp_path: Path) -> None:
    login = {"method": "browser", "client_id": "another"}
    for changed in (
        by_browser(tmp_path, there.url, login=login),
        by_browser(tmp_path, "login.salesforce.com"),
    ):
        with pytest.raises(ReconnectError, match=r"was connected with another (client_id|domain)"):
            log_in(changed)


def test_a_session_goes_to_no_host_that_is_not_salesforces(there: Rotating, org: Organization) -> None:
    there.expire()

    def elsewhere(reply: Reply) -> Reply:
        assert isinstance(reply.body, dict)
        return Reply(200, reply.body | {"instance_url": "https://evil.example.com"})

    there.next_token = elsewhere
    with pytest.raises(ConfigurationError, match="not a Salesforce host"):
        ask(org)
    assert held()[0] == there.refresh_token  # the new token is kept all the same


def test_the_app_secret_is_sent_where_the_file_names_one(
    there: Rotating, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_APP_SECRET", "app-secret")
    login = {"method": "browser", "client_id": "3MVG9-browser", "client_secret": {"env": "ACME_APP_SECRET"}}
    org = by_browser(tmp_path, there.url, login=login)
    connected_to(there, org)
    there.expire()
    forms = []
    token = there._token
    there._token = lambda form: forms.append(form) or token(form)  # type: ignore[method-assign, func-returns-value]
    assert ask(org) == 200
    assert [form["client_secret"] for form in forms] == ["app-secret"]


EVENTS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["ask", "ask", "expire", "restart", "lose", "busy"])), max_size=25
)


@settings(max_examples=60)
@given(EVENTS)
def test_whatever_happens_one_token_is_live_or_a_person_is_asked(events: list[tuple[int, str]]) -> None:
    """Three processes with one login, in any order: no dead token is ever sent, and what is stored is what Salesforce holds."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, rotating() as there:
        patch.setenv("SYNC_PIPELINE_DATA", folder)
        org = by_browser(Path(folder), there.url)
        connected_to(there, org)
        logins = [StoredLogin(org) for _ in range(3)]
        ended = False
        for who, event in events:
            if event == "ask":
                ended |= asked_in_vain(there, logins[who])
            elif event == "restart":
                logins[who] = StoredLogin(org)
            else:
                {"expire": there.expire, "lose": there.lose_next, "busy": there.refuse_next}[event]()
        assert there.reused == 0
        if not ended:
            assert held()[0] == there.refresh_token


def asked_in_vain(there: Rotating, login: StoredLogin) -> bool:
    """Get a session as a request does, twice where the first is refused; whether a person has to connect again."""
    try:
        for _ in range(2):
            if login().access_token in there.sessions:
                break
    except TransientError:
        pass  # busy: the next one asks again
    except ReconnectError:
        return True
    return False
