"""The world: the same bytes for the same seed, and everything a real organization has that is awkward."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.sandbox.building import open_state
from sync_pipeline.sandbox.ids import SalesforceIds, mixed, stripe_customer_id, suffix, uuid_of
from sync_pipeline.sandbox.options import SandboxOptions
from sync_pipeline.sandbox.plants import Style, text_identifier
from sync_pipeline_tests.sandbox.records import read_customers, read_state

WORLD_TABLES = {
    "account": "",
    "contact": "",
    "user": "",
    "upflow_customer": "",
    "upflow_contact": "",
    "upflow_user": "",
    "upflow_custom_field": "",
    "billing_customer": "",
    "organizations": "org, organization_id, name, user_id, username",  # credentials are new in every folder
}


def content(folder: Path) -> dict[str, object]:
    tables = {
        name: [tuple(row) for row in read_state(folder, f'SELECT {columns or "*"} FROM "{name}"')]
        for name, columns in WORLD_TABLES.items()
    }
    files = [*folder.glob("truth/*.csv"), folder / "customers.csv"]
    return tables | {path.name: path.read_bytes() for path in files} | {"database": read_customers(folder, "database")}


def make(folder: Path, **options: object) -> Path:
    folder.mkdir(exist_ok=True)
    open_state(SandboxOptions(folder=folder, **options)).close()  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("world"), accounts=1200, seed=1)


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a", accounts=150, seed=8), make(tmp_path / "b", accounts=150, seed=8)
    assert content(first) == content(second)
    assert (first / "billing.sqlite").read_bytes() == (second / "billing.sqlite").read_bytes()


def test_another_seed_makes_another_world(tmp_path: Path) -> None:
    first, second = (
        content(make(tmp_path / "a", accounts=150, seed=8)),
        content(make(tmp_path / "b", accounts=150, seed=9)),
    )
    assert all(first[name] != second[name] for name in first)


def test_an_organization_does_not_depend_on_which_others_there_are(tmp_path: Path) -> None:
    make(tmp_path / "all", accounts=90)
    make(tmp_path / "one", accounts=90, billing=("file",))
    assert (tmp_path / "all" / "customers.csv").read_bytes() == (tmp_path / "one" / "customers.csv").read_bytes()


def test_contacts_come_none_to_four_to_an_account_and_one_is_the_oldest(world: Path) -> None:
    ages: dict[str, list[str]] = defaultdict(list)
    for row in read_state(world, "SELECT * FROM contact WHERE org = 'file' ORDER BY \"Id\""):
        ages[row["AccountId"]].append(row["CreatedDate"])
    assert set(Counter(map(len, ages.values()))) == {1, 2, 3, 4}
    assert len(ages) < 1200
    assert all(len(set(times)) == len(times) for times in ages.values())
    assert any(min(times) != times[0] for times in ages.values()), "the oldest is not always the first by id"


def test_some_contacts_have_no_address_and_some_share_one(world: Path) -> None:
    emails = [row["Email"] for row in read_state(world, "SELECT * FROM contact WHERE org = 'file'")]
    assert None in emails
    known = [email for email in emails if email]
    assert len(set(known)) < len(known)
    assert len({email.lower() for email in known}) < len(set(known)), "some differ in nothing but case"


def test_some_owners_are_inactive_and_some_unknown(world: Path) -> None:
    owners = read_state(
        world, 'SELECT u."IsActive" AS active FROM account a LEFT JOIN user u ON u.org = a.org AND u."Id" = a."OwnerId"'
    )
    assert {row["active"] for row in owners} == {0, 1, None}


def test_names_are_awkward_and_within_the_limits_of_their_fields(world: Path) -> None:
    names = [row["Name"] for row in read_state(world, "SELECT \"Name\" FROM account WHERE org = 'file'")]
    assert max(map(len, names)) == 255
    assert any('"' in name for name in names)
    assert any("🚀" in name for name in names)
    assert not any("\n" in name for name in names)
    notes = [
        row["Notes__c"] for row in read_state(world, 'SELECT "Notes__c" FROM account WHERE "Notes__c" IS NOT NULL')
    ]
    assert any("\n" in note for note in notes)
    limits = {"FirstName": 40, "LastName": 80, "Name": 121, "Email": 80, "Phone": 40, "Title": 128, "Department": 80}
    for row in read_state(world, "SELECT * FROM contact"):
        assert all(len(row[field] or "") <= limit for field, limit in limits.items())


def test_currencies_with_none_two_and_three_decimals(world: Path) -> None:
    rows = read_state(world, "SELECT currency FROM billing_customer")
    assert {"jpy", "eur", "kwd"} <= {row["currency"] for row in rows}


def test_some_billing_customers_are_archived_and_some_are_people_and_some_have_a_parent(world: Path) -> None:
    rows = {row["customer_id"]: row for row in read_state(world, "SELECT * FROM billing_customer ORDER BY position")}
    assert len(rows) / 90 < sum(row["archived"] for row in rows.values()) < len(rows) / 40
    assert len(rows) / 13 < sum(row["is_individual"] for row in rows.values()) < len(rows) / 6
    parents = {row["position"]: rows[row["parent_id"]] for row in rows.values() if row["parent_id"]}
    assert len(rows) / 60 < len(parents) < len(rows) / 27
    assert all(parent["position"] < position for position, parent in parents.items())
    assert not any(parent["is_individual"] or parent["parent_id"] for parent in parents.values())


def test_billing_customers_are_in_the_order_of_their_creation(world: Path) -> None:
    rows = read_state(world, "SELECT * FROM billing_customer ORDER BY position")
    for name in ("created", "updated"):
        times = [row[name] for row in rows]
        assert times == sorted(set(times))
    assert all(row["created"] < row["updated"] for row in rows)


def test_upflow_holds_nearly_every_billing_customer(world: Path) -> None:
    for org in ("stripe", "database", "file"):
        customers = {customer for customer, _ in read_customers(world, org)}
        rows = read_state(world, "SELECT * FROM upflow_customer WHERE org = ?", org)
        there = {row["externalId"] for row in rows}
        assert there < customers
        assert 1 <= len(customers - there) <= 8
        assert 1 <= sum(not row["portal"] for row in rows) <= 8
        contacts = Counter(
            row["customer_id"] for row in read_state(world, "SELECT * FROM upflow_contact WHERE org = ?", org)
        )
        assert set(contacts.values()) == {1, 2}
        assert contacts.keys() == {row["id"] for row in rows}


def test_some_people_are_known_to_salesforce_and_to_upflow(world: Path) -> None:
    both = read_state(
        world, 'SELECT u.email FROM upflow_contact u JOIN contact c ON c.org = u.org AND c."Email" = u.email'
    )
    assert len(both) > 50


def test_half_a_world_is_no_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process leaves behind is made anew, whole."""
    (tmp_path / "state.sqlite.new").write_bytes(b"half")
    (tmp_path / "customers.csv").write_text("customer_id\n")
    make(tmp_path, accounts=30)
    assert len(read_customers(tmp_path, "file")) >= 30
    assert not (tmp_path / "state.sqlite.new").exists()


