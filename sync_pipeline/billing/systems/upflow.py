"""Customers of Upflow itself: GET /v1/customers, five hundred at a time, all of them at every sync.

`customer_id` is the externalId, because the receivables platform addresses customers by it (`external:{externalId}`): so
an organization can have its customers in Upflow and bring owners, contacts, fields and links to the same ones. A
customer without externalId has Upflow's own id instead. It is matched like any other, but the platform does not find it:
what is meant for it there is set aside or refused, each with its reason, until somebody gives it an externalId in Upflow.

† Lists, their order and the keys of a customer are not in Upflow's documents: they were read in code that uses the API.
No key is known that says a customer is archived, or in which currency its balance is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

import duckdb
import requests
from requests.auth import AuthBase

from sync_pipeline.billing.api import Api, ApiSource, Limits, Record, Refused, key_of
from sync_pipeline.billing.settings import ApiSettings
from sync_pipeline.billing.source import Organization, Reading
from sync_pipeline.errors import DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.yaml_types.shapes import ApiUrl
from sync_pipeline.yaml_types.values import Secret

PAGE_SIZE = 500
"""† The most Upflow gives at once."""
PER_MINUTE = 600
"""Upflow's own limit."""
MOST_READINGS = 3
"""As often the list is read while it changes."""
MOST_STEPS_BACK = 20
"""As often one reading goes back; whoever deletes faster is waited for."""
NAMED_IDS = 5
"""As many ids are named in a message."""

_FIELDS = {
    "upflow_id": ("id",),
    "external_id": ("externalId",),
    "accounting_ref": ("accountingRef",),
    "name": ("name",),
    "currency": ("currency",),
    "cents": ("balance",),
    "parent_upflow_id": ("parent.id",),
    "parent_external_id": ("parent.externalId",),
}
_CUSTOMER_ID = r"CASE WHEN regexp_matches(external_id, '[^\s\p{Z}\p{Cf}\p{Cc}]') THEN external_id ELSE upflow_id END"
_EXPRESSIONS = {
    "customer_id": _CUSTOMER_ID,
    "display_id": "accounting_ref",
    "name": "name",
    "currency": "upper(currency)",
    "balance": "CAST(cents AS DECIMAL(18, 0)) * 0.01",
    "status": "'active'",
    "parent_id": "coalesce(parent_external_id, parent_upflow_id)",
    "custom_fields": "json_merge_patch(custom_fields, json_object('id', upflow_id))",  # what finds the customer in Upflow
}


class Settings(ApiSettings):
    """Customers of Upflow."""

    system: Literal["upflow"]
    """The billing system."""
    api_key: Secret
    """The API key, named as an environment variable; the same as of receivables where that is this Upflow too."""
    api_secret: Secret
    """The API secret, named as an environment variable."""
    url: ApiUrl = "https://api.upflow.io/v1"
    """Address of the API; https://api.sandbox.upflow.io/v1 for a sandbox."""


