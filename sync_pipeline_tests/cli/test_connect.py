"""`sync-pipeline connect` and `disconnect` as a person uses them: processes, a browser, a terminal."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import requests

from sync_pipeline.assets.organizations import organizations
from sync_pipeline.cli.check import show as check
from sync_pipeline.cli.connect import connect, disconnect
from sync_pipeline.errors import ConfigurationError, GuardStop, TransientError
from sync_pipeline.logins import callback
from sync_pipeline.salesforce.logins.tokens import TokenStore
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.paths import PROJECT
from sync_pipeline_tests.salesforce.logins.rotating import (
    CLIENT_ID,
    PRODUCTION,
    SANDBOX,
    Rotating,
    by_browser,
    connected_to,
    rotating,
)

BROWSER = """#!{python}
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=30) as page:
    open({page!r}, "wb").write(page.read())
"""


@pytest.fixture
def there() -> Iterator[Rotating]:
    with rotating() as answer:
        yield answer


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a keyring; its browser is a script that allows access and keeps the last page it saw."""
    browser = tmp_path / "browser"
    browser.write_text(BROWSER.format(python=sys.executable, page=str(tmp_path / "page.html")))
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    monkeypatch.setenv("SYNC_PIPELINE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SYNC_PIPELINE_CONFIG", str(tmp_path / "acme"))
    monkeypatch.setenv("SYNC_PIPELINE_TOKENS", "file")
    return tmp_path


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from sync_pipeline.cli import main; main()", *arguments],
        cwd=PROJECT,
        env=os.environ | {"COLUMNS": "400", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Waiting:
    """A `connect` that has printed its address and waits."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.err, self.address = process, "", ""
        assert process.stderr
        while not self.address:
            line = process.stderr.readline()
            assert line, f"it ended: {self.err}"
            self.err += line
            if found := re.match(r"http://127\S+/services/oauth2/authorize\?\S+$", line):
                self.address = found[0]

    def type(self, text: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def end(self) -> tuple[int, str]:
        """How it ended; all it said on standard output."""
        with self.process as process:
            assert process.stdout
            assert process.stderr
            self.err += process.stderr.read()
            return process.wait(60), process.stdout.read()


def run(*arguments: str, typed: str = "") -> tuple[int, str, str]:
    process = start(*arguments)
    try:
        out, err = process.communicate(typed, timeout=120)
    finally:
        process.kill()
    return process.returncode, out, err


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_connecting_and_disconnecting(there: Rotating, machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    org = by_browser(machine, there.url)
    port = free_port()
    code, out, err = run("connect", "acme", "--port", port)
    assert code == 0, err
    assert "acme is connected to Acme SA (production, 00D5g000004ABCDEA4) as sync@acme.example." in out
    assert f"{machine / 'data' / 'tokens'}, for you alone to read" in out
    assert f"must list exactly this callback URL: http://localhost:{port}/OauthRedirect" in err
    page = (machine / "page.html").read_text()
    assert "acme is connected to Acme SA" in page
    assert "You can close this window" in page
    grant = TokenStore().grant("acme")
    assert grant
    assert TokenStore().secrets(grant).refresh_token == there.refresh_token
    said = out + err + page
    assert str(there.refresh_token) not in said
    assert "session-" not in said

    check("acme", as_json=False)
    out = capsys.readouterr().out
    assert "is that of sync@acme.example at Acme SA (production, 00D5g000004ABCDEA4), connected on 20" in out
    assert "The user has connected 1 of at most 5 organizations by this app: acme." in out
    assert "00D5g000004ABCDEA4 will be the organization of acme from its first sync on." in out

    code, out, err = run("disconnect", "acme")
    assert (code, err) == (0, "")
    assert "Salesforce has revoked its login" in out
    assert there.refresh_token is None
    with pytest.raises(ConfigurationError, match="nothing to forget"):
        disconnect("acme")
    assert check("acme", as_json=False) == 3
    out = capsys.readouterr().out
    assert out.count(f"{org.where('salesforce', 'login')}: nobody has connected acme") == 1
    assert "sync-pipeline connect acme" in out


@pytest.mark.parametrize("way", ["reached", "pasted", "pasted, port in use"])
def test_on_a_server_the_address_is_printed_and_the_answer_comes_back_either_way(
    there: Rotating, machine: Path, way: str
) -> None:
    by_browser(machine, there.url)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        if "port in use" in way:
            taken.listen()
        else:
            taken.close()
        waiting = Waiting(start("connect", "acme", "--no-browser", "--port", port))
        back = there.allow(waiting.address)
        if way == "reached":
            assert "acme is connected" in requests.get(back, timeout=60).text
        else:
            waiting.type(f"what now?\n{back}\n")
        code, out = waiting.end()
    assert code == 0, waiting.err
    assert "acme is connected to Acme SA" in out
    assert (f"ssh -L {port}:localhost:{port}" in waiting.err) is ("in use" not in way)
    assert ("another program uses it" in waiting.err) is ("in use" in way)
    assert ("Paste it whole" in waiting.err) is (way != "reached")


def test_ctrl_c_ends_the_wait(there: Rotating, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", "/bin/true")
    by_browser(machine, there.url)
    waiting = Waiting(start("connect", "acme", "--port", free_port()))
    waiting.process.terminate()
    assert waiting.end() == (130, "")


# In this process, where no process has to be started for it


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pages that the browser showed."""
    pages: list[str] = []

    def visit(address: str) -> bool:
        pages.append(requests.get(address, timeout=30).text)
        return True

    monkeypatch.setattr(webbrowser, "open", visit)
    return pages


def connected(name: str = "acme", *, yes: bool = False) -> int:
    return connect(name, browser=True, port=int(free_port()), yes=yes)


def test_a_port_in_use_ends_it_at_once(there: Rotating, machine: Path, opened: list[str]) -> None:
    by_browser(machine, there.url)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigurationError, match="another program uses it"):
            connect("acme", browser=True, port=taken.getsockname()[1], yes=False)
    assert opened == []


