"""Makes the folder of a sandbox: state, billing files, truth, keys. Whole or not at all: the state appears last."""

from __future__ import annotations

import gc
import json
import secrets
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from sync_pipeline.sandbox.billing_data import DatabaseKeeper, FileKeeper, Keeper, StateKeeper
from sync_pipeline.sandbox.billings import BILLINGS, STAND_INS
from sync_pipeline.sandbox.certificates import signing_key, write_private
from sync_pipeline.sandbox.ids import SalesforceIds, mixed
from sync_pipeline.sandbox.options import (
    DEFAULT_ACCOUNTS,
    DEFAULT_BILLINGS,
    DEFAULT_SEED,
    DEFAULT_TROUBLE,
    SandboxError,
    SandboxOptions,
    WorldOptions,
)
from sync_pipeline.sandbox.pools import make_pools
from sync_pipeline.sandbox.state import INDEXES, TABLES, State, connect
from sync_pipeline.sandbox.truth import TruthFile
from sync_pipeline.sandbox.world import OrganizationWorld, Progress

FORMAT = 4
"""Of the state file; one more whenever an older sandbox's file could not be served any longer."""

SESSION_SECONDS = 10 * 365 * 86_400
"""Life of sessions and tokens in the ready file; those that clients log in for live as long as their vendor's."""


def state_file(folder: Path) -> Path:
    """Where the state of a folder is."""
    return folder / "state.sqlite"


def billing_file(folder: Path, billing: str) -> Path | None:
    """The file that a billing system of this kind is; None for one with an API."""
    return {"database": folder / "billing.sqlite", "file": folder / "customers.csv"}.get(billing)


def truth_file(folder: Path, org: str) -> Path:
    """Where the truth about an organization is written."""
    return folder / "truth" / f"{org}.csv"


def key_file(folder: Path, org: str) -> Path:
    """The private key that an organization's JWT bearer logins are signed with."""
    return folder / "keys" / f"{org}.pem"


def open_state(options: SandboxOptions, progress: Progress | None = None) -> State:
    """The folder's state; its world is made first where there is none.

    Raises:
        SandboxError: the folder holds another world than asked for, something that is no state, or half of one.
    """
    path = state_file(options.folder)
    if not path.exists():
        _build(options.folder, _wanted(options), progress)
    try:
        state = State(path)
        kept = _read_world(state)
    except (sqlite3.DatabaseError, KeyError, ValueError) as error:
        raise SandboxError(
            f"{path} can't be read as a sandbox's state; delete {options.folder} to start anew."
        ) from error
    _refuse_another(options, kept)
    for org in kept.billing:
        needed = [key_file(options.folder, org), truth_file(options.folder, org), billing_file(options.folder, org)]
        if missing := next((file for file in needed if file and not file.exists()), None):
            raise SandboxError(f"{missing} is gone; delete {options.folder} to start anew.")
    return state


def _wanted(options: SandboxOptions) -> WorldOptions:
    """The world that is asked for, with the defaults for what is not."""
    asked = options.billing or DEFAULT_BILLINGS
    return WorldOptions(
        billing=tuple(billing for billing in BILLINGS if billing in asked),
        accounts=DEFAULT_ACCOUNTS if options.accounts is None else options.accounts,
        seed=DEFAULT_SEED if options.seed is None else options.seed,
        trouble=DEFAULT_TROUBLE if options.trouble is None else options.trouble,
    )


def _read_world(state: State) -> WorldOptions:
    kept = {row["name"]: json.loads(row["value"]) for row in state.rows("SELECT * FROM world")}
    if kept["format"] != FORMAT or not set(kept["billing"]) <= set(BILLINGS):
        raise ValueError
    return WorldOptions(tuple(kept["billing"]), kept["accounts"], kept["seed"], kept["trouble"])


def _refuse_another(options: SandboxOptions, kept: WorldOptions) -> None:
    for name in ("accounts", "seed", "trouble"):
        asked, there = getattr(options, name), getattr(kept, name)
        if asked is not None and asked != there:
            raise SandboxError(
                f"{options.folder} holds a world with --{name} {there}, not {asked};"
                " choose another --folder, or delete it."
            )
    if options.billing is not None and set(options.billing) != set(kept.billing):
        raise SandboxError(
            f"{options.folder} holds a world with --billing {', '.join(kept.billing)},"
            f" not {', '.join(options.billing)}; choose another --folder, or delete it."
        )


