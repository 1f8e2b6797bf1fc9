"""The NetSuite stand-in: its logins by clients of others, SuiteQL and its refusals, and records held to the vendor's fields."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import jwt
import pytest
import requests
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse
from requests_oauthlib import OAuth1

from sync_pipeline.billing import customer_url, load_customers
from sync_pipeline.errors import ReconnectError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.sandbox.billings.suiteql import Table, UnknownQuery, parse
from sync_pipeline.warehouse import Warehouse
from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.contracts import specification
from sync_pipeline_tests.orgs.factory import make_organization

ZONE = ZoneInfo("America/Los_Angeles")
ACCOUNTS = 1500
SUITEQL, TOKEN = "/services/rest/query/v1/suiteql", "/services/rest/auth/oauth2/v1/token"
SandboxFactory = Callable[..., Sandbox]
OF_SUITEQL = {"altname"}
"""† Columns that only SuiteQL has."""


class NetSuite:
    """A client as others would write it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.login = sandbox.organization("netsuite")["billing"]
        self.url = self.login["url"]
        self.http = sandbox.http()
        self.http.headers["Prefer"] = "transient"
        self.http.auth = self.signed()

    def signed(self, **changed: str) -> OAuth1:
        login = self.login | changed
        keys = (login[name] for name in ("consumer_key", "consumer_secret", "token_id", "token_secret"))
        return OAuth1(*keys, signature_method="HMAC-SHA256", realm=login["account"])

    def ask(self, query: str, **params: Any) -> requests.Response:
        return self.http.post(self.url + SUITEQL, json={"q": query}, params=params, timeout=10)

    def items(self, query: str, **params: Any) -> list[dict[str, Any]]:
        answer = self.ask(query, **params)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    def token(self, *, key: str | None = None, kid: str | None = None, **changed: Any) -> requests.Response:
        now = int(time.time())
        claims = {"iss": self.login["client_id"], "scope": ["rest_webservices"], "aud": self.url + TOKEN}
        claims |= {"iat": now, "exp": now + 3600} | changed
        header = {"kid": kid or self.login["certificate_id"]}
        assertion = jwt.encode(claims, key or self.login["private_key"], algorithm="ES256", headers=header)
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion,
        }
        return requests.post(self.url + TOKEN, data=form, verify=self.http.verify, timeout=10)


@pytest.fixture
def world(sandbox: SandboxFactory) -> Sandbox:
    return sandbox(accounts=ACCOUNTS, billing=["netsuite"])


@pytest.fixture
def netsuite(world: Sandbox) -> NetSuite:
    return NetSuite(world)


@pytest.fixture
def org(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Organization]:
    """The connector's organization, by either login."""

    def make(world: Sandbox, *, tba: bool = False, **changed: str) -> Organization:
        login = world.organization("netsuite")["billing"] | changed
        for name in ("private_key", "consumer_secret", "token_secret"):
            monkeypatch.setenv(f"NS_{name}", login[name])
        names = ("consumer_key", "consumer_secret", "token_id", "token_secret") if tba else ()
        names = names or ("client_id", "certificate_id", "private_key")
        settings: dict[str, Any] = {
            name: login[name] if name.endswith(("id", "_key")) and name != "private_key" else {"env": f"NS_{name}"}
            for name in names
        }
        billing = {
            "system": "netsuite",
            "account": login["account"],
            "url": login["url"],
            "ca_file": world["ca_file"],
            "user_timezone": ZONE.key,
            "login": {"method": "tba" if tba else "certificate", **settings},
        }
        return make_organization(folder=tmp_path / "config", billing=billing, identifier__billing_field=login["field"])

    return make


@pytest.fixture
def con(tmp_path: Path) -> Any:
    with Warehouse(tmp_path / "warehouse", "acme").connect() as connection:
        yield connection


