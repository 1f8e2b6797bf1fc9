"""Near misses: what would match under rules that are off. Named steps, like those of `steps`, which they follow.

    match_stray_families   for each record that stands alone, the family it belongs to
    match_lookalikes       the keys of those families in which customers and accounts meet
    match_try_0, ...       what each set of rules that are off would bring together, the fewest rules first
    match_near_misses      for each record alone the first try that would match it, or else the first that does not

A *family* is all that would be one key if every rule were on; no set of rules brings records of two families together.
So only families of records alone are looked at, and a try leaves out those that the tries before it have settled: where
all is in order this costs one look at every key, and where nothing is, memory grows with the keys and not with their
text. (Families are told apart by a hash. Two that share one are looked at together, which changes nothing: tries
compare the keys themselves.)
"""

from __future__ import annotations

from sync_pipeline.matching.comparison import Comparison, Step
from sync_pipeline.orgs.models import Rule


def near_miss_steps(comparison: Comparison) -> list[Step]:
    """The steps from `match_keys` to `match_near_misses`."""
    return [
        Step("match_stray_families", "TABLE", _stray_families(comparison)),
        Step("match_lookalikes", "TABLE", _lookalikes(comparison)),
        *(
            Step(f"match_try_{number}", "TABLE", _try(comparison, number, rules))
            for number, rules in enumerate(comparison.tries)
        ),
        Step("match_near_misses", "TABLE", _near_misses(comparison)),
    ]


def _family(comparison: Comparison) -> str:
    return f"hash({comparison.coarse_key('identifier')})"


def _stray_families(comparison: Comparison) -> str:
    return f"SELECT DISTINCT {_family(comparison)} AS family FROM match_keys WHERE customers + accounts = 1"


def _lookalikes(comparison: Comparison) -> str:
    """One row per key. The marks choose one record of many to name: always the same one, at no cost in memory."""
    return f"""
        WITH alike AS MATERIALIZED (
            SELECT number, identifier, customers, accounts, {_family(comparison)} AS family,
                hash(customer_id) AS customer_mark, hash(account_id) AS account_mark
            FROM match_keys WHERE family IN (FROM match_stray_families)
        )
        FROM alike SEMI JOIN (
            SELECT family FROM alike GROUP BY family HAVING sum(customers) > 0 AND sum(accounts) > 0
        ) USING (family)"""


def _try(comparison: Comparison, number: int, rules: tuple[Rule, ...]) -> str:
    """One row per key under `rules` that brings keys of customers and of accounts together.

    `customer` and `account` are the numbers of keys that have one; `pair` that of a pair among them.
    """
    return f"""
        SELECT {comparison.key("identifier", rules)} AS wide_key,
            sum(customers)::BIGINT AS customers, sum(accounts)::BIGINT AS accounts,
            arg_min(number, customer_mark) FILTER (customers > 0) AS customer,
            arg_min(number, account_mark) FILTER (accounts > 0) AS account,
            min(number) FILTER (customers = 1 AND accounts = 1) AS pair
        FROM match_lookalikes SEMI JOIN ({_open(number)}) USING (family)
        GROUP BY wide_key HAVING count(*) > 1 AND sum(customers) > 0 AND sum(accounts) > 0"""


def _open(tries: int) -> str:
    """Records alone that none of the first `tries` would match."""
    settled = " UNION ALL ".join(
        f"SELECT unnest([customer, account]) AS number FROM match_try_{number} WHERE customers = 1 AND accounts = 1"
        for number in range(tries)
    )
    alone = "FROM match_lookalikes WHERE customers + accounts = 1"
    return f"FROM ({alone}) ANTI JOIN ({settled}) USING (number)" if settled else alone


def _near_misses(comparison: Comparison) -> str:
    """One row per record alone that some try brings together with the other side.

    `other_id` is the record it would match; where the try settles nothing, one of those it would meet. `partner_id` is
    the record that this other one, and only it, is matched with.
    """
    tries = list(enumerate(comparison.tries))
    settled = " UNION ALL ".join(
        f"""
            SELECT unnest([customer, account]) AS number, unnest([account, customer]) AS other, {number} AS try
            FROM match_try_{number} WHERE customers = 1 AND accounts = 1"""
        for number, _ in tries
    )
    met = " UNION ALL ".join(
        f"""
            SELECT open.number, {number} AS try, tried.customers, tried.accounts, tried.pair,
                CASE WHEN open.customers = 1 THEN account ELSE customer END AS other
            FROM match_open AS open JOIN match_try_{number} AS tried
                ON tried.wide_key = {comparison.key("open.identifier", rules)}"""
        for number, rules in tries
    )
    return f"""
        WITH match_open AS ({_open(len(tries))}), found AS (
            SELECT number, min(try) AS try, arg_min(other, try) AS other,
                TRUE AS settles, 1 AS customers, 1 AS accounts, NULL AS pair
            FROM ({settled}) GROUP BY number
            UNION ALL BY NAME
            FROM (SELECT DISTINCT ON (number) *, FALSE AS settles FROM ({met}) ORDER BY try)
        ), named AS MATERIALIZED (
            FROM match_keys WHERE number IN (SELECT unnest([number, other, pair]) FROM found)
        )
        SELECT found.number, found.try, found.settles, found.customers, found.accounts,
            CASE WHEN stray.customers = 1 THEN other.account_id ELSE other.customer_id END AS other_id,
            CASE
                WHEN other.number >= 0 AND stray.customers = 1 THEN other.account_identifier
                WHEN other.number >= 0 THEN other.identifier
                WHEN stray.customers = 1
                    THEN (SELECT min(identifier) FROM match_rivals WHERE match_rivals.account_id = other.account_id)
                ELSE (SELECT min(identifier) FROM match_rivals WHERE match_rivals.customer_id = other.customer_id)
            END AS other_identifier,
            CASE
                WHEN stray.customers = 1 AND found.accounts = 1 THEN pair.customer_id
                WHEN stray.accounts = 1 AND found.customers = 1 THEN pair.account_id
            END AS partner_id
        FROM found
        JOIN named AS stray USING (number)
        JOIN named AS other ON other.number = found.other
        LEFT JOIN named AS pair ON pair.number = found.pair"""
