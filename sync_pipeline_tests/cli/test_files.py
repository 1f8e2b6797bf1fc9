"""What the YAML files say: broken ones beside good ones, none at all, and values that try to break out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
import yaml

from sync_pipeline.cli.orgs import show
from sync_pipeline.cli.running import look_after_organizations
from sync_pipeline.cli.sync import run
from sync_pipeline.definitions import build
from sync_pipeline_tests.cli.conftest import Workplace, truth_of, verdicts_of
from sync_pipeline_tests.conftest import Sandbox

EVIL = "x'; DROP TABLE account_mapping; --\"); DELETE FROM \"salesforce_accounts\" ) UNION SELECT 1 '' OR '1'='1"


@pytest.fixture
def place(fresh_sandbox: Callable[..., Sandbox], workplace: Callable[..., Workplace]) -> Workplace:
    return workplace(fresh_sandbox(accounts=30, seed=4))


def test_a_broken_file_beside_good_ones(place: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    line = place.edit("demo_stripe", "  platform: upflow", "  platform: upflows")
    (place.config / "half.yaml").write_text("name: half\nsalesforce: {domain: [", encoding="utf-8")
    loaded = place.load()
    assert set(loaded.organizations) == {"demo_database", "demo_file"}
    dg.Definitions.validate_loadable(build(loaded))
    assert run(["demo_stripe", "demo_database", "half"], everyone=False, dry_run=False, as_json=False) == 2
    said = capsys.readouterr()
    assert f"demo_stripe.yaml:{line}" in said.err
    assert "half.yaml:2" in said.err
    with place.warehouse("demo_database").connect() as con:
        assert set(verdicts_of(con)) == truth_of(place.sandbox, "database")

    look_after_organizations(loaded, place.instance)
    key = dg.AssetCheckKey(dg.AssetKey("organizations"), "organization_files_are_valid")
    record = place.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0]
    assert record.event is not None
    assert record.event.dagster_event is not None
    check = record.event.dagster_event.asset_check_evaluation_data
    assert not check.passed
    problems = check.metadata["problems"]
    assert isinstance(problems, dg.TableMetadataValue)
    assert any(f"demo_stripe.yaml:{line}" in str(problem.data["place"]) for problem in problems.records)
    assert show(as_json=False) == 2


def test_the_run_of_a_broken_organization_in_the_ui_says_what_is_wrong(place: Workplace) -> None:
    line = place.edit("demo_stripe", "  platform: upflow", "  platform: upflows")
    job = build(place.load()).resolve_job_def("sync")
    result = job.execute_in_process(partition_key="demo_stripe", instance=place.instance, raise_on_error=False)
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failures
    description = failures[0].user_failure_data.description if failures[0].user_failure_data else ""
    assert f"demo_stripe.yaml:{line}" in str(description)


def test_an_empty_folder_says_what_to_do(place: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    for file in place.config.iterdir():
        file.unlink()
    assert show(as_json=False) == 0
    assert "_example.yaml" in capsys.readouterr().out
    dg.Definitions.validate_loadable(build(place.load()))


def put(*path: str) -> Callable[[dict, object], None]:  # type: ignore[type-arg]
    """Sets the value at a place of the file."""

    def edit(data: dict, value: object) -> None:  # type: ignore[type-arg]
        for key in path[:-1]:
            data = data.setdefault(key, {})
        data[path[-1]] = value

    return edit


def query(data: dict, value: object) -> None:  # type: ignore[type-arg]
    del data["billing"]["table"]
    data["billing"]["query"] = value


ATTACKS = [
    (put("identifier", "billing_field"), EVIL),
    (put("identifier", "salesforce_field"), EVIL),
    (put("identifier", "salesforce_field"), "Id FROM User"),
    (put("import", "account_fields"), {EVIL: "Field"}),
    (put("import", "contact_fields"), {"Id FROM User": "Field"}),
    (put("export", "portal_link", "salesforce_field"), EVIL),
    (put("billing", "table"), 'customers"; DROP TABLE customers; --'),
    (put("billing", "columns"), {"name": 'name" FROM customers; DROP TABLE customers; --'}),
    (query, "SELECT * FROM customers; DROP TABLE customers"),
    (query, "DROP TABLE customers"),
    (put("name"), EVIL),
]


def test_values_that_try_to_break_out_are_refused_and_harmless(place: Workplace) -> None:
    name = "demo_database"
    assert place.sync(name).exit_code == 0
    verdicts, calls = place.rows(name, "FROM account_mapping ORDER BY ALL"), place.written_calls()
    database = Path(place.environment["DEMO_DATABASE_URL"].split("///", 1)[1])
    bytes_before = database.read_bytes()
    original = place.yaml(name).read_text(encoding="utf-8")
    for edit, value in ATTACKS:
        data = yaml.safe_load(original)
        edit(data, value)
        place.yaml(name).write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
        result = place.sync(name)
        assert result.exit_code == 2, (value, result)
        said = " ".join(result.errors)
        assert "demo_database" in said, (value, said)
        assert "Traceback" not in said
        assert database.read_bytes() == bytes_before, value
    assert place.rows(name, "FROM account_mapping ORDER BY ALL") == verdicts
    assert place.written_calls() == calls


def test_words_that_are_only_words_are_kept_as_they_are(place: Workplace) -> None:
    data = yaml.safe_load(place.yaml("demo_file").read_text(encoding="utf-8"))
    data["label"] = EVIL
    data["import"]["account_fields"] = {"Industry": EVIL}
    data["import"]["contact_fields"] = {"Language__c": f"{EVIL} 😀"}
    data["receivables"]["portal_link_template"] = "https://pay.example.com/{customer_id}?x='%20OR%201=1--"
    place.yaml("demo_file").write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    dg.Definitions.validate_loadable(build(place.load()))
    result = place.sync("demo_file")
    assert (result.exit_code, result.errors) == (0, [])
    fields = {name for (name,) in place.rows("demo_file", "SELECT name FROM receivables_fields")}
    assert fields == {EVIL, f"{EVIL} 😀"}
    with place.warehouse("demo_file").connect() as con:
        assert set(verdicts_of(con)) == truth_of(place.sandbox, "file")
    assert sum(place.sync("demo_file").written.values()) == 0
