"""A step over an empty warehouse, for checks to judge what a test puts into it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipeline.resources import Step, Sync
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.orgs.factory import make_organization


@pytest.fixture
def step(tmp_path: Path) -> Iterator[Step]:
    org = make_organization(
        billing={"system": "file", "path": "customers.csv", "customer_url": "https://erp.example.com/c/{customer_id}"}
    )
    with Warehouse(tmp_path / "warehouse", org.name).connect() as con:
        con.execute(
            "INSERT INTO salesforce_organization "
            "VALUES ('00D000000000001EAA', 'Acme', 'https://acme.my.salesforce.com', false, 1000, 100000)"
        )
        yield Step(org, con, Sync())
