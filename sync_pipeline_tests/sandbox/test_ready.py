"""What the ready file says of billing systems that are reached in other ways than Stripe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.sandbox.billings import STAND_INS
from sync_pipeline.sandbox.billings.tokens import Tokens
from sync_pipeline.sandbox.building import open_state
from sync_pipeline.sandbox.options import SandboxOptions
from sync_pipeline.sandbox.ready import ready_content
from sync_pipeline.sandbox.server import served_apps
from sync_pipeline.sandbox.state import State


@pytest.fixture
def options(tmp_path: Path) -> SandboxOptions:
    return SandboxOptions(folder=tmp_path, billing=("stripe",), accounts=3)


@pytest.fixture
def state(request: pytest.FixtureRequest, options: SandboxOptions, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    """A world whose stripe is declared in another way."""
    monkeypatch.setitem(STAND_INS, "stripe", replace(STAND_INS["stripe"], **request.param))
    with closing(open_state(options)) as made:
        yield made


def said(state: State, options: SandboxOptions) -> dict[str, Any]:
    ports = {name: number for number, name in enumerate(served_apps(state, options, []), 1)}
    organization: dict[str, Any] = ready_content(state, options, ports)["organizations"]["stripe"]
    return organization


@pytest.mark.parametrize("state", [{"app": None, "credentials": dict}], indirect=True)
def test_a_system_that_the_upflow_stand_in_serves(state: State, options: SandboxOptions) -> None:
    organization = said(state, options)
    assert list(served_apps(state, options, [])) == ["salesforce", "upflow"]
    assert organization["billing"] == {**organization["upflow"], "field": "metadata.salesforce_account_id"}


@pytest.mark.parametrize(
    "state", [{"base": "/v9", "credentials": lambda: {"refresh_token": "r1", "tenant": "t"}}], indirect=True
)
def test_a_refresh_token_in_the_ready_file_is_good(state: State, options: SandboxOptions) -> None:
    billing = said(state, options)["billing"]
    assert (billing["url"], billing["refresh_token"], billing["tenant"]) == ("https://127.0.0.1:3/v9", "r1", "t")
    tokens = Tokens(state, "stripe")
    assert tokens.org_of("r1", "refresh") == "stripe"
    new = tokens.rotate("r1", 60)
    assert said(state, options)["billing"]["refresh_token"] == new
