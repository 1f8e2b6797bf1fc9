"""Portal links that no longer open, or stand where they should not."""

from __future__ import annotations

from sync_pipeline.checks.building import Finding, organization_check
from sync_pipeline.resources import Step

SOON_DAYS = 7


@organization_check("portal_links")
def portal_links_stay_alive(step: Step) -> Finding:
    """No portal link has expired or will within seven days. Links are renewed by a sync: look why it did not run."""
    return Finding(
        rows=f"""
            SELECT billing_customer_id, salesforce_account_id, expires_at
            FROM portal_links
            WHERE url IS NOT NULL AND expires_at <= (now() AT TIME ZONE 'UTC') + INTERVAL {SOON_DAYS} DAY ORDER BY expires_at
        """,
        found=f"{{count}} portal link(s) have expired or will within {SOON_DAYS} days.",
        none=f"Every portal link lives longer than {SOON_DAYS} days.",
    )


@organization_check("exported_portal_links")
def links_stand_on_matched_accounts_only(step: Step) -> Finding:
    """No account still shows the portal link of a customer it is no longer matched with.

    The link opens that customer's debts. Nothing takes it away by itself, because a pair may be set aside for a passing reason:
    look whether the pair was ever right, and clear the field if not. The link dies with its lifetime.
    """
    return Finding(
        rows="""
            SELECT noted.salesforce_account_id, noted.billing_customer_id, noted.written_at
            FROM exported_portal_links AS noted
            JOIN salesforce_accounts AS accounts
                ON accounts.account_id = noted.salesforce_account_id AND accounts.portal_link = noted.url
            ANTI JOIN (FROM account_mapping WHERE verdict = 'matched') AS matched
                ON matched.salesforce_account_id = noted.salesforce_account_id
                AND matched.billing_customer_id = noted.billing_customer_id
            ORDER BY noted.written_at
        """,
        found="{count} account(s) still show the portal link of a customer they are no longer matched with.",
        none="Only matched accounts show a portal link that a sync wrote.",
    )


CHECKS = (portal_links_stay_alive, links_stand_on_matched_accounts_only)
