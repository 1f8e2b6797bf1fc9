"""The matching as named SQL steps, each a temporary view or table that can be looked at on its own.

A clean million costs two passes over each side: one that finds identifiers carried twice, one that joins the rest.
Everything about near misses works on the records left over and on those that resemble them.

Steps, in order:

    match_customers, match_accounts   every record that has an identifier, with its key
    match_shared_keys                 keys that more than one customer or more than one account carries
    match_rivals                      the records that carry them
    match_duplicates                  those keys with their numbers and a sample of rivals
    match_one_each                    all other records, joined: a pair, or one side alone
    match_stray_keys                  the keys that the records alone would have if every rule were on
    match_lookalikes                  what falls together under those keys, customers with accounts
    match_wider                       which of it each set of rules that are off would bring together
    match_near_misses                 for each record alone the first set that would match it, or bring it to others
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from sync_pipeline.matching.macros import RULES, key_sql
from sync_pipeline.orgs.models import Rule

MAX_RIVALS = 20
"""How many ids of rivals a row of a duplicate names at most."""


@dataclass(frozen=True)
class Comparison:
    """How two identifiers are compared.

    Args:
        rules: the rules that are on. Of these, only `trim` makes a match where identifiers are Salesforce ids.
        salesforce_ids: the 15- and 18-character forms of a Salesforce id are one identity.
    """

    rules: frozenset[Rule]
    salesforce_ids: bool

    @property
    def on(self) -> tuple[Rule, ...]:
        """Rules that make a match."""
        allowed = ("trim",) if self.salesforce_ids else RULES
        return tuple(rule for rule in RULES if rule in self.rules and rule in allowed)

    @property
    def tries(self) -> list[tuple[Rule, ...]]:
        """Sets of rules that are off, in the order in which they are tried for a near miss: the fewest first.

        Where every rule is on, the only try is the comparison itself, which finds nothing that was not found before.
        """
        off = [rule for rule in RULES if rule not in self.on]
        return [chosen for size in range(1, len(off) + 1) for chosen in combinations(off, size)] or [()]

    @property
    def to_the_letter(self) -> bool:
        """Whether a key is the identifier itself."""
        return not self.on and not self.salesforce_ids

    def key(self, column: str, more: tuple[Rule, ...] = ()) -> str:
        """SQL of the key of `column` under the rules that are on and `more`."""
        return key_sql(column, (*self.on, *more), salesforce_ids=self.salesforce_ids)


@dataclass(frozen=True)
class Step:
    """One step: `CREATE TEMP kind name AS sql`."""

    name: str
    kind: Literal["VIEW", "TABLE"]
    sql: str


def steps(comparison: Comparison) -> list[Step]:
    """The steps that lead from the two sides to their pairs, duplicates, strays and near misses."""
    return [
        Step("match_customers", "VIEW", _keyed("billing_customers", "customer_id", comparison)),
        Step("match_accounts", "VIEW", _keyed("salesforce_accounts", "account_id", comparison)),
        Step("match_shared_keys", "TABLE", _SHARED_KEYS),
        Step("match_rivals", "TABLE", _RIVALS),
        Step("match_duplicates", "TABLE", _DUPLICATES),
        Step("match_one_each", "TABLE", _one_each(comparison)),
        Step("match_stray_keys", "TABLE", _stray_keys(comparison)),
        Step("match_lookalikes", "TABLE", _lookalikes(comparison)),
        Step("match_wider", "TABLE", _wider(comparison)),
        Step("match_near_misses", "TABLE", _near_misses(comparison)),
    ]


def _keyed(table: str, id_column: str, comparison: Comparison) -> str:
    return f"""
        SELECT {id_column}, identifier, {comparison.key("identifier")} AS key
        FROM warehouse.main.{table} WHERE NOT is_blank(identifier)"""


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

# Of more than MAX_RIVALS, each side names half, or what the other side leaves free.
_DUPLICATES = f"""
    WITH counted AS (
        SELECT key, count(customer_id) AS customers, count(account_id) AS accounts,
            coalesce(min(customer_id, {MAX_RIVALS}), []) AS first_customers,
            coalesce(min(account_id, {MAX_RIVALS}), []) AS first_accounts,
            arg_min(identifier, customer_id) AS customer_identifier,
            arg_min(identifier, account_id) AS account_identifier
        FROM match_rivals GROUP BY key
    )
    SELECT key, customers, accounts, customer_identifier, account_identifier,
        first_customers[1] AS customer_id, first_accounts[1] AS account_id,
        first_customers[:greatest({MAX_RIVALS // 2}, {MAX_RIVALS} - len(first_accounts))]
            || first_accounts[:greatest({MAX_RIVALS // 2}, {MAX_RIVALS} - len(first_customers))] AS rivals
    FROM counted"""


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


def _stray_keys(comparison: Comparison) -> str:
    return f"""
        SELECT DISTINCT {comparison.key("identifier", RULES)} AS coarse_key
        FROM match_one_each WHERE customer_id IS NULL OR account_id IS NULL"""


def _lookalikes(comparison: Comparison) -> str:
    """One row per key that would be one with a stray's if every rule were on, where customers and accounts meet in it.

    `identifier` is any that has the key.
    """
    return f"""
        WITH keys AS (
            SELECT identifier, customer_id, account_id, identifier AS customer_identifier,
                coalesce(account_identifier, identifier) AS account_identifier,
                (customer_id IS NOT NULL)::BIGINT AS customers, (account_id IS NOT NULL)::BIGINT AS accounts
            FROM match_one_each
            UNION ALL BY NAME
            SELECT coalesce(customer_identifier, account_identifier) AS identifier, customer_id, account_id,
                customer_identifier, account_identifier, customers, accounts
            FROM match_duplicates
        ), alike AS (
            SELECT *, {comparison.key("identifier", RULES)} AS coarse_key, customers = 1 AND accounts = 1 AS is_pair
            FROM keys WHERE coarse_key IN (SELECT coarse_key FROM match_stray_keys)
        )
        FROM alike SEMI JOIN (
            SELECT coarse_key FROM alike GROUP BY coarse_key HAVING sum(customers) > 0 AND sum(accounts) > 0
        ) USING (coarse_key)"""


def _wider(comparison: Comparison) -> str:
    """One row per try and key that, under its rules, brings customers and accounts together.

    The record named for each side is the one with the smallest id. A pair that stands among them already names its two.
    """
    return " UNION ALL ".join(
        f"""
        SELECT {number} AS try, {comparison.key("identifier", rules)} AS wide_key,
            sum(customers)::BIGINT AS customers, sum(accounts)::BIGINT AS accounts,
            min(customer_id) AS customer_id, arg_min(customer_identifier, customer_id) AS customer_identifier,
            min(account_id) AS account_id, arg_min(account_identifier, account_id) AS account_identifier,
            min(customer_id) FILTER (is_pair) AS paired_customer, min(account_id) FILTER (is_pair) AS paired_account
        FROM match_lookalikes GROUP BY wide_key HAVING sum(customers) > 0 AND sum(accounts) > 0"""
        for number, rules in enumerate(comparison.tries)
    )


def _near_misses(comparison: Comparison) -> str:
    """One row per record alone that some try brings together with the other side; a try that settles it goes first."""
    together = " UNION ALL ".join(
        f"""
        SELECT stray.customer_id AS stray_customer, stray.account_id AS stray_account, stray.identifier, wider.*
        FROM match_lookalikes AS stray JOIN match_wider AS wider
            ON wider.try = {number} AND wider.wide_key = {comparison.key("stray.identifier", rules)}
        WHERE stray.customers + stray.accounts = 1"""
        for number, rules in enumerate(comparison.tries)
    )
    return f"""
        SELECT DISTINCT ON (stray_customer, stray_account) *, customers = 1 AND accounts = 1 AS settles
        FROM ({together}) ORDER BY settles DESC, try"""
