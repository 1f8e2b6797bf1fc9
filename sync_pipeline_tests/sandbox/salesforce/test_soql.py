"""SOQL: what it finds, compared with what Python finds; and what it refuses, in Salesforce's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipeline.sandbox.salesforce.errors import ApiError
from sync_pipeline.sandbox.salesforce.objects import Catalog
from sync_pipeline.sandbox.salesforce.rendering import csv_rows_sql, json_rows_sql
from sync_pipeline.sandbox.salesforce.soql import compile_query, install_functions
from sync_pipeline.sandbox.state import State
from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.world import ACME, BETA, GAMMA

Find = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    filled = world.fill(tmp_path_factory.mktemp("soql"))
    yield filled
    filled.close()


@pytest.fixture(scope="module")
def find(state: State) -> Find:
    """Short names of the accounts that a condition finds, in the order of their ids."""
    names = {ACME: "acme", BETA: "beta", GAMMA: "gamma", world.DELETED: "deleted", world.LOSER: "loser"}

    def run(rest: str) -> list[str]:
        compiled = compile_query(f"SELECT Id FROM Account {rest}", Catalog(), world.ORG)
        with closing(state.reader()) as connection:
            install_functions(connection)
            rows = connection.execute(f"SELECT t0.Id {compiled.source}", compiled.parameters).fetchall()
        return [names[row[0]] for row in rows]

    return run


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("Industry = 'retail'", ["acme"]),
        ("industry != 'Retail'", ["beta", "gamma"]),  # null is a value
        ("Industry NOT IN ('Retail', 'Energy')", ["beta", "gamma"]),
        ("Industry IN ('RETAIL', null)", ["acme", "gamma"]),
        ("Industry NOT IN ('RETAIL', null)", ["beta"]),
        ("Industry = null", ["gamma"]),
        ("Industry = ''", ["gamma"]),
        ("Industry <> null", ["acme", "beta"]),
        ("NOT Industry LIKE 'RET%'", ["beta", "gamma"]),
        ("Name LIKE 'été%'", ["beta"]),
        ("Name = 'éTé & SÖHNE 🚀'", ["beta"]),
        (r"Name LIKE '50\% off\_now \\%'", ["gamma"]),
        ("Name LIKE '5_% off%'", ["gamma"]),
        (r"""Name = 'Acme \"Rockets\", Ltd.\nSecond line'""", ["acme"]),
        ("Name < 'B'", ["gamma", "acme"][::-1]),
        ("AnnualRevenue >= 1e6", ["acme"]),
        ("AnnualRevenue < 10", []),
        ("NumberOfEmployees IN (0, 12)", ["acme", "gamma"]),
        ("NumberOfEmployees = -0.0", ["gamma"]),
        ("CreatedDate = 2024-01-31T11:11:12+01:00", ["acme", "beta", "gamma"]),
        ("CreatedDate > 2024-01-31T10:11:12Z", []),
        ("CreatedDate >= 2024-01-31T10:11:12.000Z AND IsDeleted = FALSE", ["acme", "beta", "gamma"]),
        (f"Id = '{ACME[:15]}'", ["acme"]),
        (f"Id IN ('{ACME}', '{BETA[:15]}')", ["acme", "beta"]),
        (f"Id > '{ACME}'", ["beta", "gamma"]),
        (f"OwnerId = '{world.LEAVER}'", ["beta"]),
        ("Owner.Name = 'leo leaver'", ["beta"]),
        ("Owner.IsActive = false", ["beta"]),
        ("Parent.Owner.Email LIKE 'ADA%'", ["beta"]),
        ("Parent.Name = null", ["acme", "gamma"]),
        ("Parent.IsDeleted != true", ["acme", "beta", "gamma"]),
        ("(Industry = null OR Industry = 'Retail') AND NOT (Name LIKE 'Acme%')", ["gamma"]),
        ("NOT NOT Industry = 'Retail'", ["acme"]),
        ("CreatedDate < TODAY", ["acme", "beta", "gamma"]),
        ("CreatedDate >= TODAY", []),
        ("SystemModstamp > 2024-01-31T10:11:11Z AND SystemModstamp < TODAY", ["acme", "beta", "gamma"]),
        ("SystemModstamp >= LAST_N_DAYS:30", []),
    ],
)
def test_conditions(find: Find, condition: str, found: list[str]) -> None:
    assert find(f"WHERE {condition}") == found


def test_date_literals_are_periods(state: State) -> None:
    """A record an hour into each of these days, and one without a date; days are UTC's."""
    ids = [world.make_id("001", 900 + number) for number in range(5)]
    today = datetime.now(UTC).replace(hour=1, minute=0, second=0, microsecond=0)
    for record_id, days in zip(ids, (-2, -1, 0, 1, None), strict=True):
        moment = None if days is None else f"{today + timedelta(days=days):%Y-%m-%dT%H:%M:%S}.000Z"
        world.add_account(state, record_id, "Dated", org="dated", CreatedDate=moment)

    def found(condition: str) -> list[int]:
        compiled = compile_query(f"SELECT Id FROM Account WHERE {condition}", Catalog(), "dated")
        return [ids.index(row[0]) - 2 for row in state.rows(f"SELECT t0.Id {compiled.source}", *compiled.parameters)]

    assert found("CreatedDate = TODAY") == [0]
    assert found("CreatedDate != today") == [-2, -1, 1, 2]  # the last one has no date, which is not today
    assert found("CreatedDate < TODAY") == [-2, -1]
    assert found("CreatedDate <= TODAY") == [-2, -1, 0]
    assert found("CreatedDate > TODAY") == [1]
    assert found("CreatedDate >= TODAY") == [0, 1]
    assert found("CreatedDate = LAST_N_DAYS:1") == [-1, 0]
    assert found("CreatedDate = NEXT_N_DAYS:1") == found("CreatedDate = TOMORROW") == [1]
    assert found("CreatedDate = N_DAYS_AGO:2") == [-2]
    assert found("NOT CreatedDate = LAST_N_DAYS:7") == [1, 2]


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("SystemModstamp >= 2024-01-31T10:11:12Z", True),
        ("SystemModstamp > 2024-01-31T10:11:12Z AND SystemModstamp <= TODAY AND IsDeleted = false", True),
        ("SystemModstamp < TODAY", False),  # nearly all: reading them in their order is faster
        ("CreatedDate > 2024-01-31T10:11:12Z", False),
    ],
)
def test_what_changed_since_a_moment_is_found_by_the_index(state: State, condition: str, index: bool) -> None:
    compiled = compile_query(f"SELECT Id, Name FROM Account WHERE {condition}", Catalog(), world.ORG)
    plan = state.rows(f"EXPLAIN QUERY PLAN SELECT t0.Id {compiled.source}", *compiled.parameters)
    assert ("USING INDEX account_stamp" in plan[0]["detail"]) is index, plan[0]["detail"]


