"""Customers of Chargebee: GET /api/v2/customers, all of them or those that have changed.

A customer deleted there stays in the list for who asks for deleted ones too, so a deletion is a change
(https://apidocs.chargebee.com/docs/api/customers/list-customers).
"""

from __future__ import annotations

import base64
import calendar
import re
from collections.abc import Generator, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, cast
from urllib.parse import quote

import requests
from pydantic import AfterValidator, Field
from requests.auth import AuthBase

from sync_pipeline.billing.api import Api, ApiSource, KeyAuth, Limits, Record, Refused, key_of
from sync_pipeline.billing.settings import ChangingSettings
from sync_pipeline.billing.source import Organization
from sync_pipeline.errors import ConfigurationError, ReconnectError, SyncError, TransientError
from sync_pipeline.yaml_types.shapes import ApiUrl
from sync_pipeline.yaml_types.values import EnvRef, Secret, Setting, one_of, text

PAGE_SIZE = 100
"""The most Chargebee gives at once."""
OVERLAP = timedelta(minutes=10)
"""`after` leaves out its own second. The rest is for changes that were under way when a page was made. †"""
SITE = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
NO_SITE = (
    "this is no site of Chargebee. Allowed: what stands before .chargebee.com, e.g. acme, or acme-test of a test site."
)

_FIELDS = {
    "customer_id": ("id",),
    "company": ("company",),
    "email": ("email",),
    "currency": ("preferred_currency_code",),
    "deleted": ("deleted",),
    "parent_id": ("relationship.parent_id",),
    "created": ("created_at",),
    "updated": ("updated_at",),
}
_EMAILS = "list_concat([email], json_extract_string(custom_fields, '$.contacts[*].email'))"
_PERSON = (  # stays in custom_fields, since a company's contact has such names too
    "nullif(trim(concat_ws(' ', json_extract_string(custom_fields, '$.first_name'),"
    " json_extract_string(custom_fields, '$.last_name'))), '')"
)
_EXPRESSIONS = {
    "customer_id": "customer_id",
    "name": f"CASE WHEN trim(company) <> '' THEN company ELSE {_PERSON} END",
    "company_name": "company",
    "is_individual": f"CASE WHEN trim(company) <> '' THEN false WHEN {_PERSON} IS NOT NULL THEN true END",
    "emails": f"nullif(list_filter({_EMAILS}, lambda one, nth: one <> '' AND list_position({_EMAILS}, one) = nth), [])",
    "primary_email": "nullif(email, '')",
    "currency": "upper(currency)",
    # No balance: Chargebee tells a customer's credits and what is not invoiced yet, but not what is due on invoices. None of
    # these, nor any sum of them, is what the customer owes; they stay in custom_fields.
    "status": "CASE WHEN deleted = 'true' THEN 'deleted' ELSE 'active' END",
    "parent_id": "nullif(parent_id, customer_id)",
    "created_at": "make_timestamp(CAST(created AS BIGINT) * 1000000)",
    "updated_at": "make_timestamp(CAST(updated AS BIGINT) * 1000000)",
}


def _site(site: str | EnvRef) -> str | EnvRef:
    if isinstance(site, str) and not re.fullmatch(SITE, site):
        raise ValueError(NO_SITE)
    return site


class Settings(ChangingSettings):
    """Customers of Chargebee."""

    model_config = one_of("site", "url")

    system: Literal["chargebee"]
    """The billing system."""
    site: Annotated[Setting, AfterValidator(_site)] | None = None
    """The site: what stands before .chargebee.com, e.g. acme, or acme-test of a test site. Exactly one of site and url."""
    api_key: Secret
    """A read-only key, named as an environment variable."""
    url: ApiUrl = "https://{site}.chargebee.com"
    """Address of the site, where it is not below chargebee.com. Exactly one of site and url."""
    requests_per_minute: int = Field(default=120, ge=1, le=100_000)
    """Requests a minute. Chargebee allows a site 150 (test sites and the Starter plan), 1,000 (Performance) or 3,500
    (Enterprise), whoever makes them, and flags a live site that asks for more; so leave some to others."""


