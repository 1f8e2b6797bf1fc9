"""What the mapping says in the situations the guide names, in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from sync_pipeline.matching import IN_SEVERAL_PAIRS, WITHOUT_ONE_VERDICT, match
from sync_pipeline.orgs.models import Identifier
from sync_pipeline_tests.matching.worlds import by_record, count, mapping, settle, warehouse

ID15, ID18 = "001IV00000hHdc7", "001IV00000hHdc7YAC"  # from the guide
NBSP, ZERO_WIDTH = "\u00a0", "\u200b"


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with warehouse(tmp_path_factory.mktemp("warehouse")) as connection:
        yield connection


def test_equal_identifiers_make_a_pair(con: duckdb.DuckDBPyConnection) -> None:
    (row,) = settle(con, {"cus_1": "285"}, {"001A": "285"})
    assert row == {
        "billing_customer_id": "cus_1",
        "salesforce_account_id": "001A",
        "identifier": "285",
        "verdict": "matched",
        "near_miss_rule": None,
        "near_miss_id": None,
        "near_miss_identifier": None,
        "duplicate_key": None,
        "rival_customers": None,
        "rival_accounts": None,
        "rivals": None,
        "reason": "The only customer and the only account with this identifier.",
    }


@pytest.mark.parametrize(
    ("customer", "account", "rule", "reason"),
    [
        (
            "00285",
            "285",
            "leading_zeros",
            "No Salesforce account has the identifier '00285'. Account 001A has '285', which differs only in leading "
            "zeros; turn on `leading_zeros` or correct one side.",
        ),
        (
            "285 ",
            "285",
            "trim",
            "No Salesforce account has the identifier '285␣'. Account 001A has '285', which differs only in white "
            "space; turn on `trim` or correct one side.",
        ),
        (
            "AB-1",
            "ab-1",
            "case",
            "No Salesforce account has the identifier 'AB-1'. Account 001A has 'ab-1', which differs only in upper and "
            "lower case; turn on `case` or correct one side.",
        ),
        (
            "AB-1",
            f"0 ab-1{NBSP}",
            "trim+case+leading_zeros",
            "No Salesforce account has the identifier 'AB-1'. Account 001A has '0␣ab-1␣', which differs only in white "
            "space, upper and lower case and leading zeros; turn on `trim`, `case` and `leading_zeros` or correct one "
            "side.",
        ),
    ],
)
def test_near_misses_name_rule_and_record(
    con: duckdb.DuckDBPyConnection, customer: str, account: str, rule: str, reason: str
) -> None:
    rows = by_record(settle(con, {"cus_1": customer}, {"001A": account}))
    assert rows["cus_1"]["verdict"] == rows["001A"]["verdict"] == "no_counterpart"
    assert rows["cus_1"]["near_miss_rule"] == rows["001A"]["near_miss_rule"] == rule
    assert (rows["cus_1"]["near_miss_id"], rows["cus_1"]["near_miss_identifier"]) == ("001A", account)
    assert (rows["001A"]["near_miss_id"], rows["001A"]["near_miss_identifier"]) == ("cus_1", customer)
    assert rows["cus_1"]["reason"] == reason


@pytest.mark.parametrize(
    ("rule", "customer", "account"),
    [
        ("trim", f"{ZERO_WIDTH} 28 5\t", "285"),
        ("trim", "552 100 554", "552100554"),
        ("case", "İSTANBUL", "istanbul"),
        ("case", "STRAẞE", "straße"),
        ("leading_zeros", "000", "0"),
        ("leading_zeros", "00\n7", "0\n7"),
    ],
)
def test_a_rule_that_is_on_makes_the_match(
    con: duckdb.DuckDBPyConnection, rule: str, customer: str, account: str
) -> None:
    (row,) = settle(con, {"cus_1": customer}, {"001A": account}, (rule,))  # type: ignore[arg-type]
    assert (row["verdict"], row["identifier"]) == ("matched", customer)
    assert "ignoring" in row["reason"]


@pytest.mark.parametrize(
    ("customer", "account"),
    [("straße", "STRASSE"), ("é", "e\u0301"), ("ı", "i"), ("100%", "1000"), ("a_b", "aXb"), ("0", ""), ("000", "  ")],
)
def test_what_no_rule_brings_together(con: duckdb.DuckDBPyConnection, customer: str, account: str) -> None:
    for rules in ((), ("trim", "case", "leading_zeros")):
        rows = by_record(settle(con, {"cus_1": customer}, {"001A": account}, rules))  # type: ignore[arg-type]
        assert rows["cus_1"]["verdict"] == "no_counterpart"
        assert rows["cus_1"]["near_miss_rule"] is None
        assert rows["cus_1"]["reason"].startswith(f"No Salesforce account has the identifier '{customer}'")


def test_blank_is_missing_on_both_sides(con: duckdb.DuckDBPyConnection) -> None:
    rows = by_record(settle(con, {"c1": None, "c2": "", "c3": f" {NBSP}{ZERO_WIDTH}\t"}, {"a1": None, "a2": "\n"}))
    assert {row["verdict"] for row in rows.values()} == {"missing_identifier"}
    assert {row["identifier"] for row in rows.values()} == {None}
    assert rows["c2"]["reason"] == "The customer has no identifier: metadata.sf is empty in the billing system."
    assert rows["a2"]["reason"] == (
        "The account has no identifier: Billing_Id__c holds nothing but white space in Salesforce."
    )


def test_duplicates_set_both_sides_aside_with_all_rivals(con: duckdb.DuckDBPyConnection) -> None:
    rows = by_record(settle(con, {"c1": "7", "c2": "7", "c3": "8"}, {"a1": "7", "a2": "8", "a3": "8", "a4": "9"}))
    for record in ("c1", "c2", "a1"):
        assert rows[record]["verdict"] == "duplicate_identifier"
        assert rows[record]["rivals"] == ["c1", "c2", "a1"]
        assert (rows[record]["rival_customers"], rows[record]["rival_accounts"]) == (2, 1)
        assert rows[record]["reason"] == (
            "2 customers and 1 account carry the identifier '7': which belong together can't be told, so all are set "
            "aside. Leave it on one customer and one account."
        )
    assert rows["c3"]["rivals"] == ["c3", "a2", "a3"]
    assert rows["a4"]["verdict"] == "no_counterpart"


def test_rivals_that_a_rule_makes_share_their_key(con: duckdb.DuckDBPyConnection) -> None:
    rows = by_record(settle(con, {"c1": "7", "c2": "07"}, {"a1": "007"}, ("leading_zeros",)))
    assert {row["duplicate_key"] for row in rows.values()} == {"7"}
    assert {row["identifier"] for row in rows.values()} == {"7", "07", "007"}
    assert "(ignoring leading zeros)" in rows["a1"]["reason"]


def test_a_look_alike_of_a_pair_is_no_near_miss_but_is_told(con: duckdb.DuckDBPyConnection) -> None:
    rows = by_record(settle(con, {"c1": "285", "c2": "0285"}, {"a1": "285"}))
    assert rows["c1"]["verdict"] == "matched"
    assert (rows["c2"]["verdict"], rows["c2"]["near_miss_rule"]) == ("no_counterpart", None)
    assert rows["c2"]["reason"] == (
        "No Salesforce account has the identifier '0285'. Account a1 has '285', which differs only in leading zeros, "
        "but belongs to customer c1."
    )
    rows = by_record(settle(con, {"c1": "285"}, {"a1": "285", "a2": "0285"}))
    assert rows["a2"]["reason"].endswith("which differs only in leading zeros, but belongs to account a1.")


def test_a_near_miss_that_would_be_ambiguous_is_none(con: duckdb.DuckDBPyConnection) -> None:
    rows = by_record(settle(con, {"c1": "0285", "c2": "00285"}, {"a1": "285"}))
    assert {row["near_miss_rule"] for row in rows.values()} == {None}
    assert rows["c1"]["reason"].endswith(
        "Account a1 has '285', which differs only in leading zeros, but 2 customers and 1 account would then share one "
        "identifier."
    )


def test_one_rule_goes_before_two_and_an_unambiguous_one_before_all(con: duckdb.DuckDBPyConnection) -> None:
    rows = by_record(settle(con, {"c1": "AB"}, {"a1": "ab", "a2": " AB"}))
    assert (rows["c1"]["near_miss_rule"], rows["c1"]["near_miss_id"]) == ("trim", "a2")
    assert (rows["a1"]["near_miss_rule"], rows["a1"]["near_miss_id"]) == ("case", "c1")
    rows = by_record(settle(con, {"c1": "AB"}, {"a1": "ab", "a2": " AB", "a3": "AB "}))
    assert (rows["c1"]["near_miss_rule"], rows["c1"]["near_miss_id"]) == ("case", "a1")


@pytest.mark.parametrize(("customer", "account"), [(ID15, ID18), (ID18, ID15), (ID15, ID15), (ID18, ID18)])
def test_salesforce_ids_are_one_identity_in_both_forms(
    con: duckdb.DuckDBPyConnection, customer: str, account: str
) -> None:
    (row,) = settle(con, {"c": customer}, {"a": account}, salesforce_ids=True)
    assert (row["verdict"], row["identifier"]) == ("matched", customer)


def test_without_salesforce_ids_the_two_forms_are_two_values(con: duckdb.DuckDBPyConnection) -> None:
    rows = by_record(settle(con, {"c": ID15}, {"a": ID18}))
    assert rows["c"]["verdict"] == "no_counterpart"


def test_ids_that_differ_by_case_only_are_two_records(con: duckdb.DuckDBPyConnection) -> None:
    accounts = {"a1": ID15, "a2": "001IV00000hHdC7", "a3": "001iv00000hHdc7"}
    rows = by_record(settle(con, {"c1": ID15, "c2": "001IV00000hHdC7"}, accounts, ("case",), salesforce_ids=True))
    assert (rows["c1"]["salesforce_account_id"], rows["c2"]["salesforce_account_id"]) == ("a1", "a2")
    assert (rows["a3"]["verdict"], rows["a3"]["near_miss_rule"]) == ("no_counterpart", None)


def test_an_id_that_lost_its_case_is_a_near_miss_even_where_case_is_on(con: duckdb.DuckDBPyConnection) -> None:
    rows = by_record(settle(con, {"c": ID18.lower()}, {"a": ID18}, ("case",), salesforce_ids=True))
    assert (rows["c"]["near_miss_rule"], rows["c"]["near_miss_id"]) == ("case", "a")
    assert rows["c"]["reason"] == (
        f"No Salesforce account has the identifier '{ID18.lower()}'. Account a has '{ID18}', which differs only in "
        "upper and lower case; Salesforce ids are compared to the letter, so correct one side. As a Salesforce id it "
        "is wrong: its last three characters do not fit the others."
    )


def test_an_id_with_a_wrong_suffix_is_no_id(con: duckdb.DuckDBPyConnection) -> None:
    rows = by_record(settle(con, {"c": ID15 + "YAD"}, {"a": ID15}, salesforce_ids=True))
    assert (rows["c"]["verdict"], rows["c"]["near_miss_rule"]) == ("no_counterpart", None)
    assert rows["c"]["reason"].endswith("its last three characters do not fit the others.")


def test_something_that_is_no_id_says_so(con: duckdb.DuckDBPyConnection) -> None:
    rows = by_record(settle(con, {"c": "N/A"}, {}, salesforce_ids=True))
    assert rows["c"]["reason"].endswith("It is no Salesforce id: those have 15 or 18 letters and digits.")


def test_white_space_around_an_id(con: duckdb.DuckDBPyConnection) -> None:
    rows = by_record(settle(con, {"c": f" {ID15}{NBSP}"}, {"a": ID18}, salesforce_ids=True))
    assert rows["c"]["near_miss_rule"] == "trim"
    (row,) = settle(con, {"c": f" {ID15}{NBSP}"}, {"a": ID18}, ("trim",), salesforce_ids=True)
    assert row["verdict"] == "matched"


@pytest.mark.parametrize("size", [0, 3])
def test_one_side_empty(con: duckdb.DuckDBPyConnection, size: int) -> None:
    customers = {f"c{n}": str(n) for n in range(size)}
    rows = settle(con, customers, {})
    assert [row["verdict"] for row in rows] == ["no_counterpart"] * size
    assert count(con, WITHOUT_ONE_VERDICT) == 0


def test_long_identifiers_are_cut_in_the_sentence_only(con: duckdb.DuckDBPyConnection) -> None:
    rows = by_record(settle(con, {"c": "x" * 32_000}, {"a": "x" * 31_999}))
    assert len(rows["c"]["reason"]) < 200
    assert len(rows["c"]["identifier"]) == 32_000


def test_text_that_tries_to_break_out_stays_text(con: duckdb.DuckDBPyConnection) -> None:
    nasty = "'; DROP TABLE account_mapping; --"
    rows = by_record(settle(con, {nasty: nasty, "c2": "$billing_field"}, {'a"1': nasty, "?": "?"}))
    assert rows[nasty]["salesforce_account_id"] == 'a"1'
    assert rows["c2"]["verdict"] == "no_counterpart"


def test_the_temporary_tables_are_gone_afterwards(con: duckdb.DuckDBPyConnection) -> None:
    settle(con, {"c": "1"}, {"a": "01"})
    left = con.execute("SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'match%'").fetchall()
    assert left == []


def test_guards_see_what_is_wrong(con: duckdb.DuckDBPyConnection) -> None:
    settle(con, {"c1": "1", "c2": "2", "c3": "3"}, {"a1": "1", "a2": "2"})
    assert count(con, IN_SEVERAL_PAIRS) == 0
    con.execute("UPDATE account_mapping SET salesforce_account_id = 'a1' WHERE billing_customer_id = 'c2'")
    assert count(con, IN_SEVERAL_PAIRS) == 1
    assert count(con, WITHOUT_ONE_VERDICT) == 2, "a2 has no verdict, a1 has two"
    con.execute("DELETE FROM account_mapping WHERE billing_customer_id = 'c3'")
    assert count(con, WITHOUT_ONE_VERDICT) == 3
    con.execute("UPDATE account_mapping SET billing_customer_id = NULL WHERE salesforce_account_id = 'a1'")
    assert count(con, IN_SEVERAL_PAIRS) == 2, "a1 is in two pairs, and both lack a customer"


def test_unknown_records_in_the_mapping_are_counted(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    settle(con, {"c1": "1"}, {"a1": "1"})
    con.execute("DELETE FROM billing_customers")
    assert count(con, WITHOUT_ONE_VERDICT) == 1


def test_who_is_gone_from_the_billing_system_is_nobodys_rival(con: duckdb.DuckDBPyConnection) -> None:
    settle(
        con,
        {"deleted": "1", "merged": "1", "survivor": "1", "archived": "2", "blank": None},
        {"001A": "1", "001B": "2"},
    )
    con.execute("UPDATE billing_customers SET status = 'deleted' WHERE customer_id IN ('deleted', 'blank')")
    con.execute("UPDATE billing_customers SET merged_into_id = 'survivor' WHERE customer_id = 'merged'")
    con.execute("UPDATE billing_customers SET status = 'archived' WHERE customer_id = 'archived'")
    for field in ("Billing_Id__c", "Id"):
        match(con, Identifier(billing_field="number", salesforce_field=field), salesforce_ids=False)
        found = by_record(mapping(con))
        assert {record: row["verdict"] for record, row in found.items()} == {
            "deleted": "gone",
            "merged": "gone",
            "blank": "gone",
            "survivor": "matched",
            "archived": "matched",
            "001A": "matched",
            "001B": "matched",
        }
        assert found["merged"]["reason"] == (
            "The customer was merged into customer survivor in the billing system. It takes no part in matching."
        )
        assert count(con, WITHOUT_ONE_VERDICT) == 0
