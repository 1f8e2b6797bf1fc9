"""A connected login: renewed by one process at a time, stored before it is used, and never a dead token sent."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipeline.errors import ConfigurationError, ReconnectError, SyncError, TransientError
from sync_pipeline.http import ApiSession
from sync_pipeline.logins.rotating import RotatingLogin
from sync_pipeline_tests.logins.granting import CLIENT_SECRET, Granting, alter, connected_to, granting, held, lost
from sync_pipeline_tests.paths import PROJECT
from sync_pipeline_tests.salesforce.scripted import Reply


@pytest.fixture
def login(there: Granting) -> RotatingLogin:
    connected_to(there)
    return RotatingLogin("acme", there.server())


def ask(there: Granting, login: RotatingLogin) -> int:
    """One request as a connector makes it: again where a refused token could be renewed."""
    with ApiSession(retries=0) as session:
        session.auth = login
        status = session.get(f"{there.url}/rows").status_code
        if status == 401 and login.renew():
            status = session.get(f"{there.url}/rows").status_code
    return status


def test_a_stored_token_is_used_as_long_as_it_is_good(there: Granting, login: RotatingLogin) -> None:
    assert [ask(there, login) for _ in range(3)] == [200] * 3
    assert there.refreshes == 0
    assert login.tenant == "t-1"


def test_before_its_end_it_is_renewed_and_stored_before_it_is_used(there: Granting, login: RotatingLogin) -> None:
    alter(good_until=time.time() - 1)
    stored = []
    there.before_row = lambda: stored.append(held())
    asked_at = time.time()
    assert ask(there, login) == 200
    assert [(one.refresh_token, one.access_token, one.sent_at) for one in stored] == [("refresh-1", "session-1", None)]
    assert stored[0].rotates is True
    assert stored[0].good_until == pytest.approx(asked_at + 1800 - 60, abs=5)
    assert (there.refreshes, there.reused) == (1, 0)


def test_a_refused_token_is_renewed_once(there: Granting, login: RotatingLogin) -> None:
    assert ask(there, login) == 200
    for expected in (1, 2, 3):
        there.expire()
        assert ask(there, login) == 200
        assert (there.refreshes, there.reused) == (expected, 0)


def test_what_another_process_fetched_is_used(there: Granting, login: RotatingLogin) -> None:
    other = RotatingLogin("acme", there.server())
    assert ask(there, login) == ask(there, other) == 200
    there.expire()
    assert ask(there, login) == ask(there, other) == 200
    assert there.refreshes == 1


@pytest.mark.parametrize("told", [None, "soon", 0, -1, True, float("nan")])
def test_without_a_usable_expires_in_a_token_is_used_until_it_is_refused(
    there: Granting, login: RotatingLogin, told: Any
) -> None:
    there.expires_in = told
    there.expire()
    assert [ask(there, login) for _ in range(3)] == [200] * 3
    assert held().good_until is None
    assert there.refreshes == 1
    there.expire()
    assert ask(there, login) == 200
    assert there.refreshes == 2


def test_a_life_in_text_and_a_very_short_one(there: Granting, login: RotatingLogin) -> None:
    there.expires_in = "40"
    there.expire()
    assert [ask(there, login) for _ in range(2)] == [200] * 2
    assert there.refreshes == 1
    assert 0 < (held().good_until or 0) - time.time() <= 20


def test_a_server_that_keeps_its_refresh_token(there: Granting, login: RotatingLogin) -> None:
    there.rotates = False
    for _ in range(2):
        there.expire()
        assert ask(there, login) == 200
    assert (held().refresh_token, held().rotates) == ("refresh-0", False)
    there.expire()
    there.lose_next()
    with pytest.raises(TransientError, match="stopped answering"):
        ask(there, login)
    assert ask(there, login) == 200  # nothing was lost with that answer
    there.rotates = True
    there.expire()
    assert ask(there, login) == 200
    assert held().refresh_token == there.refresh_token


CHILD = """
import sys
from sync_pipeline.http import ApiSession
from sync_pipeline.logins.rotating import RotatingLogin
from sync_pipeline_tests.logins.granting import Granting
from sync_pipeline_tests.logins.test_rotating import ask
there = Granting()
there.url = sys.argv[1]
login = RotatingLogin("acme", there.server())
login.access_token()
print("ready", flush=True)
sys.stdin.readline()
assert [ask(there, login) for _ in range(3)] == [200] * 3
"""


def child(there: Granting) -> subprocess.Popen[str]:
    """Another process with the same login, ready to ask when told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, there.url],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def test_several_processes_refresh_once(there: Granting, login: RotatingLogin) -> None:
    processes = [child(there) for _ in range(2)]
    there.expire()
    there.before_token = lambda: time.sleep(0.5)  # long enough for all to be refused before the first has an answer
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 2, errors
    assert (there.refreshes, there.reused) == (1, 0)


