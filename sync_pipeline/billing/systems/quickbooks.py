"""Customers of QuickBooks Online: GET /v3/company/COMPANY/query, all of them or those that have changed.

Customers can't be deleted there, only made inactive; those are listed as well where the query asks for them
(https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/data-queries).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, cast
from urllib.parse import quote, urlsplit

from pydantic import Field
from requests.auth import AuthBase

from sync_pipeline.billing.api import Api, ApiSource, Limits, Record, Refused, ca_file_of
from sync_pipeline.billing.settings import ChangingSettings, ClientLogin
from sync_pipeline.billing.source import Organization
from sync_pipeline.errors import ConfigurationError, ReconnectError, SyncError, TransientError
from sync_pipeline.http import is_loopback
from sync_pipeline.logins.grants import AuthorizationServer, GrantStore
from sync_pipeline.logins.rotating import RotatingLogin
from sync_pipeline.yaml_types.shapes import ApiUrl
from sync_pipeline.yaml_types.values import Setting, text

PER_MINUTE = 500
"""QuickBooks' limit for a company."""
PAGE_SIZE = 1000
"""The most QuickBooks gives at once."""
MINOR_VERSION = 75
OVERLAP = timedelta(minutes=10)
"""† How exact LastUpdatedTime is, and how late a change may show, is written nowhere."""
MOST_BEGINNINGS = 5
"""So often a reading begins again; customers don't disappear from QuickBooks."""
CUSTOM = "CustomField"
THROTTLED = ("3001", "003001")

_EVERYBODY = "from Customer where Active in (true, false)"
_FIELDS = {
    "customer_id": ("Id",),
    "name": ("DisplayName",),
    "company_name": ("CompanyName",),
    "email": ("PrimaryEmailAddr.Address",),
    "currency": ("CurrencyRef.value",),
    "balance": ("Balance",),
    "active": ("Active",),
    "parent_id": ("ParentRef.value",),
    "created": ("MetaData.CreateTime",),
    "updated": ("MetaData.LastUpdatedTime",),
}
_EACH = "list_transform(regexp_split_to_array(email, '[,;]'), lambda one: trim(one))"  # one field for several addresses
_EMAILS = f"nullif(list_filter({_EACH}, lambda one, nth: one <> '' AND list_position({_EACH}, one) = nth), [])"
_EXPRESSIONS = {
    "customer_id": "customer_id",
    "name": "name",
    "company_name": "company_name",
    "emails": _EMAILS,
    "primary_email": f"({_EMAILS})[1]",
    "currency": "upper(currency)",
    "balance": "CAST(balance AS DECIMAL(18, 4))",
    "status": "CASE WHEN active = 'false' THEN 'archived' ELSE 'active' END",
    "parent_id": "parent_id",
    "created_at": "CAST(CAST(created AS TIMESTAMPTZ) AS TIMESTAMP)",  # the session's time zone is UTC
    "updated_at": "CAST(CAST(updated AS TIMESTAMPTZ) AS TIMESTAMP)",
}


class IntuitLogin(ClientLogin):
    """A person connects the company once, in the browser: `sync-pipeline connect`."""

    method: Literal["browser"]
    """How the sync logs in."""
    redirect_uri: Setting | None = None
    """The app's own callback URL, where it can't be one of this machine: Intuit takes http://localhost only for sandbox
    companies."""


class Settings(ChangingSettings):
    """Customers of QuickBooks Online."""

    system: Literal["quickbooks"]
    """The billing system."""
    company_id: Setting | None = None
    """Id of the company (realm id), in quotes. Left out, it is the one chosen when connecting."""
    login: IntuitLogin
    """How the sync logs in."""
    login_url: ApiUrl = "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"
    """Where access tokens are fetched."""
    authorize_url: ApiUrl = "https://appcenter.intuit.com/connect/oauth2"
    """Where a person allows access."""
    url: ApiUrl = "https://quickbooks.api.intuit.com"
    """Address of the API; https://sandbox-quickbooks.api.intuit.com for a sandbox company."""
    full_read_days: int = Field(default=1, ge=1, le=90)
    """Days after which every customer is read again, in case a change (say, of a balance) left no trace."""


