"""What could not be brought to the receivables platform, and why."""

from __future__ import annotations

from sync_pipeline.checks.building import Finding, OrganizationCheck, organization_check
from sync_pipeline.resources import Step
from sync_pipeline.warehouse import quote
from sync_pipeline.warehouse.tables import (
    EXPORTED_PORTAL_LINKS,
    IMPORTED_CONTACTS,
    IMPORTED_CUSTOM_FIELDS,
    IMPORTED_OWNERS,
    PORTAL_LINKS,
    Table,
)


@organization_check("imported_owners")
def owners_are_active_and_known(step: Step) -> Finding | None:
    """Every matched account has an owner who is an active Salesforce user with an e-mail address.

    Others are not assigned. Give the account an active owner in Salesforce.
    """
    if not step.org.imports.owners:
        return None
    return Finding(
        rows="""
            SELECT billing_customer_id, salesforce_account_id, owner_id, reason
            FROM imported_owners WHERE status = 'skipped' AND code NOT LIKE '%_ON_PLATFORM' ORDER BY salesforce_account_id
        """,
        found="{count} account(s) have an owner who can't be assigned (inactive, unknown or without an address).",
        none="Every account owner can be assigned.",
    )


@organization_check("imported_contacts")
def contacts_have_addresses(step: Step) -> Finding | None:
    """Every Salesforce contact of a matched account has an e-mail address that can be used. Others are not imported."""
    if not step.org.imports.contacts:
        return None
    return Finding(
        rows="""
            SELECT salesforce_contact_id, billing_customer_id, email, reason
            FROM imported_contacts WHERE status = 'skipped' AND code IN ('NO_ADDRESS', 'BAD_ADDRESS')
            ORDER BY salesforce_contact_id
        """,
        found="{count} contact(s) have no usable e-mail address and were not imported.",
        none="Every contact has a usable e-mail address.",
        personal=("email",),
    )


@organization_check("imported_contacts")
def contacts_do_not_share_addresses(step: Step) -> Finding | None:
    """No two Salesforce contacts share an e-mail address: on the platform it is unique. The oldest contact keeps it."""
    if not step.org.imports.contacts:
        return None
    return Finding(
        rows="""
            SELECT salesforce_contact_id, billing_customer_id, email, reason
            FROM imported_contacts WHERE status = 'skipped' AND code = 'SHARED_ADDRESS' ORDER BY salesforce_contact_id
        """,
        found="{count} contact(s) use an e-mail address that an older contact has, and were not imported.",
        none="No two contacts share an e-mail address.",
        personal=("email",),
    )


@organization_check("imported_contacts")
def contacts_stay_with_matched_customers(step: Step) -> Finding:
    """No customer that is no longer matched still has Salesforce contacts on the platform.

    Mail about its debts goes on reaching them, and no sync writes to a customer that nobody vouches for: match it
    again, or correct its contacts on the platform.
    """
    return Finding(
        rows="""
            SELECT billing_customer_id, since FROM receivables_unsettled
            WHERE what = 'contacts' AND why = 'set_aside' ORDER BY since, billing_customer_id
        """,
        found="{count} customer(s) are no longer matched, but keep the Salesforce contacts that earlier syncs brought.",
        none="Salesforce contacts stand only with matched customers.",
    )


def _rows_accepted(table: Table, system: str) -> OrganizationCheck:
    keys = [
        column.name
        for column in table.columns
        if column.name in {"billing_customer_id", "salesforce_account_id", "salesforce_contact_id", "platform_field"}
    ]

    def rows_accepted(step: Step) -> Finding:
        columns = ", ".join(map(quote, keys))
        return Finding(
            rows=f"""
                SELECT {columns}, code, reason FROM {quote(table.name)}
                WHERE status = 'refused' OR code LIKE '%_ON_PLATFORM' ORDER BY {columns}
            """,
            found="{count} row(s) were refused; they are tried again in the next sync.",
            none="No row was refused.",
        )

    rows_accepted.__doc__ = (
        f"{system} accepted every row. A refused one is listed with {system}'s own words, does not hold up the others, "
        "and is tried again in the next sync."
    )
    return organization_check(table.name, name=f"{table.name}_accepted")(rows_accepted)


CHECKS = (
    owners_are_active_and_known,
    contacts_have_addresses,
    contacts_do_not_share_addresses,
    contacts_stay_with_matched_customers,
    _rows_accepted(IMPORTED_OWNERS, "The receivables platform"),
    _rows_accepted(IMPORTED_CONTACTS, "The receivables platform"),
    _rows_accepted(IMPORTED_CUSTOM_FIELDS, "The receivables platform"),
    _rows_accepted(PORTAL_LINKS, "The receivables platform"),
    _rows_accepted(EXPORTED_PORTAL_LINKS, "Salesforce"),
)
