"""A warehouse to read into, and organizations from real YAML files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline.billing import load_customers
from sync_pipeline.orgs.models import Organization
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.orgs.factory import make_organization

Rows = list[dict[str, Any]]


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with Warehouse(tmp_path / "warehouse", "acme").connect() as connection:
        yield connection


def rows(con: duckdb.DuckDBPyConnection) -> Rows:
    """What stands in billing_customers, ordered by customer_id."""
    return con.execute("SELECT * FROM billing_customers ORDER BY customer_id").df().to_dict("records")


@pytest.fixture
def read(con: duckdb.DuckDBPyConnection) -> Callable[[Organization], list[tuple[Any, ...]]]:
    """Load an organization's customers; gives (customer_id, identifier, name, custom_fields) of each."""

    def load(org: Organization) -> list[tuple[Any, ...]]:
        count = load_customers(con, org)
        query = "SELECT customer_id, identifier, name, custom_fields FROM billing_customers ORDER BY customer_id"
        found = con.execute(query).fetchall()
        assert count == len(found)
        return found

    return load


@pytest.fixture
def csv_org(tmp_path: Path) -> Callable[..., Organization]:
    """An organization whose customers stand in a file with the given content."""

    def make(content: str | bytes, *, field: str = "customer_id", **billing: Any) -> Organization:
        folder = tmp_path / "config"
        folder.mkdir(exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        (folder / "customers.csv").write_bytes(data)
        settings = {"system": "file", "path": "customers.csv"} | billing
        return make_organization(folder=folder, billing=settings, identifier__billing_field=field)

    return make
