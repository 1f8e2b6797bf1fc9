"""Which fields a billing system has: counted over every customer, for any system, whatever the YAML names."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from requests.auth import AuthBase

from sync_pipeline.billing import field_counts, fields
from sync_pipeline.billing.api import Api, ApiSource, KeyAuth, Limits
from sync_pipeline.billing.fields import Field, Survey, survey
from sync_pipeline.billing.source import Organization as AnyOrganization
from sync_pipeline.errors import ConfigurationError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.orgs.factory import make_organization

CSV = "customer_id,Name,crm,mail,since,Balance,vip,note\n" + "".join(
    f'{at},"Name {at % 7}",{f"A{at:03}" if at else " "},{at}@acme.example,2024-01-{at + 1:02},{at}.50,{"yes" if at else "no"},\n'
    for at in range(20)
)


class Pages(ApiSource):
    """A system that answers with given pages."""

    title = "Pages"
    fields = {"customer_id": ("id",), "created": ("made", "created")}  # noqa: RUF012
    without = ("object",)
    expressions = {"customer_id": "customer_id", "created_at": "make_timestamp(CAST(created AS BIGINT))"}  # noqa: RUF012
    new_key = "Get one."

    def __init__(self, *given: Sequence[dict[str, Any]]) -> None:
        self.given = given

    def url(self, org: AnyOrganization) -> str:
        return "http://127.0.0.1"

    def auth(self, org: AnyOrganization) -> AuthBase:
        return KeyAuth("key", "key")

    def limits(self, org: AnyOrganization) -> Limits:
        return Limits(1_000_000)

    def pages(self, api: Api, since: datetime | None) -> Iterator[Sequence[dict[str, Any]]]:
        yield from self.given


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Field]]:
    """The fields of records that come in pages, by name."""

    def ask(*pages: Sequence[dict[str, Any]], **more: Any) -> dict[str, Field]:
        monkeypatch.setattr(fields, "sources", lambda: {"stripe": Pages(*pages)})
        billing = {"system": "stripe", "api_key": {"env": "KEY"}}
        org = make_organization(billing=billing, identifier__billing_field=more.pop("field", "nowhere"))
        return named(survey(org, **more))

    return ask


def named(found: Survey) -> dict[str, Field]:
    assert len({field.name for field in found.fields}) == len(found.fields)
    return {field.name: field for field in found.fields}


def test_a_file_s_columns(csv_org: Callable[..., Organization], tmp_path: Path) -> None:
    found = survey(csv_org(CSV, field="no such column"))
    assert found.customers == 20
    assert found.current is None
    by_name = named(found)
    assert {name: field.type for name, field in by_name.items()} == {
        "customer_id": "number",
        "Name": "text",
        "crm": "text",
        "mail": "e-mail",
        "since": "date",
        "Balance": "decimal",
        "vip": "yes/no",
        "note": "empty",
    }
    assert [field.name for field in found.fields if field.fit == "good"] == ["customer_id", "crm"]
    crm, name = by_name["crm"], by_name["Name"]
    assert (crm.filled, crm.percent, crm.distinct, crm.repeated, crm.longest) == (19, 95.0, 19, 0, 4)
    assert (name.filled, name.distinct, name.repeated, name.fit) == (20, 7, 7, "no")
    assert not list(tmp_path.rglob("*.duckdb"))


@pytest.mark.parametrize(
    ("written", "meant"), [("crm", "crm"), ("CRM ", "crm"), ("customer_id", "id"), ("gone", None), ("metadata.x", None)]
)
def test_the_field_that_the_yaml_names_now(
    csv_org: Callable[..., Organization], written: str, meant: str | None
) -> None:
    found = survey(csv_org("id,crm\n1,A\n2,B\n", field=written))
    assert (found.current and found.current.name) == meant


def test_a_file_that_only_python_reads(csv_org: Callable[..., Organization]) -> None:
    assert survey(csv_org("id,crm\n\n1,A\r\n2,B\r\n\n3,C\n")).customers == 3


def test_what_else_is_wrong_is_said_as_ever(csv_org: Callable[..., Organization]) -> None:
    with pytest.raises(ConfigurationError, match=r"no column customer_id or id. It has: 'number', 'name'"):
        survey(csv_org("number,name\n1,A\n"))


def test_a_database_s_columns(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "billing.db")) as db, db:
        db.execute("CREATE TABLE customers (id INTEGER, number INTEGER, title TEXT)")
        db.executemany("INSERT INTO customers VALUES (?, ?, ?)", [(at, at * 10**15, "same") for at in range(1, 31)])
    billing = {"system": "database", "url": f"sqlite:///{tmp_path}/billing.db", "table": "customers"}
    found = survey(make_organization(folder=tmp_path, billing=billing, identifier__billing_field="wrong"))
    assert [(field.name, field.fit, field.longest) for field in found.fields] == [
        ("id", "good", 2),
        ("number", "good", 17),
        ("title", "no", 4),
    ]


def test_records_are_looked_into_as_the_yaml_names_them(answered: Callable[..., dict[str, Field]]) -> None:
    page = [
        {
            "object": "customer",
            "id": f"c{at}",
            "made": 1_700_000_000 + at,
            "metadata": {"crm": f"00{at}", "deep": {"er": at}, "with.dot": True},
            "tags": [at],
            "address": None if at else {"line1": None},
        }
        for at in range(40)
    ]
    found = answered(page, field="metadata.crm")
    assert {name: (field.type, field.fit) for name, field in found.items()} == {
        "id": ("text", "good"),
        "made": ("number", "no"),
        "metadata.crm": ("text", "good"),
        "metadata.deep.er": ("number", "good"),
        "metadata.with.dot": ("yes/no", "no"),
        "tags": ("list", "no"),
        "address.line1": ("empty", "no"),
    }
    assert found["made"].why_not == "a date"
    assert [name for name, field in found.items() if field.current] == ["metadata.crm"]


def test_a_customer_on_two_pages_counts_once_and_as_it_came_last(answered: Callable[..., dict[str, Field]]) -> None:
    found = answered([{"id": "a", "crm": "1"}, {"id": "b", "crm": "2"}], [{"id": "a", "crm": "2"}])
    assert (found["id"].filled, found["id"].repeated) == (2, 0)
    assert (found["crm"].filled, found["crm"].distinct, found["crm"].repeated) == (2, 1, 1)


@pytest.mark.parametrize(
    ("values", "type_", "fit", "why_not"),
    [
        ([f"x{at}" for at in range(100)], "text", "good", ""),
        ([f"x{at}" for at in range(90)] + [""] * 10, "text", "good", ""),
        ([f"x{at}" for at in range(89)] + ["\u200b "] * 11, "text", "nearly", "11 % have none"),
        ([f"x{max(at, 1)}" for at in range(100)], "text", "nearly", "1 value repeats"),
        ([f"x{at // 2}" for at in range(100)], "text", "no", "50 values repeat"),
        ([f"{at:04}" for at in range(100)], "text", "good", ""),
        ([f"2024-01-01T00:00:{at:02}Z" for at in range(100)], "date", "no", "a date"),
        ([f"/Date(17000000{at:02}000+0000)/" for at in range(100)], "date", "no", "a date"),
        ([f"x{at}".rjust(256, "x") for at in range(100)], "text", "no", "longer than 255 characters"),
        ([at + 0.5 for at in range(100)], "decimal", "no", "an amount"),
        ([float(at) for at in range(100)], "number", "good", ""),
        ([at if at % 2 else [at] for at in range(100)], "mixed", "no", "values of several types"),
        ([at if at % 2 else f"A{at}" for at in range(100)], "text", "good", ""),
        ([10**30 + at for at in range(100)], "number", "good", ""),
        ([None] * 100, "empty", "no", "empty"),
    ],
)
def test_what_could_be_the_identifier(
    answered: Callable[..., dict[str, Field]], values: list[Any], type_: str, fit: str, why_not: str
) -> None:
    field = answered([{"id": at, "value": value} for at, value in enumerate(values)])["value"]
    assert (field.type, field.fit, field.why_not) == (type_, fit, why_not)


@pytest.mark.parametrize(
    ("name", "why_not"),
    [("open_balance", "an amount"), ("lastModifiedDate", "a date"), ("mobile_phone", "a phone number")],
)
def test_numbers_that_only_their_name_tells(answered: Callable[..., dict[str, Field]], name: str, why_not: str) -> None:
    assert answered([{"id": at, name: 1_700_000_000 + at} for at in range(30)])[name].why_not == why_not


def test_values_are_shown_only_masked_and_only_if_asked_for(answered: Callable[..., dict[str, Field]]) -> None:
    page = [{"id": f"cus_{at}", "email": f"anna{at}@acme.example"} for at in range(30)]
    assert "anna" not in json.dumps([field.as_json() for field in answered(page).values()])
    shown = answered(page, samples=True)
    assert shown["email"].samples == ("a•••@a•••",) * 3
    assert shown["id"].samples == ("c•••",) * 3


def test_no_customers_at_all(answered: Callable[..., dict[str, Field]]) -> None:
    assert answered([]) == {}


def test_keys_as_many_as_customers_are_counted_and_the_best_filled_listed(
    monkeypatch: pytest.MonkeyPatch, answered: Callable[..., dict[str, Field]]
) -> None:
    monkeypatch.setattr(field_counts, "LISTED", 3)
    page = [{"id": at, "crm": f"A{at}", "metadata": {f"key {at}": at}} for at in range(50)]
    found = answered(page, field="metadata.key 49")
    assert set(found) == {"id", "crm", "metadata.key 49"}
    assert found["metadata.key 49"].current
    org = make_organization(billing={"system": "stripe", "api_key": {"env": "KEY"}}, identifier__billing_field="id")
    whole = survey(org)
    assert len(whole.fields) + whole.more == 52


def test_json_lines_are_looked_into_and_their_columns_counted_once(tmp_path: Path) -> None:
    lines = [
        {"id": at, "email": f"{at}@acme.example", "status": "active", "meta": {"crm": f"A{at}"}, f"key {at}": 1}
        for at in range(30)
    ]
    (tmp_path / "customers.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    billing = {"system": "file", "path": "customers.jsonl", "format": "jsonl"}
    found = named(survey(make_organization(folder=tmp_path, billing=billing, identifier__billing_field="meta.crm")))
    assert {name: field.filled for name, field in found.items() if not name.startswith("key ")} == {
        "id": 30,
        "email": 30,
        "status": 30,
        "meta.crm": 30,
    }
    assert found["meta.crm"].current
    assert found["key 7"].filled == 1


@pytest.mark.parametrize("samples", [False, True])
def test_wide_customers_are_counted_exactly_in_little_memory(
    monkeypatch: pytest.MonkeyPatch, answered: Callable[..., dict[str, Field]], samples: bool
) -> None:
    monkeypatch.setattr(fields, "MEMORY_LIMIT", fields.MEMORY)  # no second try
    page = [{"id": at, "custom": {f"f{n}": f"{at % (n + 1):030}" for n in range(60)}} for at in range(10_000)]
    found = answered(page, samples=samples)
    assert len(found) == 61
    for n in range(60):
        field = found[f"custom.f{n}"]
        assert (field.filled, field.distinct, field.repeated, field.longest) == (10_000, n + 1, n + 1, 30)


def test_a_table_of_many_columns_in_several_readings(csv_org: Callable[..., Organization]) -> None:
    width = 2 * field_counts.FIELDS_AT_ONCE + 1
    rows = [",".join(f"{at if n % 2 else at // 2}" for n in range(width)) for at in range(20)]
    header = ",".join(["id", *(f"f{n}" for n in range(1, width))])
    found = named(survey(csv_org("\n".join([header, *rows, ""]), field="id")))
    assert len(found) == width
    assert all(found[f"f{n}"].repeated == (0 if n % 2 else 10) for n in range(1, width))
