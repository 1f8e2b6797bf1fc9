"""How a check of this project is made: a query for the rows that should not be there, and everything around it said once.

Checks take partitions, so that each organization has its own status. That part of Dagster's interface is a preview (1.13):
this module is the one place that uses it.
"""

# Annotations are not postponed here: Dagster reads those of the functions it decorates.

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg

from sync_pipeline import billing, salesforce
from sync_pipeline.assets.building import by_consequence
from sync_pipeline.masking import mask
from sync_pipeline.resources import Step, Sync

SAMPLE_ROWS = 20


@dataclass(frozen=True)
class Finding:
    """What a check looks for, and what it says of it.

    Attributes:
        rows: a query for the rows that should not be there. Columns called billing_customer_id, salesforce_account_id and
            salesforce_contact_id become links; the rest is shown as it stands.
        found: what it means that there are some, with {count}.
        none: what it means that there are none.
        personal: columns of `rows` to mask.
    """

    rows: str
    found: str
    none: str
    personal: tuple[str, ...] = ()


CheckFunction = Callable[[Step], Finding | None]


@dataclass(frozen=True)
class OrganizationCheck:
    """A check before it knows which organizations there are."""

    function: CheckFunction
    asset: str
    blocking: bool
    name: str

    def build(self, partitions: dg.PartitionsDefinition[str]) -> dg.AssetChecksDefinition:
        """The Dagster check, one status per organization."""
        spec = self
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=dg.PreviewWarning)

            @dg.asset_check(
                asset=spec.asset,
                name=spec.name,
                blocking=spec.blocking,
                description=inspect.cleandoc(spec.function.__doc__ or ""),
                partitions_def=partitions,
            )
            def _check(context: dg.AssetCheckExecutionContext, sync: Sync) -> dg.AssetCheckResult:
                with by_consequence(context, sync), sync.open(context.partition_key) as step:
                    return evaluate(step, spec)

        return _check


def organization_check(
    asset: str, *, blocking: bool = False, name: str | None = None
) -> Callable[[CheckFunction], OrganizationCheck]:
    """Declare a check on `asset`; the function's docstring is its description in the UI.

    A blocking check that finds something is an error and stops all that follows; any other is a warning.
    """

    def declare(function: CheckFunction) -> OrganizationCheck:
        return OrganizationCheck(function, asset, blocking, name or function.__name__)

    return declare


def evaluate(step: Step, spec: OrganizationCheck) -> dg.AssetCheckResult:
    """Run the query; count, masked sample and links where it finds something."""
    severity = dg.AssetCheckSeverity.ERROR if spec.blocking else dg.AssetCheckSeverity.WARN
    finding = spec.function(step)
    if finding is None:
        return dg.AssetCheckResult(passed=True, description="Does not apply to this organization.", severity=severity)
    count = step.con.execute(f"SELECT count(*) FROM ({finding.rows})").fetchall()[0][0]
    if not count:
        return dg.AssetCheckResult(passed=True, description=finding.none, severity=severity, metadata={"count": 0})
    result = step.con.execute(f"SELECT * FROM ({finding.rows}) LIMIT {SAMPLE_ROWS}")
    columns = [column[0] for column in result.description or ()]
    rows = [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
    metadata: dict[str, dg.MetadataValue] = {
        "count": dg.MetadataValue.int(count),
        "rows (masked)": _table(columns, rows, finding.personal),
    }
    links = _links(step, rows)
    if links:
        metadata["open"] = dg.MetadataValue.md(links)
    return dg.AssetCheckResult(
        passed=False, description=finding.found.replace("{count}", f"{count:,}"), severity=severity, metadata=metadata
    )


def _table(columns: list[str], rows: list[dict[str, object]], personal: tuple[str, ...]) -> dg.MetadataValue:
    def shown(name: str, value: object) -> str:
        if value is None:
            return ""
        return (
            mask(value) if name in personal else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        )

    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: shown(name, value) for name, value in row.items()}) for row in rows],
        schema=dg.TableSchema([dg.TableColumn(name, "string") for name in columns]),
    )


def _links(step: Step, rows: list[dict[str, object]]) -> str:
    """A markdown list of the records' pages in Salesforce and in the billing system."""
    instance = step.con.sql("SELECT max(instance_url) FROM salesforce_organization").fetchall()[0][0]
    lines = []
    for row in rows:
        links = []
        for column, kind in (("salesforce_account_id", "Account"), ("salesforce_contact_id", "Contact")):
            if row.get(column) and instance:
                links.append(f"[{kind} {row[column]}]({salesforce.record_url(instance, kind, str(row[column]))})")
        customer = row.get("billing_customer_id")
        if customer and (url := billing.customer_url(step.org, str(customer))):
            links.append(f"[Customer {_plain(str(customer))}]({url})")
        if links:
            lines.append("- " + " · ".join(links))
    return "\n".join(dict.fromkeys(lines))


def _plain(text: str) -> str:
    """Text that markdown shows as it stands."""
    return "".join(f"\\{character}" if character in r"\`*_{}[]<>()#!|" else character for character in text)
