from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import trustme
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from sync_pipeline.sandbox.capitals import CapitalizedHeaders
from sync_pipeline.sandbox.salesforce import create_app
from sync_pipeline.sandbox.state import State
from sync_pipeline_tests.sandbox.salesforce import world

PAGE_ROWS = 7
"""Rows of a Bulk page in these tests, so that few records make many pages."""


@dataclass
class Served:
    """A stand-in that listens, and a session that talks to it as the organization's user."""

    url: str
    ca_file: Path
    state: State
    http: requests.Session
    listening: Listening

    def restart(self) -> None:
        """Start the stand-in anew on what its state has kept."""
        self.listening.app = create_app(self.state, page_rows=PAGE_ROWS)

    @property
    def host(self) -> str:
        return self.url.removeprefix("https://")

    def data(self, path: str) -> str:
        return f"{self.url}/services/data/v66.0/{path}"

    def query(self, soql: str) -> list[dict[str, object]]:
        answer = self.http.get(self.data("query"), params={"q": soql})
        assert answer.status_code == 200, answer.text
        return [{k: v for k, v in record.items() if k != "attributes"} for record in answer.json()["records"]]

    def fault(self, **rule: object) -> None:
        assert self.http.post(f"{self.url}/sandbox/faults", json=rule).status_code == 200


class Listening:
    """One server for all tests; each test puts its own stand-in behind it. Without a certificate authority: plain http."""

    def __init__(self, ca: trustme.CA | None, ca_file: Path) -> None:
        self.ca_file = ca_file
        self.app: ASGIApp | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{'https' if ca else 'http'}://localhost:{self._listener.getsockname()[1]}"
        config = uvicorn.Config(
            self._call,
            http=CapitalizedHeaders,
            interface="asgi3",
            lifespan="off",
            log_level="critical",
            timeout_graceful_shutdown=2,
        )
        config.load()
        if ca:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
            config.ssl = context
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        await self.app(scope, receive, send)

    async def _serve(self) -> None:
        await self._server.serve(sockets=[self._listener])
        await asyncio.sleep(0.1)  # connections that were just closed say goodbye


@pytest.fixture(scope="session")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    ca = trustme.CA()
    ca_file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(ca_file)
    server = Listening(ca, ca_file)
    yield server
    server.stop()


@pytest.fixture
def served(tmp_path: Path, listening: Listening) -> Iterator[Served]:
    state = world.fill(tmp_path)
    listening.app = create_app(state, page_rows=PAGE_ROWS)
    with requests.Session() as http:
        http.trust_env = False
        http.verify = str(listening.ca_file)
        http.headers["Authorization"] = f"Bearer {world.TOKEN}"
        yield Served(listening.url, listening.ca_file, state, http, listening)
    state.close()
