"""A company's machine: configuration, data folder and Dagster home of its own, with the sandbox as the outside world."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from sync_pipeline import http
from sync_pipeline.cli import running
from sync_pipeline.cli.demo import environment_of
from sync_pipeline.cli.instance import open_instance
from sync_pipeline.orgs import Loaded, load_organizations
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.paths import CONFIG, PROJECT

WRITING = ("POST", "PUT", "PATCH", "DELETE")
NOT_WRITING = ("/services/oauth2/", "/jobs/query", "fault")
"""Routes that take a POST or a DELETE and change no record."""
UPFLOW_TABLES = ("upflow_customer", "upflow_contact", "upflow_user", "upflow_custom_field", "upflow_portal_link")


@dataclass
class Workplace:
    """One machine with the three demo organizations on it."""

    folder: Path
    sandbox: Sandbox
    instance: dg.DagsterInstance
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def yaml(self, name: str) -> Path:
        return self.config / f"{name}.yaml"

    def edit(self, name: str, old: str, new: str) -> int:
        """Replace text in an organization's file; returns the line it stands in."""
        text = self.yaml(name).read_text(encoding="utf-8")
        before, found, _ = text.partition(old)
        assert found, f"{old!r} is not in {name}.yaml"
        self.yaml(name).write_text(text.replace(old, new), encoding="utf-8")
        return before.count("\n") + 1

    def load(self) -> Loaded:
        return load_organizations(self.config)

    def sync(self, name: str, *, dry_run: bool = False) -> running.Result:
        """One sync in this process."""
        return running.sync(name, self.load(), self.instance, dry_run=dry_run)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """The command line as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", "from sync_pipeline.cli import main; main()", *arguments],
            cwd=PROJECT,
            env={**os.environ, "COLUMNS": "200", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> Said:
        """The command line until it ends."""
        process = self.start(*arguments, **environment)
        try:
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
        return Said(process.returncode, out, err)

    def rows(self, name: str, sql: str) -> list[tuple[Any, ...]]:
        """A query of an organization's warehouse."""
        with self.warehouse(name).connect() as con:
            return con.execute(sql).fetchall()

    def warehouse(self, name: str) -> Warehouse:
        return Warehouse(self.data / "warehouse", name)

    def written_calls(self, org: str | None = None) -> dict[tuple[str, str, str], int]:
        """Calls so far that change something at a stand-in, by stand-in, method and route."""
        return {
            (row["stand_in"], row["method"], row["route"]): row["calls"]
            for row in self.sandbox.rows("SELECT * FROM request_log")
            if row["method"] in WRITING and not row["route"].startswith(NOT_WRITING) and org in (None, row["org"])
        }

    def upflow_holds(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything at Upflow's stand-in."""
        return {table: [tuple(row) for row in self.sandbox.rows(f"SELECT * FROM {table}")] for table in UPFLOW_TABLES}

    def fault(self, **rule: Any) -> None:
        """Something that goes wrong at Salesforce's stand-in."""
        url = f"{self.sandbox['salesforce']['url']}/sandbox/faults"
        assert self.sandbox.http().post(url, json=[rule]).status_code < 300

    def no_faults(self) -> None:
        self.sandbox.http().delete(f"{self.sandbox['salesforce']['url']}/sandbox/faults")


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err


def truth_of(sandbox: Sandbox, org: str) -> set[tuple[str, ...]]:
    """(side, record, counterpart of a pair or near miss, verdict, rule) of every record, as it was planted."""
    with sandbox.truth[org].open(encoding="utf-8", newline="") as file:
        return {
            (row["side"], row["record_id"], row["counterpart_id"], row["verdict"], row["near_miss_rule"])
            for row in csv.DictReader(file)
        }


def verdicts_of(con: duckdb.DuckDBPyConnection) -> list[tuple[str, ...]]:
    """The same of `account_mapping`."""
    found = []
    rows = con.execute(
        "SELECT billing_customer_id, salesforce_account_id, verdict, near_miss_rule, near_miss_id FROM account_mapping"
    ).fetchall()
    for customer, account, verdict, rule, near in rows:
        if customer:
            found.append(("billing", customer, account or near or "", verdict, rule or ""))
        if account:
            found.append(("salesforce", account, customer or near or "", verdict, rule or ""))
    return found


def until(true: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 240) -> None:
    """Wait for something that a process does."""
    deadline = time.monotonic() + seconds
    while not true():
        if process.poll() is not None:
            pytest.fail(f"It ended too early: {process.communicate()}")
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a service that a test keeps away."""
    monkeypatch.setattr(http, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(running, "RETRY_SECONDS", 0.0)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Workplace]]:
    """Factory: a machine that works against a sandbox. Its Dagster instance is in memory unless `home` is true."""
    with ExitStack() as stack:

        def make(sandbox: Sandbox, *, home: bool = False) -> Workplace:
            folder = tmp_path / f"machine{sum(1 for _ in tmp_path.glob('machine*'))}"
            shutil.copytree(CONFIG / "demo", folder / "config")
            environment = {
                **environment_of(sandbox.ready),
                "SYNC_PIPELINE_CONFIG": str(folder / "config"),
                "SYNC_PIPELINE_DATA": str(folder / "data"),
                "DAGSTER_HOME": str(folder / "home"),
            }
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            instance = stack.enter_context(open_instance() if home else dg.DagsterInstance.ephemeral())
            return Workplace(folder, sandbox, instance, environment)

        yield make
