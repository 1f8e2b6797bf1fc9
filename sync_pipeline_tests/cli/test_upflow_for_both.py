"""Upflow as billing system and receivables platform: what the sync writes there is what the next one reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

from sync_pipeline_tests.cli.conftest import Workplace
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.paths import CONFIG

NAME, ORG = "demo_upflow", "upflow"
WITHOUT = 3
"""Customers that have no externalId, but the identifier all the same."""


def test_what_was_written_comes_back_and_is_not_written_again(
    fresh_sandbox: Callable[..., Sandbox], workplace: Callable[..., Workplace]
) -> None:
    sandbox = fresh_sandbox(accounts=60, billing=["stripe", "database", "file", "upflow"], trouble=0)
    place = workplace(sandbox)
    shutil.copy(CONFIG / "demo_billing" / f"{NAME}.yaml", place.config)
    place.edit(NAME, "billing_field: externalId", "billing_field: customFields.CRM id")
    place.edit(NAME, "Industry: Industry", "Industry: Industry\n    Billing_Id__c: crm ID")
    field = sandbox.upflow(ORG).post(
        f"{sandbox.organization(ORG)['upflow']['url']}/custom_fields",
        json={"name": "CRM id", "type": "STRING", "entity": "CUSTOMER"},
    )
    sandbox.change(
        "UPDATE upflow_customer SET customFields = json_insert(customFields, '$[#]',"
        " json_object('id', ?, 'value', externalId)) WHERE org = ?",
        field.json()["id"],
        ORG,
    )
    sandbox.change(
        "UPDATE upflow_customer SET externalId = NULL WHERE org = ? AND position < ?",
        ORG,
        WITHOUT,
    )
    first = place.sync(NAME)
    assert (first.exit_code, first.errors) == (0, [])
    assert (first.counts["customers"], first.counts["matched"]) == (60, 60)
    holds = place.upflow_holds()
    before = place.rows(NAME, "SELECT customer_id, identifier FROM billing_customers ORDER BY ALL")

    second = place.sync(NAME)
    assert (second.exit_code, sum(second.written.values())) == (0, 0)
    assert place.upflow_holds() == holds
    assert place.rows(NAME, "SELECT customer_id, identifier FROM billing_customers ORDER BY ALL") == before
    assert second.counts["matched"] == 60
    custom = [json.loads(text) for (text,) in place.rows(NAME, "SELECT custom_fields FROM billing_customers")]
    assert {name for one in custom for name in one["customFields"]} == {"CRM id", "Industry", "Region"}
    assert sum("Industry" in one["customFields"] for one in custom) > 20
    assert any(one["accountManagerId"] for one in custom)

    lost = "SELECT customer_id FROM billing_customers WHERE customer_id = (custom_fields->>'id')"
    assert len(place.rows(NAME, lost)) == WITHOUT
    for table in ("imported_owners", "imported_contacts", "imported_custom_fields", "portal_links"):
        said = place.rows(NAME, f"SELECT status, reason FROM {table} WHERE billing_customer_id IN ({lost})")
        assert {status for status, _ in said} <= {"skipped", "refused"}, table
        assert [reason for _, reason in said if reason], table
