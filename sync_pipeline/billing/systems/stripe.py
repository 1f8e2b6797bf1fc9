"""Customers of Stripe Billing: GET /v1/customers, a hundred at a time, all of them at every sync.

Stripe has no "changed since" for customers, so each reading is whole; a customer deleted there is not listed any more.
Customers of test clocks are not listed either (https://docs.stripe.com/api/customers/list).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, cast
from urllib.parse import quote, urlsplit

from requests.auth import AuthBase

from sync_pipeline.billing.api import Api, ApiSource, KeyAuth, Limits, Refused, key_of
from sync_pipeline.billing.settings import ApiSettings
from sync_pipeline.billing.source import Organization
from sync_pipeline.errors import DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.http import is_loopback
from sync_pipeline.yaml_types.shapes import ApiUrl
from sync_pipeline.yaml_types.values import Secret

API_VERSION = "2023-08-16"
"""Named in every request, so that an account's own default version can't change the shape of the answers. This is the
version of Stripe's published contract (stripe/openapi) that the tests hold answers to."""
PAGE_SIZE = 100
"""The most Stripe gives at once."""
LIVE_PER_SECOND, TEST_PER_SECOND = 100, 25
"""Stripe's own limits (https://docs.stripe.com/rate-limits)."""

WITHOUT_MINOR_UNIT = (
    "BIF",
    "CLP",
    "DJF",
    "GNF",
    "JPY",
    "KMF",
    "KRW",
    "MGA",
    "PYG",
    "RWF",
    "VND",
    "VUV",
    "XAF",
    "XOF",
    "XPF",
)
"""Amounts in these are whole units. ISK and UGX have no minor unit in life, but Stripe keeps writing them in hundredths
(https://docs.stripe.com/currencies#special-cases)."""
THOUSANDTHS = ("BHD", "JOD", "KWD", "OMR", "TND")

FIELDS = {
    "customer_id": ("id",),
    "name": ("name",),
    "email": ("email",),
    "currency": ("currency",),
    "minor": ("balance", "account_balance"),  # the latter is its older name
    "created": ("created",),
    "deleted": ("deleted",),
}
"""Where a customer's own values stand; everything else goes to custom_fields, whole."""
_WHOLE, _THOUSANDTH = f"upper(currency) IN {WITHOUT_MINOR_UNIT}", f"upper(currency) IN {THOUSANDTHS}"
_UNIT = f"CASE WHEN {_WHOLE} THEN 1.000 WHEN {_THOUSANDTH} THEN 0.001 ELSE 0.010 END"
_MINOR = "CAST(minor AS DECIMAL(18, 0))"  # a wider one is thirty times slower to read
_EXPRESSIONS = {
    "customer_id": "customer_id",
    "name": "name",
    "emails": "CASE WHEN email IS NOT NULL THEN [email] END",
    "primary_email": "email",
    "currency": "upper(currency)",
    # Positive is owed, as in the warehouse. An amount whose currency isn't known can't be told in units.
    "balance": f"CASE WHEN {_MINOR} = 0 THEN 0 WHEN currency IS NOT NULL THEN {_MINOR} * {_UNIT} END",
    "status": "CASE WHEN deleted = 'true' THEN 'deleted' ELSE 'active' END",
    "created_at": "make_timestamp(CAST(created AS BIGINT) * 1000000)",
}


class Settings(ApiSettings):
    """Customers of Stripe Billing."""

    system: Literal["stripe"]
    """The billing system."""
    api_key: Secret
    """A restricted key that may read customers, named as an environment variable."""
    url: ApiUrl = "https://api.stripe.com"
    """Address of the API."""


class Stripe(ApiSource):
    """Lists customers newest first; one deleted there is not listed any more."""

    title = "Stripe"
    fields = FIELDS
    without = ("object",)
    expressions = _EXPRESSIONS
    new_key = "Create a restricted key that may read customers (dashboard, Developers > API keys)."

    def auth(self, org: Organization) -> AuthBase:
        """The key as Bearer."""
        key = _key(org)
        return KeyAuth(f"Bearer {key}", key)

    def limits(self, org: Organization) -> Limits:
        """Stripe's own, of the key's mode."""
        return Limits(60 * (TEST_PER_SECOND if _is_test(_key(org)) else LIVE_PER_SECOND))

    def headers(self, org: Organization) -> dict[str, str]:
        """The version of the API."""
        return {"Stripe-Version": API_VERSION}

    def pages(self, api: Api, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
        """Every page until Stripe says there are no more.

        A page starts after a customer of the page before. If that one was deleted meanwhile, the one before it serves:
        customers may then come twice, but none is missed.
        """
        ids: list[str] = []
        ends: set[str] = set()
        while True:
            try:
                answer = api.get("/v1/customers", {"limit": PAGE_SIZE} | ({"starting_after": ids[-1]} if ids else {}))
            except Refused as refused:
                if not ids or not _is_gone(refused):
                    raise
                ids.pop()
                if not ids:
                    raise TransientError(
                        f"{api.where()}: customers were deleted from Stripe while they were read.",
                        next_step="Try again later.",
                    ) from None
                continue
            page = api.records(answer, "data")
            yield page
            more = answer.get("has_more")
            if not isinstance(more, bool):
                raise api.strange("does not answer with a list of customers")
            if not more:
                return
            last = page[-1].get("id") if page else None
            if not isinstance(last, str) or last in ends:
                raise DataError(f"{api.where()}: Stripe says there are more customers, but does not give them.")
            ends.add(last)
            ids = [customer["id"] for customer in page if isinstance(customer.get("id"), str)]

    def said(self, body: Mapping[str, Any]) -> str:
        """The message of Stripe's error, without the key, which Stripe repeats with most of its characters masked."""
        return without_keys(str(_error(body).get("message") or ""))

    def refusal(self, api: Api, refused: Refused) -> SyncError | None:
        """A refused key, by the variable that holds it."""
        if refused.status not in (401, 403):
            return None
        variable = _settings(api.org).api_key.env
        return ReconnectError(
            f"{api.where('api_key')}: Stripe refuses the key in {variable}: {api.words(refused)}",
            next_step=f"{self.new_key.rstrip('.')}, and put it into {variable}.",
        )

    def customer_url(self, org: Organization, customer_id: str) -> str | None:
        """The customer in Stripe's dashboard; of a stand-in on loopback, below its own address."""
        page = f"/customers/{quote(customer_id, safe='')}"
        if is_loopback(urlsplit(url := self.url(org)).hostname or ""):
            return url + page
        # Without the key (say, in a process that only shows results) the mode isn't known; live is the likely one.
        key = _settings(org).api_key
        test = key.is_set() and _is_test(key.value())
        return f"https://dashboard.stripe.com{'/test' if test else ''}{page}"


SOURCE = Stripe()


def _settings(org: Organization) -> Settings:
    return cast(Settings, org.billing)


def _key(org: Organization) -> str:
    key = _settings(org).api_key
    return key_of(org, "Stripe", "api_key", key)


def _is_test(key: str) -> bool:
    return re.match(r"[a-z]+_test_", key) is not None


def _error(body: Mapping[str, Any]) -> Mapping[str, Any]:
    error = body.get("error")
    return error if isinstance(error, dict) else {}


def without_keys(message: str) -> str:
    """Stripe's message without the masked key in it."""
    return re.sub(r"\s*:?\s*['\"]?\b[a-z]{2,4}_(?:live_|test_)?[\w*]*\*[\w*]*['\"]?", "", message).strip()


def _is_gone(refused: Refused) -> bool:
    error = _error(refused.body)
    return error.get("code") == "resource_missing" and error.get("param") == "starting_after"
