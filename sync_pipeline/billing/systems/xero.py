"""Customers of Xero: GET /api.xro/2.0/Contacts, all of them or those that have changed.

Xero keeps customers and suppliers in one list, and every contact is read. Whether one is a customer (`IsCustomer`) is
only known from its first sales invoice on, and Xero does not tell when that changes
(https://developer.xero.com/documentation/api/requests-and-responses): to leave out who is none yet would lose customers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, cast
from urllib.parse import quote, urlsplit

import requests
from pydantic import Field
from requests.auth import AuthBase

from sync_pipeline.billing.api import Api, ApiSource, Limits, Record, Refused, ca_file_of
from sync_pipeline.billing.settings import ChangingSettings, ClientLogin
from sync_pipeline.billing.source import Organization
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.http import ApiSession, is_loopback, translated
from sync_pipeline.logins.client_credentials import ClientCredentialsLogin
from sync_pipeline.logins.grants import AuthorizationServer
from sync_pipeline.logins.rotating import RotatingLogin
from sync_pipeline.yaml_types.shapes import ApiUrl
from sync_pipeline.yaml_types.values import Setting, text

PAGE_SIZE = 1000
"""Contacts of one request, the most there may be (https://developer.xero.com/documentation/api/accounting/contacts)."""
PER_MINUTE = 60
"""Xero's limit for an organisation; 5,000 a day besides (https://developer.xero.com/documentation/guides/oauth2/limits/)."""
LEFT_FOR_OTHERS = 100
"""Requests of the day that a reading leaves to others."""
OVERLAP = timedelta(minutes=10)
"""If-Modified-Since is exact to the second. The rest is for changes that were under way when a page was made."""
RESEND_SECONDS = 30 * 60.0
"""A refresh token that was used is taken so long again, for who lost the answer
(https://developer.xero.com/documentation/guides/oauth2/token-types/)."""
SCOPE = "accounting.contacts.read"
MOST_STEPS_BACK = 20
"""Contacts can't be deleted in Xero; a list that goes on getting shorter is no list of contacts."""

WHERE_TENANT = "GET https://api.xero.com/connections lists the tenantId of every organisation the app is connected to"
_FIELDS = {
    "customer_id": ("ContactID",),
    "account_number": ("AccountNumber",),
    "name": ("Name",),
    "email": ("EmailAddress",),
    "currency": ("DefaultCurrency",),
    "balance": ("Balances.AccountsReceivable.Outstanding",),
    "status": ("ContactStatus",),
    "merged_into_id": ("MergedToContactID",),
    "updated": ("UpdatedDateUTC",),
}
_MILLISECONDS = r"regexp_extract(updated, '^/Date\((-?\d+)([+-]\d{4})?\)/$', 1)"  # the offset is only for show
_EMAILS = "list_concat([email], json_extract_string(custom_fields, '$.ContactPersons[*].EmailAddress'))"
_EXPRESSIONS = {
    "customer_id": "customer_id",
    "display_id": "nullif(account_number, '')",
    "name": "name",
    "emails": f"nullif(list_filter({_EMAILS}, lambda one, nth: one <> '' AND list_position({_EMAILS}, one) = nth), [])",
    "primary_email": "nullif(email, '')",
    # Not converted to the organisation's currency: a contact that says no currency of its own has the organisation's.
    "currency": "upper(currency)",
    "balance": "CAST(balance AS DECIMAL(18, 4))",
    # Whoever asked to be forgotten can't be used any more, and the data must not spread.
    "status": "CASE status WHEN 'ARCHIVED' THEN 'archived' WHEN 'GDPRREQUEST' THEN 'deleted' ELSE 'active' END",
    "merged_into_id": "merged_into_id",
    "updated_at": f"CASE WHEN updated LIKE '/Date(%' THEN make_timestamp(CAST({_MILLISECONDS} AS BIGINT) * 1000)"
    " ELSE CAST(CAST(updated AS TIMESTAMPTZ) AS TIMESTAMP) END",
}


class CustomConnection(ClientLogin):
    """A custom connection of Xero: an app for one organisation, with a client id and a secret."""

    method: Literal["client_credentials"]
    """How the sync logs in."""


class BrowserConnection(ClientLogin):
    """A person connects the organisation once, in the browser: `sync-pipeline connect`."""

    method: Literal["browser"]
    """How the sync logs in."""


class Settings(ChangingSettings):
    """Customers of Xero."""

    system: Literal["xero"]
    """The billing system."""
    tenant_id: Setting | None = None
    """Xero's id of the organisation: GET https://api.xero.com/connections lists the tenantId of every one the app is
    connected to. With the browser it can be left out: then it is the one chosen there."""
    login: Annotated[CustomConnection | BrowserConnection, Field(discriminator="method")]
    """How the sync logs in."""
    login_url: ApiUrl = "https://identity.xero.com/connect/token"
    """Where access tokens are fetched."""
    authorize_url: ApiUrl = "https://login.xero.com/identity/connect/authorize"
    """Where a person allows access."""
    url: ApiUrl = "https://api.xero.com"
    """Address of the API."""
    page_size: int = Field(default=PAGE_SIZE, ge=1, le=PAGE_SIZE)
    """Contacts of one request: 1,000 read 100,000 contacts with 100 of the 5,000 requests that Xero allows in a day."""
    full_read_days: int = Field(default=1, ge=1, le=90)
    """Days after which every contact is read again. Xero does not tell when a balance has changed, so balances are as old
    as this."""

    @classmethod
    def findings(cls, section: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
        """Where a server logs in, nobody chooses the organisation."""
        login = section.get("login")
        by_server = isinstance(login, dict) and login.get("method") == "client_credentials"
        if by_server and section.get("tenant_id") is None:
            yield ("tenant_id",), f"this key is missing: a server can't choose Xero's organisation. {WHERE_TENANT}."


class Xero(ApiSource):
    """Reads contacts in the order of their ids, which never change, archived ones too."""

    title = "Xero"
    fields = _FIELDS
    without = ("HasValidationErrors", "StatusAttributeString")
    expressions = _EXPRESSIONS
    overlap = OVERLAP
    new_key = "Check client_id and client_secret, and that the app may read contacts (scope accounting.contacts.read)."

    def auth(self, org: Organization) -> AuthBase:
        """An access token by client credentials, or of who connected the organization."""
        if server := self.authorization(org):
            return RotatingLogin(org.name, server)
        settings, login = _settings(org), _settings(org).login
        return ClientCredentialsLogin(
            title=self.title,
            where=org.where("billing", "login"),
            token_url=text(settings.login_url),
            form=lambda: {"grant_type": "client_credentials", "scope": SCOPE},
            basic=(text(login.client_id), login.client_secret.value()),
            ca_file=ca_file_of(org),
            next_step=self.new_key,
        )

    def authorization(self, org: Organization) -> AuthorizationServer | None:
        """Xero's authorization server, where a person connects the organization; None with client credentials."""
        settings, login = _settings(org), _settings(org).login
        if isinstance(login, CustomConnection):
            return None
        return AuthorizationServer(
            title=self.title,
            where=org.where("billing", "login"),
            authorize_url=text(settings.authorize_url),
            token_url=text(settings.login_url),
            scope=f"offline_access {SCOPE}",
            client_id=text(login.client_id),
            client_secret=login.client_secret.value(),
            ca_file=ca_file_of(org),
            pkce=True,
            resend_seconds=RESEND_SECONDS,
            tenant=text(settings.tenant_id) if settings.tenant_id else None,
            tenants=lambda session: _connections(session, self.url(org)),
        )

    def limits(self, org: Organization) -> Limits:
        """Xero's own, of each organisation."""
        return Limits(PER_MINUTE, left={"x-daylimit-remaining": LEFT_FOR_OTHERS})

    def headers(self, org: Organization) -> Mapping[str, str]:
        """Whose contacts are asked for."""
        tenant = self._tenant(org)
        if not re.fullmatch(r"[!-~]+", tenant):  # nothing else can stand in a header
            raise ConfigurationError(
                f"{org.where('billing', 'tenant_id')}: this is no id of an organisation of Xero.",
                next_step=f"{WHERE_TENANT}.",
            )
        return {"xero-tenant-id": tenant}

    def account(self, org: Organization) -> str:
        """The organisation at Xero."""
        return f"{self.url(org)} {self._tenant(org)}"

    def pages(self, api: Api, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
        """Every page, and what changed while there were several of them."""
        listing = _Listing(api, since)
        yield from listing.pages()
        if listing.several:
            yield from _Listing(api, api.began - OVERLAP).pages()

    def count(self, api: Api) -> int | None:
        """All contacts, archived ones too."""
        return _told(api.get("/api.xro/2.0/Contacts", _parameters(1, 1)), "itemCount")

    def said(self, body: Record) -> str:
        """Xero's reason: `Detail` where the gateway refuses, `Message` where the API does, OAuth's own for a login."""
        reasons = [body.get(key) for key in ("Detail", "Message", "error_description", "error", "Title")]
        return next((reason for reason in reasons if isinstance(reason, str) and reason), "")

    def refusal(self, api: Api, refused: Refused) -> SyncError | None:
        """403 is about the organisation: a good token that may not see it."""
        if refused.status != 403:
            return None
        return ReconnectError(
            f"{api.where('tenant_id')}: Xero does not give this login the organisation named here: {api.words(refused)}",
            next_step=f"Check tenant_id ({WHERE_TENANT}), and that the app is still connected to it.",
        )

    def customer_url(self, org: Organization, customer_id: str) -> str | None:
        """The contact in Xero, for who is in this organisation there; of a stand-in on loopback, below its own address."""
        url = self.url(org)
        host = url if is_loopback(urlsplit(url).hostname or "") else "https://go.xero.com"
        return f"{host}/Contacts/View/{quote(customer_id, safe='')}"

    def _tenant(self, org: Organization) -> str:
        """Xero's id of the organisation: as the file says, else as the person chose who connected it."""
        if written := _settings(org).tenant_id:
            return text(written)
        server = self.authorization(org)
        if server and (chosen := RotatingLogin(org.name, server).tenant):
            return chosen
        raise ConfigurationError(
            f"{org.where('billing')}: tenant_id is missing, Xero's id of the organisation.",
            next_step=f"{WHERE_TENANT}.",
        )


class _Listing:
    """One pass through the contacts, all or changed ones.

    What is listed only grows: a contact that changes stays where its id has put it, and one that comes in between moves
    others to a later page, where they come a second time. Should the list get shorter all the same, pages are read again
    from as far back as its contacts can have moved.

    Attributes:
        several: whether there was more than one page.
    """

    def __init__(self, api: Api, since: datetime | None) -> None:
        self._api = api
        self._size: int = _settings(api.org).page_size
        self.several = False
        self._headers = {"If-Modified-Since": since.strftime("%Y-%m-%dT%H:%M:%SZ")} if since else {}

    def pages(self) -> Iterator[list[dict[str, Any]]]:
        """Each page."""
        page, total, first, steps_back = 1, 0, None, 0
        while True:
            answer = self._page(page)
            contacts = self._api.records(answer, "Contacts")
            count, pages, size = self._told(answer, contacts, page)
            self.several |= pages > 1
            if contacts and count == total and contacts[0].get("ContactID") == first:
                raise DataError(f"{self._api.where()}: Xero gives the same contacts on every page.")
            yield contacts
            if gone := max(0, total - count):
                steps_back += 1
                if steps_back > MOST_STEPS_BACK:
                    raise self._later("contacts disappear from Xero while they are read")
                page, first = max(1, page - math.ceil(gone / size)), None
            elif page >= pages:
                return
            else:
                page, first = page + 1, contacts[0].get("ContactID")
            total = count

    def _told(self, answer: Record, contacts: list[dict[str, Any]], page: int) -> tuple[int, int, int]:
        """How many contacts and pages there are, and how large a page is; each has to be full, the last one to have the rest."""
        count, pages, size = (_told(answer, key) for key in ("itemCount", "pageCount", "pageSize"))
        if not contacts and not count:
            return 0, 0, self._size
        if count is None or pages is None or not size:
            raise self._api.strange("does not say how many contacts there are")
        expected = size if page < pages else min(size, count - (page - 1) * size)
        if len(contacts) < expected:
            raise self._later(f"Xero gave {len(contacts):,} of the {expected:,} contacts of page {page:,}")
        return count, pages, size

    def _later(self, what: str) -> TransientError:
        return TransientError(f"{self._api.where()}: {what}.", next_step="Try again later.")

    def _page(self, page: int) -> dict[str, Any]:
        try:
            return self._api.get("/api.xro/2.0/Contacts", _parameters(page, self._size), self._headers)
        except Refused as refused:
            if refused.status == requests.codes.not_modified and self._headers:
                return {"Contacts": []}
            raise


SOURCE = Xero()


def _parameters(page: int, size: int) -> dict[str, str | int]:
    # ContactID is one of the three orders that Xero keeps an index for, and the only one of them that never changes.
    return {"page": page, "pageSize": size, "includeArchived": "true", "order": "ContactID"}


def _told(answer: Record, key: str) -> int | None:
    pagination = answer.get("pagination")
    told = pagination.get(key) if isinstance(pagination, dict) else None
    return told if isinstance(told, int) and told >= 0 else None


def _connections(session: ApiSession, url: str) -> dict[str, str]:
    """The organisations that a login reaches, id to name; practices and the like have no contacts."""
    with translated("Xero"):
        found = session.get(f"{url}/connections").json()
    kinds = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return {
        str(one["tenantId"]): str(one.get("tenantName") or "")
        for one in kinds
        if one.get("tenantId") and one.get("tenantType", "ORGANISATION") == "ORGANISATION"
    }


def _settings(org: Organization) -> Settings:
    return cast(Settings, org.billing)
