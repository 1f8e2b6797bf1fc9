"""Questions from a model: every kind of key that a billing system's settings may require."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from sync_pipeline.billing.settings import ApiSettings, ClientLogin
from sync_pipeline.cli import asking
from sync_pipeline.cli.asking import Answers
from sync_pipeline.yaml_types.values import Name, Secret, Section, Setting, one_of


class Signed(ClientLogin):
    """By a signed token."""

    method: Literal["signed"]
    """How."""


class Keyed(Section):
    """By a key."""

    model_config = one_of("key", "key_file")

    method: Literal["keyed"]
    """How."""
    key: Secret | None = None
    """The key. Exactly one of it and key_file."""
    key_file: Setting | None = None
    """Its file. Exactly one of it and key."""


class Settings(ApiSettings):
    """A system that requires one of everything."""

    system: Literal["every"]
    """The billing system."""
    login: Annotated[Signed | Keyed, Field(discriminator="method")]
    """How the sync logs in."""
    tenant: Name
    """The tenant."""
    region: Literal["eu", "us"]
    """Where the tenant lives."""
    pages: int
    """How many."""
    live: bool
    """Whether it is the real one."""
    optional: int = 3
    """Not asked for."""


class Accepting(Answers):
    """Takes what the models would refuse: they don't know this system."""

    def put(self, at: tuple[str, ...], value: Any) -> list[str]:
        section = self.data
        for key in at[:-1]:
            section = section.setdefault(key, {})
        section[at[-1]] = value
        return []


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        (
            ["1", "", ""],
            {
                "method": "signed",
                "client_id": {"env": "ACME_EVERY_CLIENT_ID"},
                "client_secret": {"env": "ACME_EVERY_CLIENT_SECRET"},
            },
        ),
        (["keyed", "key", "$MINE"], {"method": "keyed", "key": {"env": "MINE"}}),
        (["2", "2", "key.pem"], {"method": "keyed", "key_file": "key.pem"}),
    ],
)
def test_one_of_everything(monkeypatch: pytest.MonkeyPatch, login: list[str], expected: dict[str, Any]) -> None:
    answers = Accepting(lambda: Path("acme.yaml"))
    typed = ["", *login, "T1", "us", "12", "true"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(typed) + "\n"))
    answers.section(("billing",), Settings, "ACME_EVERY", skip=("system",))
    assert answers.data["billing"] == {
        "url": {"env": "ACME_EVERY_URL"},
        "login": expected,
        "tenant": "T1",
        "region": "us",
        "pages": 12,
        "live": True,
    }


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("$ACME_ID", {"env": "ACME_ID"}),
        ("${ACME_ID}", {"env": "ACME_ID"}),
        ("{env: ACME_ID}", {"env": "ACME_ID"}),
        ("ACME_ID", "ACME_ID"),
        ("pa$$", "pa$$"),
    ],
)
def test_a_variable_is_told_from_a_value(typed: str, meant: Any) -> None:
    assert asking._setting(typed) == meant
