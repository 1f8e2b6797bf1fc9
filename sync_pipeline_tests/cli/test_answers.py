"""Questions from the models: every kind of key that a billing system's settings may have, before one has it."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from sync_pipeline.billing.settings import ApiSettings, ClientLogin
from sync_pipeline.billing.systems.stripe import Settings as Stripe
from sync_pipeline.cli import answers
from sync_pipeline.cli.answers import Answers, pairs
from sync_pipeline.orgs import Organization
from sync_pipeline.yaml_types.shapes import ApiUrl
from sync_pipeline.yaml_types.values import Name, Secret, Section, Setting, one_of


class Signed(ClientLogin):
    """By a signed token."""

    method: Literal["signed"]
    """How."""
    redirect_uri: Setting | None = None
    """Where it comes back."""


class Keyed(Section):
    """By a key."""

    model_config = one_of("key", "key_file")

    method: Literal["keyed"]
    """How."""
    key: Secret | None = None
    """The key. Exactly one of it and key_file."""
    key_file: Setting | None = None
    """Its file. Exactly one of it and key."""


class Only(Section):
    """The only way."""

    method: Literal["only"]
    """How."""
    user: Setting
    """Who."""


class Settings(ApiSettings):
    """A system that asks for one of everything."""

    system: Literal["every"]
    """The billing system."""
    login: Annotated[Signed | Keyed, Field(discriminator="method")]
    """How the sync logs in."""
    other_login: Only
    """How it logs in elsewhere."""
    tenant: Name
    """The tenant."""
    region: Literal["eu", "us"]
    """Where the tenant lives."""
    pages: int
    """How many."""
    live: bool
    """Whether it is the real one."""
    site: ApiUrl = "https://every.example"
    """Its site."""
    few: int = 3
    """Days between."""
    old: bool = False
    """Whether old ones come too."""
    names: dict[Name, Name] = Field(default_factory=dict)
    """Other names."""
    format: Literal["a", "b"] | None = None
    """How it is written."""
    kinds: list[Literal["x", "y", "z"]] = Field(default=["x"], min_length=1)
    """Which come."""


class Every(Organization):
    """Knows the system."""

    billing: Annotated[Settings | Stripe, Field(discriminator="system")]  # type: ignore[assignment]
    """Where customers come from."""


class Accepting(Answers):
    """Nothing is wrong with any answer: the rules don't know this system."""

    def wrong(self, at: tuple[str, ...]) -> list[str]:
        return []


@pytest.fixture
def accepting(monkeypatch: pytest.MonkeyPatch) -> Accepting:
    monkeypatch.setattr(answers, "Organization", Every)
    found = Accepting()
    found.put(("name",), "acme")
    return found


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        (
            ["1", "", "", ""],
            {
                "method": "signed",
                "client_id": {"env": "ACME_EVERY_CLIENT_ID"},
                "client_secret": {"env": "ACME_EVERY_CLIENT_SECRET"},
            },
        ),
        (
            ["signed", "my app", "$MINE", "redirect_uri", "https://here.example"],
            {
                "method": "signed",
                "client_id": "my app",
                "client_secret": {"env": "MINE"},
                "redirect_uri": "https://here.example",
            },
        ),
        (["keyed", "key", "{env: MINE}"], {"method": "keyed", "key": {"env": "MINE"}}),
        (["2", "2", "key.pem"], {"method": "keyed", "key_file": "key.pem"}),
        (["2", "key_file", "", "key", ""], {"method": "keyed", "key": {"env": "ACME_EVERY_KEY"}}),  # thought again
    ],
)
def test_one_of_everything(
    monkeypatch: pytest.MonkeyPatch, accepting: Accepting, login: list[str], expected: dict[str, Any]
) -> None:
    options = ["few", "12", "old", "yes", "names", "a=b, c=d", "format", "b", "kinds", "y, z", "site", "", ""]
    typed(monkeypatch, "every", "https://x.example", *login, "$WHO", "T1", "us", "12", "yes", *options)
    accepting.key(("billing",))
    assert accepting.data["billing"] == {
        "system": "every",
        "url": "https://x.example",
        "login": expected,
        "other_login": {"method": "only", "user": {"env": "WHO"}},
        "tenant": "T1",
        "region": "us",
        "pages": 12,
        "live": True,
        "few": 12,
        "old": True,
        "names": {"a": "b", "c": "d"},
        "format": "b",
        "kinds": ["y", "z"],
    }


def test_what_a_section_lacks_as_a_whole_is_asked_for_among_what_may_be_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], accepting: Accepting
) -> None:
    def wrong(at: tuple[str, ...]) -> list[str]:
        complete = "ca_file" in accepting.data.get("billing", {})
        return [] if complete or at != ("billing",) else ["billing: no ca_file."]

    accepting.put(("billing", "system"), "stripe")
    monkeypatch.setattr(accepting, "wrong", wrong)
    typed(monkeypatch, "", "", "ca_file", "ca.pem", "")
    accepting.key(("billing",))
    assert accepting.data["billing"]["ca_file"] == "ca.pem"
    assert capsys.readouterr().err.count("no ca_file") == 1


@pytest.mark.parametrize("secret", ["sk_live_abcdefgh", "a8ebca7021be", "12AB", "pa$$word", "$secret", "two words"])
def test_a_secret_is_refused_where_its_variable_s_name_is_asked_for_and_shown_nowhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], secret: str
) -> None:
    found = Answers()
    found.put(("name",), "acme")
    found.put(("billing", "system"), "stripe")
    typed(monkeypatch, secret, "", "")
    found.key(("billing",))
    assert found.data["billing"] == {"system": "stripe", "api_key": {"env": "ACME_STRIPE_KEY"}}
    said = capsys.readouterr().err
    assert "The secret itself is not asked for" in said
    assert secret not in said


def test_a_variable_that_is_set_may_have_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("stripe_key", "x")
    assert answers._variable_name("stripe_key") == "stripe_key"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("$ACME_ID", {"env": "ACME_ID"}),
        ("${ACME_ID}", {"env": "ACME_ID"}),
        ("{env: ACME_ID}", {"env": "ACME_ID"}),
        ("ACME_ID", "ACME_ID"),
        ("pa$$", "pa$$"),
    ],
)
def test_a_variable_is_told_from_a_value(written: str, meant: Any) -> None:
    assert answers._setting(written) == meant


@pytest.mark.parametrize("answer", ["Industry", "a=b, a=c", "a=b,c"])
def test_what_is_no_pairs_is_refused(answer: str) -> None:
    with pytest.raises(ValueError, match="Allowed: pairs"):
        pairs(answer)