def test_dates_are_compared_with_fields_of_type_date(state: State) -> None:
    catalog = Catalog({("account", "segment__c"): {"type": "date"}})
    world.add_account(state, world.make_id("001", 950), "Dated", org="date", Segment__c="2024-02-29")

    def count(condition: str) -> int:
        compiled = compile_query(f"SELECT COUNT() FROM Account WHERE {condition}", catalog, "date")
        return int(state.rows(compiled.count_sql, *compiled.parameters)[0][0])

    assert [count(f"Segment__c {c}") for c in ("= 2024-02-29", "> 2024-02-28", "< 2024-02-29", "< TODAY")] == [
        1,
        1,
        0,
        1,
    ]
    for wrong in ("= 2024-02-30", "= 2024-02-29T00:00:00Z"):
        with pytest.raises(ApiError):
            count(f"Segment__c {wrong}")


def test_order_limit_offset(find: Find) -> None:
    assert find("ORDER BY Industry") == ["gamma", "beta", "acme"]
    assert find("ORDER BY Industry DESC NULLS LAST, Id") == ["acme", "beta", "gamma"]
    assert find("ORDER BY Owner.Name DESC, Name ASC NULLS FIRST LIMIT 1") == ["beta"]
    assert find("limit 2 offset 1") == ["beta", "gamma"]
    assert find("LIMIT 99999999999999999999999") == ["acme", "beta", "gamma"]
    assert find("LIMIT 0") == []


def test_names_are_found_in_any_case_and_by_alias(state: State) -> None:
    compiled = compile_query(
        "select a.iD, A.owner.NAME from aCCount a where account.name != null", Catalog(), world.ORG
    )
    assert [column.path for column in compiled.columns] == [("Id",), ("Owner", "Name")]


def test_thousands_of_conditions(find: Find) -> None:
    many = " OR ".join(f"NumberOfEmployees = {number}" for number in range(2_000))
    assert find(f"WHERE {many}") == ["acme", "gamma"]
    ids = ", ".join(f"'{world.make_id('001', number)}'" for number in range(1, 3_000))
    assert find(f"WHERE Id IN ({ids})") == ["acme", "beta", "gamma"]


