"""The sandbox as tests use it: a real process on loopback, started once for all who ask for the same world."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import settings

# How long an example takes says nothing here: the machine may be busy with the other half of the suite.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

SECONDS_TO_START = 60
"""A small world takes one; the machine may be busy."""


@dataclass
class Sandbox:
    """A sandbox that runs. `ready` is what its ready file said."""

    folder: Path
    ready: dict[str, Any]
    process: subprocess.Popen[bytes]
    arguments: tuple[str, ...]
    started: list[Sandbox]
    """All that were started for the same test, this one among them: whoever made the list stops them."""

    def __getitem__(self, key: str) -> Any:
        return self.ready[key]

    def organization(self, org: str) -> dict[str, Any]:
        """Addresses and credentials of one organization."""
        found: dict[str, Any] = self.ready["organizations"][org]
        return found

    @property
    def truth(self) -> dict[str, Path]:
        """The truth of each organization."""
        return {org: Path(path) for org, path in self.ready["truth"].items()}

    def rows(self, sql: str, *parameters: Any) -> list[sqlite3.Row]:
        """Read the state behind the stand-ins' back."""
        with closing(self._state()) as db:
            return db.execute(sql, parameters).fetchall()

    def change(self, sql: str, *parameters: Any) -> int:
        """Change the state behind the stand-ins' back, as people in Salesforce do; returns how many rows."""
        with closing(self._state()) as db, db:
            return db.execute(sql, parameters).rowcount

    def calls(self, stand_in: str, *methods: str, org: str | None = None) -> int:
        """Calls so far; of these methods only, where any is given."""
        return sum(
            row["calls"]
            for row in self.rows("SELECT * FROM request_log WHERE stand_in = ?", stand_in)
            if (not methods or row["method"] in methods) and org in (None, row["org"])
        )

    def http(self) -> requests.Session:
        """A session that trusts the sandbox and nothing else."""
        session = requests.Session()
        session.trust_env = False
        session.verify = self.ready["ca_file"]
        return session

    def upflow(self, org: str = "stripe") -> requests.Session:
        """A session with an organization's Upflow credentials."""
        session, keys = self.http(), self.organization(org)["upflow"]
        session.headers.update({"X-Api-Key": keys["api_key"], "X-Api-Secret": keys["api_secret"]})
        return session

    def kill(self) -> None:
        """End it the hard way: nothing is said, nothing is finished."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """End it the clean way; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def restart(self, *more: str) -> Sandbox:
        """The same folder served again, after `kill` or `stop`."""
        return start(self.folder, (*self.arguments, *more), self.started)

    def _state(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.ready["state_file"], timeout=20)
        db.row_factory = sqlite3.Row
        return db


def start(folder: Path, arguments: Sequence[str], started: list[Sandbox]) -> Sandbox:
    """Start a sandbox, wait until it listens, and add it to `started`."""
    ready_file = folder.parent / f"{folder.name}.ready.json"
    ready_file.unlink(missing_ok=True)  # a killed one leaves it behind
    command = [sys.executable, "-m", "sync_pipeline.sandbox", "--folder", str(folder), "--ready-file", str(ready_file)]
    log = folder.parent / f"{folder.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *arguments], stdout=output, stderr=output, cwd=Path(__file__).parents[1])
    deadline = time.monotonic() + SECONDS_TO_START
    while not ready_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait(10)
            pytest.fail(f"The sandbox did not start: {log.read_text()}")
        time.sleep(0.02)
    started.append(Sandbox(folder, json.loads(ready_file.read_text()), process, tuple(arguments), started))
    return started[-1]


def arguments_of(
    accounts: int = 200,
    seed: int = 1,
    billing: Sequence[str] = (),
    trouble: float | None = None,
    plain_http: bool = False,
    upflow_per_minute: int = 1_000_000,
    billing_per_minute: int | None = None,
) -> tuple[str, ...]:
    """The command line of a sandbox. Upflow's limit is off unless a test wants it; billing systems have the vendors' own."""
    made = ["--accounts", str(accounts), "--seed", str(seed), "--upflow-per-minute", str(upflow_per_minute)]
    for name in billing:
        made += ["--billing", name]
    if trouble is not None:
        made += ["--trouble", str(trouble)]
    if plain_http:
        made.append("--plain-http")
    if billing_per_minute is not None:
        made += ["--billing-per-minute", str(billing_per_minute)]
    return tuple(made)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Sandbox]]:
    """Factory of sandboxes for all tests: the same options give the same running one. Do not change its world.

    Options are those of `arguments_of`: accounts, seed, billing, trouble, plain_http, upflow_per_minute,
    billing_per_minute.
    """
    started: list[Sandbox] = []

    def get(**options: Any) -> Sandbox:
        arguments = arguments_of(**options)
        for known in started:
            if known.arguments == arguments and known.process.poll() is None:
                return known
        return start(tmp_path_factory.mktemp("sandbox") / "world", arguments, started)

    yield get
    _stop_all(started)


@pytest.fixture
def fresh_sandbox(tmp_path: Path) -> Iterator[Callable[..., Sandbox]]:
    """Factory of one test's own sandboxes, to change, stop, kill and restart. Options as for `sandbox`."""
    started: list[Sandbox] = []

    def get(**options: Any) -> Sandbox:
        return start(tmp_path / f"sandbox{len(started)}", arguments_of(**options), started)

    yield get
    _stop_all(started)


def _stop_all(sandboxes: list[Sandbox]) -> None:
    for one in sandboxes:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGTERM)
    for one in sandboxes:
        try:
            one.process.wait(20)
        except subprocess.TimeoutExpired:
            one.kill()
