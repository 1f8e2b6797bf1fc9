"""The sandbox as a process: starting, stopping, being killed, and its answers to what a person gets wrong."""

from __future__ import annotations

import ast
import json
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from sync_pipeline.sandbox.billings import BILLINGS, STAND_INS
from sync_pipeline.sandbox.options import SandboxError, SandboxOptions
from sync_pipeline_tests.conftest import Sandbox

SandboxFactory = Callable[..., Sandbox]
PACKAGE = Path(__file__).parents[2] / "sync_pipeline" / "sandbox"


def refused(*arguments: str | Path) -> str:
    """What a sandbox that can't start says; exactly one line, and exit code 2."""
    command = [sys.executable, "-m", "sync_pipeline.sandbox", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=PACKAGE.parents[1], check=False)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


def new_customer(sandbox: Sandbox, name: str) -> str:
    answer = sandbox.upflow().post(f"{sandbox['upflow']['url']}/customers", json={"name": name})
    assert answer.status_code == 201
    made: str = answer.json()["id"]
    return made


def test_a_restart_keeps_state_authority_credentials_and_addresses(fresh_sandbox: SandboxFactory) -> None:
    first = fresh_sandbox(accounts=20)
    made, authority = new_customer(first, "Kept"), Path(first["ca_file"]).read_bytes()
    assert first.stop() == 0
    second = first.restart()
    assert second.upflow().get(f"{second['upflow']['url']}/customers/{made}").json()["name"] == "Kept"
    assert Path(second["ca_file"]).read_bytes() == authority
    assert {**second.ready, "process": 0} == {**first.ready, "process": 0}


