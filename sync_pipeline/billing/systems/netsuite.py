"""Customers of NetSuite: SuiteQL over REST, a thousand at a time, page after page by their internal id.

SuiteQL's own offset ends at 100,000 rows and slips where data changes; `id > last` does neither. Leads and prospects
stand in the same table and come along: NetSuite may have billed them before it calls them customers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, cast
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field
from requests.auth import AuthBase

from sync_pipeline.billing.api import Api, ApiSource, Limits, Refused
from sync_pipeline.billing.netsuite_login import CertificateAuth, CertificateLogin, TokenAuth, TokenLogin
from sync_pipeline.billing.settings import ChangingSettings
from sync_pipeline.billing.source import Organization
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.http import is_loopback
from sync_pipeline.yaml_types.shapes import ApiUrl, TimeZone
from sync_pipeline.yaml_types.values import EnvRef, Setting, text

PATH = "/services/rest/query/v1/suiteql"
PAGE_SIZE = 1000
"""The most NetSuite gives at once."""
TIME_FORMAT = "YYYY-MM-DD HH24:MI:SS"
"""A date without TO_CHAR comes in the format that the user has chosen: 3/4/2026 is March there and April here."""
ACCOUNT = r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*"

FIELDS = {
    "customer_id": ("id",),
    "display_id": ("entityid",),
    "alt_name": ("altname",),
    "company_name": ("companyname",),
    "person": ("isperson",),
    "email": ("email",),
    "currency": ("sync_currency",),
    # † SuiteQL's own name for a customer's balance; the facts have the record's.
    "balance": ("balance", "balancesearch"),
    "inactive": ("isinactive",),
    "parent": ("parent",),
    "updated": ("sync_updated",),
}
"""Where a customer's own values stand, `sync_...` as `_completed` makes them; everything else goes to custom_fields."""
_EXPRESSIONS = {
    "customer_id": "customer_id",
    "display_id": "display_id",
    "name": "coalesce(alt_name, company_name, display_id)",
    "company_name": "company_name",
    "is_individual": "CASE upper(person) WHEN 'T' THEN true WHEN 'F' THEN false END",
    "emails": "CASE WHEN email IS NOT NULL THEN [email] END",
    "primary_email": "email",
    "currency": "currency",
    "balance": "balance",
    "status": "CASE upper(inactive) WHEN 'T' THEN 'archived' ELSE 'active' END",
    "parent_id": "nullif(parent, customer_id)",
    "updated_at": "CAST(updated AS TIMESTAMP)",
}


def _account_id(account: str | EnvRef) -> str | EnvRef:
    if isinstance(account, str) and not re.fullmatch(ACCOUNT, account):
        raise ValueError("this is no account id. Allowed: as Setup > Company Information has it, e.g. 1234567_SB1.")
    return account


class Settings(ChangingSettings):
    """Customers of NetSuite."""

    system: Literal["netsuite"]
    """The billing system."""
    account: Annotated[Setting, AfterValidator(_account_id)]
    """The account id, e.g. 1234567 or 1234567_SB1."""
    login: Annotated[CertificateLogin | TokenLogin, Field(discriminator="method")]
    """How the sync logs in: certificate, or tba (which NetSuite ends in 2027/28)."""
    url: ApiUrl = "https://{account}.suitetalk.api.netsuite.com"
    """Address of the API, where it is not the account's own."""
    user_timezone: TimeZone | None = None
    """IANA name of the time zone of the user who logs in; without it updated_at stays empty, as NetSuite tells no zone."""


