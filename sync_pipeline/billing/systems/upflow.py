"""Customers of Upflow itself: GET /v1/customers, five hundred at a time, all of them at every sync.

`customer_id` is Upflow's externalId, as `receivables` addresses customers by it (`external:{externalId}`); so an
organization may have Upflow for both. A customer without one has Upflow's own id instead: it is matched like any other,
but owners, contacts, fields and links are refused for it until it gets an externalId in Upflow. Its own id, its
externalId and its accountingRef stay in custom_fields under their names; so does each custom field, by its name.

† Lists, their order and the keys of a customer are not in Upflow's documents: they were read in code that uses the API.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal, cast

import requests
from requests.auth import AuthBase

from sync_pipeline.billing.api import Api, ApiSource, Limits, Record, Refused, key_of
from sync_pipeline.billing.settings import ApiSettings
from sync_pipeline.billing.source import Organization
from sync_pipeline.billing.values import is_blank
from sync_pipeline.errors import DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.yaml_types.shapes import ApiUrl
from sync_pipeline.yaml_types.values import Secret

PAGE_SIZE = 500
"""† The most Upflow gives at once."""
PER_MINUTE = 600
"""Upflow's own limit."""
READINGS = 3
"""As often the list is read when customers come and go meanwhile."""
STEPS_BACK = 20
"""As often one reading goes back; whoever deletes faster is waited for."""

_FIELDS = {
    "customer_id": ("customer_id",),
    "display_id": ("display_id",),
    "name": ("name",),
    "currency": ("currency",),  # † no customer is known to have one; its balance then stands without
    "balance": ("balance",),
    "parent_id": ("parent_id",),
}
_EXPRESSIONS = {
    "customer_id": "customer_id",
    "display_id": "display_id",
    "name": "name",
    "currency": "upper(currency)",
    "balance": "CAST(balance AS DECIMAL(18, 0)) * 0.01",  # cents
    "status": "'active'",
    "parent_id": "parent_id",
}


class Settings(ApiSettings):
    """Customers of Upflow."""

    system: Literal["upflow"]
    """The billing system."""
    api_key: Secret
    """The API key, named as an environment variable."""
    api_secret: Secret
    """The API secret, named as an environment variable."""
    url: ApiUrl = "https://api.upflow.io/v1"
    """Address of the API; https://api.sandbox.upflow.io/v1 for a sandbox."""