class QuickBooks(ApiSource):
    """Reads customers in the order of their ids, which never change, inactive ones too."""

    title = "QuickBooks"
    fields = _FIELDS
    without = ("domain", "sparse", "SyncToken")
    expressions = _EXPRESSIONS
    overlap = OVERLAP
    new_key = "Connect the company again: sync-pipeline connect ORG --billing."

    def auth(self, org: Organization) -> AuthBase:
        """The access token of who connected the company."""
        return RotatingLogin(org.name, self.authorization(org))

    def authorization(self, org: Organization) -> AuthorizationServer:
        """Intuit's authorization server, where a person connects the company."""
        settings, login = _settings(org), _settings(org).login
        return AuthorizationServer(
            title=self.title,
            where=org.where("billing", "login"),
            authorize_url=text(settings.authorize_url),
            token_url=text(settings.login_url),
            scope="com.intuit.quickbooks.accounting",
            client_id=text(login.client_id),
            client_secret=login.client_secret.value(),
            ca_file=ca_file_of(org),
            redirect_uri=text(login.redirect_uri) if login.redirect_uri else None,
            tenant=text(settings.company_id) if settings.company_id else None,
            tenant_key="company_id",
            tenant_parameter="realmId",
        )

    def limits(self, org: Organization) -> Limits:
        """QuickBooks' own, of each company."""
        return Limits(PER_MINUTE)

    def account(self, org: Organization) -> str:
        """The company."""
        return f"{self.url(org)} {self._company(org)}"

    def pages(self, api: Api, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
        """Every page, and what changed while there were several of them."""
        several = yield from self._listed(api, since)
        if several:
            yield from self._listed(api, api.began - OVERLAP)

    def count(self, api: Api) -> int | None:
        """All customers, inactive ones too."""
        total = self._query(api, f"select count(*) {_EVERYBODY}").get("totalCount")
        return total if isinstance(total, int) else None

    def said(self, body: Record) -> str:
        """Message and detail of the first error."""
        error = _error(body)
        return ": ".join(dict.fromkeys(str(error[key]) for key in ("message", "detail") if error.get(key)))

    def refusal(self, api: Api, refused: Refused) -> SyncError | None:
        """A login that has ended, one to another company, or too many requests whatever the status."""
        words, org = api.words(refused), api.org
        if str(_error(refused.body).get("code")) in THROTTLED:
            return TransientError(f"{api.where()}: QuickBooks can't answer now: {words}", next_step="Try again later.")
        again = f"Connect again: {GrantStore().connect(org.name)}"
        if refused.status == 401:
            return ReconnectError(f"{api.where('login')}: QuickBooks refuses the login: {words}", next_step=again)
        if refused.status == 403:
            return ReconnectError(
                f"{api.where('company_id')}: QuickBooks does not give this login the company named here: {words}",
                next_step=f"Check company_id (QuickBooks shows it at Account and settings > Billing & subscription). {again}",
            )
        return None

    def customer_url(self, org: Organization, customer_id: str) -> str | None:
        """The customer in QuickBooks, for who is in this company there; of a stand-in, below its own address."""
        url = self.url(org)
        host = urlsplit(url).hostname or ""
        app = "https://sandbox.qbo.intuit.com" if host.startswith("sandbox") else "https://qbo.intuit.com"
        return f"{url if is_loopback(host) else app}/app/customerdetail?nameId={quote(customer_id, safe='')}"

    def _listed(self, api: Api, since: datetime | None) -> Generator[list[dict[str, Any]], None, bool]:
        """Each page; returns whether there were several.

        A page begins with the last customer of the one before. Where none of that one's is on it, customers have
        disappeared, others have moved to their places, and the list is read again.
        """
        moment = f" and MetaData.LastUpdatedTime >= '{since:%Y-%m-%dT%H:%M:%S}+00:00'" if since else ""
        position, before, beginnings = 1, set[Any](), 1
        while True:
            window = f"orderby Id startposition {position} maxresults {PAGE_SIZE}"
            found = self._query(api, f"select * {_EVERYBODY}{moment} {window}")
            page = api.records(found, "Customer") if "Customer" in found else []
            yield [_named(customer) for customer in page]
            ids = {str(customer.get("Id")) for customer in page}
            if before and ids.isdisjoint(before):
                beginnings += 1
                if beginnings > MOST_BEGINNINGS:
                    raise TransientError(
                        f"{api.where()}: customers disappear from QuickBooks while they are read.",
                        next_step="Try again later.",
                    )
                position, before = 1, set()
            elif len(page) < PAGE_SIZE:
                return position > 1
            elif ids == before:
                raise api.strange("gives the same customers on every page")
            else:
                position, before = position + PAGE_SIZE - 1, ids

    def _query(self, api: Api, query: str) -> dict[str, Any]:
        """The QueryResponse, which is empty where there is nothing."""
        params: dict[str, str | int] = {"query": query, "minorversion": MINOR_VERSION}
        if api.org.identifier.billing_field.startswith(f"{CUSTOM}."):
            params["include"] = "enhancedAllCustomFields"  # † without it newer custom fields stay away
        answer = api.get(f"/v3/company/{quote(self._company(api.org), safe='')}/query", params)
        if "Fault" in answer:
            raise Refused(400, answer)
        found = answer.get("QueryResponse")
        if not isinstance(found, dict):
            raise api.strange("does not answer with a list of customers")
        return found

    def _company(self, org: Organization) -> str:
        """The company's id: as the file says, else as the person chose who connected it."""
        written = _settings(org).company_id
        company = text(written) if written else RotatingLogin(org.name, self.authorization(org)).tenant
        if not company:
            raise ConfigurationError(
                f"{org.where('billing')}: company_id is missing, QuickBooks' id of the company.",
                next_step="QuickBooks shows it at Account and settings > Billing & subscription.",
            )
        return company


SOURCE = QuickBooks()


def _named(customer: dict[str, Any]) -> dict[str, Any]:
    """The customer with its custom fields by name; where two share one, both values stand there."""
    listed = customer.get(CUSTOM)
    if not isinstance(listed, list):
        return customer
    values: dict[str, list[Any]] = {}
    for one in listed:
        if isinstance(one, dict) and one.get("Name"):
            kept = (one[key] for key in ("StringValue", "NumberValue", "DateValue", "BooleanValue") if key in one)
            values.setdefault(str(one["Name"]), []).append(next(kept, None))
    return customer | {CUSTOM: {name: found[0] if len(found) == 1 else found for name, found in values.items()}}


def _error(body: Record) -> Mapping[str, Any]:
    """The first error of a Fault; the gateway writes its keys small."""
    fault = body.get("Fault") or body.get("fault")
    errors = (fault.get("Error") or fault.get("error")) if isinstance(fault, dict) else None
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    return {key.lower(): value for key, value in first.items()}


def _settings(org: Organization) -> Settings:
    return cast(Settings, org.billing)
