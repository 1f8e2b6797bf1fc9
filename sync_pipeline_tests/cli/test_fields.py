"""`sync-pipeline billing fields`: against the sandbox, on terminals of two widths, before the identifier is right."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from rich.console import Console

from sync_pipeline.cli import fields
from sync_pipeline.cli.fields import show
from sync_pipeline_tests.cli.conftest import Workplace
from sync_pipeline_tests.conftest import Sandbox

IDENTIFIERS = {
    "demo_stripe": "metadata.salesforce_account_id",
    "demo_database": "customer_id",
    "demo_file": "company_number",
}


@pytest.fixture
def place(sandbox: Callable[..., Sandbox], workplace: Callable[..., Workplace]) -> Workplace:
    return workplace(sandbox(accounts=40, seed=9))


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_every_demo_names_a_field_that_is_there(
    place: Workplace, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(name, samples=False, as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    (current,) = (field for field in document["fields"] if field["current"])
    assert current["name"] == document["billing_field"] == IDENTIFIERS[name]
    assert current["percent"] > 80
    assert all(field["filled"] <= document["customers"] for field in document["fields"])
    assert not any(field["samples"] for field in document["fields"])
    assert not (place.data / "warehouse").exists()


def test_it_fits_a_terminal_of_80_columns_and_uses_a_wide_one(
    place: Workplace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(width: int, *, samples: bool) -> tuple[str, str]:
        monkeypatch.setattr(fields, "out", Console(highlight=False, soft_wrap=True, width=width))
        assert show("demo_stripe", samples=samples, as_json=False) == 0
        return capsys.readouterr()

    place.edit("demo_stripe", "billing_field: metadata.salesforce_account_id", "billing_field: metadata")
    narrow, complaint = said(80, samples=False)
    assert max(map(len, narrow.partition("* could be")[0].splitlines())) <= 80
    assert "no customer has the field 'metadata'" in complaint
    assert "an e-mail address" not in narrow
    wide, _ = said(160, samples=True)
    assert all(words in wide for words in ("metadata.salesforce_account_id", "an e-mail address", "•••"))
    assert "@example" not in narrow + wide


def test_errors_are_said_as_everywhere(place: Workplace) -> None:
    refused = place.run("billing", "fields", "demo_stripe", DEMO_STRIPE_KEY="sk_test_wrong")
    assert refused.code == 3
    assert "demo_stripe.yaml" in refused.err
    assert "Traceback" not in refused.all
    assert "sk_test_wrong" not in refused.all
