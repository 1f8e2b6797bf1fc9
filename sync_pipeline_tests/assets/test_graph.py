"""A snapshot of the graph: people build on its names, and on which check stops what."""

import dagster as dg
import pytest

from sync_pipeline.definitions import build
from sync_pipeline.orgs import Loaded, load_organizations
from sync_pipeline.warehouse.tables import TABLES
from sync_pipeline_tests.paths import CONFIG

GRAPH = {
    "organizations": ("organizations", set()),
    "salesforce_fields": ("salesforce", set()),
    "salesforce_accounts": ("salesforce", {"salesforce_fields"}),
    "salesforce_users": ("salesforce", {"salesforce_fields"}),
    "salesforce_contacts": ("salesforce", {"salesforce_fields"}),
    "billing_customers": ("billing", {"salesforce_fields"}),
    "account_mapping": ("matching", {"salesforce_accounts", "billing_customers"}),
    "imported_owners": ("imports", {"account_mapping", "salesforce_users"}),
    "imported_contacts": ("imports", {"account_mapping", "salesforce_contacts"}),
    "imported_custom_fields": ("imports", {"account_mapping", "imported_contacts"}),
    "portal_links": ("exports", {"account_mapping"}),
    "exported_portal_links": ("exports", {"portal_links", "salesforce_accounts", "account_mapping"}),
}
CHECKS = {
    "organizations": {
        "organization_files_are_valid",
        "organizations_are_not_overdue",
        "users_connect_at_most_five_organizations",
    },
    "salesforce_fields": {
        "identifier_field_has_supported_type",
        "configured_fields_can_be_used",
        "salesforce_has_requests_left",
    },
    "salesforce_accounts": {"accounts_have_not_vanished"},
    "billing_customers": {"customers_have_not_vanished"},
    "account_mapping": {
        "accounts_have_identifiers",
        "customers_have_identifiers",
        "accounts_do_not_share_identifiers",
        "customers_do_not_share_identifiers",
        "identifiers_differ_in_more_than_format",
        "customers_have_accounts",
        "customers_do_not_name_merged_accounts",
        "one_to_one_holds",
        "verdicts_add_up",
    },
    "imported_owners": {"owners_are_active_and_known", "imported_owners_accepted"},
    "imported_contacts": {
        "contacts_have_addresses",
        "contacts_do_not_share_addresses",
        "contacts_stay_with_matched_customers",
        "imported_contacts_accepted",
    },
    "imported_custom_fields": {"imported_custom_fields_accepted"},
    "portal_links": {"portal_links_stay_alive", "portal_links_accepted"},
    "exported_portal_links": {"exported_portal_links_accepted", "links_stand_on_matched_accounts_only"},
}
BLOCKING = {
    "identifier_field_has_supported_type",
    "configured_fields_can_be_used",
    "accounts_have_not_vanished",
    "customers_have_not_vanished",
    "one_to_one_holds",
    "verdicts_add_up",
}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build(load_organizations(CONFIG / "demo"))


@pytest.fixture(scope="module")
def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_assets_groups_and_arrows(specs: dict[str, dg.AssetSpec]) -> None:
    found = {
        name: (spec.group_name, {dep.asset_key.to_user_string() for dep in spec.deps}) for name, spec in specs.items()
    }
    assert found == GRAPH


def test_checks_and_which_of_them_block(definitions: dg.Definitions) -> None:
    found: dict[str, set[str]] = {}
    blocking = set()
    for check in definitions.resolve_asset_graph().asset_check_keys:
        spec = definitions.resolve_asset_graph().get_check_spec(check)
        found.setdefault(check.asset_key.to_user_string(), set()).add(check.name)
        blocking |= {check.name} if spec.blocking else set()
        assert spec.description, f"{check.name} has no description"
    assert found == CHECKS
    assert blocking == BLOCKING


def test_every_asset_is_described_owned_and_has_its_columns(specs: dict[str, dg.AssetSpec]) -> None:
    for name, spec in specs.items():
        assert spec.description, name
        assert spec.owners, name
        assert spec.kinds, name
        schema = spec.metadata["dagster/column_schema"]
        assert schema.columns, name
        assert all(column.description for column in schema.columns), name
        if name in TABLES:
            assert [column.name for column in schema.columns] == [column.name for column in TABLES[name].columns]


def test_one_partition_and_one_schedule_for_each_organization(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    partitions = graph.get(dg.AssetKey("account_mapping")).partitions_def
    assert partitions is not None
    assert set(partitions.get_partition_keys()) == {"demo_stripe", "demo_database", "demo_file"}
    schedules = {s.name: (s.cron_schedule, s.execution_timezone) for s in definitions.schedules or ()}  # type: ignore[union-attr]
    assert schedules == {
        "sync_demo_stripe": ("30 6 * * *", "Europe/Paris"),
        "sync_demo_database": ("0 5 * * 1-5", "America/New_York"),
        "sync_demo_file": ("15 */4 * * *", "Asia/Tokyo"),
    }


def test_no_organizations_at_all_still_load() -> None:
    definitions = build(Loaded(organizations={}, problems=[], broken={}))
    dg.Definitions.validate_loadable(definitions)
