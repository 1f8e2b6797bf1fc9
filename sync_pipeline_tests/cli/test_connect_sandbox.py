"""A person's login against the sandbox: its page, its rotating tokens (it revokes everything on re-use), whole syncs."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import requests

from sync_pipeline.cli.check import show as check
from sync_pipeline.cli.connect import connect, disconnect
from sync_pipeline.errors import GuardStop, ReconnectError
from sync_pipeline.logins import callback
from sync_pipeline.salesforce.logins.tokens import TokenStore
from sync_pipeline_tests.cli.conftest import Workplace
from sync_pipeline_tests.cli.test_secrets import said_in
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.paths import PROJECT

NAME, ORG = "demo_file", "file"

SERVER_LOGIN = """    method: jwt
    client_id: {env: DEMO_FILE_CLIENT_ID}
    username: {env: DEMO_FILE_USERNAME}
    private_key_file: {env: DEMO_FILE_PRIVATE_KEY_FILE}
"""
BROWSER_LOGIN = """    method: browser
    client_id: {env: DEMO_FILE_CLIENT_ID}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def place(
    workplace: Callable[..., Workplace], fresh_sandbox: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> Workplace:
    """A machine without a keyring, where a person connects demo_file; a person who allows whatever is asked."""
    monkeypatch.setenv("SYNC_PIPELINE_TOKENS", "file")
    place = workplace(fresh_sandbox(accounts=40), home=True)
    place.edit(NAME, SERVER_LOGIN, BROWSER_LOGIN)
    monkeypatch.setattr(webbrowser, "open", lambda address: person(place.sandbox, address))
    return place


def person(sandbox: Sandbox, address: str, decision: str = "allow") -> str:
    """Look at the page, press a button, and follow the browser to where it ends; its last page."""
    with sandbox.http() as browser:
        page = browser.get(address, timeout=60)
        assert page.status_code == 200, page.text
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="(.*?)">', page.text)
        (action,) = re.findall(r'<form method="post" action="(.*?)">', page.text)
        form = {name: unescape(value) for name, value in hidden} | {"decision": decision}
        return browser.post(requests.compat.urljoin(address, action), data=form, timeout=60).text  # type: ignore[attr-defined]


def connected(place: Workplace) -> int:
    return connect(NAME, browser=True, port=free_port(), yes=False)


def expire(place: Workplace) -> None:
    """As after two hours."""
    assert place.sandbox.change("UPDATE session SET revoked = 1 WHERE org = ?", ORG)


def refresh_tokens(place: Workplace) -> list[tuple[int, int]]:
    """(rotated, revoked) of every refresh token that the sandbox has given, in order."""
    rows = place.sandbox.rows(
        "SELECT t.rotated, a.revoked FROM refresh_token t JOIN approval a ON a.id = t.approval ORDER BY t.created_at"
    )
    return [tuple(row) for row in rows]


def test_connect_sync_expire_disconnect(
    place: Workplace, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert connected(place) == 0
    assert "demo_file is connected to " in capsys.readouterr().out
    result = place.sync(NAME)
    assert (result.exit_code, result.errors) == (0, [])
    assert refresh_tokens(place) == [(0, 0)]  # the stored session was good for all of it

    expire(place)
    result = place.sync(NAME)
    assert (result.exit_code, result.errors) == (0, [])
    assert refresh_tokens(place) == [(1, 0), (0, 0)]
    check(NAME, as_json=False)
    out = capsys.readouterr().out
    assert "is the organization of the syncs so far" in out
    assert not re.search(r"^no +salesforce", out, re.M)

    assert disconnect(NAME) == 0
    assert {revoked for _, revoked in refresh_tokens(place)} == {1}
    result = place.sync(NAME)
    assert result.exit_code == ReconnectError.exit_code
    assert f"sync-pipeline connect {NAME}" in result.errors[0]

    said = out + capsys.readouterr().out + caplog.text + "".join(text for _, text in said_in(place.home))
    secrets = [
        row[0] for row in place.sandbox.rows("SELECT token FROM refresh_token UNION SELECT access_token FROM session")
    ]
    secrets += [row[0] for row in place.sandbox.rows("SELECT code FROM authorization_code")]
    assert len(secrets) >= 5
    assert not [secret for secret in secrets if secret in said]


def test_another_organization_stops_a_sync_before_a_read(place: Workplace) -> None:
    assert connected(place) == 0
    assert place.sync(NAME).exit_code == 0
    elsewhere = "00D5g000009ZZZZEA4"
    with place.warehouse(NAME).connect() as con:
        ((here,),) = con.execute("SELECT organization_id FROM salesforce_organization").fetchall()
        con.execute("UPDATE salesforce_organization SET organization_id = ?", [elsewhere])
    jobs = place.sandbox.rows("SELECT coalesce(sum(calls), 0) FROM request_log WHERE route LIKE '%jobs%'")[0][0]
    result = place.sync(NAME)
    assert result.exit_code == GuardStop.exit_code
    (error,) = result.errors
    assert elsewhere in error
    assert f"salesforce.organization_id: {here}" in error
    assert place.rows(NAME, "SELECT organization_id FROM salesforce_organization") == [(elsewhere,)]
    assert place.sandbox.rows("SELECT coalesce(sum(calls), 0) FROM request_log WHERE route LIKE '%jobs%'")[0][0] == jobs

    place.edit(NAME, "  login:\n", f"  organization_id: {here[:15]}\n  login:\n")
    assert place.sync(NAME).exit_code == 0
    assert place.rows(NAME, "SELECT organization_id FROM salesforce_organization") == [(here,)]


def test_a_session_that_expires_while_pages_are_read_is_renewed(place: Workplace) -> None:
    assert connected(place) == 0
    place.fault(path="/results", action="expire_session")
    result = place.sync(NAME)
    assert (result.exit_code, result.errors) == (0, [])
    assert refresh_tokens(place) == [(1, 0), (0, 0)]
    assert len(place.rows(NAME, "FROM salesforce_accounts")) > 0


def test_a_session_refused_twice_ends_the_sync_with_the_command_to_run(place: Workplace) -> None:
    assert connected(place) == 0
    body = '[{"errorCode":"INVALID_SESSION_ID","message":"Session expired or invalid"}]'
    place.fault(path="/services/data", action="status", status=401, body=body, times=0)
    result = place.sync(NAME)
    assert result.exit_code == ReconnectError.exit_code
    (error,) = result.errors
    assert "INVALID_SESSION_ID: Session expired or invalid" in error
    assert f"sync-pipeline connect {NAME}" in error
    assert "administrator" in error
    place.no_faults()
    assert place.sync(NAME).exit_code == 0


def test_access_denied_is_said_here_and_in_the_browser(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[str] = []
    monkeypatch.setattr(
        webbrowser, "open", lambda address: pages.append(person(place.sandbox, address, decision="deny"))
    )
    with pytest.raises(ReconnectError, match=r"Access was not allowed.*access_denied"):
        connected(place)
    assert "Not connected" in pages[0]
    assert TokenStore().grants() == []


ASK = """
import sys
from sync_pipeline import salesforce
from sync_pipeline.orgs import load_organizations
from sync_pipeline.settings import config_dir
client = salesforce.connect(load_organizations(config_dir()).organizations[sys.argv[1]])
sys.stdout.write("ready\\n")
sys.stdout.flush()
for _ in sys.stdin:
    client.organization()
    sys.stdout.write("answered\\n")
    sys.stdout.flush()
"""


def test_processes_that_expire_together_never_send_a_token_twice(place: Workplace) -> None:
    assert connected(place) == 0
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASK, NAME],
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        said = [process.stdout.readline() for process in processes if process.stdout]
        assert said == ["ready\n"] * 4
        for rounds in range(1, 4):
            expire(place)
            for process in processes:
                assert process.stdin
                process.stdin.write("ask\n")
                process.stdin.flush()
            said = [process.stdout.readline() for process in processes if process.stdout]
            assert said == ["answered\n"] * 4
            assert refresh_tokens(place) == [(1, 0)] * rounds + [(0, 0)]
    finally:
        for process in processes:
            with process:
                process.kill()


@pytest.mark.slow
def test_a_real_browser_goes_all_the_way(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs Chromium to open the pages: neither chromium nor google-chrome is on the path")
    with ExitStack() as stack:
        browser = Chromium(chromium, tmp_path / "profile", stack)
        monkeypatch.setattr(webbrowser, "open", browser.open)
        monkeypatch.setattr(callback, "WAIT_SECONDS", 120.0)
        assert connected(place) == 0
        assert "demo_file is connected" in capsys.readouterr().out
        browser.until("document.body.innerText.includes('You can close this window.')")
        assert "demo_file is connected to " in browser.run("document.body.innerText")
        assert browser.run("document.title") == "Connected"
    assert TokenStore().grant(NAME) is not None


class Chromium:
    """A headless Chromium, told what to do by its own protocol; one page."""

    def __init__(self, program: str, profile: Path, stack: ExitStack) -> None:
        options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--no-first-run")
        command = [program, *options, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
        process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        stack.callback(process.kill)
        assert process.stderr
        told = next(line for line in process.stderr if "DevTools listening" in line)
        port = re.search(r":(\d+)/", told)
        assert port
        pages = requests.get(f"http://127.0.0.1:{port[1]}/json", timeout=30).json()
        (address,) = [page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"]
        self._socket = stack.enter_context(pytest.importorskip("websockets.sync.client").connect(address))
        self._number = 0

    def open(self, address: str) -> None:
        """Open the page and press its first button."""
        self._ask("Page.navigate", url=address)
        self.until("document.querySelector('button[value=allow]') !== null")
        self.run("document.querySelector('button[value=allow]').click()")

    def until(self, true: str) -> None:
        deadline = time.monotonic() + 60
        while not self.run(true):
            assert time.monotonic() < deadline, self.run("document.documentElement.outerHTML")
            time.sleep(0.1)

    def run(self, script: str) -> Any:
        return self._ask("Runtime.evaluate", expression=script)["result"].get("value")

    def _ask(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv(timeout=60))).get("id") != self._number:
            pass
        found: dict[str, Any] = answer.get("result", {})
        return found if method != "Runtime.evaluate" or "result" in found else {"result": {}}
