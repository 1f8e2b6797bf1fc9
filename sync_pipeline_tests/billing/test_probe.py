"""What `check` asks of a billing system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy

from sync_pipeline.billing import probe
from sync_pipeline.errors import ConfigurationError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.orgs.factory import make_organization

CsvOrg = Callable[..., Organization]


def test_a_file_whose_columns_are_there(csv_org: CsvOrg) -> None:
    assert "2 columns" in probe(csv_org("customer_id,name\n1,Acme\n"))


def test_a_file_without_the_identifier(csv_org: CsvOrg) -> None:
    with pytest.raises(ConfigurationError, match=r"company_number.*'customer_id', 'name'"):
        probe(csv_org("customer_id,name\n1,Acme\n", field="company_number"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"can't be opened"):
        probe(make_organization(folder=tmp_path / "config", billing={"system": "file", "path": "nothing.csv"}))


def test_a_query_whose_columns_are_there_and_one_that_fails(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'billing.db'}")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE customers (customer_id TEXT, name TEXT)"))
    engine.dispose()
    billing = {"system": "database", "url": f"sqlite:///{tmp_path / 'billing.db'}", "table": "customers"}
    assert "2 columns" in probe(make_organization(folder=tmp_path / "config", billing=billing))
    with pytest.raises(ConfigurationError, match="nothing"):
        probe(make_organization(folder=tmp_path / "config", billing={**billing, "table": "nothing"}))
