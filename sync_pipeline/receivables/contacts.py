"""Salesforce contacts replace the contacts of the billing system.

- Only contacts of matched accounts. The oldest one (creation, then id) with a usable address is the customer's main
  contact.
- An address is unique in the organization: the oldest contact that has it keeps it, the others are skipped with its
  id.
- A contact without a usable address is skipped. One that leaves Salesforce is removed on the platform.
- The billing system's contacts are removed only once a Salesforce contact stands in their place, and are kept whole
  in `replaced_contacts`. A customer without a usable Salesforce contact keeps them, or gets them back.
- With `import.contacts: false` the Salesforce contacts are purged and those of the billing system come back.

A customer that is **no longer matched** is not written to any more: that an identifier became ambiguous does not say
that the pair was wrong, and a guess would be a write to a customer nobody vouches for. Its rows leave
`imported_contacts`, and `receivables_unsettled` keeps that Salesforce contacts were left with it (`set_aside`): a
person should look, because mail about its debts goes on reaching them. As soon as it is matched again, be it to
another account, its contacts are read on the platform and brought to what they should be, so nobody else's contacts
stay.

What the platform holds is taken from `imported_contacts`, because reading it costs a request per customer. Where that
is not certain (a sync was killed, a removal was refused) the customer is unsettled, and is read before it is written.
"""

from __future__ import annotations

import duckdb
import pandas as pd

from sync_pipeline.orgs.models import Organization
from sync_pipeline.receivables.books import NOW, PAIRS, address, frame, is_address, require_one_to_one, staged, text
from sync_pipeline.receivables.platform import Platform
from sync_pipeline.warehouse.load import transaction

PLAN_COLUMNS = {
    "action": "string",
    "billing_customer_id": "string",
    "salesforce_contact_id": "string",
    "email": "string",
    "first_name": "string",
    "last_name": "string",
    "phone": "string",
    "title": "string",
    "is_main": "boolean",
    "platform_contact_id": "string",
    "replaces": "boolean",
    "frees_address": "boolean",
    "code": "string",
    "reason": "string",
}
"""Columns of a plan and their dtypes.

`action`: import (create or change), remove (with `code` and `reason` where the contact is skipped from now on),
restore (the billing system's contacts come back; no `salesforce_contact_id`), skip and forget (only our own table
changes). `platform_contact_id`: the contact as we know it, null where it is new. `replaces`: nothing certain is known
of the customer's contacts on the platform, so every wanted one is in the plan and any other goes. `frees_address`:
another row of the plan waits for the address that this contact has on the platform, so it goes first.
"""
PLAN_KEY = ("billing_customer_id", "salesforce_contact_id")
WRITES = frozenset({"import", "remove", "restore"})
"""Actions that write to the platform; the others only change our own tables."""

_AGE = "ORDER BY created_at NULLS LAST, contact_id"

_WANTED = f"""
    CREATE OR REPLACE TEMP TABLE wanted_contacts AS
    WITH candidates AS (
        SELECT p.billing_customer_id, c.contact_id, c.created_at, {address("c.email")} AS email,
            {text("c.first_name")} AS first_name, {text("c.last_name")} AS last_name, {text("c.phone")} AS phone,
            {text("c.title")} AS title
        FROM ({PAIRS}) p JOIN salesforce_contacts c ON c.account_id = p.salesforce_account_id
        WHERE $imported
    ),
    usable AS (
        SELECT *, first_value(contact_id) OVER (PARTITION BY email {_AGE}) AS keeper
        FROM candidates WHERE {is_address("email")}
    ),
    ranked AS (
        SELECT *, row_number() OVER (PARTITION BY billing_customer_id {_AGE}) = 1 AS is_main
        FROM usable WHERE keeper = contact_id
    )
    SELECT billing_customer_id, contact_id, email, first_name, last_name, phone, title, is_main,
        NULL::VARCHAR AS code, NULL::VARCHAR AS reason
    FROM ranked
    UNION ALL
    SELECT billing_customer_id, contact_id, email, first_name, last_name, phone, title, false, 'SHARED_ADDRESS',
        'Salesforce contact ' || keeper || ' is older and has the same e-mail address.'
    FROM usable WHERE keeper <> contact_id
    UNION ALL
    SELECT billing_customer_id, contact_id, email, first_name, last_name, phone, title, false,
        if(email IS NULL, 'NO_ADDRESS', 'BAD_ADDRESS'),
        if(email IS NULL, 'The contact has no e-mail address.',
            'The contact''s e-mail address is not one that can be used.')
    FROM candidates WHERE email IS NULL OR NOT {is_address("email")}
"""

