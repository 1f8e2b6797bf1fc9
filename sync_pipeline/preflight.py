"""Everything that can be wrong before a sync, found at once. Asks both sides and the platform; writes nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from sync_pipeline import billing, receivables, salesforce
from sync_pipeline.errors import ConfigurationError, ReconnectError, SyncError, TransientError
from sync_pipeline.matching.comparison import Comparison
from sync_pipeline.matching.macros import install_macros
from sync_pipeline.orgs import Organization, unset_variables
from sync_pipeline.warehouse import Warehouse

CALLS_OF_A_SYNC = 100
"""API requests that a sync of a million accounts stays under, unless it writes very many links."""


@dataclass(frozen=True)
class Line:
    """One thing that was looked at.

    Attributes:
        area: configuration, salesforce, billing or receivables.
        ok: whether it is as it must be.
        text: what was found, and where it is not well, what to do.
        exit_code: of a problem, the exit code of its kind; 0 otherwise.
        sure: false where the other side does not tell, and a person has to look.
    """

    area: str
    ok: bool
    text: str
    exit_code: int = 0
    sure: bool = True

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
        yield from _each(area, partial(looked_at, org))


def _each(area: str, looked_at: Callable[[], Iterable[Line]]) -> Iterator[Line]:
    """The lines of one look; an error that ends it is its last."""
    try:
        yield from looked_at()
    except SyncError as error:
        yield Line(area, False, str(error), exit_code=error.exit_code)


# -- Salesforce ---------------------------------------------------------------------------------------------------


def _salesforce(org: Organization) -> Iterator[Line]:
    for question in salesforce.kept_login(org):
        yield from _each("salesforce", partial(_sentence, question))
    client = salesforce.connect(org)
    with client.session:
        found = client.organization()
        user = salesforce.connected_user(client)
        kind = "sandbox" if found.get("IsSandbox") else "production"
        yield Line(
            "salesforce",
            True,
            f"Logged in to {found['Name']} ({kind}, {found['Id']}) at {client.instance_url}, as the user "
            f"{client.instance_url}/{user}.",
        )
        yield Line("salesforce", True, salesforce.told_organization(org, found))  # or an error, before anything is read
        objects = salesforce.refused_objects(client, org)
        readable = [name for name, refusal in objects.items() if refusal is None]
        facts: list[salesforce.FieldFact] = []
        looks: list[Callable[[], Iterator[Line]]] = [
            lambda: _permissions(client, org, user, objects),
            lambda: _fields(client, org, readable, facts),
            lambda: _identifier(client, org, facts),
            lambda: _budget(client),
        ]
        for looked_at in looks:
            yield from _each("salesforce", looked_at)


def _sentence(question: Callable[[], str]) -> Iterator[Line]:
    yield Line("salesforce", True, question())


def _permissions(
    client: salesforce.Client,
    org: Organization,
    user: str,
    objects: dict[str, ReconnectError | None],
) -> Iterator[Line]:
    for found in salesforce.inspect_permissions(client, org, user, objects):
        code = 0 if found.ok else ReconnectError.exit_code
        yield Line("salesforce", found.ok, found.text, exit_code=code, sure=found.sure)


def _fields(
    client: salesforce.Client, org: Organization, readable: list[str], facts: list[salesforce.FieldFact]
) -> Iterator[Line]:
    """Every field the YAML names; `facts` is filled for those who look further."""
    facts += salesforce.inspect_fields(client, org, readable)
    for fact in facts:
        if fact.problem:
            code = ConfigurationError.exit_code
            yield Line("salesforce", False, f"{fact.where(org)}: {fact.problem}", exit_code=code)
    good = [fact for fact in facts if not fact.problem]
    if good:
        named = ", ".join(f"{fact.object}.{fact.field} ({fact.purpose}, {fact.type})" for fact in good)
        yield Line("salesforce", True, f"Can be used: {named}.")
    for name in readable:
        formulas = [fact.field for fact in good if fact.calculated and fact.object == name]
        if formulas:
            yield Line(
                "salesforce",
                True,
                f"{name}.{', '.join(formulas)}: formula fields change without a trace, so every sync reads all records of "
                f"{name} instead of those that changed.",
            )


def _identifier(client: salesforce.Client, org: Organization, facts: list[salesforce.FieldFact]) -> Iterator[Line]:
    """What the values of the shared identifier are like, in numbers: the values themselves may be personal."""
    fact = next((fact for fact in facts if fact.purpose == "identifier" and not fact.problem), None)
    if fact is None:
        return  # said already
    name = f"{org.where('identifier', 'salesforce_field')}: Account.{fact.field}"
    if fact.type == "id":
        yield Line("salesforce", True, f"{name} is the record's own id: no account is without, and no two share one.")
        return
    comparison = Comparison(
        frozenset(org.identifier.normalize), salesforce_ids=org.identifier.salesforce_id or fact.type == "reference"
    )
    with (
        tempfile.TemporaryDirectory(prefix="sync_pipeline_check_") as folder,
        Warehouse(Path(folder), org.name).connect() as con,
    ):
        accounts = salesforce.read_identifiers(con, client, fact.field)
        install_macros(con)
        ((empty, values, sharing),) = con.execute(
            f"""
            WITH keyed AS (SELECT {comparison.key("value")} AS key FROM temp.identifiers WHERE NOT is_blank(value)),
                shared AS (SELECT count(*) AS accounts FROM keyed GROUP BY key HAVING count(*) > 1)
            SELECT {accounts} - (SELECT count(*) FROM keyed), count(*), coalesce(sum(accounts), 0)::BIGINT FROM shared
            """
        ).fetchall()
    yield _told(org, fact, name, (accounts, empty, values, sharing))


def _told(org: Organization, fact: salesforce.FieldFact, name: str, counts: tuple[int, int, int, int]) -> Line:
    accounts, empty, values, sharing = counts
    if not accounts:
        text = f"{name}: the connected user sees no account at all. If there are some, give it View All Records on Account."
        return Line("salesforce", False, text, exit_code=ReconnectError.exit_code)
    kind = f"{fact.type}, {'unique' if fact.is_unique else 'not unique'} in Salesforce"
    if empty == accounts:
        text = (
            f"{name} ({kind}) is empty on all {accounts:,} accounts: nothing can match. Fill it, or name another field."
        )
        return Line("salesforce", False, text, exit_code=ConfigurationError.exit_code)
    rules = f" (under {', '.join(org.identifier.normalize)})" if org.identifier.normalize else ""
    text = f"{name} ({kind}) of {accounts:,} accounts: {empty:,} have it empty"
    if sharing:
        text += (
            f", {sharing:,} share {values:,} values{rules}, and will be set aside until that is corrected; a sync's check "
            "accounts_do_not_share_identifiers lists them."
        )
    else:
        text += f", no two share a value{rules}."
    return Line("salesforce", True, text)


def _budget(client: salesforce.Client) -> Iterator[Line]:
    budget = client.session.budget
    if not budget.limit:
        text = "Salesforce does not say how many API requests are left today. Look in Setup > Company Information."
        yield Line("salesforce", True, text, sure=False)
        return
    left, most = max(0, budget.limit - budget.used), budget.limit
    text = f"{left:,} of {most:,} API requests ({100 * left // most} %) are left today"
    for_a_sync = most * budget.settings.stop_percent // 100 - budget.used
    if for_a_sync < CALLS_OF_A_SYNC:
        text += (
            f"; a sync may use {max(0, for_a_sync):,} of them, and may need {CALLS_OF_A_SYNC}. Sync again later (the count "
            f"covers the last 24 hours), or raise stop_percent ({budget.where})."
        )
        yield Line("salesforce", False, text, exit_code=TransientError.exit_code)
    elif budget.is_low:
        text += (
            f", enough for a sync; but {budget.settings.warn_percent} % are used ({budget.where}): see who uses them."
        )
        yield Line("salesforce", True, text, sure=False)
    else:
        yield Line("salesforce", True, f"{text}, enough for a sync.")


# -- the other side, and the platform -------------------------------------------------------------------------------


def _billing(org: Organization) -> Iterator[Line]:
    kept = billing.kept_login(org)
    if kept:
        yield Line("billing", True, kept)
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
