"""How far a billing system has been read, so that the next sync asks only for what has changed since."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from sync_pipeline.billing.api import ApiSource
from sync_pipeline.billing.source import Organization, Source
from sync_pipeline.warehouse import replace_table
from sync_pipeline.warehouse.tables import BILLING_READS


@dataclass(frozen=True, slots=True)
class Plan:
    """What the next reading asks for.

    Attributes:
        since: changes from this moment on (UTC, without zone), the overlap not yet taken off; None for everything.
        why_whole: why everything is read; None where only changes are.
        account, fields: what the rows must have been read from for the next one to go on from here.
        whole_read_at: when everything was last read (UTC).
    """

    since: datetime | None
    why_whole: str | None
    account: str = ""
    fields: str = ""
    whole_read_at: datetime | None = None


def plan(con: duckdb.DuckDBPyConnection, org: Organization, source: Source) -> Plan:
    """Changes where the system can tell them and the rows in the warehouse are of the same account and fields."""
    if not isinstance(source, ApiSource) or source.overlap is None:
        return Plan(None, "the system can't say what has changed")
    account = f"{org.billing.system} {source.account(org)}"
    fields = json.dumps([org.identifier.billing_field, _shape(source.fields), _shape(source.expressions)])
    row = con.execute("SELECT account, fields, read_until, whole_read_at FROM billing_reads").fetchone()
    if row is None:
        return Plan(None, "nothing has been read yet", account, fields)
    days: int = getattr(org.billing, "full_read_days", 7)
    if row[0] != account:
        why = "the YAML file names another account of the billing system"
    elif row[1] != fields:
        why = "the YAML file names another identifier, or this version reads other fields"
    elif _now() - row[3] >= timedelta(days=days):
        why = f"the last whole read was {(_now() - row[3]).days} days ago (billing.full_read_days)"
    else:
        return Plan(row[2], None, account, fields, row[3])
    return Plan(None, why, account, fields)


def remember(con: duckdb.DuckDBPyConnection, done: Plan, until: datetime | None, *, changed: int) -> None:
    """Write down how far a reading came, in the transaction that keeps its rows; nothing where it can't be continued."""
    if until is None:
        con.execute("DELETE FROM billing_reads")
        return
    until = until.astimezone(UTC).replace(tzinfo=None)
    replace_table(
        con,
        BILLING_READS,
        "SELECT $account AS account, $fields AS fields, $until AS read_until, $whole AS whole_read_at,"
        " $why AS why_whole, $changed AS changed",
        {
            "account": done.account,
            "fields": done.fields,
            "until": until,
            "whole": done.whole_read_at or _now(),
            "why": done.why_whole,
            "changed": changed,
        },
    )


def _shape(declared: Mapping[str, object]) -> list[tuple[str, object]]:
    return sorted(declared.items())


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
