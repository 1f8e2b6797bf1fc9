"""Account fields become customers' custom fields, contact fields become contacts' custom fields.

Values travel as text, and a value emptied in Salesforce is emptied on the platform: for an imported field Salesforce
is the truth. A field that the platform lacks is created (type STRING) when its first value arrives; one that has the
name already, whatever its letters' case, is used, so there are never two.

What customers hold is read from the platform in a few pages. What contacts hold would cost a request per customer:
there our own record counts, except after a kill (see `receivables_unsettled`). A field that is no longer imported,
and a customer that is no longer matched, keep their values on the platform; their rows leave
`imported_custom_fields`.
"""

from __future__ import annotations

import duckdb
import pandas as pd

from sync_pipeline.orgs.models import Organization
from sync_pipeline.receivables.books import NOW, PAIRS, field_map, frame, require_one_to_one, staged
from sync_pipeline.receivables.platform import LISTINGS, Platform, fresh
from sync_pipeline.warehouse.load import transaction

PLAN_COLUMNS = {
    "action": "string",
    "record": "string",
    "billing_customer_id": "string",
    "salesforce_contact_id": "string",
    "salesforce_field": "string",
    "platform_field": "string",
    "value": "string",
    "platform_field_id": "string",
    "platform_contact_id": "string",
    "code": "string",
    "reason": "string",
}
"""Columns of a plan and their dtypes.

`action`: write (set or empty the value), note (the platform holds it already), skip (see `code` and `reason`), forget
(our row leaves). `record`: customer or contact. `value`: null empties the field. `platform_field_id`: null where the
field has to be created. `platform_contact_id`: the contact, null for a customer's field.
"""
PLAN_KEY = ("record", "billing_customer_id", "salesforce_contact_id", "platform_field")
WRITES = frozenset({"write"})
"""Actions that write to the platform; the others only change our own table."""

_FIELDS = """
    SELECT f.record, f.salesforce_field, f.platform_field, f.pointer,
        any_value(p.field_id ORDER BY p.field_id) AS field_id
    FROM (
        SELECT 'customer' AS record, 'CUSTOMER' AS entity, unnest(from_json($account_fields, $shape), recursive := true)
        UNION ALL
        SELECT 'contact', 'CONTACT', unnest(from_json($contact_fields, $shape), recursive := true)
    ) f
    LEFT JOIN temp.platform_fields p ON p.entity = f.entity AND lower(trim(p.name)) = lower(trim(f.platform_field))
    GROUP BY ALL
"""
_SHAPE = '[{"salesforce_field": "VARCHAR", "platform_field": "VARCHAR", "pointer": "VARCHAR"}]'

# A field that is missing from a record's JSON was not downloaded: that says nothing about its value, so nothing is
# emptied.
_WANTED = f"""
    CREATE OR REPLACE TEMP TABLE wanted_fields AS
    WITH fields AS ({_FIELDS}),
    on_platform AS (
        SELECT customer_id, bool_and(fields_known) AS fields_known, count(*) AS copies
        FROM temp.platform_customers GROUP BY customer_id
    ),
    held AS (
        SELECT customer_id, field_id, any_value(value) AS value FROM temp.platform_values GROUP BY customer_id, field_id
    )
    SELECT f.record, p.billing_customer_id, NULL::VARCHAR AS salesforce_contact_id, f.salesforce_field,
        f.platform_field,
        nullif(json_extract_string(a.custom_fields, f.pointer), '') AS value, f.field_id AS platform_field_id,
        NULL::VARCHAR AS platform_contact_id, coalesce(c.fields_known, false) AS is_known, nullif(h.value, '') AS held,
        CASE WHEN c.copies IS NULL THEN 'NOT_ON_PLATFORM' WHEN c.copies > 1 THEN 'AMBIGUOUS_ON_PLATFORM' END AS code
    FROM ({PAIRS}) p
    JOIN salesforce_accounts a ON a.account_id = p.salesforce_account_id
    JOIN fields f ON f.record = 'customer' AND json_exists(a.custom_fields, f.pointer)
    LEFT JOIN on_platform c ON c.customer_id = p.billing_customer_id
    LEFT JOIN held h ON h.customer_id = p.billing_customer_id AND h.field_id = f.field_id
    UNION ALL
    SELECT f.record, i.billing_customer_id, i.salesforce_contact_id, f.salesforce_field, f.platform_field,
        nullif(json_extract_string(c.custom_fields, f.pointer), ''), f.field_id, i.platform_contact_id, false, NULL,
            NULL
    FROM imported_contacts i
    SEMI JOIN ({PAIRS}) p USING (billing_customer_id)
    JOIN salesforce_contacts c ON c.contact_id = i.salesforce_contact_id
    JOIN fields f ON f.record = 'contact' AND json_exists(c.custom_fields, f.pointer)
    WHERE i.status = 'imported'
"""

