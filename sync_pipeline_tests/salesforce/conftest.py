from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from sync_pipeline import http
from sync_pipeline.warehouse import Warehouse


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BACKOFF_SECONDS", 0.001)


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with Warehouse(tmp_path / "warehouse", "acme").connect() as connection:
        yield connection