class NetSuite(ApiSource):
    """Lists customers by internal id; one deleted there is not listed any more, which their number shows."""

    title = "NetSuite"
    fields = FIELDS
    without = ("links",)
    expressions = _EXPRESSIONS
    # Times are those of some zone, and the one furthest behind is 12 hours; the 13th is for clocks and open transactions.
    overlap = timedelta(hours=13)
    new_key = (
        "Check the login at billing.login, that its role has the permissions REST Web Services, SuiteAnalytics Workbook "
        "and Customers, and the reason in NetSuite (Setup > Users/Roles > View Login Audit Trail)."
    )

    def auth(self, org: Organization) -> AuthBase:
        """A token for a signed assertion, or a signature on every request."""
        settings = _settings(org)
        if isinstance(settings.login, TokenLogin):
            return TokenAuth(org, settings.login, _account(org).upper().replace("-", "_"))
        ca_file = str(org.path(settings.ca_file)) if settings.ca_file else None
        return CertificateAuth(org, settings.login, self.url(org), ca_file)

    def limits(self, org: Organization) -> Limits:
        """NetSuite counts requests at once (five and up, all integrations together), not a minute: one is enough here."""
        return Limits(60_000)

    def url(self, org: Organization) -> str:
        """The account's host, where none is named."""
        return super().url(org).replace("{account}", _host(org))

    def account(self, org: Organization) -> str:
        """The account, and where it was asked."""
        return f"{_host(org)} {self.url(org)}"

    def headers(self, org: Organization) -> dict[str, str]:
        """SuiteQL takes no request without it."""
        return {"Prefer": "transient"}

    def pages(self, api: Api, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
        """Every page after the last id of the one before, so nothing that changes meanwhile moves a customer out of it."""
        currencies = _currencies(api)
        changed = f"customer.lastmodifieddate >= TO_DATE('{since:%Y-%m-%d %H:%M:%S}', '{TIME_FORMAT}')" if since else ""
        last: int | None = None
        while True:
            after = f"customer.id > {last}" if last is not None else ""
            conditions = " AND ".join(filter(None, (after, changed)))
            answer = _ask(api, _customers(conditions))
            page = api.records(answer, "items")
            yield [_completed(api, customer, currencies) for customer in page]
            more = answer.get("hasMore")
            if not isinstance(more, bool):
                raise api.strange("does not answer with a list of customers")
            if not more:
                return
            ids = [number for customer in page if (number := _number(customer.get("id"))) is not None]
            if not ids or len(ids) < len(page) or ids != sorted(ids) or (last is not None and ids[-1] <= last):
                raise DataError(f"{api.where()}: NetSuite says there are more customers, but does not give them by id.")
            last = ids[-1]

    def count(self, api: Api) -> int | None:
        """As many as the role may see, which is what `pages` gives."""
        rows = api.records(_ask(api, "SELECT COUNT(*) AS customers FROM customer"), "items")
        number = _number(rows[0].get("customers")) if len(rows) == 1 else None
        if number is None:
            raise api.strange("does not say how many customers there are")
        return number

    def said(self, body: Mapping[str, Any]) -> str:
        """The details, or what the token endpoint says (RFC 6749)."""
        details = [str(detail.get("detail") or "") for detail in _details(body)]
        token = [str(body[key]) for key in ("error", "error_description") if isinstance(body.get(key), str)]
        return " ".join(filter(None, details)) or ": ".join(token) or str(body.get("title") or "")

    def refusal(self, api: Api, refused: Refused) -> SyncError | None:
        """By the codes, since NetSuite gives some of them with one status and with another."""
        codes = {str(detail.get("o:errorCode")) for detail in _details(refused.body)}
        if refused.status >= 500 or refused.status == 429 or any("LIMIT_EXCEEDED" in code for code in codes):
            return TransientError(
                f"{api.where()}: NetSuite can't answer now: {api.words(refused)}",
                next_step="Try again later; if it lasts, other integrations use up the account's concurrency limit.",
            )
        if isinstance(refused.body.get("error"), str) and refused.status in (400, 401, 403):
            return ReconnectError(
                f"{api.where('login')}: NetSuite refuses the login: {api.words(refused)}",
                next_step="Check client_id, certificate_id, the private key, and that the certificate has not expired or "
                "been revoked (Setup > Integration > OAuth 2.0 Client Credentials (M2M) Setup).",
            )
        if any(code.startswith("INVALID_LOGIN") or code == "INSUFFICIENT_PERMISSION" for code in codes):
            return ReconnectError(
                f"{api.where('login')}: NetSuite refuses the login: {api.words(refused)}", next_step=self.new_key
            )
        return None

    def customer_url(self, org: Organization, customer_id: str) -> str | None:
        """The customer's record; of a stand-in on loopback, below its own address."""
        page = f"/app/common/entity/custjob.nl?id={quote(customer_id, safe='')}"
        if is_loopback(urlsplit(url := self.url(org)).hostname or ""):
            return url + page
        return f"https://{_host(org)}.app.netsuite.com{page}"


SOURCE = NetSuite()


def _settings(org: Organization) -> Settings:
    return cast(Settings, org.billing)


def _account(org: Organization) -> str:
    account = text(_settings(org).account)
    if not re.fullmatch(ACCOUNT, account):
        raise ConfigurationError(
            f"{org.where('billing', 'account')}: this is no account id.",
            next_step="Take it from Setup > Company > Company Information in NetSuite, e.g. 1234567_SB1.",
        )
    return account


def _host(org: Organization) -> str:
    return _account(org).lower().replace("_", "-")


def _ask(api: Api, query: str) -> dict[str, Any]:
    return api.post(PATH, {"q": query}, {"limit": PAGE_SIZE})


def _customers(conditions: str) -> str:
    """† That `customer.*` may stand beside an expression is known from use; NetSuite's help shows each alone."""
    updated = f"TO_CHAR(customer.lastmodifieddate, '{TIME_FORMAT}') AS sync_updated"
    where = f" WHERE {conditions}" if conditions else ""
    return f"SELECT customer.*, {updated} FROM customer{where} ORDER BY customer.id"


def _currencies(api: Api) -> dict[str, str] | None:
    """ISO codes by internal id; None where the account has no currencies of its own, or hides them from the role.

    † `symbol` is the currency's ISO code. BUILTIN.DF(customer.currency) would be its name, which people choose.
    """
    try:
        rows = api.records(_ask(api, "SELECT id, symbol FROM currency ORDER BY id"), "items")
    except Refused as refused:
        if refused.status != 400 or not _details(refused.body):
            raise
        return None
    return {str(row.get("id")): str(row.get("symbol") or "").upper() for row in rows}


def _completed(api: Api, customer: dict[str, Any], currencies: dict[str, str] | None) -> dict[str, Any]:
    """A customer with the ISO code and the UTC time that NetSuite has only the makings of."""
    currency = customer.get("currency")
    if currency is not None and currencies is None:
        raise ConfigurationError(
            f"{api.where('login')}: NetSuite does not let this login see which currencies customers have.",
            next_step="Give its role the permission Lists > Currency (View).",
        )
    made = {
        "sync_currency": (currencies or {}).get(str(currency)),
        "sync_updated": _utc(api, customer.get("sync_updated")),
    }
    told = {name: value for name, value in customer.items() if name not in made}
    return told | {name: value for name, value in made.items() if value}  # not listed as fields where there is none


def _utc(api: Api, told: object) -> str | None:
    """The moment in UTC; None where the zone isn't known or the time is not in the format it was asked for."""
    zone = _settings(api.org).user_timezone
    if zone is None or not isinstance(told, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", told):
        return None
    try:
        moment = datetime.fromisoformat(told).replace(tzinfo=ZoneInfo(zone))
        return moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    except (ValueError, OverflowError):
        return None


def _number(value: object) -> int | None:
    """A whole number, which NetSuite gives as text or as a number."""
    return int(str(value)) if re.fullmatch(r"-?[0-9]{1,18}", str(value)) else None


def _details(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    details = body.get("o:errorDetails")
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