_PLAN = """
    WITH unsettled AS (SELECT DISTINCT billing_customer_id FROM receivables_unsettled WHERE what = 'contact_fields'),
    compared AS (
        SELECT w.*, l.record IS NOT NULL AS in_books, l.status AS was_status, l.code AS was_code,
            (l.value, l.salesforce_field) IS NOT DISTINCT FROM (w.value, w.salesforce_field) AS same_record,
            CASE
                WHEN w.is_known THEN w.held IS NOT DISTINCT FROM w.value
                WHEN w.platform_field_id IS NULL THEN w.value IS NULL
                WHEN u.billing_customer_id IS NOT NULL AND w.record = 'contact' THEN false
                ELSE coalesce(l.status = 'imported' AND l.value IS NOT DISTINCT FROM w.value, false)
            END AS is_held
        FROM temp.wanted_fields w
        LEFT JOIN imported_custom_fields l ON l.record = w.record AND l.billing_customer_id = w.billing_customer_id
            AND l.salesforce_contact_id IS NOT DISTINCT FROM w.salesforce_contact_id
                AND l.platform_field = w.platform_field
        LEFT JOIN unsettled u ON u.billing_customer_id = w.billing_customer_id
    ),
    wanted AS (
        SELECT * EXCLUDE (held),
            CASE
                WHEN code IS NOT NULL
                    AND (NOT in_books OR (was_status, was_code) IS DISTINCT FROM ('skipped',
                        code) OR NOT same_record) THEN 'skip'
                WHEN code IS NOT NULL THEN NULL
                WHEN NOT is_held THEN 'write'
                WHEN NOT in_books OR was_status <> 'imported' OR NOT same_record THEN 'note'
            END AS action,
            CASE code
                WHEN 'NOT_ON_PLATFORM' THEN $label || ' has no customer with this external id.'
                WHEN 'AMBIGUOUS_ON_PLATFORM' THEN $label || ' has several customers with this external id.'
            END AS reason
        FROM compared
    )
    SELECT action, record, billing_customer_id, salesforce_contact_id, salesforce_field, platform_field, value,
        platform_field_id,
        platform_contact_id, code, reason
    FROM wanted WHERE action IS NOT NULL
    UNION ALL
    SELECT 'forget', record, billing_customer_id, salesforce_contact_id, salesforce_field, platform_field, value,
        NULL, NULL, NULL,
        NULL
    FROM imported_custom_fields l
    WHERE NOT EXISTS (
        FROM temp.wanted_fields w WHERE w.record = l.record AND w.billing_customer_id = l.billing_customer_id
            AND w.salesforce_contact_id IS NOT DISTINCT FROM l.salesforce_contact_id
                AND w.platform_field = l.platform_field
    )
"""

_COLUMNS = (
    "record, billing_customer_id, salesforce_contact_id, salesforce_field, platform_field, value, "
    "status, code, reason, synced_at"
)


def plan(con: duckdb.DuckDBPyConnection, org: Organization, platform: Platform) -> pd.DataFrame:
    """The difference between the values that should be on the platform and those that are; empty where there is none.

    Reads account_mapping, salesforce_accounts, salesforce_contacts, imported_contacts (so plan contacts first) and,
    on the platform, its custom fields and customers. Writes nothing.

    Returns:
        One row per value, columns as `PLAN_COLUMNS`.

    Raises:
        GuardStop: the mapping is not one to one.
    """
    require_one_to_one(con, org)
    fresh(con, *LISTINGS)
    if org.imports.account_fields or org.imports.contact_fields:
        platform.read_fields(con)
    if org.imports.account_fields:
        platform.read_customers(con)
    con.execute(
        _WANTED,
        {
            "account_fields": field_map(org.imports.account_fields),
            "contact_fields": field_map(org.imports.contact_fields),
            "shape": _SHAPE,
        },
    )
    return frame(con, _PLAN, PLAN_COLUMNS, {"label": platform.label})


def apply(con: duckdb.DuckDBPyConnection, org: Organization, platform: Platform, plan: pd.DataFrame) -> None:
    """Carry out a plan of `plan`, and keep every answer in `imported_custom_fields` as it comes."""
    if plan.empty:
        return
    with staged(con, plan):
        with transaction(con):
            _settle(con)
        platform.set_fields(con, plan, lambda: _record(con))


def _mine(other: str) -> str:
    return (
        f"{other}.record = l.record AND {other}.billing_customer_id = l.billing_customer_id "
        f"AND {other}.salesforce_contact_id IS NOT DISTINCT FROM l.salesforce_contact_id "
        f"AND {other}.platform_field = l.platform_field"
    )


def _settle(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        f"""
        INSERT INTO receivables_unsettled (billing_customer_id, what, why, since)
        SELECT DISTINCT billing_customer_id, 'contact_fields', 'in_flight', {NOW}
        FROM temp.plan p
        WHERE action = 'write' AND record = 'contact' AND NOT EXISTS (
            FROM receivables_unsettled u WHERE u.billing_customer_id = p.billing_customer_id
                AND u.what = 'contact_fields'
        )
        """
    )
    con.execute(f"DELETE FROM imported_custom_fields l USING temp.plan p WHERE p.action <> 'write' AND {_mine('p')}")
    con.execute(
        f"""
        INSERT INTO imported_custom_fields ({_COLUMNS})
        SELECT record, billing_customer_id, salesforce_contact_id, salesforce_field, platform_field, value,
            if(action = 'note', 'imported', 'skipped'), code, reason, if(action = 'note', {NOW}, NULL)
        FROM temp.plan WHERE action IN ('note', 'skip')
        """
    )


def _record(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(f"DELETE FROM imported_custom_fields l USING temp.answers a WHERE {_mine('a')}")
    con.execute(
        f"""
        INSERT INTO imported_custom_fields ({_COLUMNS})
        SELECT l.record, l.billing_customer_id, l.salesforce_contact_id, l.salesforce_field, l.platform_field,
            l.value, a.status,
            a.code, a.reason, if(a.status = 'imported', {NOW}, NULL)
        FROM temp.plan l JOIN temp.answers a ON {_mine("a")}
        """
    )
    con.execute(
        """
        DELETE FROM receivables_unsettled WHERE what = 'contact_fields'
            AND billing_customer_id IN (SELECT billing_customer_id FROM temp.answers WHERE record = 'contact')
        """
    )
