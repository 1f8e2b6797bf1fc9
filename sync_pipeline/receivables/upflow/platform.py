"""Plans carried out on Upflow: which request belongs to which row, what is sent side by side, and when answers are
recorded.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import Any

import duckdb
import pandas as pd

from sync_pipeline.progress import report
from sync_pipeline.receivables.books import rows
from sync_pipeline.receivables.platform import Answer, Recorder
from sync_pipeline.receivables.upflow import custom_fields, listing
from sync_pipeline.receivables.upflow.client import Client, Refused
from sync_pipeline.receivables.upflow.contact_work import bring_contacts
from sync_pipeline.receivables.upflow.work import recorded, refused

Row = dict[str, Any]


class Upflow:
    """Upflow as a receivables platform."""

    label = "Upflow"

    def __init__(self, client: Client) -> None:
        self.link_template: str | None = None
        self._client = client

    def read_users(self, con: duckdb.DuckDBPyConnection) -> None:
        """Fill `platform_users`."""
        listing.read_users(con, self._client)

    def read_customers(self, con: duckdb.DuckDBPyConnection) -> None:
        """Fill `platform_customers` and `platform_values`."""
        listing.read_customers(con, self._client)

    def read_fields(self, con: duckdb.DuckDBPyConnection) -> None:
        """Fill `platform_fields`."""
        listing.read_fields(con, self._client)

    def assign_owners(self, con: duckdb.DuckDBPyConnection, plan: pd.DataFrame, record: Recorder) -> None:
        """One request per customer. A user that has to be created comes about by one of them, before the others name
        it.
        """
        plan = plan[plan["action"] == "assign"]
        is_first = plan["platform_user_id"].isna() & ~plan.duplicated("owner_email")
        ordered = [plan[is_first], plan[~is_first]]
        done = 0
        for part in ordered:
            jobs = (partial(_assign, self._client, row) for row in rows(part))
            for answers in recorded(con, jobs, record):
                done += len(answers)
                report("owners assigned", done, len(plan))

    def bring_contacts(self, con: duckdb.DuckDBPyConnection, plan: pd.DataFrame, record: Recorder) -> None:
        """Customer by customer; see `contact_work`."""
        bring_contacts(con, self._client, plan, record)

    def set_fields(self, con: duckdb.DuckDBPyConnection, plan: pd.DataFrame, record: Recorder) -> None:
        """Missing fields first, then customer by customer: read, change, write back."""
        plan = plan[plan["action"] == "write"]
        fields = custom_fields.create_missing(self._client, plan)
        by_customer = groupby(rows(plan.sort_values("billing_customer_id")), key=lambda row: row["billing_customer_id"])
        jobs = (partial(custom_fields.write, self._client, str(key), list(group), fields) for key, group in by_customer)
        done = 0
        for answers in recorded(con, jobs, record):
            done += len(answers)
            report("custom fields", done, len(plan))

    def make_links(
        self,
        con: duckdb.DuckDBPyConnection,
        plan: pd.DataFrame,
        lifetime_days: int,
        now: datetime | None,
        record: Recorder,
    ) -> None:
        """One request per customer."""
        plan = plan[plan["action"] == "ask"]
        jobs = (partial(_link, self._client, row["billing_customer_id"], lifetime_days, now) for row in rows(plan))
        done = 0
        for answers in recorded(con, jobs, record):
            done += len(answers)
            report("portal links", done, len(plan))


def _assign(client: Client, row: Row) -> list[Answer]:
    customer_id = row["billing_customer_id"]
    try:
        user_id = client.assign(customer_id, row["owner_email"], row["first_name"], row["last_name"])
    except Refused as error:
        return [refused(customer_id, error.refusal)]
    return [Answer(customer_id, "assigned", platform_id=user_id or row["platform_user_id"])]


def _link(client: Client, customer_id: str, lifetime_days: int, now: datetime | None) -> list[Answer]:
    asked_at = now or datetime.now(UTC).replace(
        tzinfo=None
    )  # before the request, so that the expiry is not set too late
    try:
        return [Answer(customer_id, "live", url=client.portal_link(customer_id, lifetime_days), asked_at=asked_at)]
    except Refused as error:
        return [refused(customer_id, error.refusal, asked_at=asked_at)]