@pytest.mark.parametrize(
    ("soql", "code", "words"),
    [
        ("", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
        ("SELECT", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
        ("SELECT Id FORM Account", "MALFORMED_QUERY", "ERROR at Row:1:Column:11\nunexpected token: 'FORM'"),
        ("SELECT * FROM Account", "MALFORMED_QUERY", "unexpected token: '*'"),
        ("SELECT Id FROM Account WHERE Name = 'x", "MALFORMED_QUERY", "line breaks not allowed in string literals"),
        (
            "SELECT Id FROM Account WHERE Name = 'x' OR Id = null AND Name = null",
            "MALFORMED_QUERY",
            "unexpected token: 'AND'",
        ),
        ("SELECT Id FROM Account; DROP TABLE account", "MALFORMED_QUERY", "unexpected token: ';'"),
        ("SELECT Id FROM Account -- comment", "MALFORMED_QUERY", "unexpected token: '-'"),
        ("SELECT Id FROM Account GROUP BY Id", "MALFORMED_QUERY", "unexpected token: 'GROUP'"),
        ("SELECT Id FROM Account WITH SECURITY_ENFORCED", "MALFORMED_QUERY", "unexpected token: 'WITH'"),
        ("SELECT Id FROM Account FOR VIEW", "MALFORMED_QUERY", "unexpected token: 'FOR'"),
        ("SELECT Id FROM Account ALL ROWS", "MALFORMED_QUERY", "ALL ROWS not allowed in this context"),
        ("SELECT FIELDS(ALL) FROM Account", "MALFORMED_QUERY", "unexpected token: '('"),
        ("SELECT MAX(Name) FROM Account", "MALFORMED_QUERY", "unexpected token: '('"),
        ("SELECT (SELECT Id FROM Contacts) FROM Account", "MALFORMED_QUERY", "unexpected token: '('"),
        ("SELECT Id FROM Account, Contact", "MALFORMED_QUERY", "unexpected token: ','"),
        ("SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact)", "MALFORMED_QUERY", "'SELECT'"),
        ("SELECT Id FROM Account WHERE CreatedDate = LAST_N_DAYS", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
        ("SELECT Id FROM Account WHERE CreatedDate = LAST_N_DAYS:0", "MALFORMED_QUERY", "unexpected token: '0'"),
        ("SELECT Id FROM Account WHERE CreatedDate = LAST_N_DAYS:-1", "MALFORMED_QUERY", "unexpected token: '-1'"),
        ("SELECT Id FROM Account WHERE CreatedDate = LAST_N_DAYS:x", "MALFORMED_QUERY", "unexpected token: 'x'"),
        ("SELECT Id FROM Account WHERE CreatedDate = TODAY:1", "MALFORMED_QUERY", "unexpected token: ':'"),
        (
            "SELECT Id FROM Account WHERE CreatedDate > LAST_N_YEARS:9999",
            "MALFORMED_QUERY",
            "Invalid date: LAST_N_YEARS",
        ),
        ("SELECT Id FROM Account WHERE CreatedDate IN (TODAY)", "MALFORMED_QUERY", "unexpected token: 'TODAY'"),
        ("SELECT Id FROM Account WHERE CreatedDate > THIS_FISCAL_YEAR", "MALFORMED_QUERY", "'THIS_FISCAL_YEAR'"),
        ("SELECT Id FROM Account WHERE Name = TODAY", "INVALID_FIELD", "must be of type string and should be enclosed"),
        ("SELECT Id FROM Account WHERE CreatedDate = 2024-13-01T00:00:00Z", "MALFORMED_QUERY", "Invalid datetime"),
        ("SELECT Id FROM Account WHERE CreatedDate = 0001-01-01T00:00:00+14:00", "MALFORMED_QUERY", "Invalid datetime"),
        ("SELECT Id FROM Account WHERE AnnualRevenue > null", "MALFORMED_QUERY", "unexpected token: 'null'"),
        ("SELECT Id FROM Account LIMIT -1", "MALFORMED_QUERY", "unexpected token: '-1'"),
        (r"SELECT Id FROM Account WHERE Name = '\q'", "MALFORMED_QUERY", r"Illegal character sequence '\q'"),
        (r"SELECT Id FROM Account WHERE Name LIKE '\q'", "MALFORMED_QUERY", r"Illegal character sequence '\q'"),
        ("SELECT Id, id FROM Account", "MALFORMED_QUERY", "duplicate field selected: Id"),
        ("SELECT Id FROM Account WHERE Name = '\ud800'", "MALFORMED_QUERY", "half a character"),
        ("SELECT Id FROM Account WHERE " + "(" * 3_000, "QUERY_TOO_COMPLICATED", "too complicated"),
        ("SELECT Id FROM Account WHERE Name LIKE '" + "%x" * 9_000 + "'", "QUERY_TOO_COMPLICATED", "too long"),
        ("SELECT Id FROM Lead", "INVALID_TYPE", "sObject type 'Lead' is not supported."),
        ("SELECT Id FROM sqlite_master", "INVALID_TYPE", "sObject type 'sqlite_master' is not supported."),
        (
            "SELECT Id,\n  Nope__c FROM Account",
            "INVALID_FIELD",
            "\n  Nope__c FROM Account\n  ^\nERROR at Row:2:Column:3\nNo such column 'Nope__c' on entity 'Account'.",
        ),
        ("SELECT Hidden__c FROM Account", "INVALID_FIELD", "No such column 'Hidden__c' on entity 'Account'."),
        ("SELECT org FROM Account", "INVALID_FIELD", "No such column 'org' on entity 'Account'."),
        ("SELECT Owner.Nope FROM Account", "INVALID_FIELD", "No such column 'Nope' on entity 'User'."),
        ("SELECT Nope.Name FROM Account", "INVALID_FIELD", "Didn't understand relationship 'Nope' in field path."),
        ("SELECT Id FROM Account WHERE Notes__c = 'x'", "INVALID_FIELD", "field 'Notes__c' can not be filtered"),
        ("SELECT Id FROM Account ORDER BY Notes__c", "INVALID_FIELD", "field 'Notes__c' can not be sorted"),
        ("SELECT Id FROM Account WHERE Name = 5", "INVALID_FIELD", "must be of type string and should be enclosed"),
        ("SELECT Id FROM Account WHERE NumberOfEmployees = '5'", "INVALID_FIELD", "should not be enclosed in quotes"),
        ("SELECT Id FROM Account WHERE CreatedDate = 2024-01-01", "INVALID_FIELD", "must be of type dateTime"),
        ("SELECT Id FROM Account WHERE Id = 'x'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: x"),
        (
            "SELECT Id FROM Account WHERE Id LIKE '001%'",
            "INVALID_QUERY_FILTER_OPERATOR",
            "invalid operator on id field",
        ),
        ("SELECT Id FROM Account WHERE IsDeleted > true", "INVALID_QUERY_FILTER_OPERATOR", "on boolean field"),
        ("SELECT Id FROM Account OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"),
    ],
)
def test_refusals(soql: str, code: str, words: str) -> None:
    with pytest.raises(ApiError) as caught:
        compile_query(soql, Catalog(), world.ORG)
    assert (caught.value.code, words in caught.value.message) == (code, True), caught.value.message


def quoted(text: str) -> str:
    for letter, escape in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(letter, escape)
    return f"'{text}'"


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(names=st.lists(TEXTS, min_size=1, max_size=8), wanted=TEXTS)
def test_any_text_is_found_and_printed_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], wanted: str
) -> None:
    """Whatever a text holds, it compares without regard to case, and comes out of CSV and JSON unharmed."""
    import csv
    import io
    import json

    state = State(Path(tmp_path_factory.mktemp("texts")) / "state.sqlite")
    for number, name in enumerate([*names, wanted]):
        world.add_account(state, world.make_id("001", number + 1), name)
    compiled = compile_query(f"SELECT Id, Name FROM Account WHERE Name = {quoted(wanted)}", Catalog(), world.ORG)
    install_functions(state.db)
    printed = b"".join(row[0] for row in state.rows(csv_rows_sql(compiled, ",", "\n"), *compiled.parameters))
    as_json = [json.loads(row[0])["Name"] for row in state.rows(json_rows_sql(compiled, "/x"), *compiled.parameters)]
    state.close()
    expected = [name for name in [*names, wanted] if name.casefold() == wanted.casefold()]
    assert [row[1] for row in csv.reader(io.StringIO(printed.decode(), newline=""))] == expected
    assert as_json == expected


@settings(max_examples=200, deadline=None)
@given(
    soql=st.lists(
        st.sampled_from([*"SIdName (',)=\\<>12.-:T\n\0", " NOT ", " AND ", " IN ", "null", " Id ", " Name "]),
        max_size=40,
    ).map("".join)
)
def test_nonsense_is_refused_or_run_but_never_breaks(soql: str, state: State) -> None:
    for text in (soql, f"SELECT Id FROM Account WHERE {soql}", f"SELECT Id FROM Account WHERE Name = {soql}"):
        try:
            compiled: Any = compile_query(text, Catalog(), world.ORG)
        except ApiError:
            continue
        install_functions(state.db)
        state.rows(compiled.count_sql, *compiled.parameters)
