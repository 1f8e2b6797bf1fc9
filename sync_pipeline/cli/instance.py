"""The Dagster instance that the command line runs in, so that what it does shows in the UI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import dagster as dg

from sync_pipeline.settings import data_dir

TEMPLATE = Path(__file__).parents[2] / "config" / "dagster.yaml"


def dagster_home() -> Path:
    """$DAGSTER_HOME, or `dagster` in the data folder; made, with a dagster.yaml in it, where it is not there yet.

    Sets $DAGSTER_HOME, so that a web server started from this process finds the same instance.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or data_dir() / "dagster").absolute()
    home.mkdir(parents=True, exist_ok=True)
    if TEMPLATE.exists() and not (home / "dagster.yaml").exists():
        shutil.copyfile(TEMPLATE, home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def open_instance() -> dg.DagsterInstance:
    """The instance at `dagster_home()`."""
    dagster_home()
    return dg.DagsterInstance.get()
