"""The three demo organizations, as their YAML files say, read whole from the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sync_pipeline import salesforce
from sync_pipeline.orgs import load_organizations
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.conftest import Sandbox

DEMO = Path(__file__).parents[3] / "config" / "demo"
ACCOUNTS = 'FROM account WHERE org = ? AND NOT "IsDeleted"'


@pytest.fixture(params=["stripe", "database", "file"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(sandbox: Callable[..., Sandbox]) -> Sandbox:
    return sandbox(accounts=200)


@pytest.fixture
def demo(kind: str, world: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Organization:
    login = world.organization(kind)["salesforce"]
    monkeypatch.setenv("DEMO_SALESFORCE_URL", login["url"])
    monkeypatch.setenv("DEMO_CA_FILE", world["ca_file"])
    for name in ("client_id", "client_secret", "username", "private_key_file"):
        monkeypatch.setenv(f"DEMO_{kind.upper()}_{name.upper()}", login[name])
    return load_organizations(DEMO).organizations[f"demo_{kind}"]


def test_everything_arrives(kind: str, world: Sandbox, demo: Organization, con: duckdb.DuckDBPyConnection) -> None:
    client = salesforce.connect(demo)
    with client.session:
        assert salesforce.load_organization(con, client, demo) == 1
        assert salesforce.load_fields(con, client, demo) > 0
        salesforce.load_accounts(con, client, demo)
        salesforce.load_users(con, client, demo)
        salesforce.load_contacts(con, client, demo)

    def same(sql: str, state_sql: str) -> None:
        there: list[tuple[Any, ...]] = [tuple(row) for row in world.rows(state_sql, kind)]
        assert sorted(con.sql(sql).fetchall(), key=repr) == sorted(there, key=repr)
        assert there

    field = demo.identifier.salesforce_field
    same(
        "SELECT account_id, name, identifier, owner_id, strftime(created_at, '%Y-%m-%dT%H:%M:%S') "
        "FROM salesforce_accounts",
        f'SELECT "Id", "Name", "{field}", "OwnerId", substr("CreatedDate", 1, 19) {ACCOUNTS}',
    )
    same("SELECT custom_fields ->> 'Industry' FROM salesforce_accounts", f'SELECT "Industry" {ACCOUNTS}')
    same(
        "SELECT user_id, email, is_active FROM salesforce_users",
        'SELECT "Id", "Email", "IsActive" FROM user WHERE org = ?',
    )
    same(
        "SELECT contact_id, account_id, email, phone, title, custom_fields ->> 'Language__c' FROM salesforce_contacts",
        'SELECT "Id", "AccountId", "Email", "Phone", "Title", "Language__c" FROM contact '
        'WHERE org = ? AND NOT "IsDeleted" AND "AccountId" IS NOT NULL',
    )
    assert con.sql("FROM salesforce_fields WHERE problem IS NOT NULL").fetchall() == []
    assert salesforce.identifier_is_salesforce_id(con) == (kind == "stripe")
    organization_id = world.organization(kind)["salesforce"]["organization_id"]
    assert con.sql("SELECT organization_id FROM salesforce_organization").fetchall() == [(organization_id,)]
