"""Clients that others wrote in Python, each in an environment of its own, which `make python-clients` makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sync_pipeline_tests.paths import PROJECT

SECONDS = 60
"""How long a script may take; it takes one, but the machine may be busy."""


def run(environment: str, script: Path, home: Path, ca_file: Path, *arguments: str) -> list[str]:
    """Lines that a script prints which runs in an environment of `make python-clients`; skips where there is none."""
    folder = PROJECT / ".venv" / environment
    if not (folder / "installed").exists():
        pytest.skip(f"{environment} is not installed: run `make python-clients`")
    trust = {"SSL_CERT_FILE": str(ca_file), "REQUESTS_CA_BUNDLE": str(ca_file)}
    done = subprocess.run(
        [str(folder / "bin" / "python"), str(script), *arguments],
        env={"HOME": str(home), **trust},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout.splitlines()
