"""Contacts on Upflow: customers in small groups, each read, its billing contacts saved, and only then written.

An address is unique in an Upflow organization, so the order matters: contacts that free an address somebody else
waits for go first, and who was refused an address that became free since is tried once more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import groupby, islice
from typing import Any

import duckdb
import pandas as pd

from sync_pipeline.progress import report
from sync_pipeline.receivables.books import rows
from sync_pipeline.receivables.platform import Answer, Recorder, take_answers
from sync_pipeline.receivables.upflow.client import Client, Json, Refused
from sync_pipeline.receivables.upflow.contacts import Wanted, address_of, carry_out, to_be_replaced
from sync_pipeline.receivables.upflow.work import Patience, in_parallel, recorded, refused
from sync_pipeline.warehouse.load import transaction

GROUP = 50
"""Customers that are read before the first of them is written: billing contacts are saved by one transaction a group.
"""

Row = dict[str, Any]


def bring_contacts(con: duckdb.DuckDBPyConnection, client: Client, plan: pd.DataFrame, record: Recorder) -> None:
    """Carry out the `import`, `remove` and `restore` rows of a contacts plan; see `Platform.bring_contacts`."""
    plan = plan[plan["action"].isin(("import", "remove", "restore"))].sort_values("billing_customer_id", kind="stable")
    freeing = groupby(rows(plan[plan["frees_address"]]), key=lambda row: str(row["billing_customer_id"]))
    for _ in recorded(
        con, (partial(_free, client, customer_id, list(group)) for customer_id, group in freeing), record
    ):
        pass
    part, before = plan, len(plan) + 1
    while not part.empty:
        freed, refused_at = _carry_out(con, client, part, record)
        again = {customer_id for customer_id, email in refused_at if email in freed}
        if len(refused_at) >= before:
            break
        part, before = plan[plan["billing_customer_id"].isin(again)], len(refused_at)


def _free(client: Client, customer_id: str, freeing: list[Row]) -> list[Answer]:
    """Delete contacts of ours whose address somebody waits for; one that stays wanted is created anew later."""
    answers = []
    for row in freeing:
        key = row["salesforce_contact_id"]
        try:
            client.delete_contact(customer_id, row["platform_contact_id"])
            answers.append(Answer(customer_id, "removed", salesforce_contact_id=key))
        except Refused as error:
            answers.append(
                refused(customer_id, error.refusal, salesforce_contact_id=key, platform_id=row["platform_contact_id"])
            )
    return answers


def _carry_out(
    con: duckdb.DuckDBPyConnection, client: Client, plan: pd.DataFrame, record: Recorder
) -> tuple[set[str], set[tuple[str, str]]]:
    """One pass over the plan; the addresses that became free, and the (customer, address) pairs that were refused."""
    patience = Patience()
    freed: set[str] = set()
    refused_at: set[tuple[str, str]] = set()
    done = 0

    def record_both() -> None:
        record()
        _drop_restored(con)

    for group in _groups(con, plan):
        emails = {(w.customer_id, row["salesforce_contact_id"]): row["email"] for w in group for row in w.imports}
        read = _read_group(con, client, group, record)
        for answers in recorded(con, (partial(carry_out, client, *pair) for pair in read), record_both, patience):
            for answer in answers:
                email = emails.get((answer.billing_customer_id, answer.salesforce_contact_id))
                if answer.status == "refused" and email:
                    refused_at.add((answer.billing_customer_id, email))
        for wanted in group:
            freed |= wanted.freed
            done += len(wanted.imports) + len(wanted.removals) + wanted.restore
        report("contacts", done, len(plan))
    return freed, refused_at


def _groups(con: duckdb.DuckDBPyConnection, plan: pd.DataFrame) -> Iterator[list[Wanted]]:
    customers = groupby(rows(plan), key=lambda row: str(row["billing_customer_id"]))
    wanted = (_wanted(customer_id, group) for customer_id, group in customers)
    while group := list(islice(wanted, GROUP)):
        by_id = {one.customer_id: one for one in group}
        for customer_id, contact_id in con.execute(
            """
            SELECT billing_customer_id, salesforce_contact_id FROM imported_contacts
            WHERE status = 'imported' AND billing_customer_id IN (SELECT unnest(?::VARCHAR[]))
            """,
            [list(by_id)],
        ).fetchall():
            one = by_id[customer_id]
            if contact_id not in {row["salesforce_contact_id"] for row in (*one.imports, *one.removals)}:
                one.keep.add(contact_id)
        for customer_id, contact in con.execute(
            """
            SELECT billing_customer_id, contact FROM replaced_contacts
            WHERE billing_customer_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY replaced_at, platform_contact_id
            """,
            [list(by_id)],
        ).fetchall():
            by_id[customer_id].saved.append(json.loads(contact))
        yield group


def _wanted(customer_id: str, plan: Iterable[Row]) -> Wanted:
    wanted = Wanted(customer_id)
    for row in plan:
        if row["action"] == "restore":
            wanted.restore = True
        else:
            (wanted.imports if row["action"] == "import" else wanted.removals).append(row)
        wanted.replaces = wanted.replaces or bool(row["replaces"])
    return wanted


def _read_group(
    con: duckdb.DuckDBPyConnection, client: Client, group: list[Wanted], record: Recorder
) -> list[tuple[Wanted, list[Json]]]:
    """What each customer has now, its billing contacts saved; who can't be read is recorded and left out."""
    read: list[tuple[Wanted, list[Json]]] = []
    failed: list[Answer] = []
    for results in in_parallel(partial(_read, client, wanted) for wanted in group):
        for wanted, current, answers in results:
            failed += answers
            if not answers:
                read.append((wanted, current))
    with transaction(con):
        if failed:
            take_answers(con, failed)
            record()
        _save_replaced(con, read)
    return read


