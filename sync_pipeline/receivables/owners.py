"""Account owners become the customers' assigned users.

Who should be assigned comes from Salesforce; who is assigned comes from the platform itself, read in a few pages, so
that a change made there, or a write that was answered but not recorded, needs no second write.

A customer whose owner can't be assigned (none, unknown, inactive, without an address) keeps the user it has. So does
a customer that is no longer matched: nothing is written to it any more, and its row leaves `imported_owners`.
"""

from __future__ import annotations

import duckdb
import pandas as pd

from sync_pipeline.orgs.models import Organization
from sync_pipeline.receivables.books import NOW, PAIRS, address, frame, is_address, require_one_to_one, staged, text
from sync_pipeline.receivables.platform import Platform, fresh
from sync_pipeline.warehouse.load import transaction

PLAN_COLUMNS = {
    "action": "string",
    "billing_customer_id": "string",
    "salesforce_account_id": "string",
    "owner_id": "string",
    "owner_email": "string",
    "owner_name": "string",
    "first_name": "string",
    "last_name": "string",
    "platform_user_id": "string",
    "code": "string",
    "reason": "string",
}
"""Columns of a plan and their dtypes.

`action`: assign (the platform is written to), note (the platform holds it already), skip (there is nobody to assign:
see `code` and `reason`), forget (no longer matched, or owners are not imported: the row leaves our table).
`platform_user_id`: the user with that address, null where it has to be created.
"""
PLAN_KEY = ("billing_customer_id",)
WRITES = frozenset({"assign"})
"""Actions that write to the platform; the others only change our own tables."""

_JUDGED = f"""
    CREATE OR REPLACE TEMP TABLE judged_owners AS
    WITH on_platform AS (
        SELECT customer_id, any_value(user_id) AS user_id, bool_and(user_known) AS user_known, count(*) AS copies
        FROM temp.platform_customers GROUP BY customer_id
    ),
    people AS (SELECT email, min(user_id) AS user_id FROM temp.platform_users GROUP BY email),
    users AS (SELECT user_id, min(email) AS email FROM temp.platform_users GROUP BY user_id),
    owned AS (
        SELECT p.*, a.owner_id, u.user_id IS NOT NULL AS is_known, coalesce(u.is_active, false) AS is_active,
            {address("u.email")} AS owner_email, {text("u.name")} AS owner_name,
            {text("u.first_name")} AS first_name, {text("u.last_name")} AS last_name,
            c.copies, c.user_id AS assigned_id, c.user_known
        FROM ({PAIRS}) p
        LEFT JOIN salesforce_accounts a ON a.account_id = p.salesforce_account_id
        LEFT JOIN salesforce_users u ON u.user_id = a.owner_id
        LEFT JOIN on_platform c ON c.customer_id = p.billing_customer_id
    )
    SELECT o.*, people.user_id AS platform_user_id, now_assigned.email AS assigned_email,
        CASE
            WHEN copies IS NULL THEN 'NOT_ON_PLATFORM'
            WHEN copies > 1 THEN 'AMBIGUOUS_ON_PLATFORM'
            WHEN owner_id IS NULL THEN 'NO_OWNER'
            WHEN NOT is_known THEN 'UNKNOWN_OWNER'
            WHEN NOT is_active THEN 'INACTIVE_OWNER'
            WHEN owner_email IS NULL THEN 'NO_ADDRESS'
            WHEN NOT {is_address("owner_email")} THEN 'BAD_ADDRESS'
        END AS code
    FROM owned o
    LEFT JOIN people ON people.email = o.owner_email
    LEFT JOIN users now_assigned ON now_assigned.user_id = o.assigned_id
"""

