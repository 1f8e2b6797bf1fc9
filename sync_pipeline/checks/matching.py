"""What keeps a record out of the mapping, and the two rules that stop everything where they break."""

from __future__ import annotations

from sync_pipeline import matching
from sync_pipeline.checks.building import Finding, organization_check
from sync_pipeline.resources import Step

_MAPPING = "account_mapping"
_CUSTOMERS = "billing_customer_id IS NOT NULL AND salesforce_account_id IS NULL"
_ACCOUNTS = "salesforce_account_id IS NOT NULL AND billing_customer_id IS NULL"

_OUR_FAULT = "nothing was written. This is a fault of sync_pipeline, please report it."


def _set_aside(verdict: str, side: str) -> str:
    return f"FROM account_mapping WHERE verdict = '{verdict}' AND {side}"


def _vanished(table: str, mapped: str) -> str:
    """How many records the last sync knew of a side that has none now; no row where that did not happen."""
    return f"""
        SELECT count(*) AS known_from_last_sync FROM account_mapping WHERE {mapped} IS NOT NULL
        HAVING count(*) > 0 AND NOT EXISTS (FROM {table})
    """


_EMPTY_NOW = (
    "has none left, though the last sync knew some: nothing was matched or written. If that is right, move the organization's "
    "warehouse file away and sync again."
)


@organization_check("salesforce_accounts", blocking=True)
def accounts_have_not_vanished(step: Step) -> Finding:
    """Salesforce still has accounts, if it had any. An organization that is suddenly empty is a wrong login, not a clean-up."""
    return Finding(
        rows=_vanished("salesforce_accounts", "salesforce_account_id"),
        found=f"Salesforce {_EMPTY_NOW}",
        none="Salesforce has accounts, or never had.",
    )


@organization_check("billing_customers", blocking=True)
def customers_have_not_vanished(step: Step) -> Finding:
    """The billing system still has customers, if it had any. An empty export is a broken one until somebody says otherwise."""
    return Finding(
        rows=_vanished("billing_customers", "billing_customer_id"),
        found=f"{step.org.where('billing')}: the billing system {_EMPTY_NOW}",
        none="The billing system has customers, or never had.",
    )


@organization_check(_MAPPING)
def accounts_have_identifiers(step: Step) -> Finding:
    """Every Salesforce account has the shared identifier.

    Fill the field on the accounts listed; those that are no customers may stay as they are.
    """
    return Finding(
        rows=f"SELECT salesforce_account_id, reason {_set_aside('missing_identifier', _ACCOUNTS)}",
        found=f"{{count}} account(s) have nothing in {step.org.identifier.salesforce_field} and were set aside.",
        none=f"Every account has {step.org.identifier.salesforce_field}.",
    )


@organization_check(_MAPPING)
def customers_have_identifiers(step: Step) -> Finding:
    """Every billing customer has the shared identifier. Fill the field on the customers listed in the billing system."""
    return Finding(
        rows=f"SELECT billing_customer_id, reason {_set_aside('missing_identifier', _CUSTOMERS)}",
        found=f"{{count}} customer(s) have nothing in {step.org.identifier.billing_field} and were set aside.",
        none=f"Every customer has {step.org.identifier.billing_field}.",
    )


@organization_check(_MAPPING)
def accounts_do_not_share_identifiers(step: Step) -> Finding:
    """No two Salesforce accounts carry the same identifier. Merge the duplicates in Salesforce or correct one of them."""
    return Finding(
        rows="SELECT salesforce_account_id, identifier, rival_accounts, rival_customers, rivals "
        + _set_aside("duplicate_identifier", _ACCOUNTS)
        + " AND rival_accounts > 1 ORDER BY duplicate_key, salesforce_account_id",
        found="{count} account(s) share an identifier with another account; they and their customers were set aside.",
        none="No two accounts share an identifier.",
    )


