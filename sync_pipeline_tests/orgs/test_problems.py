"""What each mistake is answered with: the line of the key, what is wrong, what is allowed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sync_pipeline_tests.orgs.factory import VALID, load, make_organization, merged

STRIPE = {"system": "stripe", "api_key": {"env": "KEY"}}
DATABASE = {"system": "database", "url": "sqlite:///customers.db", "table": "customers"}
BROWSER = {"method": "browser", "client_id": "x"}
JWT = {"method": "jwt", "client_id": "id", "username": "sync@acme.example", "private_key_file": "key.pem"}
JWT_ENV = {key: value for key, value in JWT.items() if key != "private_key_file"}
UPFLOW = {"platform": "upflow", "api_key": {"env": "KEY"}, "api_secret": {"env": "SECRET"}}
XERO = {
    "system": "xero",
    "login": {"method": "client_credentials", "client_id": "x", "client_secret": {"env": "SECRET"}},
}
BOTH = {
    "billing": {"system": "upflow", "api_key": {"env": "KEY"}, "api_secret": {"env": "SECRET"}},
    "receivables": UPFLOW,
    "identifier__billing_field": "customFields.CRM id",
}
IDS = {"billing_field": "x", "salesforce_field": "Id"}


def line_of(path: Path, key: str) -> int:
    """The line that writes `key: `, `- key` or the item `key`; the first of several."""
    return next(
        number
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if line.strip().removeprefix("- ").strip("'\"").startswith(key)
    )


def problems_of(folder: Path, **overrides: Any) -> list[str]:
    return [str(problem) for problem in load(folder, merged(**overrides)).problems]


@pytest.mark.parametrize(
    ("overrides", "key", "says"),
    [
        # Keys
        ({"scedule": {}}, "scedule", "scedule is no key. Is it schedule? Allowed: name, label, salesforce, billing"),
        ({"timezone": "UTC"}, "timezone", "It belongs under schedule."),
        ({"schedule": {"Time-Zone": "UTC"}}, "Time-Zone", "Is it timezone? Allowed: cron, timezone."),
        ({"billing__api_key": {"env": "X"}}, "api_key", "is no key under billing. It belongs to chargebee, "),
        ({"salesforce__login__username": "x"}, "username", "It belongs to jwt."),
        ({"name": None}, "salesforce", "name: this key is missing. Short name, in lower-case letters"),
        ({"identifier__billing_field": None}, "identifier", "identifier.billing_field: this key is missing"),
        ({"billing": {"path": "x"}}, "billing", "system is missing, which says what"),
        ({"billing__system": "strip"}, "system", "Is it stripe? Allowed: "),
        ({"salesforce__login__method": "JWT"}, "method: ", "Is it jwt? Allowed: client_credentials, jwt, browser."),
        ({"receivables": "upflow"}, "receivables", "keys with values belong here, not text"),
        ({"import": ["owners"]}, "import", "not a list. Allowed: owners, contacts, account_fields, contact_fields."),
        # Values
        ({"name": "Acme SA"}, "name", "Is it acme_sa? Allowed: up to 63 lower-case letters, digits and underscores"),
        ({"name": "a" * 64}, "name", "up to 63"),
        ({"name": "acme\n"}, "name", "lower-case"),
        ({"label": ""}, "label", "it is empty"),
        ({"imports__owners": "yes"}, "owners", "'yes' is not possible. Allowed: true, false."),
        ({"imports__owners": 1}, "owners", "1 is not possible. Allowed: true, false."),
        ({"identifier__normalize": "trim"}, "normalize", "a list belongs here"),
        ({"identifier__normalize": ["trimm"]}, "trimm", "Is it trim? Allowed: trim, case, leading_zeros."),
        ({"receivables": {**UPFLOW, "requests_per_minute": 0}}, "requests_per_minute", "Allowed: 1 or more."),
        ({"receivables": {**UPFLOW, "requests_per_minute": "60"}}, "requests_per_minute", "Allowed: a whole number"),
        ({"receivables": {**UPFLOW, "portal_link": {"lifetime_days": 366}}}, "lifetime_days", "Allowed: 365 or less."),
        ({"schedule": {"timezone": {"env": "TZ"}}}, "timezone", "{env: NAME} is possible for secrets"),
        ({"salesforce__api_version": "57.0"}, "api_version", '"58.0" or newer'),
        ({"salesforce__organization_id": "0015g000004ABCD"}, "organization_id", "starts with 00D"),
        ({"salesforce__organization_id": "00D5g000004ABC"}, "organization_id", "15 or 18 letters and digits"),
        ({"salesforce__organization_id": "00D5g000004abcdEA4"}, "organization_id", "would be EAA: a character was lost"),
        ({"salesforce__login": {**BROWSER, "client_secret": "hunter2"}}, "client_secret", "a secret never stands"),
        ({"salesforce__login": {**BROWSER, "username": "x"}}, "username", "It belongs to jwt."),
        # Schedules
        ({"schedule": {"timezone": "Europe/Pari"}}, "timezone", "Is it Europe/Paris?"),
        ({"schedule": {"timezone": "europe/paris"}}, "timezone", "Is it Europe/Paris?"),
        ({"schedule": {"timezone": "new york"}}, "timezone", "Is it America/New_York?"),
        ({"schedule": {"timezone": "Pariss"}}, "timezone", "Is it Europe/Paris?"),
        ({"schedule": {"timezone": "../../etc/passwd"}}, "timezone", "is no time zone. Allowed: IANA names"),
        ({"schedule": {"timezone": "localtime"}}, "timezone", "is no time zone"),
        ({"schedule": {"cron": "6 Uhr"}}, "cron", "is no schedule. Allowed: five fields"),
        ({"schedule": {"cron": "0 25 * * *"}}, "cron", "Bad hour"),
        ({"schedule": {"cron": "*/90 * * * *"}}, "cron", "a step longer than its range (*/90)"),
        ({"schedule": {"cron": "0 0 30 2 *"}}, "cron", "is no schedule"),
        ({"schedule": {"cron": "0 6 * * * *"}}, "cron", "five fields"),
        ({"schedule": {"cron": "@daily"}}, "cron", "five fields"),
        # Secrets
        ({"salesforce__login__client_secret": "hunter2"}, "client_secret", "client_secret: {env: ACME_CLIENT_SECRET}"),
        ({"billing": {**STRIPE, "api_key": "hunter2"}}, "api_key", "a secret never stands in the file"),
        ({"billing": {**STRIPE, "api_key": 12345}}, "api_key", "a secret never stands in the file"),
        ({"billing": {**STRIPE, "api_key": {"env": "hunter2!"}}}, "api_key", "after env stands the name"),
        ({"billing": {**STRIPE, "api_key": {"hunter2": None}}}, "api_key", "after env stands the name"),
        ({"billing": {**STRIPE, "api_key": {"env": "sk_live_hunter2"}}}, "api_key", "the secret itself seems to"),
        ({"billing": {**DATABASE, "url": "postgresql://me:hunter2@db/x"}}, "url", "holds a password"),
        ({"billing": {**DATABASE, "url": "postgresql://db/x?password=hunter2"}}, "url", "holds a password"),
        ({"billing": {**DATABASE, "url": "hunter2"}}, "url", "SQLAlchemy can't read this address"),
        ({"billing": {**DATABASE, "url": "postgresql://db:hunter2/x"}}, "url", "SQLAlchemy can't read this address"),
        ({"billing": {**DATABASE, "url": "postgres://db/x"}}, "url", "postgresql://, not postgres://"),
        ({"billing": {**STRIPE, "url": "https://me:hunter2@api.stripe.com"}}, "url", "holds credentials"),
        ({"salesforce__login": {**JWT_ENV, "private_key": "hunter2"}}, "private_key:", "a secret never stands"),
        (
            {"salesforce__login": {**JWT, "private_key_file": "-----BEGIN PRIVATE KEY-----\nhunter2\n"}},
            "private_key_file",
            "the private key itself stands here",
        ),
        # Addresses
        ({"salesforce__domain": "${DOMAIN}"}, "domain", "Write {env: DOMAIN} instead"),
        ({"billing__path": "$CSV"}, "path", "Write {env: CSV} instead"),
        ({"billing__path": "customers"}, "billing", "billing.format: this key is missing: the path's ending does not say"),
        ({"billing__path": "customers.json"}, "billing", "Allowed: csv, parquet, jsonl (endings that say it: .csv, .tsv,"),
        ({"billing__path": "ftp://host/c.csv"}, "path", "files are not read from ftp://. Allowed: a path, s3://"),
        ({"billing__path": "s3://bucket"}, "path", "names no file"),
        ({"billing__path": "http://host.example/c.csv"}, "path", "would send customers unencrypted"),
        ({"billing__path": "https://h.example/c.csv?sig=hunter2"}, "path", "holds a signature or a login"),
        ({"billing__path": "https://u:hunter2@h.example/c.csv"}, "path", "holds a signature or a login"),
        ({"billing__path": "s3://key:hunter2@bucket/c.csv"}, "path", "Put the whole address into an environment variable"),
        ({"billing": XERO}, "billing", "billing.tenant_id: this key is missing: a server can't choose Xero's"),
        ({"billing__format": "xlsx"}, "format", "csv, parquet, jsonl"),
        ({"billing__path": "c.parquet", "billing__encoding": "cp1252"}, "encoding", "only a CSV file has one"),
        ({"billing__format": "jsonl", "billing__delimiter": ";"}, "delimiter", "and this one is jsonl. Take it out"),
        ({"salesforce__domain": "login.salesforce.com"}, "domain", "My Domain"),
        ({"salesforce__domain": "test.salesforce.com", "salesforce__login": JWT}, "domain", "refuses logins of servers"),
        ({"salesforce__domain": "acme.lightning.force.com"}, "domain", "acme.my.salesforce.com"),
        ({"salesforce__domain": "salesforce.evil.com"}, "domain", "is not Salesforce's"),
        ({"billing": {**STRIPE, "url": "http://stripe.example"}}, "url", "unencrypted"),
        ({"receivables": {**UPFLOW, "url": "api.upflow.io"}}, "url", "Allowed: https://host/path"),
        ({"billing__customer_url": "https://b.example/{id}"}, "customer_url", "{customer_id} stands nowhere in it"),
        ({"billing__customer_url": "https://b.example/{customer_id}/{x}"}, "customer_url", "braces other than"),
        ({"billing__customer_url": "https://b.example/{customer_id.__class__}"}, "customer_url", "stands nowhere"),
        ({"billing__customer_url": "javascript:alert({customer_id})"}, "customer_url", "no web address"),
        ({"billing__customer_url": "https://{customer_id}.evil.example/"}, "customer_url", "host depends on"),
        ({"receivables__portal_link_template": "http://p.example/{customer_id}"}, "portal_link_template", "https://"),
        # One of two
        ({"salesforce__login": {**JWT, "private_key": {"env": "KEY"}}}, "private_key:", "can't both be given"),
        ({"salesforce__login": JWT_ENV}, "login", "or private_key instead of it"),
        ({"billing": {**DATABASE, "query": "SELECT 1"}}, "table", "query and table can't both be given"),
        ({"billing": {"system": "database", "url": "sqlite://"}}, "billing", "query is missing, or table"),
        # What breaks out of SQL and SOQL
        ({"identifier__salesforce_field": "Id FROM User--"}, "salesforce_field", "^[A-Za-z][A-Za-z0-9_]*$"),
        ({"identifier__salesforce_field": "Owner.Name"}, "salesforce_field", "Fields of a related object"),
        ({"identifier__salesforce_field": "Billing Id"}, "salesforce_field", "Is it the label?"),
        ({"imports__account_fields": {"Name, (SELECT Id FROM Contacts)": "x"}}, "Name, (SELECT", "is no API name"),
        ({"imports__contact_fields": {"Id' OR '1'='1": "x"}}, "Id' OR", "is no API name"),
        ({"export": {"portal_link": {"salesforce_field": "X__c\nY"}}}, "salesforce_field: 'X__c", "is no API name"),
        ({"billing": {**DATABASE, "table": None, "query": "DROP TABLE x"}}, "query", "this is no SELECT"),
        ({"billing": {**DATABASE, "table": None, "query": "SELECT 1; DROP TABLE x"}}, "query", "more than one"),
        ({"billing__columns": {"id": "number"}}, "id:", "is not possible. Allowed: customer_id"),
        ({"billing__encoding": "utf8x"}, "encoding", "Is it utf-8?"),
        ({"billing__encoding": "base64"}, "encoding", "is no encoding"),
        ({"billing__delimiter": "\\t"}, "delimiter", 'a tab is written "\\t", in double quotes'),
        # What two values have to do with each other
        ({"identifier": {**IDS, "normalize": ["trim", "case"]}}, "case", "case-sensitive"),
        ({"identifier": {**IDS, "salesforce_field": "ID", "normalize": ["leading_zeros"]}}, "leading_zeros", "ids"),
        ({"identifier__normalize": ["case"], "identifier__salesforce_id": True}, "case", "case-sensitive"),
        ({"receivables": {**UPFLOW, "portal_link": {"renew_after_days": 60}}}, "renew_after_days", "days (now 60)"),
        ({"receivables": {**UPFLOW, "portal_link": {"lifetime_days": 7}}}, "lifetime_days", "(now 30)"),
        ({"salesforce__api_budget": {"stop_percent": 50}}, "stop_percent", "(now 80) no more than stop_percent (now 50)"),
        ({"salesforce__api_budget": {"warn_percent": 99}}, "warn_percent", "before a check warns"),
        ({"export__portal_link__salesforce_field": "billing_id__C"}, "salesforce_field: b", "shared identifier"),
        ({"export__portal_link__salesforce_field": "industry"}, "salesforce_field: industry", "imported"),
        ({"export__portal_link__salesforce_field": "Name"}, "salesforce_field: Name", "kept by Salesforce"),
        ({"imports__account_fields": {"Industry": "A", "industry": "B"}}, "industry", "as one field"),
        ({"imports__account_fields": {"Industry": "Sector", "Type": "sector "}}, "Type", "Industry already goes"),
        ({**BOTH, "imports__account_fields": {"Type": "crm Id "}}, "Type", "it would overwrite CRM id in Upflow"),
        ({"imports__contacts": False}, "contact_fields", "without contacts they have nowhere to go"),
    ],
)  # fmt: skip
def test_one_mistake_gives_one_problem(tmp_path: Path, overrides: dict[str, Any], key: str, says: str) -> None:
    loaded = load(tmp_path, merged(**overrides))
    assert loaded.organizations == {}
    assert len(loaded.problems) == 1, loaded.problems
    (problem,) = loaded.problems
    assert says in problem.message
    assert "hunter2" not in problem.message
    assert "\n" not in problem.message
    assert problem.line == line_of(problem.file, key)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("label: no", "YAML reads 'no' as a yes-or-no value, and text belongs here. Write it in quotes: \"no\"."),
        ("label: On", "a yes-or-no value"),
        ("label: 42", "a number"),
        ("label: 007", "a number"),
        ("label: 2024-01-31", "YAML reads '2024-01-31' as a date"),
        ("label: 1:30", "a number"),
        ("label: [a]", "text belongs here, not a list"),
    ],
)
def test_text_that_yaml_reads_as_something_else(tmp_path: Path, written: str, says: str) -> None:
    (problem,) = load(tmp_path, yaml.safe_dump(VALID, sort_keys=False) + written + "\n").problems
    assert problem.line == len(problem.file.read_text().splitlines())
    assert says in problem.message


def test_a_rule_listed_twice(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, identifier={**IDS, "normalize": ["trim"] * 2})
    assert problem.endswith("yaml:17: identifier.normalize[1]: trim is listed twice. Keep one of them.")


def test_an_unquoted_version_is_asked_to_be_quoted(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, salesforce__api_version=66.0)
    assert problem.endswith('Write it in quotes: "66.0".')


def test_a_key_with_nothing_after_it_counts_as_not_written(tmp_path: Path) -> None:
    organization = make_organization(folder=tmp_path)
    text = (tmp_path / "acme.yaml").read_text() + "schedule:\nlabel:\n"
    assert load(tmp_path, text).organizations["acme"].schedule == organization.schedule
    (problem,) = load(tmp_path, text.replace("name: acme", "name:")).problems
    assert (problem.line, problem.message) == (1, problem.message)
    assert "nothing is written after the colon" in problem.message
    (problem,) = load(tmp_path, text.replace("Industry: Industry", "Industry:")).problems
    assert problem.message == "import.account_fields.Industry: nothing is written here. Allowed: text."


@pytest.mark.parametrize(
    "overrides",
    [
        {"billing": STRIPE},
        {**BOTH, "imports__account_fields": {"Type": "CRM", "Billing_Id__c": "CRM id"}},
        {**BOTH, "billing": STRIPE, "imports__account_fields": {"Type": "CRM id"}},
        {"billing": DATABASE},
        {"billing": {**DATABASE, "url": {"env": "X"}, "table": None, "query": "-- all; of them\nSELECT ';' FROM x;\n"}},
        {"billing": {**DATABASE, "table": None, "query": "WITH a AS (SELECT 1) SELECT * FROM a"}},
        {"billing__delimiter": "\t", "billing__encoding": "cp1252", "billing__columns": {"customer_id": "Kunde Nr."}},
        {"salesforce__login": JWT},
        {"receivables": UPFLOW},
        {"identifier": {**IDS, "normalize": ["trim"]}},
        {"identifier__normalize": ["trim", "case", "leading_zeros"]},
        {"export": {}, "imports": {"owners": False, "contacts": False}},
        {"salesforce__domain": {"env": "DOMAIN"}, "salesforce__api_version": "68.0"},
        {"label": "Ünïcode \U0001f9fe 'quotes' \"and\" \\ -- ;"},
        {"billing__customer_url": "http://127.0.0.1:1/{customer_id}?a={customer_id}"},
    ],
)
def test_what_is_right_is_accepted(tmp_path: Path, overrides: dict[str, Any]) -> None:
    make_organization(folder=tmp_path, **overrides)