def test_a_process_killed_between_the_answer_and_its_use_loses_nothing(there: Granting, login: RotatingLogin) -> None:
    process = child(there)
    there.expire()
    there.before_row = lambda: process.kill() if there.refreshes else None
    process.communicate("go\n", timeout=60)
    assert process.returncode != 0
    there.before_row = lambda: None
    assert ask(there, login) == 200
    assert (there.refreshes, there.reused) == (1, 0)


def test_a_process_killed_before_it_could_store_the_answer(there: Granting, login: RotatingLogin) -> None:
    process = child(there)
    there.expire()
    there.before_token = process.kill  # the server goes on and replaces the token; nobody reads its answer
    process.communicate("go\n", timeout=60)
    there.before_token = lambda: None
    with pytest.raises(ReconnectError, match=r"answer was lost.*sync-pipeline connect acme --billing"):
        ask(there, login)
    assert there.reused == 0
    there.patient = True
    assert ask(there, RotatingLogin("acme", there.server(resend_seconds=1800))) == 200


def test_threads_of_one_login_share_the_renewal(there: Granting, login: RotatingLogin) -> None:
    alter(good_until=0)
    logins = [login, RotatingLogin("acme", there.server())]
    found: list[str] = []
    threads = [threading.Thread(target=lambda n=n: found.append(logins[n % 2].access_token())) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["session-1"] * 6
    assert there.refreshes == 1


@pytest.mark.parametrize(
    "how", [lost, lambda reply: Reply(504), lambda reply: Reply(502, "<html>"), lambda reply: Reply(200, "<html>")]
)
@pytest.mark.parametrize("patient", [True, False])
def test_a_lost_answer(there: Granting, login: RotatingLogin, how: Any, patient: bool) -> None:
    there.expire()
    there.patient, there.next_token = patient, how
    if patient:  # as Xero is for half an hour
        login = RotatingLogin("acme", there.server(resend_seconds=1800))
        with pytest.raises(TransientError, match=r"acme.yaml:7: .*answer was lost"):
            ask(there, login)
        sent_at = held().sent_at
        there.refuse_next()
        with pytest.raises(TransientError, match="HTTP 503"):
            ask(there, login)
        assert held().sent_at == sent_at is not None
        assert ask(there, login) == 200
        assert held().sent_at is None
        assert held().refresh_token == there.refresh_token
    else:
        for _ in range(2):
            with pytest.raises(ReconnectError, match=r"may have replaced .* sync-pipeline connect acme --billing"):
                ask(there, login)
        assert (there.refreshes, there.reused) == (1, 0)


@pytest.mark.parametrize("minutes", [29.5, 60, -5, None])
def test_the_servers_patience_ends(there: Granting, login: RotatingLogin, minutes: float | None) -> None:
    there.patient = True
    sent = datetime.now(UTC) - timedelta(minutes=minutes or 0)
    alter(sent_at=sent.isoformat() if minutes is not None else "some day", good_until=0)
    with pytest.raises(ReconnectError, match="answer was lost"):
        ask(there, RotatingLogin("acme", there.server(resend_seconds=1800)))
    assert there.refreshes == 0


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_busy_server_is_asked_again_later(there: Granting, login: RotatingLogin, status: int) -> None:
    there.expire()
    there.next_refused = Reply(status, "<html>busy</html>", {"Retry-After": "600"})
    with pytest.raises(TransientError, match=rf"acme.yaml:7: Xero answered the login with HTTP {status}"):
        ask(there, login)
    assert held().sent_at is None
    assert ask(there, login) == 200


def test_a_server_that_is_away_costs_nothing(there: Granting, login: RotatingLogin) -> None:
    with granting() as gone:
        pass
    connected_to(there, token_url=gone.server().token_url)
    alter(good_until=0)
    for _ in range(2):
        with pytest.raises(TransientError, match="can't be reached"):
            RotatingLogin("acme", gone.server()).access_token()
    assert held().sent_at is None


def test_a_grant_that_has_ended_is_not_sent_again(there: Granting, login: RotatingLogin) -> None:
    there.refresh_token = None
    there.expire()
    with pytest.raises(ReconnectError) as ended:
        ask(there, login)
    said = str(ended.value)
    assert "acme.yaml:7: Xero has ended the login of acme (invalid_grant: unknown ***)" in said
    assert "sync-pipeline connect acme --billing" in said
    there.refresh_token = "refresh-0"  # were it sent, it would be taken
    with pytest.raises(ReconnectError, match="has ended the login"):
        RotatingLogin("acme", there.server()).access_token()
    assert there.refreshes == 0


def test_a_wrong_secret_is_told_without_it_and_costs_nothing(there: Granting, login: RotatingLogin) -> None:
    there.expire()
    wrong = RotatingLogin("acme", there.server(client_secret="other-secret"))
    with pytest.raises(ReconnectError, match="invalid_client") as refused:
        ask(there, wrong)
    assert "other-secret" not in str(refused.value)
    assert "Check client_id and client_secret" in str(refused.value)
    assert CLIENT_SECRET not in repr(there.server())
    assert ask(there, login) == 200


def test_a_page_instead_of_a_refusal(there: Granting, login: RotatingLogin) -> None:
    there.expire()
    there.next_refused = Reply(403, "<html>log in to the proxy</html>")
    with pytest.raises(ConfigurationError, match="HTTP 403, but not as Xero does"):
        ask(there, login)
    assert ask(there, login) == 200


def test_a_token_that_no_header_can_hold_is_none(there: Granting, login: RotatingLogin) -> None:
    there.expire()
    there.next_token = lambda reply: Reply(200, {**reply.body, "access_token": "geheim\n2"})  # type: ignore[dict-item]
    with pytest.raises(ReconnectError) as refused:
        ask(there, login)
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"client_id": "app-2"}, "client_id"),
        ({"token_url": "https://elsewhere.example/token"}, "address of the login"),
        ({"tenant": "t-2"}, "tenant_id"),
    ],
)
def test_tokens_go_to_no_other_app_server_or_tenant(
    there: Granting, login: RotatingLogin, changed: dict[str, str], what: str
) -> None:
    other = RotatingLogin("acme", there.server(**changed))
    for use in (other.access_token, lambda: other.tenant):
        with pytest.raises(ReconnectError, match=f"connected with another {what}"):
            use()


