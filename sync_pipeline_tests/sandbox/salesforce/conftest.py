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


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    await server.serve(sockets=[listener])
    await asyncio.sleep(0.05)  # connections that were just closed say goodbye


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    ca = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(file)
    return ca, file


@pytest.fixture
def served(tmp_path: Path, authority: tuple[trustme.CA, Path]) -> Iterator[Served]:
    ca, ca_file = authority
    state = world.fill(tmp_path)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(create_app(state, page_rows=PAGE_ROWS), log_level="critical", timeout_graceful_shutdown=2)
    config.load()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    config.ssl = context
    server = uvicorn.Server(config)
    thread = threading.Thread(target=asyncio.run, args=(_serve(server, listener),))
    thread.start()
    while not server.started:
        time.sleep(0.005)
    with requests.Session() as http:
        http.trust_env = False
        http.verify = str(ca_file)
        http.headers["Authorization"] = f"Bearer {world.TOKEN}"
        yield Served(f"https://localhost:{port}", ca_file, state, http)
    server.should_exit = True
    thread.join()
    state.close()
