"""The matching as named SQL steps, each a temporary view or table that can be looked at on its own.

After the steps of `merges`:

    match_customers, match_accounts   every record that has an identifier, with its key
    match_shared_keys                 keys that more than one customer or more than one account carries
    match_rivals                      the records that carry them
    match_duplicates                  those keys with their numbers and a sample of rivals
    match_one_each                    all other records, joined: a pair, or one side alone
    match_keys                        one row per key, of both kinds

and the steps of `near_misses`. Where all is in order, two passes over each side do it: one finds the identifiers
carried twice, one joins the rest.
"""

from __future__ import annotations

from sync_pipeline.matching.comparison import Comparison, Step
from sync_pipeline.matching.merges import customers_sql, merge_steps
from sync_pipeline.matching.near_misses import near_miss_steps

MAX_RIVALS = 20
"""How many ids of rivals a row of a duplicate names at most."""


def steps(comparison: Comparison) -> list[Step]:
    """The steps that lead from the two sides to their pairs, duplicates, strays and near misses."""
    return [
        *merge_steps(comparison),
        Step("match_customers", "VIEW", _keyed("customer_id", customers_sql(comparison), comparison)),
        Step("match_accounts", "VIEW", _keyed("account_id", _ACCOUNTS, comparison)),
        Step("match_shared_keys", "TABLE", _SHARED_KEYS),
        Step("match_rivals", "TABLE", _RIVALS),
        Step("match_duplicates", "TABLE", _DUPLICATES),
        Step("match_one_each", "TABLE", _one_each(comparison)),
        Step("match_keys", "VIEW", _KEYS),
        *near_miss_steps(comparison),
    ]


_ACCOUNTS = "SELECT account_id, identifier FROM warehouse.main.salesforce_accounts"


def _keyed(id_column: str, records: str, comparison: Comparison) -> str:
    return f"""
        SELECT {id_column}, identifier, {comparison.key("identifier")} AS key
        FROM ({records}) WHERE NOT is_blank(identifier)"""


_SHARED_KEYS = """
    SELECT key FROM match_customers GROUP BY key HAVING count(*) > 1
    UNION
    SELECT key FROM match_accounts GROUP BY key HAVING count(*) > 1"""

_RIVALS = """
    SELECT key, identifier, customer_id, NULL::VARCHAR AS account_id
    FROM match_customers SEMI JOIN match_shared_keys USING (key)
    UNION ALL
    SELECT key, identifier, NULL, account_id
    FROM match_accounts SEMI JOIN match_shared_keys USING (key)"""

# Of more than MAX_RIVALS, each side names half, or what the other side leaves free. The smallest ids of a large group
# are kept in a heap, which would cost far too much memory for a million small groups; those are listed.
_DUPLICATES = f"""
    WITH counted AS (
        SELECT key, any_value(identifier) AS identifier, count(customer_id) AS customers, count(account_id) AS accounts
        FROM match_rivals GROUP BY key
    ), named AS (
        SELECT key, list_sort(list(customer_id) FILTER (customer_id IS NOT NULL)) AS first_customers,
            list_sort(list(account_id) FILTER (account_id IS NOT NULL)) AS first_accounts
        FROM match_rivals SEMI JOIN (FROM counted WHERE customers + accounts <= {MAX_RIVALS}) USING (key) GROUP BY key
        UNION ALL
        SELECT key, min(customer_id, {MAX_RIVALS}), min(account_id, {MAX_RIVALS})
        FROM match_rivals SEMI JOIN (FROM counted WHERE customers + accounts > {MAX_RIVALS}) USING (key) GROUP BY key
    )
    SELECT key, identifier, customers, accounts, first_customers[1] AS customer_id, first_accounts[1] AS account_id,
        coalesce(first_customers[:greatest({MAX_RIVALS // 2}, {MAX_RIVALS} - accounts)], [])
            || coalesce(first_accounts[:greatest({MAX_RIVALS // 2}, {MAX_RIVALS} - customers)], []) AS rivals
    FROM counted JOIN named USING (key)"""


def _one_each(comparison: Comparison) -> str:
    """After the shared keys are taken out a key stands at most once on either side, so the join can't multiply rows.

    An account's identifier is kept only where it is written differently from its customer's. Where identifiers are
    compared to the letter, that is never so, and the key says all: the join then holds a column less in memory.
    """
    written = (
        "key AS identifier, NULL::VARCHAR AS account_identifier"
        if comparison.to_the_letter
        else """coalesce(customer.identifier, account.identifier) AS identifier,
            nullif(account.identifier, customer.identifier) AS account_identifier"""
    )
    return f"""
        SELECT customer_id, account_id, {written}
        FROM (FROM match_customers ANTI JOIN match_shared_keys USING (key)) AS customer
        FULL JOIN (FROM match_accounts ANTI JOIN match_shared_keys USING (key)) AS account
            USING (key)"""


# One row per key, each with a number: a pair, a record alone, or (below zero) a key that is shared, of which
# `identifier` is any that has it.
_KEYS = """
    SELECT rowid AS number, identifier, coalesce(account_identifier, identifier) AS account_identifier,
        customer_id, account_id,
        (customer_id IS NOT NULL)::BIGINT AS customers, (account_id IS NOT NULL)::BIGINT AS accounts
    FROM match_one_each
    UNION ALL
    SELECT -1 - rowid, identifier, NULL, customer_id, account_id, customers, accounts
    FROM match_duplicates"""
