from pathlib import Path

import pytest

from sync_pipeline.settings import config_dir, data_dir


@pytest.mark.parametrize("value", [None, "", "  "])
def test_defaults_lie_below_the_current_folder(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    for variable in ("SYNC_PIPELINE_CONFIG", "SYNC_PIPELINE_DATA"):
        monkeypatch.delenv(variable, raising=False)
        if value is not None:
            monkeypatch.setenv(variable, value)
    assert (config_dir(), data_dir()) == (Path("config/orgs"), Path("var"))


def test_the_environment_moves_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_PIPELINE_CONFIG", "/etc/sync/orgs")
    monkeypatch.setenv("SYNC_PIPELINE_DATA", "~/sync")
    assert (config_dir(), data_dir()) == (Path("/etc/sync/orgs"), Path.home() / "sync")
