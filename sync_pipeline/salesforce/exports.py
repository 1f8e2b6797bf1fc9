"""The portal link back to Salesforce: the difference, the guard before the first write, and an answer for every row."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

import duckdb
import pandas as pd

from sync_pipeline import http
from sync_pipeline.errors import GuardStop
from sync_pipeline.orgs.models import Organization
from sync_pipeline.progress import report
from sync_pipeline.salesforce.client import Client
from sync_pipeline.salesforce.describe import ACCOUNT, find_field, inspect_fields
from sync_pipeline.salesforce.ingest import LOCKED, update
from sync_pipeline.warehouse.load import transaction

log = logging.getLogger(__name__)

PLAN_COLUMNS = {
    "salesforce_account_id": "Account to write to, 18 characters.",
    "billing_customer_id": "Its billing customer.",
    "url": "The link it shall hold.",
}

LOCK_TRIES = 4
"""Times a row is sent that somebody else holds at the moment."""

_WANTED = """
    SELECT links.salesforce_account_id, links.billing_customer_id, links.url, accounts.portal_link
    FROM portal_links AS links
    JOIN account_mapping AS mapping
      ON mapping.verdict = 'matched'
     AND mapping.billing_customer_id = links.billing_customer_id
     AND mapping.salesforce_account_id = links.salesforce_account_id
    JOIN salesforce_accounts AS accounts ON accounts.account_id = links.salesforce_account_id
    WHERE links.status = 'live' AND links.url IS NOT NULL AND (links.expires_at IS NULL OR links.expires_at > $now)
