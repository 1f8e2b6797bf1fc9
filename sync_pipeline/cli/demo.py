"""`sync-pipeline demo`: the sandbox, the three demo organizations, and what to look at next.

Everything it leaves lies in `demo` below the data folder: the sandbox's state, the warehouses, Dagster's records.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sync_pipeline import billing, settings
from sync_pipeline.cli.output import err, out
from sync_pipeline.errors import ConfigurationError, SyncError, TransientError
from sync_pipeline.logins import connecting
from sync_pipeline.logins.grants import GrantStore
from sync_pipeline.orgs import Organization

PROJECT = Path(__file__).parents[2]
START_SECONDS = 60


def run_demo(accounts: int, *, everything: bool = False) -> int:
    """Sync the demo organizations against a sandbox of their own; 0 if all went well.

    Args:
        accounts: of each organization.
        everything: one organization for every billing system, not only the three that show how identifiers are chosen.
    """
    with _sandbox(accounts, everything) as folder:
        from sync_pipeline.cli.orgs import load
        from sync_pipeline.cli.sync import show, sync_each

        loaded = load()
        connect_all(loaded.organizations.values(), folder)
        started = time.monotonic()
        results = sync_each(sorted(loaded.organizations), loaded)
        out.print()
        show(results)
        written = sum(sum(result.written.values()) for result in results)
        failed = [result for result in results if result.exit_code]
        out.print()
        if not failed:
            out.print(
                f"{written:,} changes were written in {time.monotonic() - started:.0f} seconds."
                if written
                else "Nothing had to be written: both sides were already in step."
            )
            _look_next(folder, all_=" ALL=1" if everything else "")
    return failed[0].exit_code if failed else 0


def connect_all(organizations: Iterable[Organization], folder: Path) -> None:
    """Keep the logins that a person would have to give once, with the refresh tokens that the sandbox hands out."""
    kept = GrantStore()
    for org in organizations:
        server = billing.authorization(org)
        if server and kept.grant(org.name) is None:
            ready = json.loads((folder / "ready.json").read_text())
            token = ready["organizations"][org.name.removeprefix("demo_")]["billing"]["refresh_token"]
            connecting.from_refresh_token(org.name, server, token)


def _look_next(folder: Path, all_: str) -> None:
    shown = _shown(folder)
    more = "" if all_ else "  make demo ALL=1   the same with an organization for every billing system\n"
    out.print(
        "\nWhere to look next:\n"
        f"  make demo{all_}   once more: nothing has to be written, since nothing changed\n{more}"
        f"  make ui{all_}   the graph, its checks and these runs in the Dagster UI (starts the sandbox again)\n"
        f"  {shown}/warehouse/demo_stripe.duckdb   the tables; account_mapping has a verdict and a reason for every record\n"
        f"  {shown}/sandbox/   what the stand-ins hold, and the troubles that were planted (truth)\n"
        "  config/demo/   the three YAML files; config/demo_billing/ one for each further billing system\n"
        "  sync-pipeline init acme   asks its way to a YAML file of your own",
        markup=False,
    )


def run_ui(accounts: int, port: int, *, everything: bool = False) -> int:
    """Serve the sandbox and the Dagster UI until Ctrl-C; `everything` as for `run_demo`."""
    with _sandbox(accounts, everything) as folder:
        from sync_pipeline.cli.orgs import load

        connect_all(load().organizations.values(), folder)
        port = _free_port(port)
        from sync_pipeline.cli.instance import dagster_home

        home = dagster_home()
        with (home / "dagster-dev.log").open("wb") as log:
            server = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                [sys.executable, "-m", "dagster", "dev", *_workspace(), "-h", "127.0.0.1", "-p", str(port)],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                _wait_for_ui(server, port, Path(log.name))
                out.print(
                    f"Dagster UI: http://127.0.0.1:{port}/asset-groups   Ctrl-C ends it and the sandbox.", markup=False
                )
                server.wait()
            except KeyboardInterrupt:
                out.print("\nEnding the UI and the sandbox ...")
            finally:
                _end(server)
    return 0


def _workspace() -> list[str]:
    workspace = PROJECT / "workspace.yaml"
    return ["-w", str(workspace)] if workspace.exists() else ["-m", "sync_pipeline.definitions"]


def _wait_for_ui(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=2).close()
            return
        time.sleep(0.3)
    raise SyncError("The Dagster UI did not start.", next_step=f"Read {_shown(log)}.")


@contextmanager
def _sandbox(accounts: int, everything: bool) -> Iterator[Path]:
    """The demo's folder, with its sandbox serving and the environment that the demo's YAML files name."""
    folder = settings.data_dir() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[settings.DATA_VARIABLE] = str(folder)
    if everything:
        os.environ[settings.CONFIG_VARIABLE] = str(_every_example(folder / "config"))
    os.environ.setdefault(settings.CONFIG_VARIABLE, str(PROJECT / "config" / "demo"))
    os.environ["DAGSTER_HOME"] = str((folder / "dagster").absolute())
    process = _start_sandbox(folder, accounts)
    try:
        ready = _wait_for_sandbox(process, folder)
        environment = environment_of(ready)
        os.environ.update(environment)
        _write_environment(folder / "demo.env", environment)
        err.print(
            f"The sandbox serves Salesforce on {ready['salesforce']['url']}, Upflow and the billing systems on more ports.",
            markup=False,
        )
        yield folder
    finally:
        _end(process)


def _every_example(config: Path) -> Path:
    """All the demo's YAML files in one folder, made anew: what runs a sync reads one folder."""
    shutil.rmtree(config, ignore_errors=True)
    for name in ("demo", "demo_billing"):
        shutil.copytree(PROJECT / "config" / name, config, dirs_exist_ok=True)
    return config


