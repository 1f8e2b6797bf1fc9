"""What one run needs of an organization: its settings, its warehouse, its login. One run syncs one organization.

Settings are read again in every run, so that a corrected YAML file takes effect without a restart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from filelock import FileLock, Timeout
from pydantic import PrivateAttr

from sync_pipeline import receivables, salesforce, settings
from sync_pipeline.errors import ConfigurationError, TransientError
from sync_pipeline.orgs import Loaded, Organization, load_organizations
from sync_pipeline.warehouse import Warehouse

PARTITION_TAG = "dagster/partition"


@dataclass
class Step:
    """What an asset or a check works with: one organization, its open warehouse, and lazily its Salesforce and its platform."""

    org: Organization
    con: duckdb.DuckDBPyConnection
    sync: Sync
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def dry_run(self) -> bool:
        """Whether changes are only to be planned."""
        return self.sync.dry_run

    @property
    def salesforce(self) -> salesforce.Client:
        """The organization's Salesforce, logged in once a run; an error where the login leads to another than before."""
        client = self.sync.salesforce(self.org)
        salesforce.refuse_changed(self.con, client, self.org)
        return client

    @property
    def platform(self) -> receivables.Platform:
        """The organization's receivables platform."""
        return receivables.open_platform(self.con, self.org)


class Sync(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Organizations, warehouses and logins of a run."""

    config_dir: str | None = None
    """Folder with the organizations' YAML files; null: $SYNC_PIPELINE_CONFIG, else config/orgs."""
    data_dir: str | None = None
    """Folder for the warehouses; null: $SYNC_PIPELINE_DATA, else var."""
    dry_run: bool = False
    """Plan every change, write none."""
    retries: int = 2
    """How often a step is tried again after a passing failure."""
    retry_seconds: float = 30
    """Seconds before the first retry; doubled before the second."""

    _lock: FileLock | None = PrivateAttr(default=None)
    _clients: dict[str, salesforce.Client] = PrivateAttr(default_factory=dict)
    _loaded: Loaded | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """Where the warehouses are."""
        return Path(self.data_dir) if self.data_dir else settings.data_dir()

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Hold the organization for this run: a second sync of it, from wherever it is started, must not run beside."""
        self._clients, self._loaded = {}, None
        org = context.run.tags.get(PARTITION_TAG) if context.run else None
        if org and not self.dry_run:
            self._lock = hold_organization(self.folder, org)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Let the organization go."""
        if self._lock:
            self._lock.release()

    def organization(self, name: str) -> Organization:
        """The organization's settings as its file says now; ConfigurationError with every problem of a broken file."""
        folder = Path(self.config_dir) if self.config_dir else settings.config_dir()
        if self._loaded is None:  # once a run: there may be a thousand files, and a run has thirty steps
            self._loaded = load_organizations(folder)
        loaded = self._loaded
        if name in loaded.organizations:
            return loaded.organizations[name]
        problems = loaded.broken.get(name)
        if problems:
            raise ConfigurationError(
                f"Organization {name} can't be synced, its file has {len(problems)} problem(s):\n"
                + "\n".join(str(problem) for problem in problems)
            )
        raise ConfigurationError(
            f"There is no organization {name} in {folder}.",
            next_step="Run `sync-pipeline orgs` to see those there are.",
        )

    @contextmanager
    def open(self, name: str) -> Iterator[Step]:
        """One organization with its warehouse open."""
        org = self.organization(name)
        with Warehouse(self.folder / "warehouse", org.name).connect() as con:
            yield Step(org, con, self)

    def salesforce(self, org: Organization) -> salesforce.Client:
        """The organization's Salesforce, logged in once a run."""
        if org.name not in self._clients:
            self._clients[org.name] = salesforce.connect(org)
        return self._clients[org.name]

    def api_calls(self, org: Organization) -> int:
        """How many API requests this run has made of the organization's Salesforce."""
        return self._clients[org.name].session.budget.calls if org.name in self._clients else 0


def hold_organization(folder: Path, org: str) -> FileLock:
    """Take the lock that only one sync of an organization can hold; it ends with its process, however that ends.

    Raises:
        TransientError: another process syncs this organization now.
    """
    path = folder / "locks" / f"{org}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise TransientError(
            f"Another sync of organization {org} is running on this machine.",
            next_step="Wait for it to end, then try again.",
        ) from None
    return lock
