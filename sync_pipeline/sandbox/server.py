"""Serves the stand-ins: a listener each, one process, one event loop, one state file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from filelock import FileLock, Timeout
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sync_pipeline.sandbox.billings import STAND_INS
from sync_pipeline.sandbox.billings.frame import Limits
from sync_pipeline.sandbox.building import open_state
from sync_pipeline.sandbox.capitals import CapitalizedHeaders
from sync_pipeline.sandbox.certificates import authority, server_certificate
from sync_pipeline.sandbox.options import SandboxError, SandboxOptions
from sync_pipeline.sandbox.ready import HOST, ready_content
from sync_pipeline.sandbox.salesforce.app import create_app
from sync_pipeline.sandbox.salesforce.faults import Rule, WrongRule, read_file
from sync_pipeline.sandbox.state import State
from sync_pipeline.sandbox.upflow.app import UpflowApp
from sync_pipeline.sandbox.world import Progress

_SECONDS_TO_FINISH = 1
"""How long what is being served may take when the sandbox is told to stop. Idle TLS connections take it all: their
clients don't say goodbye."""

Announce = Callable[[dict[str, Any]], None]


def run(options: SandboxOptions, *, announce: Announce | None = None, progress: Progress | None = None) -> None:
    """Serve until SIGINT or SIGTERM; must run in the main thread, where signals arrive.

    Args:
        options: what to serve, and where its folder is.
        announce: called once with what the ready file says, when everything listens.
        progress: called while a world is made.

    Raises:
        SandboxError: a person has to change something: one sentence says what.
    """
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SandboxError(f"{options.folder} can't be made: {error.strerror}.") from error
    with _only_one(options.folder):
        if options.ready_file:
            options.ready_file.unlink(missing_ok=True)  # what an earlier sandbox wrote is not true any longer
        _faults(options)  # a wrong file is told before a large world is made
        with contextlib.closing(open_state(options, progress)) as state, contextlib.ExitStack() as stack:
            faults = _faults(options, state.seed(), state.orgs())
            authority(options.folder)
            apps = served_apps(state, options, faults)
            sockets = {name: stack.enter_context(_listen(state, options, name)) for name in apps}
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(_serve(state, options, apps, sockets, announce))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Holds the folder for this process; the operating system lets go of it however the process ends."""
    lock, owner = FileLock(folder / "sandbox.lock"), folder / "sandbox.pid"
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        process = owner.read_text() if owner.exists() else "unknown"
        raise SandboxError(
            f"Another sandbox (process {process}) already serves {folder}; stop it, or choose another --folder."
        ) from error
    except OSError as error:
        raise SandboxError(f"{folder} can't be written to: {error.strerror}.") from error
    try:
        owner.write_text(str(os.getpid()))
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _faults(options: SandboxOptions, seed: int = 1, orgs: Collection[str] = ()) -> list[Rule]:
    try:
        return read_file(options.faults, seed=seed, orgs=orgs) if options.faults else []
    except WrongRule as error:
        raise SandboxError(f"--faults {error}") from None


def _listen(state: State, options: SandboxOptions, name: str) -> socket.socket:
    """A listening socket: at the port asked for, else at the folder's earlier one if it is free, else at any."""
    asked = options.ports.get(name, 0)
    row = state.row("SELECT value FROM world WHERE name = ?", f"port_{name}")
    candidates = [asked] if asked else [int(row["value"]) if row else 0, 0]
    for port in candidates:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name == "posix":  # elsewhere it would share a port that is in use
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen(512)
        except OSError as error:
            listener.close()
            if asked:
                raise SandboxError(f"Port {asked} for {name} can't be used: {error.strerror}.") from error
            continue
        state.db.execute("INSERT OR REPLACE INTO world VALUES (?, ?)", (f"port_{name}", str(listener.getsockname()[1])))
        return listener
    raise SandboxError(f"No free port on {HOST} for {name}.")


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever runs several of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def served_apps(state: State, options: SandboxOptions, faults: list[Rule]) -> dict[str, ASGIApp]:
    """Salesforce, Upflow, and the billing systems of this world that have an API of their own."""
    apps: dict[str, ASGIApp] = {
        "salesforce": create_app(
            state, api_limit=options.api_limit, refresh_idle_days=options.refresh_idle_days, faults=faults
        ),
        "upflow": UpflowApp(state, options.upflow_per_minute),
    }
    for org in state.orgs():
        stand_in = STAND_INS.get(org)
        if stand_in and stand_in.app:
            apps[org] = stand_in.app(state, Limits(options.billing_per_minute))
    return apps


async def _serve(
    state: State,
    options: SandboxOptions,
    apps: dict[str, ASGIApp],
    sockets: dict[str, socket.socket],
    announce: Announce | None,
) -> None:
    certificate = None if options.plain_http else str(server_certificate(options.folder))
    protocols: dict[str, type[HttpToolsProtocol]] = {"salesforce": CapitalizedHeaders}
    servers = [_Server(_config(apps[name], certificate, protocols.get(name, HttpToolsProtocol))) for name in apps]

    def stop() -> None:
        for server in servers:
            server.force_exit = server.should_exit  # told twice: don't wait for what is being served
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    serving = [
        asyncio.create_task(server.serve(sockets=[sockets[name]])) for name, server in zip(apps, servers, strict=True)
    ]
    while not all(server.started for server in servers) and not any(task.done() for task in serving):
        await asyncio.sleep(0.005)
    if all(server.started for server in servers):
        ready = ready_content(state, options, {name: sockets[name].getsockname()[1] for name in apps})
        if options.ready_file:
            _write_whole(options.ready_file, json.dumps(ready, indent=2) + "\n")
        if announce:
            announce(ready)
    try:
        await asyncio.gather(*serving)
    finally:
        if options.ready_file:
            options.ready_file.unlink(missing_ok=True)


def _config(app: ASGIApp, certificate: str | None, protocol: type[HttpToolsProtocol]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ssl_certfile=certificate,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
    )


def _write_whole(path: Path, text: str) -> None:
    """Write a file that is never seen half: it holds credentials, and somebody waits for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