@organization_check(_MAPPING)
def customers_do_not_share_identifiers(step: Step) -> Finding:
    """No two billing customers carry the same identifier. Merge them in the billing system or correct one of them."""
    return Finding(
        rows="SELECT billing_customer_id, identifier, rival_customers, rival_accounts, rivals "
        + _set_aside("duplicate_identifier", _CUSTOMERS)
        + " AND rival_customers > 1 ORDER BY duplicate_key, billing_customer_id",
        found="{count} customer(s) share an identifier with another customer; they and their accounts were set aside.",
        none="No two customers share an identifier.",
    )


@organization_check(_MAPPING)
def identifiers_differ_in_more_than_format(step: Step) -> Finding:
    """No customer and account miss each other only by spaces, casing or leading zeros.

    Correct one side, or turn on the rule named under `identifier: normalize:` in the YAML.
    """
    # A near miss stands on the rows of both its records; the customer's row alone counts it once.
    return Finding(
        rows=f"""
            SELECT billing_customer_id, near_miss_id AS salesforce_account_id, identifier AS billing_identifier,
                   near_miss_identifier AS salesforce_identifier, near_miss_rule
            FROM account_mapping WHERE near_miss_rule IS NOT NULL AND {_CUSTOMERS} ORDER BY near_miss_rule, billing_customer_id
        """,
        found="{count} customer(s) would match an account if spaces, casing or leading zeros were ignored; nothing was matched.",
        none="No customer and account differ only in format.",
    )


@organization_check(_MAPPING)
def customers_have_accounts(step: Step) -> Finding:
    """Every billing customer with an identifier finds an account that carries it (near misses have a check of their own)."""
    return Finding(
        rows="SELECT billing_customer_id, identifier, reason "
        + _set_aside("no_counterpart", _CUSTOMERS)
        + " AND near_miss_rule IS NULL",
        found="{count} customer(s) carry an identifier that no account has.",
        none="Every customer with an identifier has a counterpart or a near miss.",
    )


@organization_check(_MAPPING)
def customers_do_not_name_merged_accounts(step: Step) -> Finding | None:
    """Where the Account Id is the shared identifier: no customer names an account that was merged into another in Salesforce.

    The link follows to the survivor. Write the survivor's id in the billing system all the same: other tools know no ledger.
    """
    if step.org.identifier.salesforce_field.lower() != "id":
        return None
    return Finding(
        # 15 characters tell an account; a customer may name it by 15 or 18.
        rows="""
            SELECT billing_customer_id, salesforce_account_id, account_mapping.identifier, survivor_id AS merged_into
            FROM account_mapping
            JOIN salesforce_merges ON left(merged_account_id, 15) = left(trim(account_mapping.identifier), 15)
            WHERE billing_customer_id IS NOT NULL ORDER BY billing_customer_id
        """,
        found="{count} customer(s) name an account that was merged into another; where that is clear, the link followed.",
        none="No customer names an account that was merged away.",
    )


@organization_check(_MAPPING, blocking=True)
def one_to_one_holds(step: Step) -> Finding:
    """No customer is matched to two accounts and no account to two customers. Nothing is written unless this holds."""
    return Finding(
        rows=matching.IN_SEVERAL_PAIRS,
        found=f"{{count}} record(s) stand in more than one pair: {_OUR_FAULT}",
        none="Every pair is one to one.",
    )


@organization_check(_MAPPING, blocking=True)
def verdicts_add_up(step: Step) -> Finding:
    """Every account and every customer has exactly one verdict: none is lost, none counted twice."""
    return Finding(
        rows=matching.WITHOUT_ONE_VERDICT,
        found=f"{{count}} record(s) have no verdict or more than one: {_OUR_FAULT}",
        none="Every account and every customer has exactly one verdict.",
    )


CHECKS = (
    accounts_have_not_vanished,
    customers_have_not_vanished,
    accounts_have_identifiers,
    customers_have_identifiers,
    accounts_do_not_share_identifiers,
    customers_do_not_share_identifiers,
    identifiers_differ_in_more_than_format,
    customers_have_accounts,
    customers_do_not_name_merged_accounts,
    one_to_one_holds,
    verdicts_add_up,
)
