"""Everything that can be wrong before a sync, found at once. Asks both sides and the platform; writes nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sync_pipeline import billing, receivables, salesforce
from sync_pipeline.errors import SyncError
from sync_pipeline.orgs import Organization, unset_variables
from sync_pipeline.warehouse import Warehouse

LOW_BUDGET = 0.2
"""Share of the day's API calls below which a check says so."""


@dataclass(frozen=True)
class Line:
    """One thing that was looked at.

    Attributes:
        area: configuration, salesforce, billing or receivables.
        ok: whether it is as it must be.
        text: what was found, and where it is not well, what to do.
        exit_code: of a problem, the exit code of its kind; 0 otherwise.
    """

    area: str
    ok: bool
    text: str
    exit_code: int = 0

    def as_json(self) -> dict[str, object]:
        """For machines; keys as the attributes."""
        return asdict(self)


def look(org: Organization) -> Iterator[Line]:
    """Look at every area, each on its own: what is wrong in one does not hide what is wrong in another."""
    unset = unset_variables(org)
    yield from (Line("configuration", False, str(problem), exit_code=2) for problem in unset)
    if not unset:
        yield Line("configuration", True, f"{org.where()} has no problems; every variable it names is set.")
    areas: dict[str, Callable[[Organization], Iterator[Line]]] = {
        "salesforce": _salesforce,
        "billing": _billing,
        "receivables": _receivables,
    }
    for area, looked_at in areas.items():
        try:
            yield from looked_at(org)
        except SyncError as error:
            yield Line(area, False, str(error), exit_code=error.exit_code)


def _salesforce(org: Organization) -> Iterator[Line]:
    client = salesforce.connect(org)
    found = client.organization()
    kind = "sandbox" if found.get("IsSandbox") else "production"
    yield Line("salesforce", True, f"Logged in to {found['Name']} ({kind}, {found['Id']}) at {client.instance_url}.")
    facts = salesforce.inspect_fields(client, org)
    for fact in facts:
        if fact.problem:
            yield Line("salesforce", False, f"{fact.where(org)}: {fact.problem}", exit_code=2)
    good = [f"{fact.object}.{fact.field} ({fact.purpose}, {fact.type})" for fact in facts if not fact.problem]
    if good:
        yield Line("salesforce", True, f"Can be used: {', '.join(good)}.")
    yield _budget(client)


def _budget(client: salesforce.Client) -> Line:
    calls = client.limits()["DailyApiRequests"]
    left, most = int(calls["Remaining"]), int(calls["Max"])
    text = f"{left:,} of {most:,} API calls are left today."
    if left < LOW_BUDGET * most:
        return Line("salesforce", False, f"{text} Sync when the day's calls are there again.", exit_code=4)
    return Line("salesforce", True, text)


def _billing(org: Organization) -> Iterator[Line]:
    yield Line("billing", True, billing.probe(org))


def _receivables(org: Organization) -> Iterator[Line]:
    with (
        tempfile.TemporaryDirectory(prefix="sync_pipeline_check_") as folder,
        Warehouse(Path(folder), org.name).connect() as con,
    ):
        platform = receivables.open_platform(con, org)
        platform.read_users(con)
        users = con.execute("SELECT count(*) FROM temp.platform_users").fetchall()[0][0]
    yield Line("receivables", True, f"{platform.label} answers; it has {users:,} users.")