class Upflow(ApiSource):
    """Has no "changed since", and no customer that is archived; one deleted there is not listed any more."""

    title = "Upflow"
    fields = _FIELDS
    expressions = _EXPRESSIONS
    new_key = "Make a new API key in Upflow."

    def auth(self, org: Organization) -> AuthBase:
        """Key and secret, a header each."""
        settings = _settings(org)
        return _Keys(
            key_of(org, "Upflow", "api_key", settings.api_key),
            key_of(org, "Upflow", "api_secret", settings.api_secret),
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

    def pages(self, api: Api, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
        """Every customer once, as it was when it was first seen.

        The list is read again while fewer customers were seen than Upflow counts: then its order changed too.
        """
        names = _field_names(api)
        given: set[str] = set()
        taken: dict[str, str] = {}
        for _ in range(READINGS):
            seen: set[str] = set()
            counted = 0
            for customers, total in _windows(api):
                counted = total
                ids = [_id_of(api, customer) for customer in customers]
                seen.update(ids)
                fresh = []
                for upflow_id, customer in zip(ids, customers, strict=True):
                    if upflow_id not in given:
                        given.add(upflow_id)
                        fresh.append(_addressable(api, customer, names))
                        _refuse_shared(api, taken, fresh[-1]["customer_id"], upflow_id)
                yield fresh
            if len(seen) >= counted:
                return
        raise _too_restless(api)


SOURCE = Upflow()


class _Keys(AuthBase):
    """As requests' own auth, because plain headers would let a ~/.netrc add another login."""

    def __init__(self, key: str, secret: str) -> None:
        self.secrets = (key, secret)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the headers."""
        request.headers["X-Api-Key"], request.headers["X-Api-Secret"] = self.secrets
        return request


def _windows(api: Api) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """The list from its beginning to its end, each page beginning with the last customer of the page before.

    A page that has none of the one before it is not next to it: customers further up were deleted, and those that moved
    up over the page's beginning would be missed. The reading goes back until two pages meet, at most to the beginning.
    """
    offset = steps = 0
    before: set[str] = set()
    while True:
        page, total = _page(api, "/customers", "customers", offset)
        ids = {_id_of(api, customer) for customer in page}
        if before and offset and not before & ids:
            steps += 1
            if steps > STEPS_BACK:
                raise _too_restless(api)
            offset = max(0, offset - max(len(before) - 1, 1))
            continue
        yield page, total
        if not page or offset + len(page) >= total:
            return
        if before and ids <= before:
            steps += 1  # new customers further up, or the same page again and again
            if steps > STEPS_BACK:
                raise DataError(f"{api.where()}: Upflow says there are more customers, but does not give them.")
        offset += max(len(page) - 1, 1)
        before = ids


def _page(api: Api, path: str, items: str, offset: int) -> tuple[list[dict[str, Any]], int]:
    """A page of a list, and how many the whole list has."""
    answer = api.get(path, {"offset": offset, "limit": PAGE_SIZE})
    total = answer.get("total")
    if not isinstance(total, int) or isinstance(total, bool):
        raise api.strange("does not answer with a list of customers")
    return api.records(answer, items), total


def _field_names(api: Api) -> dict[str, str]:
    """What each custom field of customers is called; one whose name is another's too keeps its id."""
    names: dict[str, str] = {}
    offset = 0
    while True:
        page, total = _page(api, "/custom_fields", "customFields", offset)
        for field in page:
            if field.get("entity") in (None, "CUSTOMER") and isinstance(field.get("name"), str):
                names[str(field.get("id"))] = field["name"]
        offset += len(page)
        if not page or offset >= total:
            break
    often = Counter(names.values())
    return {field: name for field, name in names.items() if often[name] == 1}


def _addressable(api: Api, customer: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The customer with its row's ids, and with custom fields as an object instead of a list of ids and values."""
    values = customer.get("customFields")
    if values is None:
        values = []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise api.strange("has custom fields that are no list of ids and values")
    by_name = {names.get(str(value.get("id")), str(value.get("id"))): value.get("value") for value in values}
    parent = customer.get("parent")
    return {
        **customer,
        "customFields": by_name,
        "customer_id": _customer_id(customer),
        "display_id": customer.get("accountingRef"),
        "parent_id": _customer_id(parent) if isinstance(parent, dict) else None,
    }


def _customer_id(customer: Record) -> Any:
    external = customer.get("externalId")
    return customer.get("id") if external is None or is_blank(str(external)) else str(external)


def _id_of(api: Api, customer: Record) -> str:
    upflow_id = customer.get("id")
    if not isinstance(upflow_id, str) or not upflow_id:
        raise api.strange("has a customer without an id")
    return upflow_id


def _refuse_shared(api: Api, taken: dict[str, str], customer_id: str, upflow_id: str) -> None:
    """Two customers with one externalId would be one row, and one of them lost."""
    other = taken.setdefault(customer_id, upflow_id)
    if other != upflow_id:
        raise DataError(
            f"{api.where()}: two customers of Upflow have the same externalId: those with the ids {other} and {upflow_id}.",
            next_step="Give each its own externalId in Upflow.",
        )


def _too_restless(api: Api) -> TransientError:
    return TransientError(
        f"{api.where()}: customers came and went in Upflow faster than they could be read.",
        next_step="Try again later.",
    )


def _settings(org: Organization) -> Settings:
    return cast(Settings, org.billing)
