"""Accounts that were merged away in Salesforce, and the customers that still name them.

    match_merged    what led to an account that is gone: its id or its identifier, and the account it is part of now
    match_followed  the customers whose identifier is the id of such an account

Where the shared identifier is the Account Id, the customer's link follows to the survivor: Salesforce itself says that
the one account has become the other. Where it is a field, the survivor's field decides, because somebody may have left
it empty on purpose; the reason then says where the identifier went.
"""

from __future__ import annotations

from sync_pipeline.matching.comparison import Comparison, Step
from sync_pipeline.warehouse.ledger import SURVIVORS

GONE = "(status = 'deleted' OR merged_into_id IS NOT NULL)"
"""Customers that the billing system has deleted, or merged into another: they still carry the identifier, and nobody owes
by them. An archived customer may still owe."""
LIVE = f"(FROM warehouse.main.billing_customers WHERE NOT coalesce({GONE}, false))"


def merge_steps(comparison: Comparison) -> list[Step]:
    """The steps that follow merges; before those that compare the two sides."""
    steps = [Step("match_merged", "TABLE", _merged(comparison))]
    if comparison.by_account_id:
        steps.append(Step("match_followed", "TABLE", _followed(comparison)))
    return steps


def _merged(comparison: Comparison) -> str:
    """One row per key; none where accounts with the same identifier went to different survivors."""
    led = "merged_account_id" if comparison.by_account_id else "identifier"
    return f"""
        SELECT {comparison.key(led)} AS key, min(merged_account_id) AS merged_account_id, min(survivor_id) AS survivor_id
        FROM ({SURVIVORS}) WHERE NOT is_blank({led}) GROUP BY 1
        HAVING count(DISTINCT survivor_id) = 1"""


def _followed(comparison: Comparison) -> str:
    return f"""
        SELECT customer_id, identifier, survivor_id
        FROM {LIVE} JOIN match_merged ON key = {comparison.key("identifier")}"""


def customers_sql(comparison: Comparison) -> str:
    """Every customer that is there, with the identifier by which it is compared, whether it has one or not."""
    if not comparison.by_account_id:
        return f"SELECT customer_id, identifier FROM {LIVE}"
    return f"""
        SELECT customer_id, coalesce(survivor_id, customer.identifier) AS identifier
        FROM {LIVE} AS customer LEFT JOIN match_followed USING (customer_id)"""


def explained(comparison: Comparison, mapping: str) -> str:
    """The mapping's rows, with the identifier as the billing system has it and a word on every merge that was followed."""
    if not comparison.by_account_id:
        return mapping
    return f"""
        SELECT mapping.* REPLACE (
            coalesce(followed.identifier, mapping.identifier) AS identifier,
            reason || CASE WHEN survivor_id IS NULL THEN '' ELSE
                ' The billing system names ' || shown(followed.identifier) || ', which Salesforce merged into '
                || survivor_id || '.' END AS reason
        )
        FROM ({mapping}) AS mapping
        LEFT JOIN match_followed AS followed ON followed.customer_id = mapping.billing_customer_id"""


def where_it_went(comparison: Comparison) -> str:
    """SQL of a remark on a customer alone whose identifier stood on an account that was merged away."""
    if comparison.by_account_id:
        return "''"
    return f"""
        CASE WHEN is_customer THEN coalesce((
            SELECT ' Account ' || merged_account_id || ', which had it, was merged into ' || survivor_id
                || ' in Salesforce: write the identifier there if it is the same customer.'
            FROM match_merged WHERE key = {comparison.key("seen.identifier")}
        ), '') ELSE '' END"""
