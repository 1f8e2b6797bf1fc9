"""An organization of every billing system, end to end: from its documented login to the planted verdicts."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from sync_pipeline.billing import authorization
from sync_pipeline.billing.systems import sources
from sync_pipeline.cli.app import app
from sync_pipeline.preflight import look
from sync_pipeline_tests.cli.conftest import Workplace, truth_of, verdicts_of
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.paths import CONFIG

EXAMPLES = sorted(CONFIG.glob("demo*/demo_*.yaml"))


def test_every_system_has_a_demo_organization() -> None:
    assert {path.stem.removeprefix("demo_") for path in EXAMPLES} == set(sources())


def connect(place: Workplace, name: str) -> bool:
    """What a person does once: `sync-pipeline connect NAME --billing`, where the billing system's login is a person's."""
    if authorization(place.load().organizations[name]):
        token = place.sandbox.organization(name.removeprefix("demo_"))["billing"]["refresh_token"]
        said = CliRunner().invoke(app, ["connect", name, "--billing", "--refresh-token"], input=f"{token}\n")
        assert (said.exit_code, "is connected to" in said.output) == (0, True), said.output
        return True
    return False


@pytest.mark.parametrize("name", [path.stem for path in EXAMPLES if path.parent.name == "demo_billing"])
def test_verdicts_are_the_planted_truth_and_a_second_sync_writes_nothing(
    fresh_sandbox: Callable[..., Sandbox], workplace: Callable[..., Workplace], name: str
) -> None:
    place = workplace(fresh_sandbox(accounts=120, billing=["all"], trouble=0.3))
    shutil.copy(CONFIG / "demo_billing" / f"{name}.yaml", place.config)
    is_connected = connect(place, name)
    looked_at = list(look(place.load().organizations[name]))
    assert [line.text for line in looked_at if not line.ok] == []
    assert sum("is connected to" in line.text for line in looked_at) == is_connected
    first = place.sync(name)
    assert (first.exit_code, first.errors) == (0, [])
    with place.warehouse(name).connect() as con:
        found = verdicts_of(con)
    assert len(found) == len(set(found))
    assert set(found) == truth_of(place.sandbox, name.removeprefix("demo_"))
    assert first.counts["matched"] > 0
    second = place.sync(name)
    assert (second.exit_code, sum(second.written.values())) == (0, 0)