@pytest.mark.parametrize("tba", [False, True])
def test_the_connector_reads_every_customer(
    *, world: Sandbox, org: Callable[..., Organization], con: duckdb.DuckDBPyConnection, tba: bool
) -> None:
    before = world.calls("netsuite")
    configured = org(world, tba=tba)
    count = load_customers(con, configured)
    assert world.calls("netsuite") - before <= -(-count // 1000) + 3
    with world.truth["netsuite"].open(newline="") as file:
        truth = {row["record_id"]: row for row in csv.DictReader(file) if row["side"] == "billing"}
    rows = world.rows("SELECT * FROM billing_customer WHERE org = 'netsuite' AND NOT deleted")
    found = {row[0]: row[1:] for row in con.execute(
        "SELECT customer_id, identifier, currency, balance::DOUBLE, status, parent_id, is_individual, epoch(updated_at)"
        " FROM billing_customers").fetchall()}  # fmt: skip
    assert found.keys() == truth.keys()
    assert {row["parent_id"] for row in rows} - {None}
    for row in rows:
        identifier, currency, balance, status, parent, person, updated = found[row["customer_id"]]
        assert (identifier or None, parent, person) == (
            row["identifier"] or None,
            row["parent_id"],
            bool(row["is_individual"]),
        )
        assert currency == row["currency"].upper()
        assert (balance > 0) == (row["minor_units"] > 0)
        assert status == ("archived" if row["archived"] else "active")
        assert updated == row["updated"]
    url = customer_url(configured, next(iter(found)))
    assert url
    assert world.http().get(url, timeout=10).status_code == 200
    assert world.http().get(url + "0000", timeout=10).status_code == 404


def test_changes_and_deletions_reach_the_warehouse(
    fresh_sandbox: SandboxFactory, org: Callable[..., Organization], con: duckdb.DuckDBPyConnection
) -> None:
    world = fresh_sandbox(accounts=50, billing=["netsuite"])
    configured = org(world)
    count = load_customers(con, configured)
    one, other = (row["customer_id"] for row in world.rows("SELECT customer_id FROM billing_customer LIMIT 2"))
    now = int(time.time())
    world.change("UPDATE billing_customer SET name = 'New', updated = ? WHERE customer_id = ?", now, one)
    assert load_customers(con, configured) == count
    assert con.execute("SELECT changed FROM billing_reads").fetchone() == (1,)
    assert con.execute("SELECT name FROM billing_customers WHERE customer_id = ?", [one]).fetchone() == ("New",)
    world.change("UPDATE billing_customer SET deleted = 1 WHERE customer_id = ?", other)
    assert load_customers(con, configured) == count - 1


@pytest.mark.parametrize(
    ("tba", "changed"),
    [
        (False, {"client_id": "another"}),
        (False, {"certificate_id": "another"}),
        (True, {"account": "7654321"}),
        (True, {"consumer_secret": "wrong"}),
        (True, {"token_id": "another"}),
    ],
)
def test_a_login_that_is_none(
    *,
    world: Sandbox,
    org: Callable[..., Organization],
    con: duckdb.DuckDBPyConnection,
    tba: bool,
    changed: dict[str, str],
) -> None:
    with pytest.raises(ReconnectError, match="NetSuite refuses the login"):
        load_customers(con, org(world, tba=tba, **changed))


def test_a_certificate_that_has_expired_and_a_limit(
    fresh_sandbox: SandboxFactory, org: Callable[..., Organization], con: duckdb.DuckDBPyConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    world = fresh_sandbox(accounts=5, billing=["netsuite"])
    world.change("UPDATE billing_login SET value = '1' WHERE name = 'certificate_valid_until'")
    with pytest.raises(ReconnectError, match="the certificate has not expired"):
        load_customers(con, org(world))
    world.stop()
    again = world.restart("--billing-per-minute", "1")
    monkeypatch.setattr("sync_pipeline.http.BACKOFF_SECONDS", 0.001)
    with pytest.raises(TransientError, match="Concurrent request limit exceeded"):
        load_customers(con, org(again, tba=True))


def test_a_token_for_who_has_signed(netsuite: NetSuite) -> None:
    given = netsuite.token()
    assert given.status_code == 200
    netsuite.http.auth = None
    netsuite.http.headers["Authorization"] = f"Bearer {given.json()['access_token']}"
    assert netsuite.items("SELECT id FROM customer", limit=1)
    netsuite.http.headers["Authorization"] += "x"
    assert netsuite.ask("SELECT id FROM customer").json()["o:errorDetails"][0]["o:errorCode"] == "INVALID_LOGIN"


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": int(time.time()) - 1},
        {"exp": int(time.time()) + 9000},
        {"aud": "https://elsewhere.example"},
        {"scope": ["restlets"]},
        {"iss": "another"},
        {"kid": "another"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_no_token_for_others(netsuite: NetSuite, changed: dict[str, Any]) -> None:
    answer = netsuite.token(**changed)
    assert (answer.status_code, answer.json()) == (401, {"error": "invalid_client"})


def test_a_signature_is_good_once_and_for_its_request(netsuite: NetSuite) -> None:
    request = requests.Request("POST", netsuite.url + SUITEQL, json={"q": "SELECT id FROM customer"})
    request.params, request.headers, request.auth = {"limit": 1}, {"Prefer": "transient"}, netsuite.signed()
    prepared = request.prepare()
    plain = requests.Session()
    plain.trust_env = False
    sent = [plain.send(prepared, verify=netsuite.http.verify, timeout=10) for _ in range(2)]
    prepared = request.prepare()
    prepared.url = str(prepared.url).replace("limit=1", "limit=2")
    sent.append(plain.send(prepared, verify=netsuite.http.verify, timeout=10))
    assert [answer.status_code for answer in sent] == [200, 401, 401]


def test_pages(netsuite: NetSuite) -> None:
    total = int(netsuite.items("SELECT COUNT(*) AS n FROM customer")[0]["n"])
    first = netsuite.ask("SELECT c.id, c.email FROM customer c ORDER BY c.id DESC", limit=1000).json()
    assert (first["count"], first["hasMore"], first["totalResults"], first["offset"]) == (1000, True, total, 0)
    assert {link["rel"] for link in first["links"]} == {"next", "self"}
    last = netsuite.ask("SELECT id FROM customer ORDER BY id DESC", limit=1000, offset=1000).json()
    assert (last["count"], last["hasMore"]) == (total - 1000, False)
    ids = [int(item["id"]) for item in first["items"] + last["items"]]
    assert ids == sorted(set(ids), reverse=True)
    assert len(ids) == total
    assert not any(value is None for item in first["items"] for value in item.values())


def test_the_ceiling(netsuite: NetSuite) -> None:
    assert netsuite.ask("SELECT id FROM customer", limit=1000, offset=99_000).status_code == 200
    beyond = netsuite.ask("SELECT id FROM customer", limit=1000, offset=100_000)
    assert (beyond.status_code, beyond.json()["title"]) == (400, "Bad Request")


def test_conditions(netsuite: NetSuite) -> None:
    every = netsuite.items("SELECT * FROM customer", limit=1000)
    middle = int(every[500]["id"])
    found = netsuite.items(f"SELECT id FROM customer WHERE id > {middle} AND isinactive = 'T' ORDER BY id", limit=1000)
    assert found
    assert all(int(item["id"]) > middle for item in found)
    assert not netsuite.items("SELECT id FROM customer WHERE id IS NULL")
    assert not netsuite.items("SELECT id FROM customer WHERE email = 'O''Hara' AND id >= -1")
    text = netsuite.items(
        "SELECT TO_CHAR(datecreated, 'YYYY-MM-DD HH24:MI:SS') AS made, datecreated FROM customer", limit=1
    )
    made = datetime.fromisoformat(text[0]["made"])
    assert text[0]["datecreated"] == made.strftime("%d.%m.%Y")
    same = f"datecreated = TO_DATE('{made}', 'YYYY-MM-DD HH24:MI:SS')"
    assert len(netsuite.items(f"SELECT id FROM customer WHERE {same}")) == 1


@pytest.mark.parametrize(
    "query",
    [
        "",
        "DELETE FROM customer",
        "SELECT id FROM account",
        "SELECT shoesize FROM customer",
        "SELECT id FROM customer; SELECT 1",
        "SELECT id, COUNT(*) FROM customer",
        "SELECT id FROM customer WHERE id > 'x' OR id < 3",
        "SELECT id FROM customer WHERE lastmodifieddate > '24.11.2026'",
        "SELECT id FROM customer WHERE lastmodifieddate > TO_DATE('24.11.2026', 'YYYY-MM-DD')",
        "SELECT TO_CHAR(lastmodifieddate, 'Day') FROM customer",
        "SELECT TO_CHAR(email, 'YYYY') FROM customer",
        "SELECT id FROM customer LIMIT 5",
        "SELECT other.id FROM customer",
        "SELECT id FROM customer WHERE id >",
        "SELECT id FROM customer WHERE id = 1 --",
    ],
)
def test_what_is_not_known_is_refused(netsuite: NetSuite, query: str) -> None:
    answer = netsuite.ask(query)
    assert answer.status_code == 400
    assert answer.json()["o:errorDetails"][0]["o:errorCode"] == "INVALID_PARAMETER"


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"params": {"limit": 1001}}, 400),
        ({"params": {"limit": 10, "offset": 5}}, 400),
        ({"headers": {"Prefer": "nothing"}}, 400),
        ({"json": {"query": "SELECT id FROM customer"}}, 400),
        ({"json": ["SELECT id FROM customer"]}, 400),
        ({"path": "/services/rest/record/v1/customer"}, 404),
        ({"method": "GET"}, 405),
    ],
)
def test_requests_that_are_refused(netsuite: NetSuite, how: dict[str, Any], status: int) -> None:
    how = {"json": {"q": "SELECT id FROM customer"}} | how
    answer = netsuite.http.request(
        how.pop("method", "POST"), netsuite.url + how.pop("path", SUITEQL), timeout=10, **how
    )
    assert (answer.status_code, answer.json()["status"]) == (status, status)


