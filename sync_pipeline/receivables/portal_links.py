"""Customer portal links: asked for with a lifetime, kept with their expiry, renewed before it, never fetched again
while they live.

A link opens a customer's debts to whoever has it, so one is asked for only where it is used (`export.portal_link`),
and only for matched customers. The link of a customer that is no longer matched leaves `portal_links`, so it is not
exported again; matched again, it gets a new one. What belongs to the customer follows it: where the pair has another
account, the row names the new one.
"""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pandas as pd

from sync_pipeline.orgs.models import Organization
from sync_pipeline.receivables.books import PAIRS, frame, require_one_to_one, staged
from sync_pipeline.receivables.platform import Platform
from sync_pipeline.warehouse.load import transaction

PLAN_COLUMNS = {
    "action": "string",
    "billing_customer_id": "string",
    "salesforce_account_id": "string",
    "why": "string",
}
"""Columns of a plan and their dtypes.

`action`: ask (the platform makes a link), note (the customer's link now belongs to another account), forget (no
longer matched: the row leaves). `why`, of ask: new, renew (old enough, or made from another template), again (refused
before).
"""
PLAN_KEY = ("billing_customer_id",)
WRITES = frozenset({"ask"})
"""Actions that write to the platform; the others only change our own table."""

_PLAN = f"""
    WITH pairs AS ({PAIRS}),
    judged AS (
        SELECT p.*, l.salesforce_account_id AS was_account,
            CASE
                WHEN l.billing_customer_id IS NULL THEN 'new'
                WHEN l.url IS NULL OR l.created_at IS NULL OR l.expires_at IS NULL THEN 'again'
                WHEN l.created_at + to_days($renew_after_days::INTEGER) <= $now OR l.expires_at <= $now THEN 'renew'
                WHEN l.url <> replace($template, '{{customer_id}}', url_encode(p.billing_customer_id)) THEN 'renew'
            END AS why
        FROM pairs p LEFT JOIN portal_links l USING (billing_customer_id)
    )
    SELECT if(why IS NOT NULL AND $exported, 'ask', 'note') AS action, billing_customer_id, salesforce_account_id,
        if($exported, why, NULL) AS why
    FROM judged
    WHERE why IS NOT NULL AND $exported OR was_account IS NOT NULL AND was_account <> salesforce_account_id
    UNION ALL
    SELECT 'forget', billing_customer_id, salesforce_account_id, NULL FROM portal_links ANTI JOIN pairs
        USING (billing_customer_id)
"""

_COLUMNS = "billing_customer_id, salesforce_account_id, url, created_at, expires_at, status, code, reason"


def plan(
    con: duckdb.DuckDBPyConnection, org: Organization, platform: Platform, *, now: datetime | None = None
) -> pd.DataFrame:
    """The customers whose link has to be made, renewed or forgotten; empty where there is none. Asks the platform for
    nothing.

    Args:
        con: the organization's warehouse.
        org: the organization.
        platform: its platform.
        now: what counts as now (UTC); the clock where it is not given.

    Returns:
        One row per customer, columns as `PLAN_COLUMNS`.

    Raises:
        GuardStop: the mapping is not one to one.
    """
    require_one_to_one(con, org)
    return frame(
        con,
        _PLAN,
        PLAN_COLUMNS,
        {
            "now": _naive(now or datetime.now(UTC)),
            "renew_after_days": org.receivables.portal_link.renew_after_days,
            "template": platform.link_template,
            "exported": org.export.portal_link is not None,
        },
    )


def apply(
    con: duckdb.DuckDBPyConnection,
    org: Organization,
    platform: Platform,
    plan: pd.DataFrame,
    *,
    now: datetime | None = None,
) -> None:
    """Carry out a plan of `plan`, and keep every link in `portal_links` as it comes.

    A renewal that is refused leaves the old link in place while it lives, with the platform's code and words beside it.

    Args:
        con: the organization's warehouse.
        org: the organization.
        platform: its platform.
        plan: what `plan` returned.
        now: what counts as now (UTC); the clock where it is not given.
    """
    if plan.empty:
        return
    lifetime = org.receivables.portal_link.lifetime_days
    at = _naive(now) if now else None
    with staged(con, plan):
        with transaction(con):
            _settle(con)
        platform.make_links(con, plan, lifetime, at, lambda: _record(con, lifetime))


def _naive(moment: datetime) -> datetime:
    """The moment as the warehouse keeps it: UTC, without a time zone."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _settle(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """
        DELETE FROM portal_links
        WHERE billing_customer_id IN (SELECT billing_customer_id FROM temp.plan WHERE action = 'forget')
        """
    )
    # Also of links about to be renewed: whatever happens to the renewal, the link must not stay with the former
    # account.
    con.execute(
        """
        UPDATE portal_links SET salesforce_account_id = p.salesforce_account_id FROM temp.plan p
        WHERE p.action <> 'forget' AND p.billing_customer_id = portal_links.billing_customer_id
            AND p.salesforce_account_id <> portal_links.salesforce_account_id
        """
    )


def _record(con: duckdb.DuckDBPyConnection, lifetime_days: int) -> None:
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE answered_links AS
        SELECT p.billing_customer_id, p.salesforce_account_id,
            if(is_new, a.url, if(is_alive, l.url, NULL)) AS url,
            if(is_new, a.asked_at, if(is_alive, l.created_at, NULL)) AS created_at,
            if(is_new, a.asked_at + to_days($lifetime_days::INTEGER), if(is_alive, l.expires_at, NULL)) AS expires_at,
            if(is_new OR is_alive, 'live', 'refused') AS status, a.code, a.reason
        FROM temp.plan p
        JOIN (SELECT *, status = 'live' AS is_new FROM temp.answers) a USING (billing_customer_id)
        LEFT JOIN (SELECT * FROM portal_links) l USING (billing_customer_id),
        LATERAL (SELECT coalesce(l.url IS NOT NULL AND l.expires_at > a.asked_at, false) AS is_alive)
        """,
        {"lifetime_days": lifetime_days},
    )
    con.execute("DELETE FROM portal_links WHERE billing_customer_id IN (SELECT billing_customer_id FROM temp.answers)")
    con.execute(f"INSERT INTO portal_links ({_COLUMNS}) SELECT {_COLUMNS} FROM temp.answered_links")
