"""What a sandbox is asked for, and the one error it has for a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sync_pipeline.sandbox.billings import BILLINGS

DEFAULT_BILLINGS = ("stripe", "database", "file")
"""One organization for each kind of identifier: a small world that has everything which can go wrong with them."""

DEFAULT_FOLDER = Path("var") / "sandbox"
DEFAULT_ACCOUNTS = 2000
DEFAULT_SEED = 1
DEFAULT_TROUBLE = 0.1
DEFAULT_API_LIMIT = 100_000
"""API calls that a Salesforce organization has a day."""
DEFAULT_REFRESH_IDLE_DAYS = 30
"""Days that a refresh token may lie unused, as in the policy that most apps have."""

LARGEST = 10_000_000
"""Accounts of one organization; record ids of the world have room for no more."""


class SandboxError(Exception):
    """Something a person can put right; the message is one sentence and needs no traceback."""


@dataclass(frozen=True)
class SandboxOptions:
    """How to run a sandbox.

    The world's options (billing, accounts, seed, trouble) are None where the caller does not care: a new folder then
    gets the defaults, a folder that holds a world keeps it. A value that contradicts the folder's world is an error.

    Args:
        folder: state, certificates, billing files and truth; made where missing.
        billing: billing systems, one organization each.
        accounts: accounts of each organization.
        seed: the same seed makes the same world, byte by byte.
        trouble: share of the world (0 to 1) that has something wrong with its identifier.
        plain_http: serve without TLS.
        ready_file: gets one JSON object once everything listens.
        ports: by the name of a stand-in; 0 or none takes the port used before with this folder, if free, else any.
        upflow_per_minute: calls a minute of one Upflow organization before it answers 429.
        billing_per_minute: calls a minute of one organization before its billing system answers 429; None for the
            limits of the system's vendor.
        api_limit: API calls a day of one Salesforce organization before it answers 403.
        refresh_idle_days: days after which an unused refresh token of Salesforce is dead; 0 for never.
        faults: a YAML or JSON file of rules for what goes wrong in Salesforce.
    """

    folder: Path = DEFAULT_FOLDER
    billing: tuple[str, ...] | None = None
    accounts: int | None = None
    seed: int | None = None
    trouble: float | None = None
    plain_http: bool = False
    ready_file: Path | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    upflow_per_minute: int = 600
    billing_per_minute: int | None = None
    api_limit: int = DEFAULT_API_LIMIT
    refresh_idle_days: int = DEFAULT_REFRESH_IDLE_DAYS
    faults: Path | None = None

    def __post_init__(self) -> None:
        for kind in self.billing or ():
            if kind not in BILLINGS:
                raise SandboxError(f"--billing {kind} is unknown; choose among {', '.join(BILLINGS)}.")
        if self.accounts is not None and not 0 <= self.accounts <= LARGEST:
            raise SandboxError(f"--accounts {self.accounts} is out of range; choose 0 to {LARGEST:,}.")
        if self.trouble is not None and not 0 <= self.trouble <= 1:
            raise SandboxError(f"--trouble {self.trouble} is out of range; it is a share from 0 to 1.")
        for name in ("upflow_per_minute", "billing_per_minute", "api_limit"):
            limit: int | None = getattr(self, name)
            if limit is not None and limit < 1:
                raise SandboxError(f"--{name.replace('_', '-')} {limit} is out of range; choose 1 or more.")
        if self.refresh_idle_days < 0:
            raise SandboxError(f"--refresh-idle-days {self.refresh_idle_days} is out of range; choose 0 or more.")
        for name, port in self.ports.items():
            if not 0 <= port <= 65535:
                raise SandboxError(f"--port-{name} {port} is no port; choose 0 to 65535.")


@dataclass(frozen=True)
class WorldOptions:
    """What decides the bytes of a world."""

    billing: tuple[str, ...]
    accounts: int
    seed: int
    trouble: float