def _read(client: Client, wanted: Wanted) -> tuple[Wanted, list[Json], list[Answer]]:
    try:
        return wanted, client.contacts(wanted.customer_id), []
    except Refused as error:
        answers = [
            refused(wanted.customer_id, error.refusal, salesforce_contact_id=row["salesforce_contact_id"])
            for row in (*wanted.imports, *wanted.removals)
        ]
        status = "unsettled" if wanted.restore else "settled"
        whole = Answer(wanted.customer_id, status, code=error.refusal.code, reason=error.refusal.message)
        return wanted, [], [*answers, whole]


def _save_replaced(con: duckdb.DuckDBPyConnection, read: list[tuple[Wanted, list[Json]]]) -> None:
    saved = [
        (wanted.customer_id, str(contact["id"]), address_of(contact), json.dumps(contact))
        for wanted, current in read
        for contact in to_be_replaced(wanted, current)
    ]
    if not saved:
        return
    customers, ids, emails, contacts = (list(column) for column in zip(*saved, strict=True))
    # A contact that a restore brought back, and broke off, has another id than when it was saved.
    con.execute(
        """
        DELETE FROM replaced_contacts
        WHERE platform_contact_id IN (SELECT unnest($ids::VARCHAR[]))
            OR email <> '' AND (billing_customer_id, email) IN (SELECT (unnest($customers), unnest($emails)))
        """,
        {"customers": customers, "ids": ids, "emails": emails},
    )
    con.execute(
        "INSERT INTO replaced_contacts SELECT unnest(?), unnest(?), unnest(?), unnest(?), ?",
        [customers, ids, emails, contacts, datetime.now(UTC).replace(tzinfo=None)],
    )


def _drop_restored(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """
        DELETE FROM replaced_contacts
        WHERE billing_customer_id IN (SELECT billing_customer_id FROM temp.answers WHERE status = 'settled')
            AND billing_customer_id IN (SELECT billing_customer_id FROM temp.plan WHERE action = 'restore')
        """
    )