def test_nobody_connected(there: Granting) -> None:
    with pytest.raises(ReconnectError, match=r"acme.yaml:7: nobody has connected acme to Xero.*connect acme --billing"):
        RotatingLogin("acme", there.server()).access_token()


EVENTS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["ask", "ask", "expire", "restart", "lose", "busy"])), max_size=25
)


@settings(max_examples=40)
@given(EVENTS)
def test_whatever_happens_one_token_is_live_or_a_person_is_asked(events: list[tuple[int, str]]) -> None:
    """Three processes with one login, in any order: no dead token is sent, and what is stored is what the server holds."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, granting() as there:
        patch.setenv("SYNC_PIPELINE_DATA", folder)
        patch.setenv("SYNC_PIPELINE_TOKENS", "file")
        connected_to(there)
        logins = [RotatingLogin("acme", there.server()) for _ in range(3)]
        ended = False
        for who, event in events:
            if event == "ask":
                try:
                    assert ask(there, logins[who]) == 200
                    assert not ended or held().access_token in there.sessions
                except TransientError:
                    pass
                except SyncError:
                    ended = True
            elif event == "restart":
                logins[who] = RotatingLogin("acme", there.server())
            else:
                {"expire": there.expire, "lose": there.lose_next, "busy": there.refuse_next}[event]()
        assert there.reused == 0
        if not ended:
            assert held().refresh_token == there.refresh_token