_VALUES = "email, first_name, last_name, phone, title, is_main"

_PLAN = f"""
    WITH pairs AS ({PAIRS}),
    unsettled AS (
        SELECT DISTINCT billing_customer_id FROM receivables_unsettled SEMI JOIN pairs USING (billing_customer_id)
        WHERE what = 'contacts'
    ),
    books AS (
        SELECT l.*, l.platform_contact_id IS NOT NULL AS on_platform,
            l.billing_customer_id IN (SELECT billing_customer_id FROM pairs) AS is_matched
        FROM imported_contacts l
    ),
    compared AS (
        SELECT w.*, b.platform_contact_id, coalesce(b.on_platform, false) AS on_platform,
            b.salesforce_contact_id IS NOT NULL AS in_books, b.status AS was_status, b.code AS was_code,
            ({", ".join(f"w.{name.strip()}" for name in _VALUES.split(","))})
                IS NOT DISTINCT FROM ({", ".join(f"b.{name.strip()}" for name in _VALUES.split(","))}) AS is_same,
            b.email AS was_email, u.billing_customer_id IS NOT NULL AS is_unsettled
        FROM temp.wanted_contacts w
        LEFT JOIN books b ON b.billing_customer_id = w.billing_customer_id AND b.salesforce_contact_id = w.contact_id
        LEFT JOIN unsettled u ON u.billing_customer_id = w.billing_customer_id
    ),
    changes AS (
        SELECT
            CASE
                WHEN code IS NULL AND (is_unsettled OR NOT in_books OR was_status <> 'imported' OR NOT is_same)
                    THEN 'import'
                WHEN code IS NULL THEN NULL
                WHEN on_platform THEN 'remove'
                WHEN NOT in_books OR was_status <> 'skipped' OR was_code IS DISTINCT FROM code OR NOT is_same
                    THEN 'skip'
            END AS action,
            billing_customer_id, contact_id AS salesforce_contact_id, {_VALUES}, platform_contact_id,
            was_email, code, reason
        FROM compared
        UNION ALL
        SELECT if(on_platform AND is_matched, 'remove', 'forget'), billing_customer_id, salesforce_contact_id,
            {_VALUES}, platform_contact_id, email, NULL, NULL
        FROM books b
        WHERE NOT EXISTS (
            FROM temp.wanted_contacts w
            WHERE w.billing_customer_id = b.billing_customer_id AND w.contact_id = b.salesforce_contact_id
        )
    ),
    restored AS (
        SELECT billing_customer_id FROM (
            SELECT billing_customer_id FROM changes WHERE action = 'remove'
            UNION SELECT billing_customer_id FROM replaced_contacts
            UNION SELECT billing_customer_id FROM unsettled
        )
        SEMI JOIN pairs USING (billing_customer_id)
        ANTI JOIN (SELECT billing_customer_id FROM temp.wanted_contacts WHERE code IS NULL) USING (billing_customer_id)
    )
    SELECT c.* EXCLUDE (was_email),
        billing_customer_id IN (SELECT billing_customer_id FROM unsettled)
            OR billing_customer_id NOT IN (
                SELECT billing_customer_id FROM imported_contacts WHERE status = 'imported'
            ) AS replaces,
        coalesce(action IN ('import', 'remove') AND platform_contact_id IS NOT NULL
            AND (action = 'remove' OR was_email <> email) AND EXISTS (
                FROM changes o
                WHERE o.action = 'import' AND o.email = c.was_email
                    AND o.salesforce_contact_id <> c.salesforce_contact_id
            ), false) AS frees_address
    FROM changes c WHERE action IS NOT NULL
    UNION ALL BY NAME
    SELECT 'restore' AS action, billing_customer_id, false AS replaces, false AS frees_address FROM restored
"""

_COLUMNS = (
    f"billing_customer_id, salesforce_contact_id, {_VALUES}, platform_contact_id, status, code, reason, synced_at"
)


