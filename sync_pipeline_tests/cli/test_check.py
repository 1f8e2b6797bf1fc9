"""`sync-pipeline check`: every area at once, what is found out about identifiers, and the permission set."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from sync_pipeline.cli.permission_set import write
from sync_pipeline.errors import ConfigurationError
from sync_pipeline.preflight import Line, look
from sync_pipeline_tests.cli.conftest import Workplace
from sync_pipeline_tests.conftest import Sandbox

LIVING = 'FROM account WHERE org = ? AND NOT "IsDeleted"'


@pytest.fixture
def place(sandbox: Callable[..., Sandbox], workplace: Callable[..., Workplace]) -> Iterator[Workplace]:
    """A world that every test here may take rights from; they are given back."""
    there = workplace(sandbox(accounts=120, seed=11))
    yield there
    for org in ("stripe", "database", "file"):
        permit(there, org, **{"as": "administrator"})


def permit(place: Workplace, org: str, **rights: Any) -> None:
    url = f"{place.sandbox['salesforce']['url']}/sandbox/permissions"
    assert place.sandbox.http().post(url, json={"org": org, **rights}).status_code == 200


def looked_at(place: Workplace, name: str) -> list[Line]:
    return list(look(place.load().organizations[name]))


def line_with(lines: list[Line], words: str) -> Line:
    (line,) = [line for line in lines if words in line.text]
    return line


def test_an_administrator_is_ready(place: Workplace) -> None:
    before = place.sandbox.calls("salesforce", org="database")
    lines = looked_at(place, "demo_database")
    assert all(line.ok and line.sure for line in lines)
    assert [line.area for line in lines] == ["configuration", *["salesforce"] * 6, "billing", "receivables"]
    assert "will be the organization of demo_database from its first sync on" in lines[2].text
    assert "administrator" in lines[3].text
    assert "API requests (99 %) are left today, enough for a sync" in lines[6].text
    assert place.sandbox.calls("salesforce", org="database") - before <= 12


def test_the_least_user_costs_few_calls_too_and_is_ready(place: Workplace) -> None:
    permit(place, "database", **{"as": "integration"}, sharing={"Account": "Edit"})
    before = place.sandbox.calls("salesforce", org="database")
    assert all(line.ok for line in looked_at(place, "demo_database"))
    assert place.sandbox.calls("salesforce", org="database") - before <= 14


@pytest.mark.parametrize("normalize", ["[]", "[trim, case]", "[trim, case, leading_zeros]"])
def test_identifiers_in_numbers(place: Workplace, normalize: str) -> None:
    place.edit(
        "demo_file",
        "salesforce_field: Company_Number__c",
        f"salesforce_field: Company_Number__c\n  normalize: {normalize}",
    )
    values = [row[0] for row in place.sandbox.rows(f'SELECT "Company_Number__c" {LIVING}', "file")]
    keys = []
    for value in filter(None, values):
        key = "".join(value.split()) if "trim" in normalize else value
        key = key.lower() if "case" in normalize else key
        keys.append(key.lstrip("0") or "0" if "leading_zeros" in normalize else key)
    shared = [count for count in Counter(keys).values() if count > 1]
    text = line_with(looked_at(place, "demo_file"), "Company_Number__c (string").text
    assert f"of {len(values)} accounts: {len(values) - len(keys)} have it empty, {sum(shared)} share" in text
    assert f"{sum(shared)} share {len(shared)} values" in text
    assert shared
    assert not [key for key in keys if len(key) > 3 and key in text]


def test_the_record_id_is_not_read(place: Workplace) -> None:
    line = line_with(looked_at(place, "demo_stripe"), "is the record's own id")
    assert line.ok
    routes = {row["route"] for row in place.sandbox.rows("SELECT route FROM request_log WHERE org = 'stripe'")}
    assert not [route for route in routes if route.startswith("/jobs/query")]


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("Short_Link__c", "is empty on all 120 accounts"),
        ("Notes__c", "(textarea, not"),
        ("ParentId", "(reference, not"),
    ],
)
def test_other_identifiers(place: Workplace, field: str, words: str) -> None:
    line_number = place.edit("demo_file", "salesforce_field: Company_Number__c", f"salesforce_field: {field}")
    line = line_with(looked_at(place, "demo_file"), words)
    filled = place.sandbox.rows(f"SELECT 1 {LIVING} AND coalesce(\"{field}\", '') <> ''", "file")
    assert line.ok == bool(filled)
    assert f"demo_file.yaml:{line_number}: Account.{field}" in line.text


def test_formulas_are_pointed_out(place: Workplace) -> None:
    place.edit("demo_file", "    Segment__c: Segment", "    Score__c: Score")
    line = line_with(looked_at(place, "demo_file"), "formula fields")
    assert line.ok
    assert "Account.Score__c" in line.text


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        ({"user": {"ApiEnabled": False}}, "permission API Enabled"),
        ({"as": "integration", "objects": {"Account": {"Read": False}}}, "no object Account"),
        ({"as": "integration", "objects": {"Contact": {"Read": False}}}, "no object Contact"),
        ({"as": "integration", "objects": {"Account": {"Edit": False}}}, "Give it Edit on Account"),
        ({"as": "integration", "objects": {"Account": {"ViewAllRecords": False}}}, "lacks View All Records on Account"),
        ({"as": "integration"}, "Modify All Records on Account"),
    ],
)
def test_one_right_that_lacks_hides_nothing_else(place: Workplace, rights: dict[str, Any], words: str) -> None:
    place.edit("demo_file", "billing_field: company_number", "billing_field: no_such_column")
    permit(place, "file", **rights)
    lines = looked_at(place, "demo_file")
    problem = line_with(lines, words)
    assert (problem.ok, problem.exit_code) == (False, 3)
    assert [line for line in lines if line.area == "billing" and "no_such_column" in line.text and not line.ok]
    assert [line for line in lines if line.area == "receivables" and line.ok]


def test_fields_of_other_objects_are_looked_at_where_one_is_not_there(place: Workplace) -> None:
    place.edit("demo_file", "Segment__c: Segment", "Sigment__c: Segment")
    permit(place, "file", **{"as": "integration"}, objects={"Contact": {"Read": False}})
    lines = looked_at(place, "demo_file")
    assert {line.exit_code for line in lines if not line.ok} == {2, 3}
    assert "Is it Segment__c?" in line_with(lines, "Sigment__c").text


@pytest.mark.parametrize(
    ("usage", "code", "sure", "words"),
    [
        ("70000/100000", 0, True, "30,000 of 100,000 API requests (30 %) are left today, enough for a sync."),
        ("81000/100000", 0, False, "(19 %) are left today, enough for a sync; but 80 % are used"),
        ("94950/100000", 4, True, "5,050 of 100,000 API requests (5 %) are left today; a sync may use 50 of them"),
        ("90/100", 4, True, "10 of 100 API requests (10 %) are left today; a sync may use 5 of them"),
    ],
)
def test_what_is_left_of_the_day(place: Workplace, usage: str, code: int, sure: bool, words: str) -> None:
    rights = {"done": True, "totalSize": 1, "records": [{"PermissionsModifyAllData": True}]}  # the last that is asked
    usage_header = {"Sforce-Limit-Info": f"api-usage={usage}"}
    place.fault(path="UserPermissionAccess", action="status", status=200, headers=usage_header, body=rights)
    line = line_with(looked_at(place, "demo_stripe"), words)
    assert (line.ok, line.exit_code, line.sure) == (not code, code, sure)


def test_where_the_day_is_used_up_nothing_more_is_asked(place: Workplace) -> None:
    body = {"identity": f"https://login.salesforce.com/id/00D/{'005' + '0' * 12}"}
    usage = {"Sforce-Limit-Info": "api-usage=96000/100000"}
    place.fault(path=r"/v66\.0$", action="status", status=200, headers=usage, body=body)
    line = line_with(looked_at(place, "demo_stripe"), "the sync stops at 95 %")
    assert (line.ok, line.exit_code) == (False, 4)


def test_for_people_what_is_wrong_stands_first(place: Workplace) -> None:
    permit(place, "database", **{"as": "integration"})
    said = place.run("check", "demo_database")
    assert said.code == 3, said.all
    signs = [line[:2] for line in said.out.splitlines() if "  salesforce " in line]
    assert signs == ["no", "??", "ok", "ok", "ok", "ok", "ok", "ok"]
    assert "1 problem(s). 1 thing(s) to look at yourself, marked ??." in said.out
    assert "Traceback" not in said.all


def test_the_permission_set_for_people(place: Workplace) -> None:
    said = place.run("check", "demo_file", "--permission-set", str(place.folder / "new" / "sets"))
    assert said.code == 0, said.all
    file = place.folder / "new" / "sets" / "Sync_Pipeline_demo_file.permissionset-meta.xml"
    ElementTree.parse(file)
    for words in (
        "sf project generate --name salesforce",
        f"cp {file} salesforce/force-app/main/default/permissionsets/",
        "sf project deploy start --metadata PermissionSet:Sync_Pipeline_demo_file --target-org ADMIN",
        "sf org assign permset --name Sync_Pipeline_demo_file --on-behalf-of USERNAME",
    ):
        assert words in said.out
    assert "required field" not in said.out


def test_the_permission_set_where_nobody_can_log_in(place: Workplace) -> None:
    file = place.folder / "project" / "force-app" / "Mine.permissionset-meta.xml"
    (place.folder / "project").mkdir()
    (place.folder / "project" / "sfdx-project.json").write_text("{}", encoding="utf-8")
    said = place.run("check", "demo_file", "--permission-set", str(file), "--json", DEMO_FILE_CLIENT_ID="nobody")
    assert said.code == 0, said.all
    document = json.loads(said.out)
    assert document["permission_set"] == str(file)
    assert document["commands"][0] == f"cd {place.folder / 'project'}"
    assert "PermissionSet:Mine" in document["commands"][1]
    assert len(document["unasked"]) == 1
    golden = Path(__file__).parents[1] / "salesforce" / "golden" / "Sync_Pipeline_demo_file.permissionset-meta.xml"
    assert file.read_text(encoding="utf-8") == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("set.xml", "does not end in .permissionset-meta.xml"),
        ("2_a.permissionset-meta.xml", "can't be the API name"),
        ("a__b.permissionset-meta.xml", "can't be the API name"),
        (f"{'a' * 81}.permissionset-meta.xml", "can't be the API name"),
        ("taken/x", "can't be written"),
    ],
)
def test_a_file_that_cannot_be_a_permission_set(place: Workplace, target: str, words: str) -> None:
    (place.folder / "taken").write_text("a file", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        write("demo_file", place.folder / target, as_json=False)


def test_a_permission_set_of_nobody_and_of_a_broken_file(place: Workplace) -> None:
    with pytest.raises(ConfigurationError, match=r"Those there are: .*demo_stripe"):
        write("nobody", place.folder, as_json=False)
    line = place.edit("demo_file", "owners: true", "owners: perhaps")
    said = place.run("check", "demo_file", "--permission-set", str(place.folder))
    assert said.code == 2
    assert f"demo_file.yaml:{line}" in said.err
