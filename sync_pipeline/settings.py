"""Where configuration is read from and where data is kept. Both can be moved by an environment variable."""

from __future__ import annotations

import os
from pathlib import Path

CONFIG_VARIABLE = "SYNC_PIPELINE_CONFIG"
DATA_VARIABLE = "SYNC_PIPELINE_DATA"
TOKENS_VARIABLE = "SYNC_PIPELINE_TOKENS"


def config_dir() -> Path:
    """Folder of the organizations' YAML files: `$SYNC_PIPELINE_CONFIG`, else `config/orgs` below the current folder."""
    return _folder(CONFIG_VARIABLE, Path("config") / "orgs")


def data_dir() -> Path:
    """Folder of everything this project writes: `$SYNC_PIPELINE_DATA`, else `var` below the current folder.

    It need not exist; who writes there creates it.
    """
    return _folder(DATA_VARIABLE, Path("var"))


def tokens_in() -> str:
    """Where the tokens of browser logins are kept: `$SYNC_PIPELINE_TOKENS` as it is written, else `auto`."""
    return os.environ.get(TOKENS_VARIABLE, "").strip() or "auto"


def _folder(variable: str, default: Path) -> Path:
    named = os.environ.get(variable, "").strip()  # set but empty, as in a .env file, means not set
    return Path(named).expanduser() if named else default
