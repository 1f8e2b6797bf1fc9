"""Which Salesforce organization is behind the login, and that it stays the same.

A sandbox can hold production's records under production's ids, so nothing but the organization's own id tells them apart.
It is recorded at the first sync (table `salesforce_organization`) and at the first connection, or pinned in the YAML file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from sync_pipeline import settings
from sync_pipeline.errors import ConfigurationError, DataError, GuardStop, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.warehouse import Warehouse
from sync_pipeline.warehouse.load import replace_table
from sync_pipeline.warehouse.tables import SALESFORCE_ORGANIZATION
from sync_pipeline.yaml_types.ids import id_18

if TYPE_CHECKING:
    from sync_pipeline.salesforce.client import Client


@dataclass(frozen=True, slots=True)
class Identity:
    """A Salesforce organization; `organization_id` has 18 characters."""

    organization_id: str
    name: str
    is_sandbox: bool

    @classmethod
    def of(cls, row: dict[str, Any]) -> Identity:
        """From a row of Salesforce's object Organization; DataError where its Id is none."""
        try:
            return cls(id_18(str(row["Id"])), str(row["Name"]), bool(row["IsSandbox"]))
        except ValueError as error:
            raise DataError(f"Salesforce gives its organization an Id that can't be right: {error}.") from None

    def __str__(self) -> str:
        return f"{self.name} ({'sandbox' if self.is_sandbox else 'production'}, {self.organization_id})"


def load_organization(con: duckdb.DuckDBPyConnection, client: Client, org: Organization) -> int:
    """Ask who is behind the login and replace `salesforce_organization`; returns 1.

    Raises:
        ConfigurationError, GuardStop: as `refuse_other`; the table keeps its row.
    """
    found = Identity.of(client.organization())
    refuse_other(org, found, recorded_organization(con))
    budget = client.session.budget
    return replace_table(
        con,
        SALESFORCE_ORGANIZATION,
        """SELECT ? AS organization_id, ? AS name, ? AS instance_url, ? AS is_sandbox,
            ? AS api_requests_used, nullif(?, 0) AS api_requests_limit""",
        (found.organization_id, found.name, client.instance_url, found.is_sandbox, budget.used, budget.limit),
    )


def recorded_organization(con: duckdb.DuckDBPyConnection) -> Identity | None:
    """The organization of earlier syncs; None before the first."""
    row = con.execute("SELECT organization_id, name, is_sandbox FROM salesforce_organization").fetchone()
    return Identity(*row) if row else None


def recorded_here(org: Organization) -> Identity | None:
    """The same, from the organization's warehouse file, read without writing; None too while a sync holds the file."""
    try:
        with Warehouse(settings.data_dir() / "warehouse", org.name, wait_seconds=1).connect(read_only=True) as con:
            return recorded_organization(con)
    except TransientError:
        return None


def told(org: Organization, row: dict[str, Any]) -> str:
    """For `check`: which organization the next sync will insist on. Raises as `refuse_other`.

    Args:
        org: the organization.
        row: what Salesforce says of the organization behind the login, as `Client.organization` gives it.
    """
    found, recorded = Identity.of(row), recorded_here(org)
    refuse_other(org, found, recorded)
    if org.salesforce.organization_id:
        return f"{found.organization_id} is the organization that {org.where('salesforce', 'organization_id')} pins."
    if recorded:
        return f"{found.organization_id} is the organization of the syncs so far."
    return f"{found.organization_id} will be the organization of {org.name} from its first sync on."


def refuse_changed(con: duckdb.DuckDBPyConnection, client: Client, org: Organization) -> None:
    """Raise as `refuse_other`, where the login names another organization than is recorded. Asks nothing where it doesn't."""
    recorded = recorded_organization(con)
    if recorded and client.organization_id not in (None, recorded.organization_id):
        refuse_other(org, Identity.of(client.organization()), recorded)


def refuse_other(org: Organization, found: Identity, recorded: Identity | None) -> None:
    """Raise where the organization behind the login is not the one it must be. A pin outweighs what is recorded.

    Raises:
        ConfigurationError: the YAML file pins another.
        GuardStop: the YAML file pins none, and earlier syncs (or the earlier connection) read another.
    """
    refuse_other_login(org, found.organization_id, str(found))
    if org.salesforce.organization_id or not recorded or recorded.organization_id == found.organization_id:
        return
    raise GuardStop(
        f"{org.where('salesforce', 'domain')}: the login leads to {found}, and {org.name} has worked with {recorded} so far. "
        "Record ids may be the same in both (a sandbox keeps production's), so nothing was read.",
        next_step="Correct salesforce.domain and the login; or, if the new one is meant, say so in the file: "
        f"salesforce.organization_id: {found.organization_id}",
    )


def refuse_other_login(org: Organization, organization_id: str | None, name: str | None = None) -> None:
    """Raise where the login names another organization than the YAML file pins: before any request with it.

    Args:
        org: the organization.
        organization_id: as the token's answer names it; None where it does not.
        name: what it is called, where that is known.
    """
    pin = org.salesforce.organization_id
    if pin is not None and organization_id is not None and pin != organization_id:
        raise ConfigurationError(
            f"{org.where('salesforce', 'organization_id')}: the login leads to {name or organization_id}, and "
            f"organization_id says {pin}. Nothing was read.",
            next_step="Correct salesforce.domain and the login; or, if the other organization is meant, set "
            f"salesforce.organization_id: {organization_id}",
        )
