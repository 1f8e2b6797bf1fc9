"""What the checks find, and how they say it."""

import dagster as dg
import pytest

from sync_pipeline.checks import exports, imports, matching, salesforce
from sync_pipeline.checks.building import OrganizationCheck, evaluate
from sync_pipeline.resources import Step

ALL = {check.name: check for check in (*salesforce.CHECKS, *matching.CHECKS, *imports.CHECKS, *exports.CHECKS)}
ACCOUNTS = ["001000000000001AAA", "001000000000002AAA"]


def judge(step: Step, name: str) -> dg.AssetCheckResult:
    return evaluate(step, ALL[name])


def shown(result: dg.AssetCheckResult) -> str:
    """Everything a reader of the UI, or of the event log, can see."""
    return repr((result.description, result.metadata))


@pytest.mark.parametrize("check", ALL.values(), ids=ALL)
def test_nothing_wrong_in_an_empty_organization(step: Step, check: OrganizationCheck) -> None:
    result = evaluate(step, check)
    assert result.passed
    assert result.description


def put_mapping(step: Step, **values: object) -> None:
    columns = ", ".join(values)
    step.con.execute(
        f"INSERT INTO account_mapping ({columns}) VALUES ({', '.join('?' * len(values))})", list(values.values())
    )


def put_record(step: Step, account: str | None, customer: str | None) -> None:
    if account:
        step.con.execute("INSERT INTO salesforce_accounts (account_id) VALUES (?)", [account])
    if customer:
        step.con.execute("INSERT INTO billing_customers (customer_id) VALUES (?)", [customer])


@pytest.mark.parametrize(
    ("name", "row"),
    [
        (
            "accounts_have_identifiers",
            {"salesforce_account_id": ACCOUNTS[0], "verdict": "missing_identifier", "reason": "No identifier."},
        ),
        (
            "customers_have_identifiers",
            {"billing_customer_id": "c 1", "verdict": "missing_identifier", "reason": "No identifier."},
        ),
        (
            "accounts_do_not_share_identifiers",
            {
                "salesforce_account_id": ACCOUNTS[0],
                "verdict": "duplicate_identifier",
                "rival_accounts": 2,
                "rival_customers": 1,
                "rivals": ACCOUNTS,
            },
        ),
        (
            "customers_do_not_share_identifiers",
            {
                "billing_customer_id": "c 1",
                "verdict": "duplicate_identifier",
                "rival_accounts": 1,
                "rival_customers": 2,
                "rivals": ["c 1", "c 2"],
            },
        ),
        (
            "identifiers_differ_in_more_than_format",
            {
                "billing_customer_id": "c 1",
                "verdict": "no_counterpart",
                "near_miss_rule": "trim",
                "near_miss_id": ACCOUNTS[0],
            },
        ),
        (
            "customers_have_accounts",
            {"billing_customer_id": "c 1", "verdict": "no_counterpart", "reason": "No account has it."},
        ),
    ],
)
def test_a_record_set_aside_is_a_warning_with_count_sample_and_links(
    step: Step, name: str, row: dict[str, object]
) -> None:
    put_mapping(step, **row)
    result = judge(step, name)
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.WARN
    assert result.metadata["count"].value == 1
    links = result.metadata["open"].value
    if "salesforce_account_id" in row or "near_miss_id" in row:
        assert f"https://acme.lightning.force.com/lightning/r/Account/{ACCOUNTS[0]}/view" in links
    if "billing_customer_id" in row:
        assert "https://erp.example.com/c/c%201" in links


def test_a_duplicate_on_one_side_does_not_accuse_the_other(step: Step) -> None:
    put_mapping(
        step, billing_customer_id="c1", verdict="duplicate_identifier", rival_customers=1, rival_accounts=2, rivals=[]
    )
    assert judge(step, "customers_do_not_share_identifiers").passed


def test_the_sample_is_capped_and_the_count_is_not(step: Step) -> None:
    step.con.execute(
        "INSERT INTO account_mapping (billing_customer_id, verdict) SELECT 'c' || i, 'missing_identifier' FROM range(5000) t(i)"
    )
    result = judge(step, "customers_have_identifiers")
    assert result.metadata["count"].value == 5000
    assert len(result.metadata["rows (masked)"].records) == 20
    assert "5,000" in (result.description or "")


def test_a_customer_in_two_pairs_stops_everything(step: Step) -> None:
    for account in ACCOUNTS:
        put_mapping(step, billing_customer_id="c1", salesforce_account_id=account, verdict="matched")
    result = judge(step, "one_to_one_holds")
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.ERROR


def test_an_account_in_two_pairs_stops_everything(step: Step) -> None:
    for customer in ("c1", "c2"):
        put_mapping(step, billing_customer_id=customer, salesforce_account_id=ACCOUNTS[0], verdict="matched")
    assert not judge(step, "one_to_one_holds").passed


def test_half_a_pair_stops_everything(step: Step) -> None:
    put_mapping(step, billing_customer_id="c1", verdict="matched")
    assert not judge(step, "one_to_one_holds").passed


def test_verdicts_add_up_when_each_record_has_one(step: Step) -> None:
    put_record(step, ACCOUNTS[0], "c1")
    put_mapping(step, billing_customer_id="c1", salesforce_account_id=ACCOUNTS[0], verdict="matched")
    assert judge(step, "verdicts_add_up").passed