def test_a_condition_is_never_text_of_sqlite() -> None:
    table = {"t": Table({"a": "a"})}
    query = parse("SELECT a FROM t WHERE a = 'x'' OR 1=1 --'", table, ZONE)
    assert (query.where, query.values) == (["a = ?"], ["x' OR 1=1 --"])
    with pytest.raises(UnknownQuery):
        parse("SELECT a FROM t WHERE a = 1) UNION SELECT 1", table, ZONE)


def as_record(item: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    """A row of SuiteQL as the record that the vendor describes; KeyError for a column that no field is."""
    names = {name.lower(): name for name in properties}
    record = {}
    for column, value in item.items():
        if column not in OF_SUITEQL and not column.startswith("custentity"):
            record[names[column]] = as_typed(value, properties[names[column]])
    return record


def as_typed(value: str, declared: dict[str, Any]) -> object:
    if declared.get("type") == "boolean":
        return {"T": True, "F": False}[value]
    if declared.get("type") == "number":
        return float(value)
    if declared.get("format") == "date-time":
        return datetime.strptime(value, "%d.%m.%Y").replace(tzinfo=ZONE).isoformat()
    return {"id": value} if "$ref" in declared else value


def test_records_have_the_vendor_s_fields(netsuite: NetSuite) -> None:
    """SuiteQL has no contract; the record of the same customer has, and its fields are these in small letters."""
    contract = specification("netsuite_record_customer_from_pypi.json")
    properties = contract["components"]["schemas"]["Customer"]["properties"]
    api = OpenAPI.from_dict(contract | {"servers": [{"url": netsuite.url}]})

    def hold(record: dict[str, Any]) -> None:
        answer = json.dumps({"items": [record], "links": [], "count": 1, "hasMore": False, "offset": 0}).encode()
        api.validate_response(MockRequest(netsuite.url, "get", "/customer"), MockResponse(answer))

    records = [
        as_record(item, properties)
        for item in netsuite.items("SELECT * FROM customer", limit=50)
        if not item.pop("links")
    ]
    assert {"id", "entityId", "companyName", "balance", "isInactive", "currency", "parent"} <= {
        n for r in records for n in r
    }
    for record in records:
        hold(record)
    with pytest.raises(OpenAPIError):
        hold(records[0] | {"balance": "much"})
    with pytest.raises(KeyError):
        as_record({"shoesize": "43"}, properties)