class Upflow(ApiSource):
    """Lists customers whole; one deleted there is not listed any more."""

    title = "Upflow"
    fields = _FIELDS
    expressions = _EXPRESSIONS
    new_key = "Make a new API key in Upflow."

    def auth(self, org: Organization) -> AuthBase:
        """Key and secret, a header each."""
        settings = _settings(org)
        return _Keys(
            key_of(org, self.title, "api_key", settings.api_key),
            key_of(org, self.title, "api_secret", settings.api_secret),
        )

    def limits(self, org: Organization) -> Limits:
        """Upflow's own; it tells nothing about what is left."""
        return Limits(PER_MINUTE)

    def said(self, body: Record) -> str:
        """The shape of an error is not documented: `message`, else `error`."""
        return str(body.get("message") or body.get("error") or "")

    def refusal(self, api: Api, refused: Refused) -> SyncError | None:
        """A refused login, by the variables that hold it."""
        if refused.status not in (401, 403):
            return None
        settings = _settings(api.org)
        return ReconnectError(
            f"{api.where('api_key')}: Upflow refuses the login: {api.words(refused)}",
            next_step=f"{self.new_key.rstrip('.')}, and set {settings.api_key.env} and {settings.api_secret.env}.",
        )

    def read(self, org: Organization, folder: Path, since: datetime | None = None) -> Reading:
        """As any other, and parents by the customer_id of their own row."""
        reading = super().read(org, folder, since)
        own_parent = f"coalesce(listed_parent, {_EXPRESSIONS['parent_id']})"
        return replace(
            reading,
            relation=_with_parents(reading.relation),
            expressions={**reading.expressions, "parent_id": own_parent},
            check=lambda con: _require_one_id_each(con, org),
        )

    def pages(self, api: Api, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
        """Every page; the list is read again while fewer customers were seen than Upflow counts: they changed places.

        Where two readings see the same ones the list is at rest, and may count somebody twice.
        """
        names = _field_names(api)
        before: set[int] = set()
        for _ in range(MOST_READINGS):
            seen: set[int] = set()
            listed, counted = 0, 0
            for customers, total in _windows(api):
                listed, counted = listed + len(customers), total or 0
                seen.update(hash(_id_of(api, customer)) for customer in customers)  # half an id's memory
                yield [_named(api, customer, names) for customer in customers]
            if len(seen) >= counted or (seen == before and listed >= counted):
                return
            if seen == before:
                raise DataError(
                    f"{api.where()}: Upflow counts {counted:,} customers, but lists {len(seen):,}.",
                    next_step="Try again later; if it stays so, ask Upflow's support.",
                )
            before = seen
        raise _restless(api)


SOURCE = Upflow()


class _Keys(AuthBase):
    """As requests' own auth, because plain headers would let a ~/.netrc add another login."""

    def __init__(self, key: str, secret: str) -> None:
        self.secrets = (key, secret)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the headers."""
        request.headers["X-Api-Key"], request.headers["X-Api-Secret"] = self.secrets
        return request


def _with_parents(rows: str) -> str:
    """The rows, with the customer_id of a parent who is named only by Upflow's own id as `listed_parent`."""
    at = "CAST(position AS BIGINT)"
    return f"""(
        SELECT each.*, parent.customer_id AS listed_parent FROM {rows} AS each LEFT JOIN (
            SELECT upflow_id AS id, arg_max({_CUSTOMER_ID}, {at}) AS customer_id FROM {rows}
            WHERE upflow_id IN (SELECT parent_upflow_id FROM {rows} WHERE parent_external_id IS NULL) GROUP BY upflow_id
        ) AS parent ON parent.id = each.parent_upflow_id AND each.parent_external_id IS NULL
    )"""


def _windows(api: Api) -> Iterator[tuple[list[dict[str, Any]], int | None]]:
    """The list from its beginning to its end, without who was on the page before, and how many Upflow counts.

    Each page begins with the last customer of the one before. A page that has nobody of that one is not next to it:
    customers further up were deleted, and those that moved up over its beginning would be missed. The reading goes back
    until two pages meet, at most to the beginning.
    """
    offset = steps = 0
    before: list[str] = []
    while True:
        page, total = _page(api, "/customers", "customers", offset)
        ids = [_id_of(api, customer) for customer in page]
        known = set(before)
        if not before or not offset or not known.isdisjoint(ids):
            joined = before != [] and ids[:1] == before[-1:]  # else customers moved down, if it isn't the first page
            yield page[1:] if joined else [one for one in page if one["id"] not in known], total
            at_end = (joined and len(page) == 1) or (total is not None and offset + len(page) >= total)
            if at_end or not page:
                return
            steps += known.issuperset(ids)
            before, offset = ids, offset + len(page) - 1
        else:
            steps += 1
            offset = max(0, offset - max(len(before) - 1, 1))
        if steps > MOST_STEPS_BACK:
            raise api.strange("gives the same customers on every page") if known == set(ids) else _restless(api)


def _page(api: Api, path: str, items: str, offset: int) -> tuple[list[dict[str, Any]], int | None]:
    """A page of a list, and how many the whole list has, where it says so."""
    answer = api.get(path, {"offset": offset, "limit": PAGE_SIZE})
    found, total = answer.get(items), answer.get("total")
    if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
        raise api.strange(f"does not answer to {path} with a list {items}")
    return found, total if isinstance(total, int) else None


def _field_names(api: Api) -> dict[str, str]:
    """Custom fields of customers: id to name, and to name and id where several have one name."""
    names: dict[str, str] = {}
    listed: set[str] = set()
    offset = 0
    while True:
        page, total = _page(api, "/custom_fields", "customFields", offset)
        fresh = {str(field.get("id")) for field in page} - listed
        listed |= fresh
        for field in page:
            if str(field.get("entity") or "CUSTOMER").upper() == "CUSTOMER" and isinstance(field.get("name"), str):
                names[str(field.get("id"))] = field["name"]
        offset += len(page)
        if not fresh or (offset >= total if total is not None else len(page) < PAGE_SIZE):
            break
    often = Counter(names.values())
    return {field: name if often[name] == 1 else f"{name} ({field})" for field, name in names.items()}


def _named(api: Api, customer: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The customer with custom fields by name, instead of a list of ids and values."""
    values = customer.get("customFields") or []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise api.strange("has custom fields that are no list of ids and values")
    return customer | {
        "customFields": {names.get(str(value.get("id")), str(value.get("id"))): value.get("value") for value in values}
    }


def _id_of(api: Api, customer: Record) -> str:
    upflow_id = customer.get("id")
    if not isinstance(upflow_id, str) or not upflow_id:
        raise api.strange("has a customer without an id")
    return upflow_id


def _require_one_id_each(con: duckdb.DuckDBPyConnection, org: Organization) -> None:
    """Raise where two customers would be one row, or a customer that was read twice two rows."""
    each = "SELECT customer_id, custom_fields->>'id' AS id FROM billing_customers"
    shared = con.execute(
        f"SELECT customer_id, list(DISTINCT id ORDER BY id) FROM ({each}) GROUP BY customer_id HAVING min(id) <> max(id)"
        f" ORDER BY customer_id LIMIT {NAMED_IDS}"
    ).fetchall()
    if shared:
        named = "; ".join(f"{external!r} ({', '.join(ids[:NAMED_IDS])})" for external, ids in shared)
        raise DataError(
            f"{org.where('billing')}: several customers of Upflow have the same externalId: {named}.",
            next_step="Give each an externalId of its own in Upflow; the ids in brackets are Upflow's.",
        )
    if con.execute(
        f"SELECT id FROM ({each}) GROUP BY id HAVING min(customer_id) <> max(customer_id) LIMIT 1"
    ).fetchone():
        raise TransientError(
            f"{org.where('billing')}: a customer of Upflow got another externalId while the list was read.",
            next_step="Try again later.",
        )


def _restless(api: Api) -> TransientError:
    return TransientError(
        f"{api.where()}: customers came and went in Upflow faster than they could be read.",
        next_step="Try again later.",
    )


def _settings(org: Organization) -> Settings:
    return cast(Settings, org.billing)