@pytest.mark.parametrize(
    "verdicts",
    [
        [],  # lost
        [("c1", ACCOUNTS[0]), ("c1", None)],  # counted twice
        [("c1", ACCOUNTS[0]), ("c2", None)],  # of nobody
    ],
)
def test_a_record_without_one_verdict_stops_everything(
    step: Step, verdicts: list[tuple[str | None, str | None]]
) -> None:
    put_record(step, ACCOUNTS[0], "c1")
    for customer, account in verdicts:
        put_mapping(step, billing_customer_id=customer, salesforce_account_id=account, verdict="no_counterpart")
    result = judge(step, "verdicts_add_up")
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.ERROR


@pytest.mark.parametrize(
    ("purpose", "name"),
    [
        ("identifier", "identifier_field_has_supported_type"),
        ("import", "configured_fields_can_be_used"),
        ("export", "configured_fields_can_be_used"),
    ],
)
def test_a_field_that_cannot_serve_stops_everything_with_its_problem(step: Step, purpose: str, name: str) -> None:
    step.con.execute(
        "INSERT INTO salesforce_fields (object, field, purpose, type, problem) "
        "VALUES ('Account', 'N__c', ?, 'double', 'Is {a} number.')",
        [purpose],
    )
    for check in salesforce.CHECKS:
        result = evaluate(step, check)
        assert result.passed == (check.name != name)
        if not result.passed:
            assert result.severity == dg.AssetCheckSeverity.ERROR
            assert "Is {a} number." in (result.description or "")


def test_addresses_and_links_never_reach_the_event_log(step: Step) -> None:
    step.con.execute(
        """
        INSERT INTO imported_contacts (billing_customer_id, salesforce_contact_id, email, status, code, reason) VALUES
            ('c1', '003000000000001AAA', 'anna.berg@example.com', 'skipped', 'SHARED_ADDRESS', 'Contact 003 has it.')
        """
    )
    step.con.execute(
        "INSERT INTO portal_links (billing_customer_id, url, expires_at, status) "
        "VALUES ('c1', 'https://portal.example.com/s3cret', TIMESTAMP '2020-01-01', 'live')"
    )
    for name in ("contacts_do_not_share_addresses", "portal_links_stay_alive"):
        result = judge(step, name)
        assert not result.passed
        assert "anna.berg" not in shown(result)
        assert "s3cret" not in shown(result)


def test_a_refused_row_is_told_in_the_other_systems_words(step: Step) -> None:
    step.con.execute(
        "INSERT INTO exported_portal_links (salesforce_account_id, billing_customer_id, status, code, reason) "
        "VALUES (?, 'c1', 'refused', 'FIELD_CUSTOM_VALIDATION_EXCEPTION', 'Frozen account')",
        [ACCOUNTS[0]],
    )
    result = judge(step, "exported_portal_links_accepted")
    assert not result.passed
    assert "FIELD_CUSTOM_VALIDATION_EXCEPTION" in shown(result)
    assert "Frozen account" in shown(result)


def test_an_identifier_cannot_break_out_of_the_links(step: Step) -> None:
    put_mapping(
        step, billing_customer_id="](https://evil.example) <b>", verdict="missing_identifier", reason="No identifier."
    )
    links = judge(step, "customers_have_identifiers").metadata["open"].value
    assert "](https://evil.example)" not in links
    assert "<b>" not in links


def test_a_link_left_on_an_account_that_is_no_longer_matched_is_shown(step: Step) -> None:
    name, link = "links_stand_on_matched_accounts_only", "https://portal.example.com/s3cret"
    step.con.execute("INSERT INTO salesforce_accounts (account_id, portal_link) VALUES (?, ?)", [ACCOUNTS[0], link])
    step.con.execute(
        "INSERT INTO exported_portal_links (salesforce_account_id, billing_customer_id, url, status) "
        "VALUES (?, 'c1', ?, 'written')",
        [ACCOUNTS[0], link],
    )
    assert not judge(step, name).passed
    assert "s3cret" not in shown(judge(step, name))
    put_mapping(step, billing_customer_id="c2", salesforce_account_id=ACCOUNTS[0], verdict="matched")
    assert not judge(step, name).passed, "matched with another customer is not matched with this one"
    put_mapping(step, billing_customer_id="c1", salesforce_account_id=ACCOUNTS[0], verdict="matched")
    assert judge(step, name).passed


def test_contacts_left_with_a_customer_that_is_no_longer_matched_are_shown(step: Step) -> None:
    step.con.execute(
        "INSERT INTO receivables_unsettled (billing_customer_id, what, why) "
        "VALUES ('c1', 'contacts', 'set_aside'), ('c2', 'contacts', 'in_flight')"
    )
    assert judge(step, "contacts_stay_with_matched_customers").metadata["count"].value == 1


@pytest.mark.parametrize(
    ("name", "mapped"),
    [
        ("accounts_have_not_vanished", {"salesforce_account_id": ACCOUNTS[0]}),
        ("customers_have_not_vanished", {"billing_customer_id": "c1"}),
    ],
)
def test_a_side_that_is_suddenly_empty_stops_everything(step: Step, name: str, mapped: dict[str, str]) -> None:
    put_mapping(step, **mapped, verdict="no_counterpart")
    result = judge(step, name)
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.ERROR
    put_record(step, ACCOUNTS[1], "c2")
    assert judge(step, name).passed


@pytest.mark.parametrize(("used", "passed"), [(79_900, True), (80_000, False), (100_000, False)])
def test_requests_that_run_low_are_told(step: Step, used: int, passed: bool) -> None:
    step.con.execute("UPDATE salesforce_organization SET api_requests_used = ?", [used])
    result = judge(step, "salesforce_has_requests_left")
    assert (result.passed, result.severity) == (passed, dg.AssetCheckSeverity.WARN)
    assert "95 %" in shown(result) or passed
