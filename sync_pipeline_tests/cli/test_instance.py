"""Folders and files that Dagster can't work with."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync_pipeline.cli.instance import open_instance
from sync_pipeline.errors import ConfigurationError


def test_a_folder_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "file"
    home.touch()
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    with pytest.raises(ConfigurationError, match=r"can't be kept in .*file/dagster.*--data"):
        open_instance()


def test_a_broken_dagster_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagster.yaml").write_text("concurrency: {runs: [")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"can't be opened.*dagster\.yaml"):
        open_instance()
