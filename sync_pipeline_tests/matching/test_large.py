"""Large and real inputs: nothing explodes, nothing takes minutes."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline.matching import IN_SEVERAL_PAIRS, WITHOUT_ONE_VERDICT, match
from sync_pipeline.orgs.models import Identifier
from sync_pipeline_tests.matching.worlds import count, fill, warehouse

SEC = Path(__file__).parents[2] / ".." / "shared" / "data" / "sec_companies.csv"
FIELDS: dict[str, Any] = {"billing_field": "number", "salesforce_field": "Number__c"}


def tally(con: duckdb.DuckDBPyConnection, what: str, where: str) -> int:
    row = con.execute(f"SELECT {what} FROM account_mapping WHERE {where}").fetchone()
    assert row
    return int(row[0])


@pytest.mark.skipif(not SEC.exists(), reason="shared/data/sec_companies.csv does not lie beside this checkout")
def test_real_companies_whose_numbers_lost_their_zeros(tmp_path: Path) -> None:
    with warehouse(tmp_path) as con:
        source = "read_csv($path, all_varchar = true)"
        customer = {"customer_id": "'c' || cik", "identifier": "ltrim(cik, '0')", "name": "upper(title)"}
        fill(con, "billing_customers", customer, source, {"path": str(SEC)})
        fill(
            con,
            "salesforce_accounts",
            {"account_id": "'a' || cik", "identifier": "cik", "name": "title"},
            source,
            {"path": str(SEC)},
        )

        match(con, Identifier(**FIELDS), salesforce_ids=False)
        lost = con.execute("SELECT count(*) FROM salesforce_accounts WHERE starts_with(identifier, '0')").fetchone()
        assert lost
        assert lost[0] > 8000
        assert tally(con, "count(*)", "verdict = 'matched'") == 8349 - lost[0]
        aside = "verdict = 'no_counterpart' AND near_miss_rule = 'leading_zeros'"
        assert (
            tally(con, "count(billing_customer_id)", aside)
            == tally(con, "count(salesforce_account_id)", aside)
            == lost[0]
        )
        same_company = "substr(near_miss_id, 2) = substr(coalesce(billing_customer_id, salesforce_account_id), 2)"
        assert tally(con, "count(*)", f"{aside} AND {same_company}") == 2 * lost[0]

        match(con, Identifier(**FIELDS, normalize=["leading_zeros"]), salesforce_ids=False)
        paired = "verdict = 'matched' AND substr(billing_customer_id, 2) = substr(salesforce_account_id, 2)"
        assert tally(con, "count(*)", paired) == tally(con, "count(*)", "true") == 8349


@pytest.mark.slow
def test_half_a_million_customers_with_the_same_placeholder(tmp_path: Path) -> None:
    with warehouse(tmp_path) as con:
        fill(con, "billing_customers", {"customer_id": "'cus_' || i", "identifier": "'N/A'"}, "range(500_000) AS t(i)")
        placeholder = {"account_id": "'001' || i", "identifier": "CASE WHEN i < 30 THEN 'N/A' ELSE 'n/a ' END"}
        fill(con, "salesforce_accounts", placeholder, "range(31) AS t(i)")
        before = (tmp_path / "acme.duckdb").stat().st_size
        started = time.monotonic()
        match(con, Identifier(**FIELDS), salesforce_ids=False)
        assert time.monotonic() - started < 30
        con.execute("CHECKPOINT")
        assert (tmp_path / "acme.duckdb").stat().st_size - before < 60_000_000

        assert tally(con, "count(*)", "verdict = 'duplicate_identifier' AND rival_customers = 500000") == 500_030
        assert tally(con, "count(*)", "len(rivals) = 20 AND rival_accounts = 30") == 500_030
        own = "list_contains(rivals, coalesce(billing_customer_id, salesforce_account_id))"
        assert tally(con, "count(*)", own) == 500_030
        assert (
            tally(
                con, "count(*)", "len(list_filter(rivals, lambda id: starts_with(id, '001'))) < 9 AND len(rivals) > 0"
            )
            == 0
        )
        alone = con.execute(
            "SELECT near_miss_rule, reason FROM account_mapping WHERE verdict = 'no_counterpart'"
        ).fetchall()
        assert len(alone) == 1
        assert alone[0][0] is None
        assert "500,000 customers and 31 accounts would then share one identifier" in alone[0][1]
        assert count(con, WITHOUT_ONE_VERDICT) == count(con, IN_SEVERAL_PAIRS) == 0


@pytest.mark.slow
def test_every_record_a_near_miss(tmp_path: Path) -> None:
    """The worst for the search of near misses: nothing matches, and each record has its look-alike."""
    with warehouse(tmp_path) as con:
        number = "(100_000_000 + i)::VARCHAR"
        fill(con, "billing_customers", {"customer_id": "'cus_' || i", "identifier": number}, "range(200_000) AS t(i)")
        shapes = f"CASE i % 3 WHEN 0 THEN '0' || {number} WHEN 1 THEN {number} || ' ' ELSE ' 00' || {number} END"
        fill(con, "salesforce_accounts", {"account_id": "'001' || i", "identifier": shapes}, "range(200_000) AS t(i)")
        match(con, Identifier(**FIELDS), salesforce_ids=False)
        found = con.execute("SELECT near_miss_rule, count(*) FROM account_mapping GROUP BY ALL").fetchall()
        assert Counter(dict(found)) == {"leading_zeros": 133_334, "trim": 133_334, "trim+leading_zeros": 133_332}
        wrong = "substr(near_miss_id, 4) <> substr(billing_customer_id, 5)"
        assert tally(con, "count(*)", wrong) == 0