def plan(con: duckdb.DuckDBPyConnection, org: Organization, platform: Platform) -> pd.DataFrame:
    """The difference between the contacts that should be on the platform and those we know to be there.

    Reads account_mapping, salesforce_contacts and our own record of the platform, and asks the platform for nothing:
    a customer without a change costs no request. Writes nothing.

    Returns:
        One row per contact to import, remove, skip or forget, and one per customer to restore; columns as
        `PLAN_COLUMNS`.

    Raises:
        GuardStop: the mapping is not one to one.
    """
    require_one_to_one(con, org)
    con.execute(_WANTED, {"imported": org.imports.contacts})
    return frame(con, _PLAN, PLAN_COLUMNS)


def apply(con: duckdb.DuckDBPyConnection, org: Organization, platform: Platform, plan: pd.DataFrame) -> None:
    """Carry out a plan of `plan`, and keep every answer in `imported_contacts` as it comes.

    To be called with an empty plan too: the platform `warehouse` then still takes over changed contacts of the
    billing system.
    """
    with staged(con, plan):
        with transaction(con):
            _settle(con)
        platform.bring_contacts(con, plan, lambda: _record(con))


def _settle(con: duckdb.DuckDBPyConnection) -> None:
    """Change what only concerns our own tables, and mark whom the platform is about to be asked to change."""
    con.execute(
        f"""
        INSERT INTO receivables_unsettled (billing_customer_id, what, why, since)
        SELECT DISTINCT billing_customer_id, 'contacts',
            if(action = 'forget', 'set_aside', 'in_flight'), {NOW}
        FROM temp.plan p
        WHERE (action IN ('import', 'remove', 'restore') OR action = 'forget' AND platform_contact_id IS NOT NULL)
            AND NOT EXISTS (
                FROM receivables_unsettled u WHERE u.billing_customer_id = p.billing_customer_id AND u.what = 'contacts'
            )
        """
    )
    con.execute(
        """
        DELETE FROM imported_contacts l USING temp.plan p
        WHERE p.action IN ('skip', 'forget') AND p.billing_customer_id = l.billing_customer_id
            AND p.salesforce_contact_id = l.salesforce_contact_id
        """
    )
    con.execute(
        f"""
        INSERT INTO imported_contacts ({_COLUMNS})
        SELECT billing_customer_id, salesforce_contact_id, {_VALUES}, NULL, 'skipped', code, reason, NULL
        FROM temp.plan WHERE action = 'skip'
        """
    )


_MINE = "a.billing_customer_id = l.billing_customer_id AND a.salesforce_contact_id = l.salesforce_contact_id"


def _record(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        f"""
        -- A contact that is gone, or was made anew, has none of the custom fields it had.
        DELETE FROM imported_custom_fields l
        USING (
            SELECT a.* FROM temp.answers a
            LEFT JOIN imported_contacts b USING (billing_customer_id, salesforce_contact_id)
            WHERE a.status = 'removed' OR a.status = 'imported' AND a.platform_id IS DISTINCT FROM b.platform_contact_id
        ) a
        WHERE l.record = 'contact' AND {_MINE}
        """
    )
    con.execute(f"DELETE FROM imported_contacts l USING temp.answers a WHERE {_MINE}")
    con.execute(
        f"""
        INSERT INTO imported_contacts ({_COLUMNS})
        SELECT p.billing_customer_id, p.salesforce_contact_id, {_VALUES},
            CASE a.status
                WHEN 'imported' THEN a.platform_id
                WHEN 'refused' THEN coalesce(a.platform_id, p.platform_contact_id)
            END,
            if(a.status = 'removed', 'skipped', a.status), coalesce(a.code, if(a.status = 'removed', p.code, NULL)),
            coalesce(a.reason, if(a.status = 'removed', p.reason, NULL)), if(a.status = 'imported', {NOW}, NULL)
        FROM temp.plan p
        JOIN temp.answers a USING (billing_customer_id, salesforce_contact_id)
        WHERE a.status <> 'removed' OR p.code IS NOT NULL
        """
    )
    con.execute(
        """
        DELETE FROM receivables_unsettled WHERE what = 'contacts'
            AND billing_customer_id IN (
                SELECT billing_customer_id FROM temp.answers WHERE status IN ('settled', 'unsettled')
            )
        """
    )
    con.execute(
        f"""
        INSERT INTO receivables_unsettled
        SELECT billing_customer_id, 'contacts', 'refused', code, reason, {NOW}
        FROM temp.answers WHERE status = 'unsettled'
        """
    )
