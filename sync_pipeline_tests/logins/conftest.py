"""A machine of the test's own, and an authorization server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipeline import http
from sync_pipeline_tests.logins.granting import Granting, granting


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of the test's own, with tokens in files."""
    monkeypatch.setenv("SYNC_PIPELINE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SYNC_PIPELINE_TOKENS", "file")
    monkeypatch.setattr(http, "BACKOFF_SECONDS", 0.0)
    return tmp_path


@pytest.fixture
def there(machine: Path) -> Iterator[Granting]:
    with granting() as answer:
        yield answer