"""

_FORGET = (
    "DELETE FROM exported_portal_links WHERE salesforce_account_id IN (SELECT salesforce_account_id FROM {source})"
)


def plan_portal_links(con: duckdb.DuckDBPyConnection, org: Organization) -> pd.DataFrame:
    """The accounts whose field holds another value than their live portal link; one row each, columns `PLAN_COLUMNS`.

    What Salesforce held at the last read decides, so a row refused earlier is planned again, and one that was written
    by a sync that died before it could note it is not. Empty where the YAML exports no portal link. Writes nothing.
    """
    if org.export.portal_link is None:
        return pd.DataFrame(columns=list(PLAN_COLUMNS), dtype=object)
    return con.execute(
        f"SELECT {', '.join(PLAN_COLUMNS)} FROM ({_WANTED}) WHERE portal_link IS DISTINCT FROM url "
        "ORDER BY salesforce_account_id",
        {"now": _now()},
    ).df()


def write_portal_links(con: duckdb.DuckDBPyConnection, client: Client, org: Organization, plan: pd.DataFrame) -> None:
    """Write a plan to Salesforce and note every answer in `exported_portal_links`, one transaction a request.

    Call it with an empty plan too: links that Salesforce holds already are noted as written, and rows of accounts that
    want no link any more leave the table. A refused row is noted with Salesforce's code and message; the next plan
    has it again. A locked row is sent a few times.

    Args:
        con: a connection of `Warehouse.connect`.
        client: a connected client.
        org: its organization.
        plan: what `plan_portal_links` returned.

    Raises:
        GuardStop: the field is missing, can't be written, or is too short for the longest link; nothing was written.
        ReconnectError, TransientError: Salesforce stopped answering; the answers up to then are noted.
    """
    if org.export.portal_link is None:
        return
    field = org.export.portal_link.salesforce_field
    _note_found(con, field)
    if plan.empty:
        return
    api_name = _guarded(client, org, plan)
    waiting = plan.rename(columns={"salesforce_account_id": "Id", "url": api_name})[["Id", api_name]]
    done = 0
    for attempt in range(LOCK_TRIES):
        locked = []
        for answers in update(client, ACCOUNT, waiting):
            again = (answers["code"] == LOCKED) & (attempt < LOCK_TRIES - 1)
            locked.append(waiting.loc[answers.index[again]])
            settled = plan.join(answers.loc[~again, ["code", "reason"]], how="inner")
            _note(con, field, _without_links(settled))
            done += len(settled)
            report("portal links written", done, len(plan))
        waiting = pd.concat(locked)
        if waiting.empty:
            return
        log.info("Salesforce: %d accounts are locked; trying again", len(waiting))
        time.sleep(http.backoff(attempt))


def _without_links(answers: pd.DataFrame) -> pd.DataFrame:
    """Salesforce repeats a value it refuses; a link is as good as a password and stays out of reasons."""
    reasons = [
        reason and reason.replace(url, "(the link)") for reason, url in zip(answers.reason, answers.url, strict=True)
    ]
    return answers.assign(reason=pd.Series(reasons, index=answers.index, dtype=object))


def _guarded(client: Client, org: Organization, plan: pd.DataFrame) -> str:
    """The field as Salesforce spells it, if every link of the plan can be written to it."""
    fact = next(fact for fact in inspect_fields(client, org) if fact.purpose == "export")
    found = find_field(client, ACCOUNT, fact.field)
    holds, lengths = fact.length or 0, plan["url"].str.len()
    problem = fact.problem
    if problem is None and lengths.max() > holds:
        problem = (
            f"Account.{fact.field} holds {holds} characters, the longest portal link has {lengths.max()} "
            f"({(lengths > holds).sum()} of {len(plan)} are too long). Name a longer field, e.g. a long text area."
        )
    if problem or found is None:
        raise GuardStop(f"{fact.where(org)}: no portal link was written. {problem}")
    return str(found["name"])


def _note_found(con: duckdb.DuckDBPyConnection, field: str) -> None:
    """Note links that Salesforce holds already, and forget what is neither wanted nor held any more."""
    now = {"now": _now()}
    with transaction(con):
        con.execute(
            f"""
            DELETE FROM exported_portal_links AS noted
            WHERE NOT EXISTS (
                FROM ({_WANTED}) AS wanted WHERE wanted.salesforce_account_id = noted.salesforce_account_id
              ) AND NOT EXISTS (
                FROM salesforce_accounts AS accounts
                WHERE accounts.account_id = noted.salesforce_account_id AND accounts.portal_link = noted.url
              )
            """,
            now,
        )
        con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE found_links AS
            FROM ({_WANTED}) AS wanted
            WHERE portal_link = url AND NOT EXISTS (
                FROM exported_portal_links AS noted
                WHERE noted.salesforce_account_id = wanted.salesforce_account_id AND noted.status = 'written'
                  AND noted.url = wanted.url AND noted.billing_customer_id = wanted.billing_customer_id
                  AND noted.salesforce_field = $field
            )
            """,
            now | {"field": field},
        )
        con.execute(_FORGET.format(source="found_links"))
        con.execute(
            """
            INSERT INTO exported_portal_links BY NAME
            SELECT salesforce_account_id, billing_customer_id, $field AS salesforce_field, url, 'written' AS status,
                   $now AS written_at
            FROM found_links
            """,
            now | {"field": field},
        )


def _note(con: duckdb.DuckDBPyConnection, field: str, answers: pd.DataFrame) -> None:
    """Note the answers to one request, and what the accounts hold from now on."""
    con.register("answers", answers)
    try:
        with transaction(con):
            con.execute(_FORGET.format(source="answers"))
            con.execute(
                """
                INSERT INTO exported_portal_links BY NAME
                SELECT salesforce_account_id, billing_customer_id, $field AS salesforce_field, url,
                       CASE WHEN code IS NULL THEN 'written' ELSE 'refused' END AS status,
                       code, reason, CASE WHEN code IS NULL THEN $now END AS written_at
                FROM answers
                """,
                {"field": field, "now": _now()},
            )
            con.execute(
                "UPDATE salesforce_accounts SET portal_link = answers.url FROM answers "
                "WHERE account_id = answers.salesforce_account_id AND answers.code IS NULL"
            )
    finally:
        con.unregister("answers")


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