@given(st.integers(0, 62**4), st.lists(st.integers(0, 40_000_000), min_size=2, max_size=20, unique=True))
def test_SalesforceIds_are_unique_ascending_and_carry_their_checksum(start: int, numbers: list[int]) -> None:
    make_id = SalesforceIds("003", "gK", start)
    made = [make_id(number) for number in sorted(numbers)]
    assert made == sorted(set(made))
    assert all(len(one) == 18 and suffix(one[:15]) == one[15:] for one in made)


def test_the_checksum_is_that_of_a_published_example() -> None:
    assert suffix("001IV00000hHdc7") == "YAC"


@given(st.lists(st.integers(0, 9_999_999), min_size=2, max_size=20, unique=True), st.integers(0, 2**63))
def test_other_ids_are_unique_whatever_the_dice(numbers: list[int], salt: int) -> None:
    assert len({stripe_customer_id(number, mixed(number, salt)) for number in numbers}) == len(numbers)
    assert len({stripe_customer_id(number, salt) for number in numbers}) == len(numbers)
    assert len({uuid_of(number, salt) for number in numbers}) == len(numbers)


UNIT = st.tuples(st.integers(1, 99_999_999), st.sampled_from(Style), st.integers(0, 2**32))


@given(UNIT, UNIT)
def test_no_rule_brings_the_identifiers_of_two_units_together(
    one: tuple[int, Style, int], other: tuple[int, Style, int]
) -> None:
    def bare(unit: tuple[int, Style, int]) -> str:
        return text_identifier(*unit).replace(" ", "").lower().lstrip("0")

    assert (bare(one) == bare(other)) <= (one[0] == other[0])
