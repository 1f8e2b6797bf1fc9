"""An organization of every billing system, end to end: from its documented login to the planted verdicts."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from sync_pipeline.billing import authorization
from sync_pipeline.billing.systems import sources
from sync_pipeline.logins.connecting import from_refresh_token
from sync_pipeline_tests.cli.conftest import Workplace, truth_of, verdicts_of
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.paths import CONFIG

EXAMPLES = sorted(CONFIG.glob("demo*/demo_*.yaml"))


def test_every_system_has_a_demo_organization() -> None:
    assert {path.stem.removeprefix("demo_") for path in EXAMPLES} == set(sources())


def connect(place: Workplace, name: str) -> None:
    """What a person does once, where the billing system's login is a person's."""
    login = place.sandbox.organization(name.removeprefix("demo_"))["billing"].get("refresh_token")
    server = authorization(place.load().organizations[name])
    if server:
        from_refresh_token(name, server, login)


@pytest.mark.parametrize("name", [path.stem for path in EXAMPLES if path.parent.name == "demo_billing"])
def test_verdicts_are_the_planted_truth_and_a_second_sync_writes_nothing(
    fresh_sandbox: Callable[..., Sandbox], workplace: Callable[..., Workplace], name: str
) -> None:
    place = workplace(fresh_sandbox(accounts=120, billing=["all"], trouble=0.3))
    shutil.copy(CONFIG / "demo_billing" / f"{name}.yaml", place.config)
    connect(place, name)
    first = place.sync(name)
    assert (first.exit_code, first.errors) == (0, [])
    with place.warehouse(name).connect() as con:
        found = verdicts_of(con)
    assert len(found) == len(set(found))
    assert set(found) == truth_of(place.sandbox, name.removeprefix("demo_"))
    assert first.counts["matched"] > 0
    second = place.sync(name)
    assert (second.exit_code, sum(second.written.values())) == (0, 0)
