"""Every table of the warehouse, its columns and what they mean. Names are stable: people build on them.

The same declaration creates empty tables, describes columns in the Dagster UI, and says which values are personal
(and so are masked in samples).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its DuckDB type, what it holds, and whether the value is personal data."""

    name: str
    type: str
    description: str
    personal: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table of an organization's warehouse."""

    name: str
    description: str
    columns: tuple[Column, ...]


_C = Column

SALESFORCE_ORGANIZATION = Table(
    "salesforce_organization",
    "The Salesforce organization behind the login: one row.",
    (
        _C("organization_id", "VARCHAR", "Salesforce's id of the organization (00D...), 18 characters."),
        _C("name", "VARCHAR", "Name of the organization in Salesforce."),
        _C("instance_url", "VARCHAR", "Address of its API and of its record pages."),
        _C("is_sandbox", "BOOLEAN", "Whether Salesforce calls it a sandbox."),
        _C("api_requests_used", "BIGINT", "API requests of the 24 hours before the last sync, whoever made them."),
        _C("api_requests_limit", "BIGINT", "API requests the organization may make in 24 hours; null where not told."),
    ),
)
SALESFORCE_FIELDS = Table(
    "salesforce_fields",
    "The fields this organization's YAML names, as Salesforce describes them.",
    (
        _C("object", "VARCHAR", "Account or Contact."),
        _C("field", "VARCHAR", "API name as written in the YAML."),
        _C("purpose", "VARCHAR", "What the YAML uses it for: identifier, import or export."),
        _C("type", "VARCHAR", "Salesforce's type; null where the field does not exist or is hidden from the user."),
        _C("length", "INTEGER", "Longest text it holds; 0 where it is no text."),
        _C("updateable", "BOOLEAN", "Whether the connected user may write it."),
        _C("is_unique", "BOOLEAN", "Whether Salesforce keeps its values unique."),
        _C("label", "VARCHAR", "Label people see in Salesforce."),
        _C("problem", "VARCHAR", "Why it can't serve its purpose, and what to do; null where it can."),
    ),
)
SALESFORCE_ACCOUNTS = Table(
    "salesforce_accounts",
    "Every account of the Salesforce organization that is not deleted.",
    (
        _C("account_id", "VARCHAR", "Salesforce Account Id, 18 characters."),
        _C("name", "VARCHAR", "Account name.", personal=True),
        _C("identifier", "VARCHAR", "The shared identifier as it stands in Salesforce, untouched; null where empty."),
        _C("owner_id", "VARCHAR", "User id of the account owner, 18 characters."),
        _C(
            "portal_link",
            "VARCHAR",
            "What the export field holds now; null where empty or nothing is exported.",
            personal=True,
        ),
        _C(
            "custom_fields",
            "JSON",
            "The imported account fields: API name to text; null where none are imported.",
            personal=True,
        ),
        _C("created_at", "TIMESTAMP", "When the account was created (UTC)."),
        _C("modified_at", "TIMESTAMP", "SystemModstamp (UTC)."),
    ),
)
SALESFORCE_USERS = Table(
    "salesforce_users",
    "Users of the Salesforce organization: who can own an account.",
    (
        _C("user_id", "VARCHAR", "User id, 18 characters."),
        _C("name", "VARCHAR", "Full name.", personal=True),
        _C("first_name", "VARCHAR", "First name.", personal=True),
        _C("last_name", "VARCHAR", "Last name.", personal=True),
        _C("email", "VARCHAR", "E-mail address.", personal=True),
        _C("is_active", "BOOLEAN", "Whether the user can log in."),
    ),
)
SALESFORCE_CONTACTS = Table(
    "salesforce_contacts",
    "Contacts of the Salesforce organization that belong to an account.",
    (
        _C("contact_id", "VARCHAR", "Contact id, 18 characters."),
        _C("account_id", "VARCHAR", "Account the contact belongs to, 18 characters."),
        _C("first_name", "VARCHAR", "First name.", personal=True),
        _C("last_name", "VARCHAR", "Last name.", personal=True),
        _C("email", "VARCHAR", "E-mail address.", personal=True),
        _C("phone", "VARCHAR", "Telephone number.", personal=True),
        _C("title", "VARCHAR", "Job title.", personal=True),
        _C(
            "custom_fields",
            "JSON",
            "The imported contact fields: API name to text; null where none are imported.",
            personal=True,
        ),
        _C("created_at", "TIMESTAMP", "When the contact was created (UTC): the oldest is the main one."),
        _C("modified_at", "TIMESTAMP", "SystemModstamp (UTC)."),
    ),
)
SALESFORCE_READS = Table(
    "salesforce_reads",
    "How far each Salesforce object has been read, so that the next sync reads only what has changed since.",
    (
        _C("object", "VARCHAR", "Account, Contact or User."),
        _C("organization_id", "VARCHAR", "Organization it was read from."),
        _C("user_id", "VARCHAR", "Salesforce user it was read as; another may see other records."),
        _C(
            "fields",
            "VARCHAR",
            "Columns and the fields that filled them; where they differ, the next read is a whole one.",
        ),
        _C("read_until", "TIMESTAMP", "Changes before this moment of Salesforce's clock (UTC) are in the table."),
        _C("whole_read_at", "TIMESTAMP", "When every record was last read (UTC)."),
        _C("why_whole", "VARCHAR", "Why the last read was a whole one; null where it read changes only."),
        _C("changed", "BIGINT", "Records the last read brought."),
        _C("removed", "BIGINT", "Records the last read took away."),
    ),
)
SALESFORCE_MERGES = Table(
    "salesforce_merges",
    "The ledger of merged accounts: kept after Salesforce has emptied its recycle bin.",
    (
        _C("merged_account_id", "VARCHAR", "Account that was merged away, 18 characters; unique."),
        _C("survivor_id", "VARCHAR", "Account it was merged into, which may have been merged away itself since."),
        _C("identifier", "VARCHAR", "The shared identifier of the account merged away, as it stood; null where empty."),
        _C("merged_at", "TIMESTAMP", "SystemModstamp of the account merged away (UTC)."),
    ),
)
BILLING_CUSTOMERS = Table(
    "billing_customers",
    "Every customer of the billing system, one row shape for all systems.",
    (
        _C("source", "VARCHAR", "Billing system: stripe, database, file."),
        _C("customer_id", "VARCHAR", "The billing system's own id; unique."),
        _C(
            "identifier",
            "VARCHAR",
            "The shared identifier as it stands in the billing system, untouched; null where empty.",
        ),
        _C("display_id", "VARCHAR", "The number people use for the customer."),
        _C("name", "VARCHAR", "Name of the customer.", personal=True),
        _C("company_name", "VARCHAR", "Name of the company, where the system keeps it apart.", personal=True),
        _C("is_individual", "BOOLEAN", "Whether the customer is a person; null where the system does not say."),
        _C("emails", "VARCHAR[]", "Every e-mail address of the customer.", personal=True),
        _C("primary_email", "VARCHAR", "The first of them.", personal=True),
        _C("currency", "VARCHAR", "ISO 4217 code in capitals."),
        _C("balance", "DECIMAL(38, 6)", "What the customer owes, in units of the currency; negative is credit."),
        _C("status", "VARCHAR", "active, archived or deleted."),
        _C("parent_id", "VARCHAR", "customer_id of the parent."),
        _C("merged_into_id", "VARCHAR", "customer_id of the survivor of a merge."),
        _C("custom_fields", "JSON", "Every further field the system keeps, whole.", personal=True),
        _C("created_at", "TIMESTAMP", "When the customer was created (UTC)."),
        _C("updated_at", "TIMESTAMP", "When the customer last changed (UTC), where the system says so."),
    ),
)
BILLING_READS = Table(
    "billing_reads",
    "How far the billing system has been read, so that the next sync reads only what has changed since; empty where it "
    "can't be asked for changes.",
    (
        _C("account", "VARCHAR", "Billing system, and the account there that was read."),
        _C("fields", "VARCHAR", "The fields that were read; where others are wanted, the next read is a whole one."),
        _C(
            "read_until",
            "TIMESTAMP",
            "Changes before this moment of the system's clock (UTC) are in billing_customers.",
        ),
        _C("whole_read_at", "TIMESTAMP", "When every customer was last read (UTC)."),
        _C("why_whole", "VARCHAR", "Why the last read was a whole one; null where it read changes only."),
        _C("changed", "BIGINT", "Customers the last read brought."),
    ),
)
ACCOUNT_MAPPING = Table(
    "account_mapping",
    "The one-to-one mapping: one row per matched pair, and one per record set aside, with the reason.",
    (
        _C("billing_customer_id", "VARCHAR", "Billing customer; null on the row of an account set aside."),
        _C(
            "salesforce_account_id",
            "VARCHAR",
            "Salesforce account, 18 characters; null on the row of a customer set aside.",
        ),
        _C(
            "identifier",
            "VARCHAR",
            "The shared identifier as it stands (of a pair: the billing side's); null where missing.",
        ),
        _C("verdict", "VARCHAR", "matched, missing_identifier, duplicate_identifier, no_counterpart or gone."),
        _C(
            "near_miss_rule",
            "VARCHAR",
            "The rule that is off and would match it: trim, case, leading_zeros; joined by + where it takes several.",
        ),
        _C("near_miss_id", "VARCHAR", "The record on the other side it would match under that rule."),
        _C("near_miss_identifier", "VARCHAR", "That record's identifier as it stands."),
        _C("duplicate_key", "VARCHAR", "Of duplicates: the identifier as compared; all rivals carry the same."),
        _C("rival_customers", "BIGINT", "Of duplicates: how many customers carry the identifier."),
        _C("rival_accounts", "BIGINT", "Of duplicates: how many accounts carry the identifier."),
        _C(
            "rivals",
            "VARCHAR[]",
            "Of duplicates: ids of up to 20 rivals, both sides, itself included; the rest shares duplicate_key.",
        ),
        _C("reason", "VARCHAR", "The verdict as a sentence for a person; no names in it."),
    ),
)
IMPORTED_OWNERS = Table(
    "imported_owners",
    "Account owner of every matched customer, and what the receivables platform answered.",
    (
        _C("billing_customer_id", "VARCHAR", "Billing customer (the platform's external id)."),
        _C("salesforce_account_id", "VARCHAR", "Its Salesforce account."),
        _C("owner_id", "VARCHAR", "Salesforce user id of the owner."),
        _C("owner_email", "VARCHAR", "The owner's e-mail address.", personal=True),
        _C("owner_name", "VARCHAR", "The owner's name.", personal=True),
        _C("platform_user_id", "VARCHAR", "The assigned user on the platform."),
        _C("status", "VARCHAR", "assigned, skipped (nothing to assign: see reason) or refused."),
        _C("code", "VARCHAR", "The platform's code of a refusal; ours, in capitals, of a skipped row."),
        _C("reason", "VARCHAR", "Why it was skipped, or the platform's own words."),
        _C("synced_at", "TIMESTAMP", "When the platform last confirmed it (UTC)."),
    ),
)
IMPORTED_CONTACTS = Table(
    "imported_contacts",
    "Salesforce contacts of every matched customer, and what the receivables platform answered.",
    (
        _C("billing_customer_id", "VARCHAR", "Billing customer."),
        _C("salesforce_contact_id", "VARCHAR", "Salesforce contact."),
        _C("email", "VARCHAR", "E-mail address as sent (lower case, trimmed).", personal=True),
        _C("first_name", "VARCHAR", "First name.", personal=True),
        _C("last_name", "VARCHAR", "Last name.", personal=True),
        _C("phone", "VARCHAR", "Telephone number.", personal=True),
        _C("title", "VARCHAR", "Job title.", personal=True),
        _C("is_main", "BOOLEAN", "Whether it is the customer's main contact: the oldest that has an address."),
        _C("platform_contact_id", "VARCHAR", "The contact on the platform."),
        _C("status", "VARCHAR", "imported, skipped (see reason) or refused."),
        _C("code", "VARCHAR", "The platform's code of a refusal; ours, in capitals, of a skipped row."),
        _C("reason", "VARCHAR", "Why it was skipped, or the platform's own words."),
        _C("synced_at", "TIMESTAMP", "When the platform last confirmed it (UTC)."),
    ),
)
IMPORTED_CUSTOM_FIELDS = Table(
    "imported_custom_fields",
    "Custom field values brought to the receivables platform: one row per record and field.",
    (
        _C("record", "VARCHAR", "customer or contact."),
        _C("billing_customer_id", "VARCHAR", "Billing customer."),
        _C("salesforce_contact_id", "VARCHAR", "Salesforce contact; null for a customer's field."),
        _C("salesforce_field", "VARCHAR", "API name in Salesforce."),
        _C("platform_field", "VARCHAR", "Name of the custom field on the platform."),
        _C("value", "VARCHAR", "The value as text; null empties the field.", personal=True),
        _C("status", "VARCHAR", "imported, skipped (see reason) or refused."),
        _C("code", "VARCHAR", "The platform's code of a refusal; ours, in capitals, of a skipped row."),
        _C("reason", "VARCHAR", "Why it was skipped, or the platform's own words."),
        _C("synced_at", "TIMESTAMP", "When the platform last confirmed it (UTC)."),
    ),
)
PORTAL_LINKS = Table(
    "portal_links",
    "The customer portal link of every matched customer, with its expiry.",
    (
        _C("billing_customer_id", "VARCHAR", "Billing customer."),
        _C("salesforce_account_id", "VARCHAR", "Its Salesforce account."),
        _C(
            "url",
            "VARCHAR",
            "The portal link. Whoever has it sees the customer's debts: treat it as a secret.",
            personal=True,
        ),
        _C("created_at", "TIMESTAMP", "When the link was asked for (UTC)."),
        _C("expires_at", "TIMESTAMP", "When it stops working (UTC)."),
        _C("status", "VARCHAR", "live, or refused (there is no link that works)."),
        _C("code", "VARCHAR", "Of a refusal, also of the renewal of a live link: the platform's code."),
        _C("reason", "VARCHAR", "The platform's own words."),
    ),
)
EXPORTED_PORTAL_LINKS = Table(
    "exported_portal_links",
    "Portal links written to the Salesforce accounts, and what Salesforce answered.",
    (
        _C("salesforce_account_id", "VARCHAR", "Salesforce account."),
        _C("billing_customer_id", "VARCHAR", "Its billing customer."),
        _C("salesforce_field", "VARCHAR", "Field that holds the link."),
        _C("url", "VARCHAR", "The link that the field holds, or should hold after a refusal.", personal=True),
        _C("status", "VARCHAR", "written (in an earlier sync or this one) or refused."),
        _C("code", "VARCHAR", "Of a refusal: Salesforce's code."),
        _C("reason", "VARCHAR", "Salesforce's own words."),
        _C("written_at", "TIMESTAMP", "When Salesforce confirmed it (UTC)."),
    ),
)
RECEIVABLES_UNSETTLED = Table(
    "receivables_unsettled",
    "Customers of whom it is uncertain what the receivables platform holds: read there before the next write.",
    (
        _C("billing_customer_id", "VARCHAR", "Billing customer."),
        _C("what", "VARCHAR", "contacts or contact_fields."),
        _C(
            "why",
            "VARCHAR",
            "in_flight (a write may have been answered but not recorded), set_aside (no longer matched; what was "
            "imported stays on the platform as it is) or refused (the platform refused to remove or restore it).",
        ),
        _C("code", "VARCHAR", "Of a refusal: the platform's code."),
        _C("reason", "VARCHAR", "Of a refusal: the platform's own words."),
        _C("since", "TIMESTAMP", "When it became uncertain (UTC)."),
    ),
)
REPLACED_CONTACTS = Table(
    "replaced_contacts",
    "Contacts of the billing system that Salesforce contacts replaced, whole, so that they can come back.",
    (
        _C("billing_customer_id", "VARCHAR", "Billing customer."),
        _C("platform_contact_id", "VARCHAR", "The id the contact had on the platform."),
        _C("email", "VARCHAR", "Its e-mail address.", personal=True),
        _C("contact", "JSON", "The contact as the platform gave it before Salesforce's.", personal=True),
        _C("replaced_at", "TIMESTAMP", "When it was replaced (UTC)."),
    ),
)
RECEIVABLES_USERS = Table(
    "receivables_users",
    "Platform `warehouse`: users that a customer can be assigned to.",
    (
        _C("user_id", "VARCHAR", "Id of the user, made from the address."),
        _C("email", "VARCHAR", "E-mail address, lower case; unique.", personal=True),
        _C("first_name", "VARCHAR", "First name.", personal=True),
        _C("last_name", "VARCHAR", "Last name.", personal=True),
        _C("invited", "BOOLEAN", "Always false: a user is created, never invited."),
    ),
)
RECEIVABLES_ASSIGNMENTS = Table(
    "receivables_assignments",
    "Platform `warehouse`: the assigned user of a customer.",
    (
        _C("customer_id", "VARCHAR", "Billing customer; unique."),
        _C("user_id", "VARCHAR", "User of receivables_users."),
    ),
)
RECEIVABLES_CONTACTS = Table(
    "receivables_contacts",
    "Platform `warehouse`: contacts of every customer, those of Salesforce or else those of the billing system.",
    (
        _C("contact_id", "VARCHAR", "Id of the contact, made from customer and origin; unique."),
        _C("customer_id", "VARCHAR", "Billing customer."),
        _C("source", "VARCHAR", "salesforce or billing."),
        _C("salesforce_contact_id", "VARCHAR", "Salesforce contact; null for one of the billing system."),
        _C(
            "email",
            "VARCHAR",
            "E-mail address, lower case; unique among Salesforce contacts of matched customers.",
            personal=True,
        ),
        _C("first_name", "VARCHAR", "First name.", personal=True),
        _C("last_name", "VARCHAR", "Last name.", personal=True),
        _C("phone", "VARCHAR", "Telephone number.", personal=True),
        _C("job_title", "VARCHAR", "Job title.", personal=True),
        _C("is_main", "BOOLEAN", "Whether it is the customer's main contact."),
    ),
)
RECEIVABLES_FIELDS = Table(
    "receivables_fields",
    "Platform `warehouse`: custom fields.",
    (
        _C("field_id", "VARCHAR", "Id of the field; unique."),
        _C("entity", "VARCHAR", "CUSTOMER or CONTACT."),
        _C("name", "VARCHAR", "Name of the field; unique per entity."),
        _C("type", "VARCHAR", "STRING."),
    ),
)
RECEIVABLES_FIELD_VALUES = Table(
    "receivables_field_values",
    "Platform `warehouse`: values of custom fields; an emptied field has no row.",
    (
        _C("field_id", "VARCHAR", "Field of receivables_fields."),
        _C("customer_id", "VARCHAR", "Billing customer."),
        _C("contact_id", "VARCHAR", "Contact of receivables_contacts; null for a customer's field."),
        _C("value", "VARCHAR", "The value as text.", personal=True),
    ),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        SALESFORCE_ORGANIZATION,
        SALESFORCE_FIELDS,
        SALESFORCE_ACCOUNTS,
        SALESFORCE_USERS,
        SALESFORCE_CONTACTS,
        SALESFORCE_READS,
        SALESFORCE_MERGES,
        BILLING_CUSTOMERS,
        BILLING_READS,
        ACCOUNT_MAPPING,
        IMPORTED_OWNERS,
        IMPORTED_CONTACTS,
        IMPORTED_CUSTOM_FIELDS,
        PORTAL_LINKS,
        EXPORTED_PORTAL_LINKS,
        RECEIVABLES_UNSETTLED,
        REPLACED_CONTACTS,
        RECEIVABLES_USERS,
        RECEIVABLES_ASSIGNMENTS,
        RECEIVABLES_CONTACTS,
        RECEIVABLES_FIELDS,
        RECEIVABLES_FIELD_VALUES,
    )
}
