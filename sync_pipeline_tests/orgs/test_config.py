"""The files that ship: three demo organizations, one example, one schema."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.orgs import json_schema, load_organizations, unset_variables
from sync_pipeline.orgs.__main__ import SCHEMA_FILE, rendered
from sync_pipeline_tests.orgs.factory import load

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config/orgs/_example.yaml"
SHIPPED = [*sorted((ROOT / "config/demo").glob("*.yaml")), EXAMPLE]
SWITCHED_OFF = re.compile(r"^( *)#(?! \S|$)", re.M)
"""`#key: value`, not `# prose`."""


def test_the_demo_shows_the_three_ways_to_choose_an_identifier() -> None:
    loaded = load_organizations(ROOT / "config/demo")
    assert loaded.problems == []
    assert {
        (
            name,
            org.billing.system,
            org.identifier.billing_field,
            org.identifier.salesforce_field,
            org.receivables.platform,
        )
        for name, org in loaded.organizations.items()
    } == {
        ("demo_stripe", "stripe", "metadata.salesforce_account_id", "Id", "upflow"),
        ("demo_database", "database", "customer_id", "Billing_Id__c", "warehouse"),
        ("demo_file", "file", "company_number", "Company_Number__c", "warehouse"),
    }
    logins = {name: org.salesforce.login.method for name, org in loaded.organizations.items()}
    assert logins == {"demo_stripe": "client_credentials", "demo_database": "client_credentials", "demo_file": "jwt"}
    assert len({org.schedule.cron for org in loaded.organizations.values()}) == 3
    assert len({org.schedule.timezone for org in loaded.organizations.values()}) == 3


def test_the_demo_asks_the_environment_for_what_depends_on_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_organizations(ROOT / "config/demo")
    problems = [problem for org in loaded.organizations.values() for problem in unset_variables(org)]
    asked = {match[0] for problem in problems if (match := re.search(r"DEMO_\w+", problem.message))}
    assert asked == {
        "DEMO_SALESFORCE_URL", "DEMO_CA_FILE", "DEMO_STRIPE_URL", "DEMO_STRIPE_KEY", "DEMO_UPFLOW_URL",
        "DEMO_UPFLOW_KEY", "DEMO_UPFLOW_SECRET", "DEMO_DATABASE_URL", "DEMO_CSV_FILE",
        "DEMO_FILE_USERNAME", "DEMO_FILE_PRIVATE_KEY_FILE",
        "DEMO_STRIPE_CLIENT_ID", "DEMO_DATABASE_CLIENT_ID", "DEMO_FILE_CLIENT_ID",
        "DEMO_STRIPE_CLIENT_SECRET", "DEMO_DATABASE_CLIENT_SECRET",
    }  # fmt: skip
    for name in asked:
        monkeypatch.setenv(name, "x")
    assert [problem for org in loaded.organizations.values() for problem in unset_variables(org)] == []


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_editors_find_the_schema(file: Path) -> None:
    first = file.read_text("utf-8").partition("\n")[0]
    assert first == "# yaml-language-server: $schema=../org.schema.json"
    assert (file.parent / "../org.schema.json").resolve() == ROOT / SCHEMA_FILE


def test_the_example_is_not_read_but_right(tmp_path: Path) -> None:
    assert "acme" not in load_organizations(EXAMPLE.parent).organizations
    loaded = load(tmp_path, EXAMPLE.read_text("utf-8"))
    assert loaded.problems == []
    assert list(loaded.organizations) == ["acme"]


def alternatives() -> list[str]:
    """The example's text with one switched-off block switched on instead of what it is another choice for."""
    text = EXAMPLE.read_text("utf-8")
    texts = []
    for block in re.finditer(r"(?:^ *#(?! \S|\n).*\n|^ *#  *# .*\n)+", text, re.M):
        on = SWITCHED_OFF.sub(r"\1", block[0])
        rest = text[: block.start()] + text[block.end() :]
        if on[0] != " ":  # a whole section: its other form goes
            section = on.partition("\n")[0]
            rest = re.sub(rf"^{section}\n(?:(?: .*)?\n)*?(?=^[^ \n])", "", rest, count=1, flags=re.M)
            texts.append(rest + on)
        else:
            texts.append(text[: block.start()] + on + text[block.end() :])
    return texts


@pytest.mark.parametrize("text", alternatives())
def test_what_the_example_has_switched_off_is_right_too(tmp_path: Path, text: str) -> None:
    assert [str(problem) for problem in load(tmp_path, text).problems] == []


def test_the_example_shows_every_key() -> None:
    text = EXAMPLE.read_text("utf-8")
    assert len(alternatives()) >= 10
    for definition in [json_schema(), *json_schema()["$defs"].values()]:
        for key in definition["properties"]:
            assert re.search(rf"\b{key}: ?", text), key


def test_the_schema_is_current() -> None:
    written = (ROOT / SCHEMA_FILE).read_text("utf-8")
    assert written == rendered(), "run `python -m sync_pipeline.orgs` and commit config/org.schema.json"


def test_the_schema_helps_editors() -> None:
    schema: dict[str, Any] = json.loads(rendered())
    assert "import" in schema["properties"]
    assert "imports" not in schema["properties"]
    assert schema["additionalProperties"] is False
    for name, definition in {"": schema, **schema["$defs"]}.items():
        assert definition.get("description"), name
        for key, value in definition["properties"].items():
            referred = schema["$defs"].get(value.get("$ref", "").rpartition("/")[2], {})
            assert value.get("description") or referred.get("description"), f"{name}.{key}"