def _build(folder: Path, world: WorldOptions, progress: Progress | None) -> None:
    """Make everything; the state file gets its name when all is done."""
    for name in ("truth", "keys"):
        (folder / name).mkdir(exist_ok=True)
    draft = folder / "state.sqlite.new"
    for stale in folder.glob("state.sqlite*"):
        stale.unlink()
    collecting = gc.isenabled()
    gc.disable()  # millions of rows pass, and none is part of a cycle
    try:
        with closing(connect(draft)) as db:
            db.execute("PRAGMA journal_mode = OFF")  # a draft that breaks off is thrown away
            for statement in TABLES:
                db.execute(statement)
            db.execute("BEGIN")
            _fill(db, folder, world, progress)
            db.execute("COMMIT")
            for statement in INDEXES:
                db.execute(statement)
            db.execute("PRAGMA analysis_limit = 1000")  # a sample tells the planner enough
            db.execute("ANALYZE")
    finally:
        if collecting:
            gc.enable()
    draft.replace(state_file(folder))


def _fill(db: sqlite3.Connection, folder: Path, world: WorldOptions, progress: Progress | None) -> None:
    kept = {"format": FORMAT, **vars(world)}
    db.executemany("INSERT INTO world VALUES (?, ?)", [(name, json.dumps(value)) for name, value in kept.items()])
    pools = make_pools(world.seed)
    for org in world.billing:
        username = f"sync@{org}.sandbox.example"
        records = OrganizationWorld(org, world, pools, username)
        _add_organization(db, folder, org, world.seed, username, records.connected_user_id)
        truth, keeper = TruthFile(truth_file(folder, org)), _keeper(db, folder, org)
        with closing(truth), closing(keeper):
            records.fill(db, keeper, truth, progress)


def _keeper(db: sqlite3.Connection, folder: Path, org: str) -> Keeper:
    path = billing_file(folder, org)
    if path is None:
        return StateKeeper(db, org)
    return DatabaseKeeper(path) if org == "database" else FileKeeper(path)


def _add_organization(db: sqlite3.Connection, folder: Path, org: str, seed: int, username: str, user_id: str) -> None:
    """The organization with new credentials, which are no part of what a seed decides."""
    private, public = signing_key()
    write_private(key_file(folder, org), private)
    dice = mixed(seed, sum(org.encode()))
    organization_id = SalesforceIds("00D", "gK", dice % 62**4 + 62**4)(0)
    token = f"{organization_id[:15]}!AQ{secrets.token_hex(40)}"
    columns = {
        "org": org,
        "billing": org,
        "organization_id": organization_id,
        "name": f"Sandbox of {org.capitalize()} Ltd",
        "is_sandbox": 1,
        "user_id": user_id,
        "username": username,
        "client_id": f"3MVG9{secrets.token_hex(35)}",
        "client_secret": secrets.token_hex(32).upper(),
        "public_key": public,
        "access_token": token,
        "upflow_key": secrets.token_hex(16),
        "upflow_secret": secrets.token_hex(32),
        "password": secrets.token_urlsafe(12),
        "security_token": secrets.token_hex(12),
    }
    marks = ", ".join("?" * len(columns))
    db.execute(f"INSERT INTO organizations ({', '.join(columns)}) VALUES ({marks})", tuple(columns.values()))
    now = time.time()
    db.execute(
        "INSERT INTO session (org, access_token, created_at, expires_at) VALUES (?, ?, ?, ?)",
        (org, token, now, now + SESSION_SECONDS),
    )
    login = STAND_INS[org].credentials() if org in STAND_INS else {}
    db.executemany("INSERT INTO billing_login VALUES (?, ?, ?)", [(org, name, value) for name, value in login.items()])
    tokens = [(login[f"{kind}_token"], org, kind) for kind in ("access", "refresh") if f"{kind}_token" in login]
    db.executemany(
        "INSERT INTO billing_token VALUES (?, ?, ?, ?, ?, 0)", [(*one, now, now + SESSION_SECONDS) for one in tokens]
    )
