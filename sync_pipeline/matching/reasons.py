"""The rows of `account_mapping`: every verdict with its reason, a sentence for whoever looks after the identifiers.

Expects the tables of `steps` and the bound values `$billing_field` and `$salesforce_field`.
"""

from __future__ import annotations

from collections.abc import Callable

from sync_pipeline.matching.comparison import Comparison
from sync_pipeline.matching.merges import GONE, LIVE, explained, where_it_went
from sync_pipeline.matching.steps import MAX_RIVALS
from sync_pipeline.orgs.models import Rule
from sync_pipeline.warehouse import literal

_WORDS: dict[Rule, str] = {
    "trim": "white space",
    "case": "upper and lower case",
    "leading_zeros": "leading zeros",
}


def mapping_sql(comparison: Comparison) -> str:
    """One SELECT with a row per pair and per record set aside, columns named as in `account_mapping`."""
    parts = (_pairs(comparison), _missing(), _gone(), _duplicates(comparison), _strays(comparison))
    return explained(comparison, " UNION ALL BY NAME ".join(f"({part})" for part in parts))


def _pairs(comparison: Comparison) -> str:
    reason = f"The only customer and the only account with this identifier{_ignoring(comparison.on)}."
    return f"""
        SELECT customer_id AS billing_customer_id, account_id AS salesforce_account_id, identifier,
            'matched' AS verdict, {literal(reason)} AS reason
        FROM match_one_each WHERE customer_id IS NOT NULL AND account_id IS NOT NULL"""


def _missing() -> str:
    what = "CASE WHEN coalesce(identifier, '') = '' THEN ' is empty' ELSE ' holds nothing but white space' END"
    return f"""
        SELECT customer_id AS billing_customer_id, NULL AS salesforce_account_id, NULL AS identifier,
            'missing_identifier' AS verdict,
            'The customer has no identifier: ' || $billing_field || {what} || ' in the billing system.' AS reason
        FROM {LIVE} WHERE is_blank(identifier)
        UNION ALL
        SELECT NULL, account_id, NULL, 'missing_identifier',
            'The account has no identifier: ' || $salesforce_field || {what} || ' in Salesforce.'
        FROM warehouse.main.salesforce_accounts WHERE is_blank(identifier)"""


def _gone() -> str:
    return f"""
        SELECT customer_id AS billing_customer_id, NULL AS salesforce_account_id, identifier, 'gone' AS verdict,
            CASE WHEN merged_into_id IS NULL THEN 'The customer was deleted in the billing system.'
                ELSE 'The customer was merged into customer ' || merged_into_id || ' in the billing system.' END
                || ' It takes no part in matching.' AS reason
        FROM warehouse.main.billing_customers WHERE {GONE}"""


def _duplicates(comparison: Comparison) -> str:
    """The rivals named are the same for all, but for a record that is not among them: it takes the last one's place."""
    return f"""
        SELECT rival.customer_id AS billing_customer_id, rival.account_id AS salesforce_account_id, rival.identifier,
            'duplicate_identifier' AS verdict, key AS duplicate_key,
            customers AS rival_customers, accounts AS rival_accounts,
            CASE
                WHEN list_contains(rivals, coalesce(rival.customer_id, rival.account_id)) THEN rivals
                ELSE rivals[:{MAX_RIVALS - 1}] || [coalesce(rival.customer_id, rival.account_id)]
            END AS rivals,
            counted(customers, 'customer') || ' and ' || counted(accounts, 'account') || ' carry the identifier '
                || shown(key) || {literal(_ignoring(comparison.on))}
                || ': which belong together can''t be told, so all are set aside.'
                || ' Leave it on one customer and one account.' AS reason
        FROM match_rivals AS rival JOIN match_duplicates USING (key)"""


def _strays(comparison: Comparison) -> str:
    """The near miss is named from the stray's side, so a customer's names an account and the other way round."""
    return f"""
        WITH alone AS (
            SELECT rowid AS number, *, without_white_space(identifier) AS bare, customer_id IS NOT NULL AS is_customer
            FROM match_one_each WHERE customer_id IS NULL OR account_id IS NULL
        ), seen AS (
            SELECT *, CASE WHEN is_customer THEN 'Account ' ELSE 'Customer ' END || other_id AS other
            FROM alone LEFT JOIN match_near_misses USING (number)
        )
        SELECT customer_id AS billing_customer_id, account_id AS salesforce_account_id, identifier,
            'no_counterpart' AS verdict,
            CASE WHEN settles THEN {_by_try(comparison, "+".join)} END AS near_miss_rule,
            CASE WHEN settles THEN other_id END AS near_miss_id,
            CASE WHEN settles THEN other_identifier END AS near_miss_identifier,
            CASE WHEN is_customer THEN 'No Salesforce account' ELSE 'No billing customer' END
                || ' has the identifier ' || shown(identifier) || {literal(_ignoring(comparison.on))} || '.'
                || CASE
                    WHEN other_id IS NULL THEN ''
                    ELSE ' ' || other || ' has ' || shown(other_identifier) || ', which differs only in '
                        || {_by_try(comparison, _in_words)} || CASE
                            WHEN settles THEN '; ' || {_by_try(comparison, _way_out(comparison))}
                            WHEN partner_id IS NOT NULL THEN ', but belongs to '
                                || CASE WHEN is_customer THEN 'customer ' ELSE 'account ' END || partner_id
                            ELSE ', but ' || counted(customers, 'customer') || ' and ' || counted(accounts, 'account')
                                || ' would then share one identifier'
                        END || '.'
                END
                || {_not_an_id(comparison)} || {where_it_went(comparison)} AS reason
        FROM seen"""


def _by_try(comparison: Comparison, text: Callable[[tuple[Rule, ...]], str]) -> str:
    """SQL of a text that depends on which set of rules was tried."""
    cases = " ".join(f"WHEN {number} THEN {literal(text(rules))}" for number, rules in enumerate(comparison.tries))
    return f"CASE try {cases} END"


def _in_words(rules: tuple[Rule, ...]) -> str:
    return _listed([_WORDS[rule] for rule in rules])


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _way_out(comparison: Comparison) -> Callable[[tuple[Rule, ...]], str]:
    def text(rules: tuple[Rule, ...]) -> str:
        if comparison.salesforce_ids and set(rules) - {"trim"}:
            return "Salesforce ids are compared to the letter, so correct one side"
        return f"turn on {_listed([f'`{rule}`' for rule in rules])} or correct one side"

    return text


def _ignoring(rules: tuple[Rule, ...]) -> str:
    return f" (ignoring {_in_words(rules)})" if rules else ""


def _not_an_id(comparison: Comparison) -> str:
    """SQL of a remark on values that are no Salesforce id although they should be."""
    if not comparison.salesforce_ids:
        return "''"
    return """CASE
        WHEN is_sf_id(bare) THEN ''
        WHEN regexp_full_match(bare, '[0-9A-Za-z]{18}')
            THEN ' As a Salesforce id it is wrong: its last three characters do not fit the others.'
        ELSE ' It is no Salesforce id: those have 15 or 18 letters and digits.'
    END"""