def _start_sandbox(folder: Path, accounts: int) -> subprocess.Popen[bytes]:
    (folder / "ready.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "sync_pipeline.sandbox", "--folder", str(folder / "sandbox")]
    command += ["--accounts", str(accounts), "--ready-file", str(folder / "ready.json"), "--upflow-per-minute", "60000"]
    command += ["--billing", "all"]
    with (folder / "sandbox.log").open("wb") as log:
        # A session of its own, so that Ctrl-C reaches it only through us, after the web server has ended.
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)  # noqa: S603


def _wait_for_sandbox(process: subprocess.Popen[bytes], folder: Path) -> dict[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    ready = folder / "ready.json"
    while time.monotonic() < deadline:
        if ready.exists():
            return dict(json.loads(ready.read_text()))
        if process.poll() is not None:
            lines = (folder / "sandbox.log").read_text(errors="replace").strip().splitlines()
            raise ConfigurationError(
                f"The sandbox did not start: {lines[-1] if lines else 'it said nothing.'}",
                next_step="If `make ui` or another demo is running, end that first, or use another folder: --data DIR.",
            )
        time.sleep(0.05)
    raise TransientError(
        f"The sandbox was not ready after {START_SECONDS} seconds.", next_step="Try again with fewer accounts."
    )


def environment_of(ready: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables that config/demo/*.yaml and config/demo_billing/*.yaml name, from the sandbox's ready file.

    Of each organization DEMO_<NAME>_CLIENT_ID and _CLIENT_SECRET are for Salesforce, and DEMO_<NAME>_BILLING_<KEY> is
    what the ready file says under `billing`.
    """
    organizations = ready["organizations"]
    stripe, database, file = organizations["stripe"], organizations["database"], organizations["file"]
    environment = {
        "DEMO_SALESFORCE_URL": ready["salesforce"]["url"],
        "DEMO_CA_FILE": ready["ca_file"],
        "DEMO_STRIPE_URL": stripe["billing"]["url"],
        "DEMO_STRIPE_KEY": stripe["billing"]["api_key"],
        "DEMO_UPFLOW_URL": stripe["upflow"]["url"],
        "DEMO_UPFLOW_KEY": stripe["upflow"]["api_key"],
        "DEMO_UPFLOW_SECRET": stripe["upflow"]["api_secret"],
        "DEMO_DATABASE_URL": database["billing"]["url"],
        "DEMO_CSV_FILE": file["billing"]["path"],
        "DEMO_FILE_USERNAME": file["salesforce"]["username"],
        "DEMO_FILE_PRIVATE_KEY_FILE": file["salesforce"]["private_key_file"],
    }
    for name, organization in organizations.items():
        environment[f"DEMO_{name.upper()}_CLIENT_ID"] = organization["salesforce"]["client_id"]
        environment[f"DEMO_{name.upper()}_CLIENT_SECRET"] = organization["salesforce"]["client_secret"]
        for key, value in organization["billing"].items():
            environment[f"DEMO_{name.upper()}_BILLING_{key.upper()}"] = str(value)
    return environment


def _write_environment(path: Path, environment: Mapping[str, str]) -> None:
    """For a second terminal: `source` it, and the other commands reach the demo's organizations while the sandbox runs."""
    folders = {name: os.environ[name] for name in (settings.CONFIG_VARIABLE, settings.DATA_VARIABLE, "DAGSTER_HOME")}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in {**folders, **environment}.items()]
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise TransientError("There is no free port for the Dagster UI.")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, as Ctrl-C would; insist after ten seconds."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _shown(path: Path) -> str:
    """The path as the user would write it here."""
    with suppress(ValueError):
        return str(path.absolute().relative_to(Path.cwd()))
    return str(path)
