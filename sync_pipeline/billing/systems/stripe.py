"""Customers of Stripe Billing: GET /v1/customers, a hundred at a time, all of them at every sync.

Stripe has no "changed since" for customers, so each reading is whole; a customer deleted there is not listed any more.
Customers of test clocks are not listed either (https://docs.stripe.com/api/customers/list).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn
from urllib.parse import quote as url_quote
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from sync_pipeline import progress
from sync_pipeline.billing.records import Spool
from sync_pipeline.billing.settings import ApiSettings
from sync_pipeline.billing.source import Organization, Reading
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.http import ApiSession, RateLimit, is_loopback, translated
from sync_pipeline.yaml_types.shapes import ApiUrl
from sync_pipeline.yaml_types.values import Secret, text

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
    "position": "CAST(position AS BIGINT)",
    "customer_id": "customer_id",
    "identifier": "identifier",
    "name": "name",
    "emails": "CASE WHEN email IS NOT NULL THEN [email] END",
    "primary_email": "email",
    "currency": "upper(currency)",
    # Positive is owed, as in the warehouse. An amount whose currency isn't known can't be told in units.
    "balance": f"CASE WHEN {_MINOR} = 0 THEN 0 WHEN currency IS NOT NULL THEN {_MINOR} * {_UNIT} END",
    "status": "CASE WHEN deleted = 'true' THEN 'deleted' ELSE 'active' END",
    "custom_fields": "custom_fields",
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


def read(org: Organization, folder: Path) -> Reading:
    """Fetch every customer, page by page, to disk.

    Raises:
        ReconnectError: Stripe refuses the key, in Stripe's words.
        TransientError: Stripe is away, too busy, or broke off.
        DataError: the answer is not Stripe's list of customers.
        ConfigurationError: the identifier is on no customer, or Stripe refuses the request.
    """
    with Spool(org, folder / "customers.csv", "Stripe", FIELDS, without=["object"]) as spool:
        for page in _Api(org).pages():
            for customer in page:
                spool.add(customer)
            progress.report("customers read", spool.count)
    spool.require_field()
    relation, params = spool.relation()
    return Reading(relation, _EXPRESSIONS, params, latest_wins=True)


def probe(org: Organization) -> str:
    """Ask for the first page. Whether customers carry the identifier is only known when all are read."""
    api = _Api(org)
    page = next(api.pages(), [])
    return f"Stripe answers; its first page has {len(page)} customers."


def customer_url(org: Organization, customer_id: str) -> str | None:
    """The customer in Stripe's dashboard; of a stand-in on loopback, below its own address."""
    settings = _settings(org)
    page = f"/customers/{url_quote(customer_id, safe='')}"
    url = text(settings.url).rstrip("/")
    if is_loopback(urlsplit(url).hostname or ""):
        return url + page
    # Without the key (say, in a process that only shows results) the mode isn't known; live is the likely one.
    test = settings.api_key.is_set() and _is_test(settings.api_key.value())
    return f"https://dashboard.stripe.com{'/test' if test else ''}{page}"