def test_an_acknowledged_write_survives_a_kill(fresh_sandbox: SandboxFactory) -> None:
    sandbox = fresh_sandbox(accounts=10, billing=["stripe"])
    made = [new_customer(sandbox, f"Customer {number}") for number in range(20)]
    sandbox.kill()
    again = sandbox.restart()
    names = [again.upflow().get(f"{again['upflow']['url']}/customers/{one}").json()["name"] for one in made]
    assert names == [f"Customer {number}" for number in range(20)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(fresh_sandbox: SandboxFactory, number: signal.Signals) -> None:
    sandbox = fresh_sandbox(accounts=5, billing=["stripe"])
    sandbox.http().get(sandbox["stripe"]["url"])
    ready_file = sandbox.folder.parent / f"{sandbox.folder.name}.ready.json"
    assert ready_file.exists()
    sandbox.process.send_signal(number)
    assert sandbox.process.wait(10) == 0
    assert not ready_file.exists(), "what it says is not true any longer"
    assert "Traceback" not in (sandbox.folder.parent / f"{sandbox.folder.name}.log").read_text()


def test_the_authority_is_all_that_a_client_needs(sandbox: SandboxFactory) -> None:
    shared = sandbox()
    for name in ("salesforce", "upflow", "stripe"):
        url = shared[name]["url"]
        assert url.startswith("https://127.0.0.1:")
        assert shared.http().get(url).status_code < 500
        assert shared.http().get(url.replace("127.0.0.1", "localhost")).status_code < 500
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(url, timeout=10)


def test_plain_http(sandbox: SandboxFactory) -> None:
    shared = sandbox(plain_http=True, accounts=20)
    answer = requests.get(f"{shared['stripe']['url']}/v1/customers", auth=(shared["stripe"]["api_key"], ""), timeout=10)
    assert shared["stripe"]["url"].startswith("http://127.0.0.1:")
    assert len(answer.json()["data"]) == 10


@pytest.mark.parametrize("plain_http", [True, False])
def test_salesforce_prints_header_names_with_capitals(sandbox: SandboxFactory, plain_http: bool) -> None:
    running = sandbox(accounts=5, plain_http=plain_http)
    answer = running.http().get(f"{running['salesforce']['url']}/services/data")
    assert {"Content-Type", "Content-Length"} <= set(answer.headers), "as they were sent"
    assert answer.json()[0]["url"] == "/services/data/v58.0"


def test_the_ready_file_says_where_everything_is(sandbox: SandboxFactory) -> None:
    shared = sandbox()
    assert list(shared["organizations"]) == ["stripe", "database", "file"]
    for org, content in shared["organizations"].items():
        assert set(content) == {"salesforce", "upflow", "billing", "truth"}
        assert Path(content["salesforce"]["private_key_file"]).read_text().startswith("-----BEGIN PRIVATE KEY-----")
        assert Path(content["truth"]) == shared.truth[org]
        login = content["salesforce"]
        form = {
            "grant_type": "password",
            "client_id": login["client_id"],
            "client_secret": login["client_secret"],
            "username": login["username"],
            "password": login["password"] + login["security_token"],
        }
        with shared.http() as session:
            entered = session.post(f"{login['url']}/services/oauth2/token", data=form, timeout=10)
        assert entered.json()["id"].split("/")[-2] == login["organization_id"]
    assert Path(shared.organization("file")["billing"]["path"]).exists()
    assert Path(shared.organization("database")["billing"]["url"].removeprefix("sqlite:///")).exists()
    assert shared["salesforce"] == shared.organization("stripe")["salesforce"]


def test_secrets_are_for_their_owner_only(sandbox: SandboxFactory) -> None:
    folder = sandbox().folder
    ready = folder.parent / f"{folder.name}.ready.json"
    for secret in [ready, folder / "ca-key.pem", folder / "server.pem", *folder.glob("keys/*.pem")]:
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600, secret


def test_organizations_on_request(sandbox: SandboxFactory) -> None:
    one = sandbox(billing=["file"], accounts=20)
    assert list(one["organizations"]) == ["file"]
    assert "stripe" not in one.ready
    assert {row["name"] for row in one.rows("SELECT name FROM world WHERE name LIKE 'port_%'")} == {
        "port_salesforce",
        "port_upflow",
    }


def test_all_billing_systems_there_are(sandbox: SandboxFactory) -> None:
    every = sandbox(billing=["all"], accounts=20)
    assert set(every["organizations"]) == set(BILLINGS)
    for name, stand_in in STAND_INS.items():
        billing = every.organization(name)["billing"]
        assert billing["field"] == stand_in.field
        assert billing.keys() >= stand_in.credentials().keys()
        assert every.http().get(billing["url"]).status_code < 500


def test_a_second_sandbox_on_the_same_folder_says_so(sandbox: SandboxFactory) -> None:
    shared = sandbox()
    said = refused("--folder", shared.folder)
    assert said.startswith(f"Another sandbox (process {shared.process.pid}) already serves {shared.folder};")
    assert shared.http().get(shared["stripe"]["url"]).status_code == 401, "and the first goes on"


def test_a_folder_of_another_world(fresh_sandbox: SandboxFactory) -> None:
    sandbox = fresh_sandbox(accounts=10)
    sandbox.stop()
    assert "holds a world with --accounts 10, not 11" in refused("--folder", sandbox.folder, "--accounts", "11")
    assert "--billing stripe, database, file, not file" in refused("--folder", sandbox.folder, "--billing", "file")
    (sandbox.folder / "customers.csv").unlink()
    assert "customers.csv is gone; delete" in refused("--folder", sandbox.folder)


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_state_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.sqlite").write_bytes(content)
    assert "can't be read as a sandbox's state; delete" in refused("--folder", tmp_path)


def test_a_port_that_is_taken(tmp_path: Path, sandbox: SandboxFactory) -> None:
    port = urlsplit(sandbox()["stripe"]["url"]).port
    said = refused("--folder", tmp_path, "--accounts", "5", "--port-stripe", str(port))
    assert said.startswith(f"Port {port} for stripe can't be used")


def test_a_port_used_before_and_taken_since_is_replaced(fresh_sandbox: SandboxFactory) -> None:
    sandbox = fresh_sandbox(accounts=5, billing=["stripe"])
    sandbox.stop()
    before = urlsplit(sandbox["upflow"]["url"]).port
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", before))
        taken.listen()
        again = sandbox.restart()
    assert urlsplit(again["upflow"]["url"]).port != before
    assert again["stripe"]["url"] == sandbox["stripe"]["url"]


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "can't be made" in refused("--folder", tmp_path / "file" / "folder")


@pytest.mark.parametrize(
    "wrong",
    [
        {"accounts": -1},
        {"accounts": 10**9},
        {"trouble": 1.1},
        {"billing": ("paper",)},
        {"ports": {"stripe": 70_000}},
        {"upflow_per_minute": 0},
        {"billing_per_minute": 0},
        {"api_limit": 0},
        {"refresh_idle_days": -1},
    ],
)
def test_options_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(SandboxError, match="--"):
        SandboxOptions(**wrong)  # type: ignore[arg-type]


def test_faults_and_a_limit_from_the_start(fresh_sandbox: SandboxFactory, tmp_path: Path) -> None:
    sandbox = fresh_sandbox(accounts=5, billing=["file"])
    sandbox.stop()
    faults = tmp_path / "faults.yaml"
    faults.write_text("- action: status\n  path: /limits\n  status: 503\n")
    again = sandbox.restart("--faults", str(faults), "--api-limit", "2")
    with again.http() as session:
        session.headers["Authorization"] = f"Bearer {again['salesforce']['access_token']}"
        limits = f"{again['salesforce']['url']}/services/data/v66.0/limits"
        assert [session.get(limits, timeout=10).status_code for _ in range(4)] == [503, 200, 200, 403]


def test_a_limit_of_billing_systems_from_the_start(fresh_sandbox: SandboxFactory) -> None:
    sandbox = fresh_sandbox(accounts=5, billing=["stripe"])
    sandbox.stop()
    again = sandbox.restart("--billing-per-minute", "2")
    with again.http() as session:
        session.auth = (again["stripe"]["api_key"], "")
        answers = [session.get(f"{again['stripe']['url']}/v1/customers", timeout=10) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["error"]["code"] == "rate_limit"


def test_a_file_of_faults_that_makes_no_sense(tmp_path: Path) -> None:
    faults = tmp_path / "faults.yaml"
    faults.write_text("- action: slow\n")
    said = refused("--folder", tmp_path / "folder", "--faults", faults)
    assert said == f"--faults {faults}: rule 1 (slow) needs seconds."
    assert not (tmp_path / "folder" / "state.sqlite").exists()


def test_the_sandbox_imports_nothing_of_the_product() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            foreign = [
                n for n in names if n.split(".")[0] == "sync_pipeline" and not n.startswith("sync_pipeline.sandbox")
            ]
            assert not foreign, path


def test_garbage_does_not_stop_it(sandbox: SandboxFactory) -> None:
    shared = sandbox(plain_http=True, accounts=20)
    for garbage in (
        b"\x00\xff\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/customers HTTP/1.1\r\nContent-Length: 5\r\n\r\nx",
    ):
        for name in ("upflow", "stripe"):
            address = urlsplit(shared[name]["url"])
            with socket.create_connection((address.hostname or "", address.port or 0)) as raw:
                raw.sendall(garbage)
    too_large = requests.post(f"{shared['upflow']['url']}/customers", data=b"x" * 11_000_000, timeout=30)
    assert too_large.status_code == 413
    assert json.loads(requests.get(f"{shared['upflow']['url']}/users", timeout=10).text)["message"]
