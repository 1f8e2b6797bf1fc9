"""Upflow's API, call by call. What is marked † is not in Upflow's documents: it was read in code that uses the API."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import requests

from sync_pipeline import http
from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, Refusal, TransientError
from sync_pipeline.http import IDEMPOTENT, RETRIES, ApiSession, RateLimit, backoff, translated

log = logging.getLogger(__name__)

PARALLEL = 5
"""Requests at once; Upflow allows 10 and advises 5."""
PAGE = 500
"""Customers a page. † Pages of up to 500 are served."""
MESSAGE_LENGTH = 500

Json = dict[str, Any]
ReadBack = Callable[[], Json | None]


class Refused(Exception):
    """Upflow refused one row; the others go on."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class Client:
    """Upflow's API for one organization. Safe among threads.

    Requests a minute are kept from the start. Connection errors, 429, 500, 502, 503 and 504 are retried after 1, 2, 4
    and 8 s (or as Retry-After says), other 40x never. What creates a contact or a field is read back before it is
    sent again, so that a lost answer does not make two.

    Args:
        organization: name of the organization, for messages.
        url: address of the API, without a slash at its end.
        key: X-Api-Key.
        secret: X-Api-Secret.
        ca_file: a certificate authority to trust instead of the system's.
        per_minute: requests a minute.
        next_step: what to do when the login is refused: names the variables that hold it.
    """

    def __init__(
        self,
        *,
        organization: str,
        url: str,
        key: str,
        secret: str,
        ca_file: str | None,
        per_minute: int,
        next_step: str,
    ) -> None:
        self._organization = organization
        self._url = url.rstrip("/")
        self._secrets = (key, secret)
        self._next_step = next_step
        limit = RateLimit(per_minute)
        self._repeatable = ApiSession(
            ca_file=ca_file, limit=limit, retry_methods=IDEMPOTENT | {"POST"}, pool_size=PARALLEL
        )
        self._once = ApiSession(ca_file=ca_file, limit=limit, pool_size=PARALLEL)
        for session in (self._repeatable, self._once):
            session.headers.update({"X-Api-Key": key, "X-Api-Secret": secret, "Accept": "application/json"})

    def pages(self, path: str, items: str) -> Iterator[tuple[str, int]]:
        """Every page of a list, as JSON text and its number of items.

        † Lists answer `{"customers": [...], "offset", "limit", "total"}`. A list that has no `total` ends with a page
        that is not full, and one that ignores `offset` ends where it begins again.

        Raises:
            ConfigurationError, DataError: the address answers, but not as Upflow does.
            TransientError: Upflow is away.
        """
        offset = 0
        first: object = None
        while True:
            text, found, total = self._page(path, items, offset)
            if not found or (offset and found[0] == first):
                return
            first = first or found[0]
            yield text, len(found)
            offset += len(found)
            if offset >= total if total is not None else len(found) < PAGE:
                return

    def _page(self, path: str, items: str, offset: int) -> tuple[str, list[Any], int | None]:
        """A page as text, its items, and how many the whole list has, where it says so."""
        try:
            response = self._send(self._repeatable, "GET", path, params={"offset": offset, "limit": PAGE})
        except Refused as error:
            what = f"Organization {self._organization}: Upflow can't list {path} (HTTP {error.refusal.code}: "
            what += f"{error.refusal.message})."
            if error.refusal.code.startswith("5"):
                raise TransientError(what, next_step="Try again later.") from error
            raise ConfigurationError(what, next_step=f"Check receivables.url ({self._url}).") from error
        page = _json(response)
        found, total = page.get(items), page.get("total")
        if not isinstance(found, list):
            raise DataError(
                f"Organization {self._organization}: Upflow's answer to {path} has no list `{items}`.",
                next_step=f"Check receivables.url ({self._url}); if it is right, Upflow's API has changed: report it.",
            )
        return response.text, found, total if isinstance(total, int) else None

    def customer(self, customer_id: str) -> Json:
        """One customer. † GET /customers/{id}, maybe wrapped in `customer`."""
        found = _json(self._send(self._repeatable, "GET", _customer(customer_id)))
        return found.get("customer") or found

    def update_customer(self, customer_id: str, body: Json) -> None:
        """Replace a customer. † PUT may clear what is left out, so `body` has everything that was read."""
        self._send(self._repeatable, "PUT", _customer(customer_id), json=body)

    def assign(self, customer_id: str, email: str, first_name: str | None, last_name: str | None) -> str | None:
        """Assign the user with that address, created uninvited where there is none; its id.

        † POST /customers/{id}/account-managers takes the person and answers the user, maybe wrapped in
        `accountManager`. Sending it twice assigns the same user, so it is repeatable.
        """
        body = _filled({"email": email, "firstName": first_name, "lastName": last_name})
        found = _json(self._send(self._repeatable, "POST", f"{_customer(customer_id)}/account-managers", json=body))
        user = found.get("accountManager") or found.get("user") or found
        return str(user["id"]) if user.get("id") is not None else None

    def contacts(self, customer_id: str) -> list[Json]:
        """All contacts of a customer. † GET /customers/{id}/contacts -> {"contacts": [...]}."""
        return [
            *(_json(self._send(self._repeatable, "GET", f"{_customer(customer_id)}/contacts")).get("contacts") or [])
        ]

    def create_contact(self, customer_id: str, body: Json) -> Json:
        """Create a contact and return it. † POST /customers/{id}/contacts; an address is unique in Upflow."""

        def existing() -> Json | None:
            mail = str(body.get("email") or "").casefold()
            return next((c for c in self.contacts(customer_id) if str(c.get("email") or "").casefold() == mail), None)

        found = self._create(f"{_customer(customer_id)}/contacts", body, existing)
        return found.get("contact") or found

    def update_contact(self, customer_id: str, contact_id: str, body: Json) -> None:
        """Replace a contact. † PUT /customers/{id}/contacts/{id}; like a customer, with everything that was read."""
        self._send(
            self._repeatable, "PUT", f"{_customer(customer_id)}/contacts/{quote(contact_id, safe='')}", json=body
        )

    def delete_contact(self, customer_id: str, contact_id: str) -> None:
        """Delete a contact; one that is gone already is no error (the answer to an earlier try may have been lost)."""
        try:
            self._send(self._repeatable, "DELETE", f"{_customer(customer_id)}/contacts/{quote(contact_id, safe='')}")
        except Refused as error:
            if error.refusal.code != "404":
                raise

    def fields(self) -> list[Json]:
        """Every custom field. † GET /custom_fields -> {"customFields": [...]}."""
        return [
            field
            for page, _ in self.pages("/custom_fields", "customFields")
            for field in json.loads(page)["customFields"]
        ]

    def create_field(self, name: str, entity: str, existing: ReadBack) -> str:
        """Create a text field and return its id. † POST /custom_fields {"name", "type", "entity"}."""
        found = self._create("/custom_fields", {"name": name, "type": "STRING", "entity": entity}, existing)
        field = found.get("customField") or found
        if field.get("id") is None:
            field = existing() or {}
        if field.get("id") is None:
            raise Refused(Refusal("no_id", "Upflow created the custom field but does not say its id."))
        return str(field["id"])

    def portal_link(self, customer_id: str, lifetime_days: int) -> str:
        """A new portal link of a customer. The key of the URL is not documented: `url` and `portalUrl` are
        understood.
        """
        body = {"expiresIn": lifetime_days * 86_400}
        found = _json(self._send(self._repeatable, "POST", f"{_customer(customer_id)}/portal", json=body))
        url = found.get("url") or found.get("portalUrl")
        if not isinstance(url, str) or not re.fullmatch(r"https?://[^\s<>\"]+", url):
            raise Refused(Refusal("no_link", "Upflow's answer holds no web address as `url` or `portalUrl`."))
        return url

    def _create(self, path: str, body: Json, existing: ReadBack) -> Json:
        """POST what must not come about twice: after a try with an unknown outcome, look before trying again."""
        for retry in range(RETRIES + 1):
            last = retry == RETRIES
            try:
                return _json(self._send(self._once, "POST", path, json=body))
            except TransientError:
                if last:
                    raise
            except Refused as error:
                if last or int(error.refusal.code) not in http.RETRIED_STATUSES:
                    raise
            time.sleep(backoff(retry))
            found = existing()
            if found is not None:
                return found
        raise AssertionError("the last try returns or raises")

    def _send(self, session: ApiSession, method: str, path: str, **arguments: Any) -> requests.Response:
        with translated("Upflow"):
            response = session.request(method, self._url + path, **arguments)
        if response.status_code in (401, 403):
            raise ReconnectError(
                f"Organization {self._organization}: Upflow refused the login (HTTP {response.status_code}: "
                f"{self._message(response)}).",
                next_step=self._next_step,
            )
        if response.status_code == 429:
            raise TransientError(
                f"Organization {self._organization}: Upflow is asked too often (HTTP 429).",
                next_step="Lower receivables.requests_per_minute, or see who else uses the key; then try again.",
            )
        if not response.ok:
            raise Refused(Refusal(str(response.status_code), self._message(response)))
        return response

    def _message(self, response: requests.Response) -> str:
        """Upflow's own words (`message`, else `error`: the shape is not documented), without addresses and secrets."""
        try:
            said = response.json()
        except requests.exceptions.JSONDecodeError:
            said = None
        words = (said.get("message") or said.get("error")) if isinstance(said, dict) else None
        message = str(words or response.reason or "no explanation")
        for secret in self._secrets:
            message = message.replace(secret, "(secret)")
        return re.sub(r"\S+@\S+", "(address)", message)[:MESSAGE_LENGTH]


def _customer(customer_id: str) -> str:
    """Path of a customer by the billing system's id (Upflow's external id)."""
    return f"/customers/external:{quote(customer_id, safe='')}"


def _json(response: requests.Response) -> Json:
    if not response.content:
        return {}
    with translated("Upflow"):
        found = response.json()
    return found if isinstance(found, dict) else {}


def _filled(body: Json) -> Json:
    return {key: value for key, value in body.items() if value is not None}