def test_another_organization_is_refused_on_the_page_too(there: Rotating, machine: Path, opened: list[str]) -> None:
    by_browser(machine, there.url, organization_id=SANDBOX)
    with pytest.raises(ConfigurationError, match=f"organization_id says {SANDBOX}"):
        connected()
    assert "Not connected" in opened[0]
    assert there.refresh_token is None


def test_the_organization_of_earlier_syncs_is_the_one(there: Rotating, machine: Path, opened: list[str]) -> None:
    by_browser(machine, there.url)
    with Warehouse(machine / "data" / "warehouse", "acme").connect() as con:
        con.execute("INSERT INTO salesforce_organization VALUES (?, 'Acme SA', 'https://x', true, 1, 100)", [SANDBOX])
    with pytest.raises(GuardStop, match=f"{PRODUCTION}.*{SANDBOX}"):
        connected()
    assert TokenStore().grants() == []


def test_a_sixth_organization_of_a_user_needs_a_yes(
    there: Rotating, machine: Path, opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        org = by_browser(machine, there.url, name=f"org_{number}")
        connected_to(there, org, connected_at=f"2026-01-0{number + 1}T00:00:00+00:00")
    by_browser(machine, there.url)
    with pytest.raises(ConfigurationError, match="--yes"):
        connected()
    assert "org_0, org_1, org_2, org_3 and org_4" in (err := capsys.readouterr().err)
    assert "ends the login of org_0" in err
    assert opened == []
    assert connected(yes=True) == 0
    said = capsys.readouterr()
    assert "acme is connected" in said.out
    assert "org_0 may stop any time" in said.err
    assert check("acme", as_json=False) == 3
    assert "org_0, org_1, org_2, org_3, org_4 and acme" in capsys.readouterr().out
    with dg.DagsterInstance.ephemeral() as instance:
        judged = dg.materialize([organizations], instance=instance, raise_on_error=False)
    evaluations = {one.check_name: one for one in judged.get_asset_check_evaluations()}
    found = evaluations["users_connect_at_most_five_organizations"]
    assert not found.passed
    assert "org_0, org_1, org_2, org_3, org_4 and acme" in str(found.description)
    assert "sync@acme.example" not in f"{found.description} {found.metadata}"


def test_the_fifth_again_ends_its_own_login_first(
    there: Rotating, machine: Path, opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c", "d", "acme"):
        connected_to(there, by_browser(machine, there.url, name=name))
    assert connected() == 0
    said = capsys.readouterr()
    assert "the old login of acme is ended first" in said.err
    assert "acme is connected" in said.out
    assert len(TokenStore().grants()) == 5


def test_a_server_has_nothing_to_keep(
    there: Rotating, machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACME_SECRET", "app-secret")
    login = {"method": "client_credentials", "client_id": CLIENT_ID, "client_secret": {"env": "ACME_SECRET"}}
    by_browser(machine, there.url, login=login)
    there._token = lambda form: there._granted(new=False)  # type: ignore[method-assign]
    assert connected() == 0
    out = capsys.readouterr().out
    assert "acme logs in by client_credentials: nothing has to be kept. Trying it." in out
    assert "acme reaches Acme SA (production, 00D5g000004ABCDEA4)" in out
    assert not (machine / "data" / "tokens").exists()
    assert disconnect("acme") == 0
    assert "nothing is kept" in capsys.readouterr().out


def test_what_is_wrong_before_a_browser_opens(
    there: Rotating, machine: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_browser(machine, there.url)
    with pytest.raises(ConfigurationError, match=r"no organization acne.*acme"):
        connected("acne")
    monkeypatch.setenv("SYNC_PIPELINE_TOKENS", "cloud")
    with pytest.raises(ConfigurationError, match="Allowed: keyring, file"):
        connected()
    (machine / "acme" / "acme.yaml").write_text("name: acme\n")
    with pytest.raises(ConfigurationError, match="this key is missing"):
        connected()
    assert opened == []


def test_nobody_comes_back(there: Rotating, machine: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    by_browser(machine, there.url)
    monkeypatch.setattr(callback, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    with pytest.raises(TransientError, match="Nobody allowed access"):
        connected()
