"""Tables for people, as wide as the narrowest terminal they have."""

from __future__ import annotations

import pytest
from rich.console import Console

from sync_pipeline.cli.output import results_table
from sync_pipeline.cli.running import Result


@pytest.mark.parametrize("many", [2, 40])
def test_every_organization_can_be_read_at_80_columns(many: int) -> None:
    results = [
        Result(
            f"organization_{number:02d}",
            seconds=1234.5,
            counts={
                "accounts": 123_456,
                "customers": 1_234_567,
                "matched": 1_111_222 + number,
                "missing_identifier": 7,
            },
            written={"imported_owners": 12_345_678},
        )
        for number in range(many)
    ]
    console = Console(width=80, record=True)
    console.print(results_table(results))
    shown = console.export_text()
    assert "…" not in shown
    for number in range(many):
        assert f"organization_{number:02d}" in shown
        assert f"{1_111_222 + number:,}" in shown
    assert all(name in shown for name in ("customers", "matched", "1,234,567", "12,345,678"))
