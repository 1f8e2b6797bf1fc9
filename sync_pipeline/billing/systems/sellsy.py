"""Customers of Sellsy: POST /v2/companies/search and POST /v2/individuals/search, a hundred at a time, all of them.

Sellsy can't tell everything that has changed since a moment (a deletion leaves no trace, and a custom field's value is no
part of the company), so each reading is whole. Clients and prospects are read: a prospect may be billed before anybody
calls it a client, and its record stays the same when it becomes one. Suppliers are left out, since the company pays them;
as rivals for an identifier they would only set clients aside. `billing.types` says otherwise.

Companies and individuals are numbered apart. A company's `customer_id` is its number, the id that other systems know; an
individual's is `individual-NUMBER`, so that nobody's debts go to one of the other kind with the same number. Upflow's
externalId, or customer_id in tables of the warehouse, has to be equal to it: an individual that stands there under its
bare number would be taken for the company with that number.

A custom field is `cf.ID`, with its value as Sellsy gives it. The words of a choice stand beside its number as
`cf.ID.label`. Companies have no currency, no balance and no parent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, cast
from urllib.parse import quote, urlsplit

from pydantic import Field
from requests.auth import AuthBase

from sync_pipeline.billing.api import Api, ApiSource, Limits, Record, Refused, ca_file_of
from sync_pipeline.billing.settings import ApiSettings, ClientLogin
from sync_pipeline.billing.source import Organization
from sync_pipeline.errors import DataError, ReconnectError, TransientError
from sync_pipeline.http import is_loopback
from sync_pipeline.logins.client_credentials import ClientCredentialsLogin
from sync_pipeline.yaml_types.shapes import ApiUrl
from sync_pipeline.yaml_types.values import text

PER_MINUTE = 4 * 60
"""Sellsy allows 5 requests a second (https://api.sellsy.com/documentation/rules). Four leave room for requests that arrive
closer together than they left, and one for others."""
LEFT_FOR_OTHERS = 100
"""Requests of the day, or of the month, that a reading leaves to others."""
PAGE_SIZE = 100
"""The most Sellsy gives at once."""
CUSTOMER_TYPES = frozenset({"client", "prospect", "supplier"})
"""What a company or an individual is, and what a custom field is for where customers have it."""
INDIVIDUAL = "is_individual"
"""Put into the records of individuals, which look much like companies."""
WHERE_ACCESS = "Settings > Developer portal > API V2"

Params = list[tuple[str, str | int]]

_FIELDS = {
    "customer_id": ("id",),
    "individual": (INDIVIDUAL,),
    "display_id": ("reference",),
    "name": ("name",),
    "first_name": ("first_name",),
    "last_name": ("last_name",),
    "email": ("email",),
    "archived": ("is_archived",),
    "created": ("created",),
    "updated": ("updated_at",),
}
_EXPRESSIONS = {
    "customer_id": "CASE WHEN individual = 'true' THEN 'individual-' || customer_id ELSE customer_id END",
    "display_id": "nullif(display_id, '')",
    "name": "coalesce(name, nullif(trim(concat_ws(' ', first_name, last_name)), ''))",
    "company_name": "name",
    "is_individual": "coalesce(individual = 'true', false)",
    "emails": "CASE WHEN email <> '' THEN [email] END",
    "primary_email": "nullif(email, '')",
    "status": "CASE WHEN archived = 'true' THEN 'archived' ELSE 'active' END",
    "created_at": "CAST(CAST(created AS TIMESTAMPTZ) AS TIMESTAMP)",  # the session's time zone is UTC
    "updated_at": "CAST(CAST(updated AS TIMESTAMPTZ) AS TIMESTAMP)",
}


class ApiAccess(ClientLogin):
    """A personal access of Sellsy's API V2: a client id and a secret."""

    method: Literal["client_credentials"]
    """How the sync logs in."""


class Settings(ApiSettings):
    """Customers of Sellsy."""

    system: Literal["sellsy"]
    """The billing system."""
    login: ApiAccess
    """How the sync logs in."""
    login_url: ApiUrl = "https://login.sellsy.com/oauth2/access-tokens"
    """Where access tokens are fetched."""
    url: ApiUrl = "https://api.sellsy.com"
    """Address of the API."""
    types: list[Literal["client", "prospect", "supplier"]] = Field(default=["client", "prospect"], min_length=1)
    """Which companies and individuals are customers, by their type in Sellsy."""


class Sellsy(ApiSource):
    """Lists companies, then individuals, in the order of their ids, which never change."""

    title = "Sellsy"
    fields = _FIELDS
    expressions = _EXPRESSIONS
    new_key = f"Check client_id and client_secret ({WHERE_ACCESS})."

    def auth(self, org: Organization) -> AuthBase:
        """An access token by client credentials, good for as long as Sellsy says."""
        settings, login = _settings(org), _settings(org).login
        form = {
            "grant_type": "client_credentials",
            "client_id": text(login.client_id),
            "client_secret": login.client_secret.value(),
        }
        return ClientCredentialsLogin(
            title=self.title,
            where=org.where("billing", "login"),
            token_url=text(settings.login_url),
            form=lambda: form,
            ca_file=ca_file_of(org),
            next_step=self.new_key,
            said=self.said,
        )

    def limits(self, org: Organization) -> Limits:
        """Sellsy's own, of each account.

        † The minute and the month are in no document of Sellsy's, but in the headers that its users report: some accounts
        have fewer requests a minute than five a second make.
        """
        rest = {f"x-quota-remaining-by-{one}": LEFT_FOR_OTHERS for one in ("day", "month")}
        return Limits(PER_MINUTE, left=rest, refill={"x-quota-remaining-by-minute": 60.0})

    def pages(self, api: Api, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
        """Every page of companies and of individuals; the first of both comes first, so that a missing right shows early."""
        embeds = _embeds(api)
        lists = [_customers(api, kind, embeds) for kind in ("companies", "individuals")]
        firsts = [next(one, []) for one in lists]
        for first, rest in zip(firsts, lists, strict=True):
            yield first
            yield from rest

    def said(self, body: Record) -> str:
        """Message and context of the error; a login's is a plain text (RFC 6749)."""
        error = body.get("error")
        words = [error.get("message"), error.get("context")] if isinstance(error, Mapping) else [error]
        return ": ".join(dict.fromkeys(one for one in words if isinstance(one, str) and one))

    def customer_url(self, org: Organization, customer_id: str) -> str | None:
        """None: † where Sellsy shows a company depends on its type, and on no document. A stand-in on loopback has a page."""
        url = self.url(org)
        page = f"{url}/customers/{quote(customer_id, safe='')}"
        return page if is_loopback(urlsplit(url).hostname or "") else None


SOURCE = Sellsy()


def _settings(org: Organization) -> Settings:
    return cast(Settings, org.billing)


def _customers(api: Api, kind: str, embeds: Params) -> Iterator[list[dict[str, Any]]]:
    body = {"filters": {"type": list(dict.fromkeys(_settings(api.org).types))}}
    for page in _listed(api, kind, lambda params: api.post(f"/v2/{kind}/search", body, [*params, *embeds])):
        yield [_named(api, one, individual=kind == "individuals") for one in page]


def _embeds(api: Api) -> Params:
    """What to ask for so that every custom field a customer may have comes along; each has to be named."""
    found: Params = []
    for page in _listed(api, "custom-fields", lambda params: api.get("/v2/custom-fields", params)):
        for field in page:
            related = field.get("related_object")
            if not isinstance(related, list) or CUSTOMER_TYPES.intersection(map(str, related)):
                found.append(("embed[]", f"cf.{field.get('id')}"))
    return found


def _listed(api: Api, what: str, ask: Callable[[Params], dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Every page of a list, after the last id of the one before: what changes meanwhile moves nobody out of it.

    A page that is not full is the last one, if by then there were as many as Sellsy counts.
    """
    last, seen, offset = 0, 0, ""
    while True:
        try:
            answer = ask([("limit", PAGE_SIZE), ("order", "id"), ("direction", "asc"), *_from(offset)])
        except Refused as refused:
            if refused.status != 403:
                raise
            raise _no_right(api, what, refused) from None
        page = api.records(answer, "data")
        yield page
        pagination = answer.get("pagination")
        told = pagination if isinstance(pagination, Mapping) else {}
        total = _number(told.get("total"))
        ids = [number for one in page if (number := _number(one.get("id"))) is not None]
        if total is None or len(ids) < len(page) or ids != sorted(ids):
            raise api.strange(f"does not give {what} by their ids")
        fresh = {number for number in ids if number > last}
        seen += len(fresh)
        if len(page) < PAGE_SIZE and seen >= total:
            return
        if not page:
            raise TransientError(
                f"{api.where()}: Sellsy counts {total:,} {what} and gives {seen:,}.", next_step="Try again later."
            )
        following = told.get("offset")
        if not isinstance(following, str) or following in ("", offset) or not fresh:
            raise DataError(
                f"{api.where()}: Sellsy says there are more {what}, but does not give them after the last id."
            )
        last, offset = max(fresh), following


def _from(offset: str) -> Params:
    return [("offset", offset)] if offset else []


def _no_right(api: Api, what: str, refused: Refused) -> ReconnectError:
    return ReconnectError(
        f"{api.where('login')}: Sellsy does not let this login read {what}: {api.words(refused)}",
        next_step=f"Give it the right {what}.read ({WHERE_ACCESS}).",
    )


def _named(api: Api, record: dict[str, Any], *, individual: bool) -> dict[str, Any]:
    """The record with its custom fields by name, and with the mark of an individual."""
    named = {name: value for name, value in record.items() if name != "_embed"}
    embed = record.get("_embed")
    if isinstance(embed, Mapping):
        fields = embed.get("custom_fields") or []
        for field in fields if isinstance(fields, list) else [fields]:
            if not isinstance(field, Mapping) or _number(field.get("id")) is None:
                raise api.strange("gives a custom field without an id")
            named |= _values(f"cf.{field['id']}", field)
        if rest := {name: value for name, value in embed.items() if name != "custom_fields"}:
            named["_embed"] = rest
    return named | ({INDIVIDUAL: True} if individual else {})


def _values(name: str, field: Record) -> dict[str, Any]:
    """The value under the field's name, and what a choice's numbers stand for.

    † Sellsy's users report choices without a value, where only the ticked ones are marked `checked`. What is ticked may
    also be no more than the default, so it keeps a name of its own.
    """
    value, parameters = field.get("value"), field.get("parameters")
    items = parameters.get("items") if isinstance(parameters, Mapping) else None
    found = {name: value}
    choices = [one for one in items if isinstance(one, Mapping)] if isinstance(items, list) else []
    if isinstance(value, list):
        labels = [one.get("label") for one in choices if one.get("id") in value]
        found |= {f"{name}.label": labels} if choices else {}
    elif value is not None:
        found |= {f"{name}.label": one.get("label") for one in choices if one.get("id") == value}
    elif ticked := [one.get("label") for one in choices if one.get("checked") is True]:
        found[f"{name}.checked"] = ticked
    return found


def _number(value: object) -> int | None:
    """A whole number; None for anything else."""
    return int(str(value)) if re.fullmatch(r"[0-9]{1,18}", str(value)) else None
