"""Portal links that no longer open, or soon will not."""

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


CHECKS = (portal_links_stay_alive,)
