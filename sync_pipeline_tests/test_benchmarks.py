"""The benchmark of the billing systems measures every one that there is, and meets what does not depend on the machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import read_billing
from benchmarks.measuring import serving
from sync_pipeline.billing.api import ApiSource
from sync_pipeline.billing.systems import sources


@pytest.mark.parametrize("name", [name for name, source in sources().items() if isinstance(source, ApiSource)])
def test_every_system_with_pages_says_how_large_they_are(name: str) -> None:
    assert 0 < read_billing.page_size(name) < 10_000


@pytest.mark.slow
def test_every_billing_system_keeps_to_its_memory_and_its_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(2500, tmp_path, "all") as ready:
        read_billing.compare(ready, 2500)
    printed = capsys.readouterr().out
    table, _, goals = printed.rpartition("\ngoals ")
    assert {line.split()[0] for line in table.splitlines()[3:]} == set(sources())
    found = re.search(r"(\d+) of 300 MB.*; (-?\d+) requests above the fewest of 3", goals)
    assert found
    assert int(found[1]) < 300
    assert int(found[2]) <= 3
