"""Whether the mapping holds what it promises, counted anew from the tables, by nothing that made it.

Each is a query for the records that break the promise, so that a check can show them.
"""

from __future__ import annotations

IN_SEVERAL_PAIRS = """
    WITH matched AS (
        SELECT billing_customer_id, salesforce_account_id
        FROM warehouse.main.account_mapping WHERE verdict = 'matched'
    )
    SELECT billing_customer_id, NULL AS salesforce_account_id, count(*) AS pairs
    FROM matched GROUP BY billing_customer_id HAVING count(*) > 1 OR billing_customer_id IS NULL
    UNION ALL
    SELECT NULL, salesforce_account_id, count(*)
    FROM matched GROUP BY salesforce_account_id HAVING count(*) > 1 OR salesforce_account_id IS NULL
"""
"""Records that are matched more than once, or with nothing. Empty when the mapping is one to one."""


def _without_one_verdict(table: str, record_id: str, mapped: str, other: str) -> str:
    """Records of one side without a row in the mapping or with several, and rows whose record is gone."""
    return f"""
        SELECT id AS {mapped}, NULL AS {other}, sum(records) AS records, sum(verdicts) AS verdicts
        FROM (
            SELECT {record_id} AS id, 1 AS records, 0 AS verdicts FROM warehouse.main.{table}
            UNION ALL
            SELECT {mapped}, 0, 1 FROM warehouse.main.account_mapping WHERE {mapped} IS NOT NULL
        ) GROUP BY id HAVING sum(records) <> 1 OR sum(verdicts) <> 1
    """


WITHOUT_ONE_VERDICT = f"""
    {_without_one_verdict("billing_customers", "customer_id", "billing_customer_id", "salesforce_account_id")}
    UNION ALL BY NAME
    {_without_one_verdict("salesforce_accounts", "account_id", "salesforce_account_id", "billing_customer_id")}
"""
"""Records of both sides that do not have exactly one row in the mapping. Empty when the verdicts add up."""
