from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
import requests

from sync_pipeline import http, salesforce
from sync_pipeline.orgs.models import Organization
from sync_pipeline.sandbox.state import State
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.salesforce.logins.rotating import Rotating, rotating
from sync_pipeline_tests.salesforce.organizations import connected
from sync_pipeline_tests.sandbox.salesforce import world


@dataclass
class Served:
    """The stand-in with a handful of records, its state open for changes."""

    url: str
    ca_file: Path
    state: State
    http: requests.Session
    _changed: list[dict[str, Any]] = field(default_factory=list)

    def fault(self, **rule: Any) -> None:
        """Make something go wrong; see the stand-in's `faults`."""
        self._post("faults", rule)

    def faults_left(self) -> list[dict[str, Any]]:
        left: list[dict[str, Any]] = self.http.get(f"{self.url}/sandbox/faults").json()
        return left

    def change(self, object_name: str, name: str, **attributes: Any) -> None:
        """Describe a field otherwise."""
        where = {"org": world.ORG, "object": object_name, "field": name}
        self._post("fields", where | attributes)
        self._changed.append(where)

    def permit(self, **rights: Any) -> None:
        """Give the connected user other rights; see the stand-in's `permissions`."""
        self._post("permissions", {"org": world.ORG} | rights)

    def heal(self) -> None:
        """No faults, every field and every right as it was."""
        self.permit(**{"as": "administrator"})
        self.http.delete(f"{self.url}/sandbox/faults")
        if self._changed:
            self._post("fields", self._changed)
            self._changed.clear()

    def calls(self, method: str = "%", route: str = "%") -> int:
        """How many requests were answered."""
        sql = "SELECT coalesce(sum(calls), 0) FROM request_log WHERE method LIKE ? AND route LIKE ?"
        return int(self.state.rows(sql, method, route)[0][0])

    def _post(self, what: str, body: Any) -> None:
        response = self.http.post(f"{self.url}/sandbox/{what}", json=body)
        assert response.status_code == 200, response.text


@pytest.fixture(scope="session")
def _process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("salesforce")
    command = [sys.executable, "-m", "sync_pipeline_tests.salesforce.stand_in", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, "the stand-in did not start"
        yield url, folder
        process.kill()


@pytest.fixture
def served(_process: tuple[str, Path]) -> Iterator[Served]:
    url, folder = _process
    state = State(folder / "state.sqlite")
    for table in ("organizations", "account", "contact", "user", "session", "request_log", "salesforce_purge"):
        state.db.execute(f'DELETE FROM "{table}"')
    state.close()
    state = world.fill(folder)
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(folder / "ca.pem")
        served = Served(url, folder / "ca.pem", state, session)
        yield served
        served.heal()
    state.close()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BACKOFF_SECONDS", 0.001)


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with Warehouse(tmp_path / "warehouse", "acme").connect() as connection:
        yield connection


@pytest.fixture
def org(served: Served, monkeypatch: pytest.MonkeyPatch) -> Organization:
    """An organization whose Salesforce is the stand-in."""
    monkeypatch.setenv("ACME_SECRET", f"secret+{world.ORG}/%")
    return connected(served.url, served.ca_file)


@pytest.fixture
def client(org: Organization) -> Iterator[salesforce.Client]:
    client = salesforce.connect(org)
    with client.session:
        yield client


@pytest.fixture
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder of the test's own, with tokens in files."""
    monkeypatch.setenv("SYNC_PIPELINE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SYNC_PIPELINE_TOKENS", "file")


@pytest.fixture
def there() -> Iterator[Rotating]:
    """A Salesforce whose refresh tokens rotate."""
    with rotating() as answer:
        yield answer
