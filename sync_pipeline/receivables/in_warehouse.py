"""The platform `warehouse`: the tables `receivables_*` of the organization's warehouse, for a platform of the
company's own.

Everything is a few statements over whole tables, each plan in one transaction with its record.
"""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pandas as pd

from sync_pipeline.orgs.models import WarehouseSettings
from sync_pipeline.progress import report
from sync_pipeline.receivables.books import NOW, address, is_address
from sync_pipeline.receivables.platform import Recorder, fresh, take_answers
from sync_pipeline.warehouse.load import transaction


def _id(*parts: str) -> str:
    """SQL: an id made from what it stands for, so that the same thing never gets two."""
    return f"md5(concat_ws(chr(31), {', '.join(parts)}))"


# Contacts of the billing system, for every customer that Salesforce gave none.
_MIRROR = f"""
    CREATE OR REPLACE TEMP TABLE mirrored AS
    WITH listed AS (
        SELECT customer_id, unnest(emails) AS email, generate_subscripts(emails, 1) AS position
        FROM billing_customers
        ANTI JOIN (SELECT customer_id FROM receivables_contacts WHERE source = 'salesforce') USING (customer_id)
    ),
    cleaned AS (
        SELECT customer_id, {address("email")} AS email, min(position) AS position FROM listed GROUP BY ALL
    )
    SELECT {_id("customer_id", "'billing'", "email")} AS contact_id, customer_id, 'billing' AS source, email,
        row_number() OVER (PARTITION BY customer_id ORDER BY position) = 1 AS is_main
    FROM cleaned WHERE {is_address("email")}
"""


class InWarehouse:
    """Tables in the warehouse as a receivables platform."""

    label = "The warehouse"

    def __init__(self, settings: WarehouseSettings) -> None:
        self.link_template: str | None = settings.portal_link_template

    def read_users(self, con: duckdb.DuckDBPyConnection) -> None:
        """Fill `platform_users`."""
        fresh(con, "platform_users")
        con.execute("INSERT INTO temp.platform_users SELECT user_id, email FROM receivables_users")

    def read_customers(self, con: duckdb.DuckDBPyConnection) -> None:
        """Fill `platform_customers` and `platform_values`: this platform has every customer of the billing system."""
        fresh(con, "platform_customers", "platform_values")
        con.execute(
            """
            INSERT INTO temp.platform_customers
            SELECT b.customer_id, b.customer_id, a.user_id, true, true
            FROM billing_customers b LEFT JOIN receivables_assignments a USING (customer_id)
            """
        )
        con.execute(
            """
            INSERT INTO temp.platform_values
            SELECT customer_id, field_id, value FROM receivables_field_values WHERE contact_id IS NULL
            """
        )

    def read_fields(self, con: duckdb.DuckDBPyConnection) -> None:
        """Fill `platform_fields`."""
        fresh(con, "platform_fields")
        con.execute("INSERT INTO temp.platform_fields SELECT field_id, entity, name FROM receivables_fields")

    def assign_owners(self, con: duckdb.DuckDBPyConnection, plan: pd.DataFrame, record: Recorder) -> None:
        """Create the users that are missing and assign them, all at once."""
        if plan.empty:
            return
        with transaction(con):
            con.execute(
                f"""
                INSERT INTO receivables_users
                SELECT {_id("owner_email")}, owner_email, any_value(first_name ORDER BY owner_id),
                    any_value(last_name ORDER BY owner_id), false
                FROM temp.plan WHERE action = 'assign' AND platform_user_id IS NULL GROUP BY owner_email
                """
            )
            con.execute(
                """
                DELETE FROM receivables_assignments
                WHERE customer_id IN (SELECT billing_customer_id FROM temp.plan WHERE action = 'assign')
                """
            )
            con.execute(
                """ INSERT INTO receivables_assignments SELECT p.billing_customer_id, u.user_id FROM temp.plan p JOIN
                receivables_users u ON u.email = p.owner_email WHERE p.action = 'assign'
                """
            )
            take_answers(con, ())
            con.execute(
                """
                INSERT INTO temp.answers BY NAME
                SELECT customer_id AS billing_customer_id, 'assigned' AS status, user_id AS platform_id
                FROM receivables_assignments
                WHERE customer_id IN (SELECT billing_customer_id FROM temp.plan WHERE action = 'assign')
                """
            )
            record()
        report("owners assigned", len(plan), len(plan))

    def bring_contacts(self, con: duckdb.DuckDBPyConnection, plan: pd.DataFrame, record: Recorder) -> None:
        """Put Salesforce contacts in the place of the billing system's, or those back where there are none left."""
        with transaction(con):
            _mirror_billing_contacts(con)
            if plan.empty:
                return
            _remove_contacts(con)
            _insert_contacts(con)
            con.execute(
                """
                DELETE FROM replaced_contacts
                WHERE billing_customer_id IN (SELECT billing_customer_id FROM temp.plan WHERE action = 'restore')
                """
            )
            _mirror_billing_contacts(con)
            con.execute(
                """
                DELETE FROM receivables_field_values
                WHERE contact_id IS NOT NULL AND contact_id NOT IN (SELECT contact_id FROM receivables_contacts)
                """
            )
            take_answers(con, ())
            con.execute(
                f"""
                INSERT INTO temp.answers BY NAME
                SELECT billing_customer_id, salesforce_contact_id, if(action = 'import', 'imported',
                    'removed') AS status,
                    if(action = 'import', {_id("billing_customer_id", "'salesforce'", "salesforce_contact_id")},
                        NULL) AS platform_id
                FROM temp.plan WHERE action IN ('import', 'remove')
                UNION ALL BY NAME
                SELECT DISTINCT billing_customer_id, 'settled' AS status
                FROM temp.plan WHERE action IN ('import', 'remove', 'restore')
                """
            )
            record()
        report("contacts", len(plan), len(plan))

    def set_fields(self, con: duckdb.DuckDBPyConnection, plan: pd.DataFrame, record: Recorder) -> None:
        """Create the fields that are missing and set the values, all at once."""
        if plan.empty:
            return
        with transaction(con):
            con.execute(
                f"""
                INSERT INTO receivables_fields
                SELECT DISTINCT {_id("upper(record)", "platform_field")}, upper(record), platform_field, 'STRING'
                FROM temp.plan WHERE action = 'write' AND platform_field_id IS NULL
                """
            )
            con.execute(
                f"""
                CREATE OR REPLACE TEMP TABLE written AS
                SELECT *, coalesce(platform_field_id, {_id("upper(record)", "platform_field")}) AS field_id
                FROM temp.plan WHERE action = 'write'
                """
            )
            con.execute(
                """
                DELETE FROM receivables_field_values v USING temp.written w
                WHERE v.field_id = w.field_id AND v.customer_id = w.billing_customer_id
                    AND v.contact_id IS NOT DISTINCT FROM w.platform_contact_id
                """
            )
            con.execute(
                """ INSERT INTO receivables_field_values SELECT field_id, billing_customer_id, platform_contact_id,
                value FROM temp.written WHERE value IS NOT NULL
                """
            )
            take_answers(con, ())
            con.execute(
                """ INSERT INTO temp.answers BY NAME SELECT record, billing_customer_id, salesforce_contact_id,
                platform_field, 'imported' AS status FROM temp.written
                """
            )
            record()
        report("custom fields", len(plan), len(plan))

    def make_links(
        self,
        con: duckdb.DuckDBPyConnection,
        plan: pd.DataFrame,
        lifetime_days: int,
        now: datetime | None,
        record: Recorder,
    ) -> None:
        """Fill the template, all at once. The customer's id is URL-quoted, so it can't lead anywhere else."""
        if plan.empty:
            return
        with transaction(con):
            take_answers(con, ())
            con.execute(
                """
                INSERT INTO temp.answers BY NAME
                SELECT billing_customer_id, 'live' AS status, $now AS asked_at,
                    replace($template, '{customer_id}', url_encode(billing_customer_id)) AS url
                FROM temp.plan WHERE action = 'ask'
                """,
                {"template": self.link_template, "now": now or datetime.now(UTC).replace(tzinfo=None)},
            )
            record()
        report("portal links", len(plan), len(plan))