_PLAN = """
    WITH compared AS (
        SELECT j.*, l.billing_customer_id IS NOT NULL AS in_books,
            l.status AS was_status, l.code AS was_code, l.owner_email AS was_email, l.platform_user_id AS was_user_id,
            (l.salesforce_account_id, l.owner_id, l.owner_name)
                IS NOT DISTINCT FROM (j.salesforce_account_id, j.owner_id, j.owner_name) AS same_record,
            CASE
                WHEN j.user_known THEN coalesce(j.assigned_email = j.owner_email, false)
                ELSE coalesce(l.status = 'assigned' AND l.owner_email = j.owner_email, false)
            END AS is_assigned
        FROM temp.judged_owners j LEFT JOIN imported_owners l USING (billing_customer_id)
    ),
    wanted AS (
        SELECT *,
            CASE
                WHEN code IS NOT NULL AND (NOT in_books OR (was_status, was_code, was_email)
                    IS DISTINCT FROM ('skipped', code, owner_email) OR NOT same_record) THEN 'skip'
                WHEN code IS NOT NULL THEN NULL
                WHEN NOT is_assigned THEN 'assign'
                WHEN NOT in_books OR was_status IS DISTINCT FROM 'assigned' OR was_email IS DISTINCT FROM owner_email
                    OR NOT same_record THEN 'note'
            END AS action,
            CASE code
                WHEN 'NOT_ON_PLATFORM' THEN $label || ' has no customer with this external id.'
                WHEN 'AMBIGUOUS_ON_PLATFORM' THEN $label || ' has several customers with this external id.'
                WHEN 'NO_OWNER' THEN 'The account has no owner.'
                WHEN 'UNKNOWN_OWNER' THEN 'The owner is not among the Salesforce users that the login may see.'
                WHEN 'INACTIVE_OWNER' THEN 'The owner is not an active Salesforce user.'
                WHEN 'NO_ADDRESS' THEN 'The owner has no e-mail address.'
                WHEN 'BAD_ADDRESS' THEN 'The owner''s e-mail address is not one that can be used.'
            END AS reason
        FROM compared
    )
    SELECT action, billing_customer_id, salesforce_account_id, owner_id, owner_email, owner_name, first_name, last_name,
        CASE WHEN action = 'note' AND user_known THEN assigned_id WHEN action = 'note' THEN was_user_id
            WHEN action = 'assign' THEN platform_user_id END AS platform_user_id,
        code, reason
    FROM wanted WHERE action IS NOT NULL
    UNION ALL
    SELECT 'forget', l.billing_customer_id, l.salesforce_account_id, l.owner_id, l.owner_email, l.owner_name, NULL,
        NULL,
        l.platform_user_id, NULL, NULL
    FROM imported_owners l ANTI JOIN temp.judged_owners USING (billing_customer_id)
"""

_COLUMNS = (
    "billing_customer_id, salesforce_account_id, owner_id, owner_email, owner_name, platform_user_id, "
    "status, code, reason, synced_at"
)


def plan(con: duckdb.DuckDBPyConnection, org: Organization, platform: Platform) -> pd.DataFrame:
    """The difference between the owners that should be assigned and those that are; empty where there is none.

    Reads account_mapping, salesforce_accounts, salesforce_users and, on the platform, its users and customers. Writes
    nothing.

    Returns:
        One row per customer, columns as `PLAN_COLUMNS`.

    Raises:
        GuardStop: the mapping is not one to one.
    """
    require_one_to_one(con, org)
    if org.imports.owners:
        platform.read_users(con)
        platform.read_customers(con)
        con.execute(_JUDGED)
    else:
        fresh(con, "platform_users", "platform_customers")
        con.execute(f"{_JUDGED} WHERE false")
    return frame(con, _PLAN, PLAN_COLUMNS, {"label": platform.label})


def apply(con: duckdb.DuckDBPyConnection, org: Organization, platform: Platform, plan: pd.DataFrame) -> None:
    """Carry out a plan of `plan`, and keep every answer in `imported_owners` as it comes."""
    if plan.empty:
        return
    with staged(con, plan):
        with transaction(con):
            _settle(con)
        platform.assign_owners(con, plan, lambda: _record(con))


def _settle(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """
        DELETE FROM imported_owners
        WHERE billing_customer_id IN (SELECT billing_customer_id FROM temp.plan WHERE action <> 'assign')
        """
    )
    con.execute(
        f"""
        INSERT INTO imported_owners ({_COLUMNS})
        SELECT billing_customer_id, salesforce_account_id, owner_id, owner_email, owner_name, platform_user_id,
            if(action = 'note', 'assigned', 'skipped'), code, reason, if(action = 'note', {NOW}, NULL)
        FROM temp.plan WHERE action IN ('note', 'skip')
        """
    )


def _record(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "DELETE FROM imported_owners WHERE billing_customer_id IN (SELECT billing_customer_id FROM temp.answers)"
    )
    con.execute(
        f"""
        INSERT INTO imported_owners ({_COLUMNS})
        SELECT p.billing_customer_id, salesforce_account_id, owner_id, owner_email, owner_name, a.platform_id,
            a.status, a.code,
            a.reason, if(a.status = 'assigned', {NOW}, NULL)
        FROM temp.plan p JOIN temp.answers a USING (billing_customer_id)
        """
    )
