"""`sync-pipeline connect --billing` and `disconnect --billing`, as a person uses them."""

from __future__ import annotations

import io
import os
import re
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from typer.testing import CliRunner

from sync_pipeline import billing
from sync_pipeline.cli.app import app
from sync_pipeline.cli.connect_billing import begin_with_refresh_token, connect, disconnect
from sync_pipeline.errors import ConfigurationError
from sync_pipeline.logins.grants import AuthorizationServer, GrantStore
from sync_pipeline_tests.logins.granting import CLIENT_SECRET, Granting, granting, held, parameters
from sync_pipeline_tests.orgs.factory import make_organization


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Granting]:
    """A machine without a keyring, an organization, and the server where its login is granted."""
    monkeypatch.setenv("SYNC_PIPELINE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SYNC_PIPELINE_CONFIG", str(tmp_path / "orgs"))
    monkeypatch.setenv("SYNC_PIPELINE_TOKENS", "file")
    make_organization(folder=tmp_path / "orgs")
    (tmp_path / "orgs" / "customers.csv").write_text("customer_id,name\nc1,Acme\n")
    with granting() as answer:
        described(monkeypatch, answer.server())
        yield answer


def described(monkeypatch: pytest.MonkeyPatch, server: AuthorizationServer | None) -> None:
    monkeypatch.setattr(billing, "authorization", lambda org: server)


@pytest.fixture
def opened(there: Granting, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pages that a browser showed whose person allows access."""
    pages: list[str] = []

    def visit(address: str) -> bool:
        back = f"{parameters(address)['redirect_uri']}?{urlencode(there.allow(address))}"
        pages.append(requests.get(back, timeout=30).text)
        return True

    monkeypatch.setattr(webbrowser, "open", visit)
    return pages


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def typed(answer: Callable[[], str]) -> Iterator[None]:
    """A person who types what `answer` says, once it can say it."""
    before, (reading, writing) = os.dup(0), os.pipe()
    os.dup2(reading, 0)

    def write() -> None:
        os.write(writing, answer().encode())

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        os.close(writing)
        os.dup2(before, 0)
        for descriptor in (before, reading):
            os.close(descriptor)


def test_connecting_and_disconnecting(
    there: Granting, opened: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    port = free_port()
    assert connect("acme", browser=True, port=port) == 0
    said = capsys.readouterr()
    assert "acme is connected to Xero: Acme SA (t-1). The login is kept in" in (flat := " ".join(said.out.split()))
    assert "Next: sync-pipeline check acme" in flat
    assert "Log in to Xero as the user that the sync shall work as" in said.err.replace("\n", " ")
    assert f"http://localhost:{port}/OauthRedirect" in said.err.replace("\n", "")
    assert "acme is connected to Xero: Acme SA (t-1)." in opened[0]
    assert held().refresh_token == there.refresh_token
    for secret in (str(there.refresh_token), "session-", CLIENT_SECRET):
        assert secret not in said.out + said.err + opened[0]
    assert disconnect("acme") == 0
    assert "acme is forgotten here." in capsys.readouterr().out
    assert not list((tmp_path / "data" / "tokens" / "billing").glob("*.json"))
    with pytest.raises(ConfigurationError, match="nothing to forget"):
        disconnect("acme")


def test_what_is_refused_is_on_the_page_too(there: Granting, opened: list[str]) -> None:
    there.tenants = {"t-1": "Acme SA", "t-2": "Acme GmbH"}
    with pytest.raises(ConfigurationError, match="tenant_id names none"):
        connect("acme", browser=True, port=free_port())
    assert "Not connected" in opened[0]
    assert "tenant_id names none" in opened[0]


def test_an_address_of_the_apps_own_is_pasted(
    there: Granting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As QuickBooks wants it: it sends the browser back to https only, and names the company there."""
    back = "https://acme.example/connected"
    server = there.server(title="QuickBooks", redirect_uri=back, tenants=None, tenant_parameter="realmId")
    described(monkeypatch, server)
    address = threading.Event(), list[str]()

    def visit(asked: str) -> bool:
        address[1].append(asked)
        address[0].set()
        return True

    def answer() -> str:
        assert address[0].wait(30)
        came_back = there.allow(address[1][0], realmId="123")
        return f"https://acme.example/?code=x\n{back}?{urlencode(came_back)}\n"

    monkeypatch.setattr(webbrowser, "open", visit)
    with typed(answer):
        assert connect("acme", browser=True, port=free_port()) == 0
    said = capsys.readouterr()
    assert "acme is connected to QuickBooks: 123." in said.out
    asked = " ".join(said.err.split())
    assert re.search(r"need not work: paste its address \(https://acme.example/connected\?code=\.\.\.\)", asked)
    assert "Paste it whole" in asked


def test_a_refresh_token_from_standard_input(
    there: Granting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(" refresh-0\n"))
    assert begin_with_refresh_token("acme") == 0
    said = capsys.readouterr()
    assert "acme is connected to Xero: Acme SA (t-1)." in said.out
    assert held().refresh_token == "refresh-1"
    assert "refresh-" not in said.out + said.err
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(ConfigurationError, match="No refresh token was given"):
        begin_with_refresh_token("acme")


def test_where_a_person_types_the_token_is_not_shown(there: Granting, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    asked: list[str] = []
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or "refresh-0")
    assert begin_with_refresh_token("acme") == 0
    assert asked == ["Refresh token of Xero for acme: "]


def test_a_system_without_such_a_login(
    there: Granting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    described(monkeypatch, None)
    assert connect("acme", browser=True, port=free_port()) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "The customers of acme come from the file: nothing has to be kept. Trying it." in said
    with pytest.raises(ConfigurationError, match=r"acme.yaml:\d+: the login to the file has no refresh token"):
        begin_with_refresh_token("acme")


def test_forgetting_needs_no_secret(
    there: Granting, opened: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connect("acme", browser=True, port=free_port())

    def unset(org: Any) -> None:
        raise ConfigurationError("the environment variable XERO_SECRET is not set.")

    monkeypatch.setattr(billing, "authorization", unset)
    assert disconnect("acme") == 0
    said = capsys.readouterr()
    assert "XERO_SECRET is not set" in said.err
    assert "acme is forgotten here." in said.out
    assert GrantStore().grants() == []


def test_the_options_lead_there(there: Granting, opened: list[str]) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["connect", "acme", "--billing", "--port", str(free_port())]).exit_code == 0
    assert GrantStore().grant("acme")
    assert runner.invoke(app, ["disconnect", "acme", "--billing"]).exit_code == 0
    assert GrantStore().grant("acme") is None
    assert runner.invoke(app, ["connect", "acme", "--billing", "--refresh-token"], input="refresh-1\n").exit_code == 0
    assert GrantStore().grant("acme")
    refused = runner.invoke(app, ["connect", "acme", "--refresh-token"])
    assert isinstance(refused.exception, ConfigurationError)


def test_a_module_says_where_its_login_is_granted(there: Granting, monkeypatch: pytest.MonkeyPatch) -> None:
    from sync_pipeline.billing import load
    from sync_pipeline.billing.systems import file

    org = make_organization()
    assert load.authorization(org) is None
    monkeypatch.setattr(file, "authorization", lambda org: there.server(where=org.where("billing")), raising=False)
    found = load.authorization(org)
    assert found
    assert found.where == org.where("billing")
