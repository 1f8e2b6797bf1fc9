"""The benchmark of the billing systems runs, of every one that there is, and holds what does not depend on the machine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import read_billing
from sync_pipeline.billing.systems import sources
from sync_pipeline_tests.conftest import Sandbox


@pytest.mark.slow
def test_every_billing_system_is_measured_and_asks_no_more_than_it_may(
    fresh_sandbox: Callable[..., Sandbox],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sandbox = fresh_sandbox(accounts=2500, billing=["all"], billing_per_minute=1_000_000)
    monkeypatch.setattr("os.environ", {**__import__("os").environ})
    ready = tmp_path / "ready.json"
    ready.write_text(json.dumps(sandbox.ready))
    read_billing.compare(ready, 2500)
    printed = capsys.readouterr().out
    assert set(re.findall(r"^(\w+) .*\d$", printed, re.MULTILINE)) == set(sources())
    more = re.search(r"(\d+) requests above the fewest of 3", printed)
    assert more and int(more[1]) <= 3
    megabytes = re.search(r"(\d+) of 300 MB", printed)
    assert megabytes and 50 < int(megabytes[1]) < 300