def _mirror_billing_contacts(con: duckdb.DuckDBPyConnection) -> None:
    """This platform's own way to the billing system: its contacts stand here as far as Salesforce's don't replace
    them.
    """
    con.execute(_MIRROR)
    con.execute(
        """
        DELETE FROM receivables_contacts c WHERE source = 'billing' AND NOT EXISTS (
            FROM temp.mirrored m WHERE m.contact_id = c.contact_id AND m.is_main = c.is_main
        )
        """
    )
    con.execute(
        """
        INSERT INTO receivables_contacts BY NAME
        SELECT * FROM temp.mirrored ANTI JOIN receivables_contacts USING (contact_id)
        """
    )


def _remove_contacts(con: duckdb.DuckDBPyConnection) -> None:
    """Billing contacts of customers that get Salesforce's (kept), and every Salesforce contact that changes or goes."""
    con.execute(
        f"""
        INSERT INTO replaced_contacts
        SELECT c.customer_id, c.contact_id, c.email, to_json(c), {NOW}
        FROM receivables_contacts c
        SEMI JOIN (FROM temp.plan WHERE action = 'import') p ON p.billing_customer_id = c.customer_id
        WHERE c.source = 'billing'
        """
    )
    con.execute(
        """ DELETE FROM receivables_contacts c WHERE (source = 'billing' AND customer_id IN (SELECT
        billing_customer_id FROM temp.plan WHERE action = 'import'))
            OR (source = 'salesforce' AND customer_id IN (
                SELECT billing_customer_id FROM temp.plan WHERE action = 'restore' OR action = 'import' AND replaces
            ))
            OR EXISTS (
                FROM temp.plan p WHERE p.action IN ('import', 'remove') AND p.billing_customer_id = c.customer_id
                    AND p.salesforce_contact_id = c.salesforce_contact_id
            )
        """
    )


def _insert_contacts(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        f"""
        INSERT INTO receivables_contacts BY NAME
        SELECT {_id("billing_customer_id", "'salesforce'", "salesforce_contact_id")} AS contact_id,
            billing_customer_id AS customer_id, 'salesforce' AS source, salesforce_contact_id, email, first_name,
                last_name,
            phone, title AS job_title, is_main
        FROM temp.plan WHERE action = 'import'
        """
    )