class _Api:
    """The list of customers, as pages."""

    def __init__(self, org: Organization) -> None:
        settings = _settings(org)
        self._org = org
        self._env = settings.api_key.env
        self._key = _key(org, settings)
        self._url = text(settings.url).rstrip("/") + "/v1/customers"
        per_second = TEST_PER_SECOND if _is_test(self._key) else LIVE_PER_SECOND
        ca_file = str(org.path(settings.ca_file)) if settings.ca_file else None
        self._session = ApiSession(ca_file=ca_file, limit=RateLimit(per_minute=60 * per_second), pool_size=1)
        self._session.auth = _Bearer(self._key)
        self._session.headers["Stripe-Version"] = API_VERSION
        if is_loopback(urlsplit(self._url).hostname or ""):
            self._session.headers["Accept-Encoding"] = "identity"  # compression costs more than it saves here

    def pages(self) -> Iterator[list[dict[str, Any]]]:
        """Every page until Stripe says there are no more.

        A page starts after a customer of the page before. If that one was deleted meanwhile, the one before it serves:
        customers may then come twice, but none is missed.
        """
        ids: list[str] = []
        while True:
            answer = self._get(ids[-1] if ids else None)
            if answer is None:
                ids.pop()
                if not ids:
                    raise TransientError(
                        f"{self._where()}: customers were deleted from Stripe while they were read.",
                        next_step="Try again later.",
                    )
                continue
            page = answer["data"]
            yield page
            if not answer["has_more"]:
                return
            last = page[-1].get("id") if page else None
            if not isinstance(last, str) or last in ids[-1:]:
                raise DataError(f"{self._where()}: Stripe says there are more customers, but does not give them.")
            ids = [customer["id"] for customer in page if isinstance(customer.get("id"), str)]

    def _get(self, after: str | None) -> dict[str, Any] | None:
        """The page after a customer; None where Stripe does not know that customer any more."""
        params: dict[str, str | int] = {"limit": PAGE_SIZE}
        if after is not None:
            params["starting_after"] = after
        with self._session_errors():
            response = self._session.get(self._url, params=params)
        if response.status_code == requests.codes.ok:
            return self._list(response)
        error = _error(response)
        if after is not None and error.get("code") == "resource_missing" and error.get("param") == "starting_after":
            return None
        return self._refused(response, error)

    def _session_errors(self) -> Any:
        return translated(f"{self._where()}: Stripe")

    def _list(self, response: requests.Response) -> dict[str, Any]:
        body = response.content
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise self._unreadable(body, error) from None
        data = answer.get("data") if isinstance(answer, dict) else None
        if (
            isinstance(data, list)
            and isinstance(answer.get("has_more"), bool)
            and all(isinstance(c, dict) for c in data)
        ):
            return dict(answer)
        raise DataError(
            f"{self._where()}: what answers at {_host(self._url)} does not answer with a list of customers.",
            next_step="Check billing.url in the YAML file.",
        )

    def _unreadable(self, body: bytes, error: ValueError) -> SyncError:
        if body.lstrip()[:1] == b"<":
            return DataError(
                f"{self._where()}: {_host(self._url)} answers with a web page instead of JSON.",
                next_step="Check billing.url in the YAML file, and whether a proxy or a login page stands in between.",
            )
        if isinstance(error, json.JSONDecodeError) and body.lstrip()[:1] == b"{":
            return TransientError(
                f"{self._where()}: Stripe's answer breaks off after {len(body):,} bytes.", next_step="Try again later."
            )
        return DataError(
            f"{self._where()}: {_host(self._url)} answers with something that is not JSON.",
            next_step="Check billing.url in the YAML file.",
        )

    def _refused(self, response: requests.Response, error: Mapping[str, Any]) -> NoReturn:
        status = response.status_code
        said = _without_keys(str(error.get("message") or ""), self._key)
        words = f"{said.rstrip('.') or 'no reason given'} (HTTP {status})."
        if status in (401, 403):
            raise ReconnectError(
                f"{self._where('api_key')}: Stripe refuses the key in {self._env}: {words}",
                next_step="Create a restricted key that may read customers (dashboard, Developers > API keys), "
                f"and put it into {self._env}.",
            )
        if status == requests.codes.too_many_requests or status >= requests.codes.internal_server_error:
            raise TransientError(f"{self._where()}: Stripe can't answer now: {words}", next_step="Try again later.")
        raise ConfigurationError(
            f"{self._where('url')}: Stripe refuses to list customers: {words}",
            next_step="Check billing.url in the YAML file.",
        )

    def _where(self, *path: str) -> str:
        return self._org.where("billing", *path)


class _Bearer(AuthBase):
    """The key as Stripe wants it. As requests' own auth, because a header would give way to a ~/.netrc."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _settings(org: Organization) -> Settings:
    if not isinstance(org.billing, Settings):
        raise TypeError(f"{org.name} is billed by {org.billing.system}")
    return org.billing


def _key(org: Organization, settings: Settings) -> str:
    key = settings.api_key.value()
    if not re.fullmatch(r"[!-~]+", key):  # requests would quote it in its complaint
        raise ConfigurationError(
            f"{org.where('billing', 'api_key')}: what {settings.api_key.env} holds is no key of Stripe: "
            "it has white space or other characters in it that no key has.",
            next_step="Copy the key again (it starts with rk_live_, rk_test_, sk_live_ or sk_test_).",
        )
    return key


def _is_test(key: str) -> bool:
    return re.match(r"[a-z]+_test_", key) is not None


def _error(response: requests.Response) -> Mapping[str, Any]:
    try:
        error = json.loads(response.content).get("error")
    except (ValueError, AttributeError):
        return {}
    return error if isinstance(error, dict) else {}


def _without_keys(message: str, key: str) -> str:
    """Stripe's message without the key, which Stripe repeats with most of its characters masked."""
    bare = re.sub(r"\s*:?\s*['\"]?\b[a-z]{2,4}_(?:live_|test_)?[\w*]*\*[\w*]*['\"]?", "", message.replace(key, "rk_*"))
    return bare.strip()


def _host(url: str) -> str:
    return urlsplit(url).netloc
