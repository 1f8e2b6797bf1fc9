"""The Dagster instance that the command line runs in, so that what it does shows in the UI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import dagster as dg
import yaml

from sync_pipeline.errors import ConfigurationError
from sync_pipeline.settings import data_dir

TEMPLATE = Path(__file__).parents[2] / "config" / "dagster.yaml"


def dagster_home() -> Path:
    """$DAGSTER_HOME, or `dagster` in the data folder; made, with a dagster.yaml in it, where it is not there yet.

    Sets $DAGSTER_HOME, so that a web server started from this process finds the same instance.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or data_dir() / "dagster").absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if TEMPLATE.exists() and not (home / "dagster.yaml").exists():
            shutil.copyfile(TEMPLATE, home / "dagster.yaml")
    except OSError as error:
        raise ConfigurationError(
            f"Dagster's records can't be kept in {home} ({error.strerror}).",
            next_step="Name a folder that can be written to, with --data or $DAGSTER_HOME.",
        ) from error
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def open_instance() -> dg.DagsterInstance:
    """The instance at `dagster_home()`; ConfigurationError where its folder or its dagster.yaml can't be used."""
    home = dagster_home()
    try:
        return dg.DagsterInstance.get()
    except (OSError, yaml.YAMLError, dg.DagsterError) as error:
        raise ConfigurationError(
            f"The Dagster instance at {home} can't be opened ({type(error).__name__}: {str(error).splitlines()[0]}).",
            next_step="Correct its dagster.yaml (config/dagster.yaml is a good one), or name another $DAGSTER_HOME.",
        ) from error
