"""How an asset of this project is made: one function over one organization's step, and everything around it said once.

An asset here is a plain function `(step) -> None` that leaves its result in the warehouse table of the same name. The decorator
adds the partition (= organization), descriptions, kinds, owners, row counts, masked samples, and errors by consequence.
"""

# Annotations are not postponed here: Dagster reads those of the functions it decorates.

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
import duckdb
import pandas as pd

from sync_pipeline.errors import LimitReached, SyncError, TransientError
from sync_pipeline.masking import mask
from sync_pipeline.progress import report
from sync_pipeline.resources import Step, Sync
from sync_pipeline.warehouse import quote
from sync_pipeline.warehouse.tables import TABLES, Table

OWNERS = ["team:receivables-data"]
SAMPLE_ROWS = 5
SAMPLE_TEXT = 60
"""Longest text in a sample."""
CONSEQUENCE = "consequence"
"""Metadata key of a failure: the name of its class in `sync_pipeline.errors`."""

API_CALLS = "Salesforce API requests"
"""Metadata key: how many of the organization's daily requests the asset took."""

StepFunction = Callable[[Step], None]


@dataclass(frozen=True)
class OrganizationAsset:
    """An asset before it knows which organizations there are."""

    function: StepFunction
    group: str
    table: Table
    deps: tuple[str, ...]
    kinds: frozenset[str]

    @property
    def name(self) -> str:
        """Name of the asset, its function and its table."""
        return self.table.name

    def build(self, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
        """The Dagster asset, one partition per organization."""
        spec = self

        @dg.asset(
            name=spec.name,
            partitions_def=partitions,
            deps=list(spec.deps),
            group_name=spec.group,
            kinds=set(spec.kinds),
            owners=OWNERS,
            description=_description(spec),
            metadata={"dagster/column_schema": column_schema(spec.table), "dagster/table_name": spec.name},
        )
        def _asset(context: dg.AssetExecutionContext, sync: Sync) -> dg.MaterializeResult[None]:
            with by_consequence(context, sync), sync.open(context.partition_key) as step:
                report(spec.name, 0)
                before = sync.api_calls(step.org)
                spec.function(step)
                if calls := sync.api_calls(step.org) - before:
                    step.metadata[API_CALLS] = calls
                return dg.MaterializeResult(metadata={**row_metadata(step.con, spec.table), **step.metadata})

        return _asset


def organization_asset(
    table: Table, *, group: str, deps: Sequence[str] = (), kinds: Sequence[str] = ()
) -> Callable[[StepFunction], OrganizationAsset]:
    """Declare the asset that fills `table`; the function's docstring is its description in the UI."""

    def declare(function: StepFunction) -> OrganizationAsset:
        return OrganizationAsset(function, group, table, tuple(deps), frozenset(kinds))

    return declare


@contextmanager
def by_consequence(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, sync: Sync) -> Iterator[None]:
    """Turn an error of ours into what Dagster should do: try again what may pass, fail at once what will not.

    The message alone is shown, without the traceback: it says what happened, where, and what to do.
    """
    try:
        yield
    except TransientError as error:
        tries = context.retry_number
        if tries >= sync.retries or isinstance(error, LimitReached):
            raise _failure(error) from None
        context.log.warning(f"{error} Try {tries + 1} of {sync.retries + 1} failed.")
        raise dg.RetryRequested(max_retries=sync.retries, seconds_to_wait=sync.retry_seconds * 2**tries) from None
    except SyncError as error:
        raise _failure(error) from None


def _failure(error: SyncError) -> dg.Failure:
    return dg.Failure(str(error), metadata={CONSEQUENCE: type(error).__name__}, allow_retries=False)


def row_metadata(con: duckdb.DuckDBPyConnection, table: Table) -> dict[str, dg.MetadataValue]:
    """Row count of the organization, and a few rows with personal data masked."""
    rows = con.sql(f"SELECT count(*) FROM {quote(table.name)}").fetchall()[0][0]
    metadata: dict[str, dg.MetadataValue] = {"dagster/partition_row_count": dg.MetadataValue.int(rows)}
    if rows:
        sample = con.sql(f"SELECT * FROM {quote(table.name)} LIMIT {SAMPLE_ROWS}").fetchall()
        metadata["sample (masked)"] = masked_table(table, sample)
    return metadata


def masked_table(table: Table, rows: Sequence[Sequence[object]]) -> dg.MetadataValue:
    """Rows of a declared table for the UI: personal columns masked, all as short text, columns without a value left out."""
    kept = [
        (index, column) for index, column in enumerate(table.columns) if any(row[index] is not None for row in rows)
    ]
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({column.name: _shown(row[index], column.personal) for index, column in kept}) for row in rows
        ],
        schema=dg.TableSchema([dg.TableColumn(column.name, "string", column.description) for _, column in kept]),
    )


def _shown(value: object, personal: bool) -> str:
    text = "" if value is None else mask(value) if personal else str(value)
    return text if len(text) <= SAMPLE_TEXT else f"{text[: SAMPLE_TEXT - 1]}…"


def column_schema(table: Table) -> dg.TableSchema:
    """The table's columns as the UI shows them."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                column.type,
                column.description,
                tags={"personal": ""} if column.personal else {},
            )
            for column in table.columns
        ]
    )


def _description(spec: OrganizationAsset) -> str:
    table = TABLES[spec.name]
    said = inspect.cleandoc(spec.function.__doc__ or "")
    return f"{table.description}\n\n{said}\n\nTable `{table.name}` of the organization's warehouse."


def outcome(step: Step, table: Table, plan: pd.DataFrame, writes: Collection[str] | None = None) -> None:
    """Say in the metadata what was planned, what was written and what was refused; a dry run leaves its plan in the warehouse.

    The warehouse of a dry run is a copy that is thrown away: `planned_...` tables never reach the real one.

    Args:
        writes: values of the plan's `action` that write to another system; None where every row does.
    """
    leaving = plan if writes is None else plan[plan["action"].isin(writes)]
    step.metadata["planned"] = len(leaving)
    if step.dry_run:
        step.con.register("plan", leaving)
        step.con.execute(f"CREATE OR REPLACE TABLE {quote('planned_' + table.name)} AS SELECT * FROM plan")
        step.con.unregister("plan")
        step.metadata["written"] = step.metadata["refused"] = 0
        return
    refused = step.con.sql(f"SELECT count(*) FROM {quote(table.name)} WHERE status = 'refused'").fetchall()[0][0]
    step.metadata["refused"] = refused
    # Every refused row is planned again in each sync, so what is planned and not refused was written.
    step.metadata["written"] = max(len(leaving) - refused, 0)
