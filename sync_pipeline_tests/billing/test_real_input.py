"""The companies of a public register, as a CSV file of customers."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.orgs.factory import make_organization

COMPANIES = Path(__file__).parents[2] / ".." / "shared" / "data" / "sec_companies.csv"


@pytest.mark.skipif(not COMPANIES.exists(), reason="the register's companies are not beside this checkout")
def test_companies_keep_their_zeros_and_names(
    read: Callable[[Organization], list[tuple[Any, ...]]], tmp_path: Path
) -> None:
    billing = {"system": "file", "path": str(COMPANIES), "columns": {"customer_id": "cik", "name": "title"}}
    found = read(make_organization(folder=tmp_path, billing=billing, identifier__billing_field="cik"))
    with COMPANIES.open(newline="", encoding="utf-8") as file:
        expected = sorted((row["cik"], row["cik"], row["title"]) for row in csv.DictReader(file))
    assert [row[:3] for row in found] == expected
    assert len(found) == 8_349
    assert {len(row[0]) for row in found} == {10}