class Chargebee(ApiSource):
    """Lists customers in the order they were created, deleted ones too."""

    title = "Chargebee"
    fields = _FIELDS
    without = ("object", "resource_version")
    expressions = _EXPRESSIONS
    overlap = OVERLAP
    new_key = "Create a read-only key (Settings > Configure Chargebee > API Keys)."

    def auth(self, org: Organization) -> AuthBase:
        """HTTP Basic: the key as user, no password."""
        key = key_of(org, self.title, "api_key", _settings(org).api_key)
        basic = base64.b64encode(f"{key}:".encode()).decode()
        return KeyAuth(f"Basic {basic}", key, basic)

    def limits(self, org: Organization) -> Limits:
        """As the file says: no answer tells the plan's limit."""
        return Limits(_settings(org).requests_per_minute)

    def url(self, org: Organization) -> str:
        """The site's address, where no other is named."""
        site = _settings(org).site
        if site is None:
            return super().url(org)
        name = text(site)
        if not re.fullmatch(SITE, name):
            raise ConfigurationError(f"{org.where('billing', 'site')}: {NO_SITE}")
        return super().url(org).replace("{site}", name.lower())

    def pages(self, api: Api, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
        """Every page, and what changed while there were several of them."""
        several = yield from self._listed(api, since)
        if several:
            yield from self._listed(api, api.began - OVERLAP)

    def said(self, body: Record) -> str:
        """Chargebee's message."""
        return str(body.get("message") or body.get("error_msg") or "")

    def refusal(self, api: Api, refused: Refused) -> SyncError | None:
        """By Chargebee's code, where it says more than the status (https://apidocs.chargebee.com/docs/api/error-handling)."""
        code, words = refused.body.get("api_error_code"), api.words(refused)
        if code == "site_not_found":
            place = "url" if _settings(api.org).site is None else "site"
            return ConfigurationError(
                f"{api.where(place)}: Chargebee has no such site: {words}",
                next_step="Name what stands before .chargebee.com where people log in (-test belongs to a test site's name).",
            )
        if code == "request_blocked":
            return ConfigurationError(
                f"{api.where()}: Chargebee has blocked the site: {words}",
                next_step="Ask Chargebee's support what has to be done; the reason is only known there.",
            )
        if code == "api_authorization_failed" or refused.status in (401, 403):
            variable = _settings(api.org).api_key.env
            return ReconnectError(
                f"{api.where('api_key')}: Chargebee refuses the key in {variable}: {words}",
                next_step=f"{self.new_key.rstrip('.')} of this site, and put it into {variable}.",
            )
        if refused.status == requests.codes.too_many_requests:
            return TransientError(
                f"{api.where()}: Chargebee is asked too often: {words}",
                next_step="Lower billing.requests_per_minute, or see who else asks the site; then try again.",
            )
        if refused.body.get("param") == "offset":
            return TransientError(
                f"{api.where()}: Chargebee does not go on with the list where it ended: {words}",
                next_step="Try again later.",
            )
        return None

    def customer_url(self, org: Organization, customer_id: str) -> str | None:
        """The customer in Chargebee, which is on the same host as its API."""
        return f"{self.url(org)}/d/customers/{quote(customer_id, safe='')}"

    def _listed(self, api: Api, since: datetime | None) -> Generator[list[dict[str, Any]], None, bool]:
        """Each page; returns whether there were several.

        By the time of creation, also where only changes are asked for: it never changes, every customer has it (those not
        changed since 2016-09-28 have no updated_at), and deleted ones stay in their places. So what changes meanwhile moves
        nobody across the end of a page, whether Chargebee's opaque offset means a customer or a number of them; sorted by
        updated_at, each change would move one from the front to the end, and with a number a neighbor would be missed.
        """
        params: dict[str, str | int] = {"limit": PAGE_SIZE, "include_deleted": "true", "sort_by[asc]": "created_at"}
        if since:
            params["updated_at[after]"] = calendar.timegm(since.utctimetuple())
        offsets = set[str]()
        while True:
            answer = api.get("/api/v2/customers", params)
            # A card that is used for payment may stand beside the customer; it says nothing about the customer.
            entries = api.records(answer, "list")
            yield [_customer(api, entry) for entry in entries]
            offset = answer.get("next_offset")
            if offset is None:
                return bool(offsets)
            if not isinstance(offset, str) or not offset:
                raise api.strange("does not say where the list of customers goes on")
            if offset in offsets:
                raise api.strange("gives the same customers on every page")
            offsets.add(offset)
            params["offset"] = offset


SOURCE = Chargebee()


def _customer(api: Api, entry: Record) -> dict[str, Any]:
    customer = entry.get("customer")
    if not isinstance(customer, dict):
        raise api.strange("does not answer with a list of customers")
    return customer


def _settings(org: Organization) -> Settings:
    return cast(Settings, org.billing)
