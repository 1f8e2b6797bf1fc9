"""After syncs that went well, badly and oddly: no secret and no personal data where logs, events and samples are kept."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sync_pipeline.cli.output import results_table
from sync_pipeline.cli.sync import show
from sync_pipeline_tests.cli.conftest import Workplace
from sync_pipeline_tests.conftest import Sandbox

DEMO = ("demo_database", "demo_file", "demo_stripe")


def secrets_of(sandbox: Sandbox) -> set[str]:
    """Everything that lets somebody in."""
    found = set()
    for row in sandbox.rows("SELECT * FROM organizations"):
        found |= {row[name] for name in ("client_secret", "access_token", "upflow_key", "upflow_secret")}
    found |= {row["value"] for row in sandbox.rows("SELECT value FROM billing_login")}
    found |= {row["access_token"] for row in sandbox.rows("SELECT access_token FROM session")}
    found |= {row["token"] for row in sandbox.rows("SELECT token FROM upflow_portal_link")}
    return found


def personal_data_of(place: Workplace) -> set[str]:
    """Names, addresses and telephone numbers of people, and their companies' names, from both sides."""
    sandbox, found = place.sandbox, set()
    for table in ("contact", '"user"'):
        found |= {text for row in sandbox.rows(f'SELECT "Name", "Email" FROM {table}') for text in row}
    found |= {row[0] for row in sandbox.rows('SELECT "Phone" FROM contact')}
    found |= {row[0] for row in sandbox.rows('SELECT "Name" FROM account')}
    for row in sandbox.rows("SELECT email, firstName || ' ' || lastName AS name FROM upflow_contact"):
        found |= {row["email"], row["name"]}
    for name in DEMO:
        for customer, emails in place.rows(name, "SELECT name, emails FROM billing_customers"):
            found |= {customer, *(emails or ())}
        found |= {url for (url,) in place.rows(name, "SELECT url FROM portal_links WHERE url IS NOT NULL")}
    return {text.strip() for text in found if text and len(text.strip()) > 6}


def spellings(text: str) -> Iterator[str]:
    """As it stands, and as JSON says it."""
    yield text
    yield json.dumps(text)[1:-1]


def said_in(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file as text; of databases every value too, since a long one may lie in several places of the file."""
    for file in sorted(folder.rglob("*")):
        if not file.is_file():
            continue
        raw = file.read_bytes()
        yield str(file.relative_to(folder)), raw.decode("utf-8", "replace")
        if raw.startswith(b"SQLite format 3"):
            with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
                for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    yield (
                        f"{file.relative_to(folder)}:{table}",
                        "\n".join(map(str, db.execute(f'SELECT * FROM "{table}"'))),
                    )


@pytest.mark.slow
def test_nothing_that_must_stay_secret_is_kept_or_said(
    fresh_sandbox: Callable[..., Sandbox],
    workplace: Callable[..., Workplace],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    place = workplace(fresh_sandbox(accounts=45, seed=11, trouble=0.6), home=True)
    account = place.sandbox.rows("""SELECT "Id" FROM account WHERE org = 'database' AND "IsDeleted" = 0""")
    place.fault(action="refuse", ids=[row["Id"] for row in account[:20]], times=1)
    place.fault(path="/results", action="expire_session", after=1)
    results = [place.sync("demo_stripe", dry_run=True), *(place.sync(name) for name in DEMO)]
    assert [result.exit_code for result in results] == [0] * 4
    assert sum(result.checks["warned"] for result in results) > 10
    assert sum(sum(result.refused.values()) for result in results) > 1

    person = place.sandbox.rows("""SELECT "Id" FROM contact WHERE org = 'stripe' LIMIT 1""")[0]["Id"]
    place.sandbox.change("""UPDATE contact SET "Email" = 'changed.person@example.org' WHERE "Id" = ?""", person)
    results.append(place.sync("demo_stripe"))
    monkeypatch.setenv("DEMO_STRIPE_KEY", f"{place.environment['DEMO_STRIPE_KEY']}x")
    monkeypatch.setenv("DEMO_DATABASE_CLIENT_SECRET", f"{place.environment['DEMO_DATABASE_CLIENT_SECRET']}x")
    place.fault(path="/jobs/query", action="status", status=503, body="", times=0)
    results += [place.sync(name) for name in DEMO]
    assert [result.exit_code for result in results[-3:]] == [3, 4, 3]
    place.no_faults()
    results.append(place.sync("demo_stripe"))
    assert results[-1].exit_code == 3
    show(results)
    print(json.dumps([result.as_json() for result in results], default=str, ensure_ascii=False), results_table(results))

    out, err = capfd.readouterr()
    needles = sorted(secrets_of(place.sandbox) | personal_data_of(place))
    assert len(needles) > 400
    places = [("stdout", out), ("stderr", err), ("log", caplog.text), *said_in(place.home)]
    assert sum(len(text) for _, text in places) > 500_000
    written = {needle: set(spellings(needle)) for needle in needles}
    assert not {
        (needle, name) for needle, ways in written.items() for name, text in places if any(way in text for way in ways)
    }
