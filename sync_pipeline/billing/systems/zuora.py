"""Customers of Zuora Billing: GET /object-query/accounts, all of them at every sync.

An account says when it was last updated, and the list could be asked for what has changed since. That would not do:
the bill-to contact with its e-mail addresses is a record of its own with a time of its own, nobody promises that a new
balance touches the account, and a deleted account leaves no trace in this list. So each reading is whole
(https://developer.zuora.com/docs/guides/expand-filter-fields-sort/).

The older query language ZOQL gives 2,000 records at once where this list gives 50, but in no certain order, without
the contacts, and only the fields that are named: a custom field made tomorrow would stay away.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, cast
from urllib.parse import quote, urlsplit

from pydantic import Field
from requests.auth import AuthBase

from sync_pipeline import http
from sync_pipeline.billing.api import Api, ApiSource, Limits, Record, Refused, ca_file_of
from sync_pipeline.billing.settings import ApiSettings, ClientLogin
from sync_pipeline.billing.source import Organization
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, SyncError, TransientError
from sync_pipeline.logins.client_credentials import ClientCredentialsLogin
from sync_pipeline.yaml_types.shapes import ApiUrl
from sync_pipeline.yaml_types.values import Setting, text

PAGE_SIZE = 50
"""Customers of one request, unless the YAML file says otherwise."""
PER_MINUTE = {"apisandbox": 2_500, "sandbox.na": 2_500, "sandbox.eu": 2_500}
PER_MINUTE |= {"test": 12_500, "test.eu": 12_500, "test.ap": 12_500}
PER_MINUTE_IN_PRODUCTION = 50_000
"""Zuora's limits for a tenant, of whose 40 requests at once this asks one. Central and developer sandboxes share their
addresses, so both get the lower limit of the two (https://developer.zuora.com/docs/guides/rate-limits/)."""
LEFT_FOR_OTHERS = 100
"""Requests of the minute, hour or day, whichever is nearest to its end, that a reading leaves to others."""
OVERLAP = timedelta(minutes=10)
"""† How late a change may show in the list is written nowhere."""
ENVIRONMENTS = ("na", "eu", "ap", *PER_MINUTE)
"""rest.NAME.zuora.com is the API of what people see at NAME.zuora.com
(https://docs.zuora.com/basics/environments/zuora-data-centers); the oldest, rest.zuora.com, is that of www.zuora.com."""

PERMISSION, AUTHENTICATION = 10, 11
LATER = frozenset({50, 60, 61, 70, 99})
"""Last two digits of Zuora's error codes: locked, internal, temporary, too many at once, another system's trouble
(https://developer.zuora.com/docs/guides/error-codes/)."""
USER_UNKNOWN_NOW = "Failed to get user info"
"""What 401 says where the login is right, and to be tried again."""

_EACH = (
    "list_transform(list_concat([work_email, personal_email], coalesce(regexp_split_to_array(more_emails, '[,;]'), [])),"
    " lambda one: trim(one))"
)
_EMAILS = f"nullif(list_filter({_EACH}, lambda one, nth: one <> '' AND list_position({_EACH}, one) = nth), [])"


class ZuoraLogin(ClientLogin):
    """An OAuth client of a user of Zuora (Settings > Administration > Manage Users)."""

    method: Literal["client_credentials"]
    """How the sync logs in."""


class Settings(ApiSettings):
    """Customers of Zuora Billing."""

    system: Literal["zuora"]
    """The billing system."""
    login: ZuoraLogin
    """How the sync logs in."""
    url: ApiUrl
    """Address of the REST API: rest. before the address where people log in, e.g. https://rest.na.zuora.com,
    https://rest.eu.zuora.com, https://rest.test.zuora.com; https://rest.zuora.com for www.zuora.com. A login is good at one
    of them only."""
    entity_id: Setting | None = None
    """Id of the entity, where Multi-entity is on and the login may see several."""
    page_size: int = Field(default=PAGE_SIZE, ge=1, le=99)
    """Customers of one request. Zuora's newer documents allow 99, its published client refuses more than 50."""


class Zuora(ApiSource):
    """Lists accounts in the order of their ids, which never change, each with its bill-to contact."""

    title = "Zuora"
    fields: ClassVar = {
        "customer_id": ("id",),
        "display_id": ("accountNumber",),
        "name": ("name",),
        "work_email": ("billTo.workEmail",),
        "personal_email": ("billTo.personalEmail",),
        "more_emails": ("additionalEmailAddresses",),
        "currency": ("currency",),
        "balance": ("balance",),
        "status": ("status",),
        "parent_id": ("parentId",),
        "created": ("createdDate",),
        "updated": ("updatedDate",),
    }
    expressions: ClassVar = {
        "customer_id": "customer_id",
        "display_id": "display_id",
        "name": "name",
        "emails": _EMAILS,
        "primary_email": f"({_EMAILS})[1]",
        "currency": "upper(currency)",
        "balance": "CAST(balance AS DECIMAL(18, 4))",
        # A canceled account gets no new subscriptions and may still owe; a draft is a customer not billed yet.
        "status": "CASE WHEN lower(status) = 'canceled' THEN 'archived' ELSE 'active' END",
        "parent_id": "parent_id",
        "created_at": "CAST(CAST(created AS TIMESTAMPTZ) AS TIMESTAMP)",  # the session's time zone is UTC
        "updated_at": "CAST(CAST(updated AS TIMESTAMPTZ) AS TIMESTAMP)",
    }
    new_key = (
        "Check client_id and client_secret (Zuora shows the secret once, so make a new OAuth client where it is lost), "
        "and url: a client works in its own environment only."
    )

    def auth(self, org: Organization) -> AuthBase:
        """An access token by client credentials."""
        login = _settings(org).login
        form = {"grant_type": "client_credentials", "client_id": text(login.client_id)}
        return ClientCredentialsLogin(
            title=self.title,
            where=org.where("billing", "login"),
            token_url=f"{self.url(org)}/oauth/token",
            form=lambda: form | {"client_secret": login.client_secret.value()},
            ca_file=ca_file_of(org),
            next_step=self.new_key,
            said=lambda answer: self.said(answer) or None,
        )

    def limits(self, org: Organization) -> Limits:
        """Zuora's own, of the environment's tenants."""
        per_minute = PER_MINUTE.get(_environment(self.url(org)) or "", PER_MINUTE_IN_PRODUCTION)
        return Limits(per_minute, left={"ratelimit-remaining": LEFT_FOR_OTHERS})

    def headers(self, org: Organization) -> Mapping[str, str]:
        """The entity, where one is named."""
        if not (named := _settings(org).entity_id):
            return {}
        entity = text(named)
        if not re.fullmatch(r"[0-9A-Za-z-]+", entity):
            raise ConfigurationError(
                f"{org.where('billing', 'entity_id')}: this is no id of an entity of Zuora.",
                next_step="Copy it from Administration > Manage Entity Profile.",
            )
        return {"Zuora-Entity-Ids": entity}

    def pages(self, api: Api, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
        """Every page, and what changed while there were several of them."""
        several = yield from self._listed(api)
        if several:
            yield from self._listed(api, f"updateddate.GT:{api.began - OVERLAP:%Y-%m-%dT%H:%M:%SZ}")

    def said(self, body: Record) -> str:
        """Zuora's reasons, each with its code."""
        told = (f"{one.get('message') or 'no reason given'} ({one.get('code')})" for one in _reasons(body))
        return "; ".join(told) or str(body.get("message") or "")

    def refusal(self, api: Api, refused: Refused) -> SyncError | None:
        """By the code of Zuora's first reason, which comes with any HTTP status, even 200."""
        category, words = _category(refused.body), api.words(refused)
        if category in LATER or (refused.status == 401 and refused.body.get("message") == USER_UNKNOWN_NOW):
            return TransientError(f"{api.where()}: Zuora can't answer now: {words}", next_step="Try again later.")
        if refused.status == 403 or category == PERMISSION:
            return ReconnectError(
                f"{api.where('login')}: Zuora does not let this login list accounts: {words}",
                next_step="Give the OAuth client's user a role that may read accounts, and check entity_id and url.",
            )
        if refused.status == 401 or category == AUTHENTICATION:
            return ReconnectError(f"{api.where('login')}: Zuora refuses the login: {words}", next_step=self.new_key)
        return None

    def customer_url(self, org: Organization, customer_id: str) -> str | None:
        """The account in Zuora; of a stand-in on loopback, below its own address. None at an unknown address."""
        url = self.url(org)
        environment = _environment(url)
        if http.is_loopback(urlsplit(url).hostname or ""):
            host = url
        elif environment is not None:
            host = f"https://{environment or 'www'}.zuora.com"
        else:
            return None
        return f"{host}/apps/CustomerAccount.do?method=view&id={quote(customer_id, safe='')}"

    def _listed(self, api: Api, *filters: str) -> Generator[list[dict[str, Any]], None, bool]:
        """Each page; returns whether there were several.

        A page's cursor names the id that it ends with, so that nothing moves to another page, whatever comes or goes.
        """
        asked: list[tuple[str, str | int]] = [("pageSize", _settings(api.org).page_size), ("sort[]", "id.ASC")]
        asked += [("expand[]", "billto"), *(("filter[]", one) for one in filters)]
        cursor, cursors = "", set[str]()
        while True:
            answer = self._answer(api, [*asked, ("cursor", cursor)] if cursor else asked)
            page = api.records(answer, "data")
            yield page
            following = answer.get("nextPage")
            if not following:
                return bool(cursor)
            if not page or not isinstance(following, str) or following in cursors:
                raise DataError(f"{api.where()}: Zuora says there are more customers, but does not give them.")
            cursor = following
            cursors.add(cursor)

    def _answer(self, api: Api, asked: list[tuple[str, str | int]]) -> dict[str, Any]:
        """One page. What is only refused for the moment is asked for again, as after an HTTP status that says so."""
        for retry in range(http.RETRIES + 1):
            try:
                answer = api.get("/object-query/accounts", asked)
                if answer.get("success") is False or ("data" not in answer and _reasons(answer)):
                    raise Refused(200, answer)
            except Refused as refused:
                tried_already = refused.status in http.RETRIED_STATUSES
                if _category(refused.body) not in LATER or tried_already or retry == http.RETRIES:
                    raise
                time.sleep(http.backoff(retry))
            else:
                return answer
        raise AssertionError("the last try returns or raises")


SOURCE = Zuora()


def _reasons(body: Record) -> list[Mapping[str, Any]]:
    """What Zuora complains of; some of its services write a single reason without a list."""
    reasons = body.get("reasons")
    found = reasons if isinstance(reasons, list) else [body] if "code" in body else []
    return [one for one in found if isinstance(one, Mapping)]


def _category(body: Record) -> int | None:
    """The last two of the eight digits of the first reason's code."""
    code = str(next(iter(_reasons(body)), {}).get("code"))
    return int(code[-2:]) if re.fullmatch(r"[0-9]{8}", code) else None


def _environment(url: str) -> str | None:
    """`eu` of https://rest.eu.zuora.com, empty of https://rest.zuora.com; None where it is no address of Zuora's."""
    host = urlsplit(url).hostname or ""
    if host == "rest.zuora.com":
        return ""
    name = host.removeprefix("rest.").removesuffix(".zuora.com")
    return name if name in ENVIRONMENTS and host == f"rest.{name}.zuora.com" else None


def _settings(org: Organization) -> Settings:
    return cast(Settings, org.billing)
