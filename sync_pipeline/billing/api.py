"""Billing systems with a JSON API: what a module declares, and one reading's way of asking.

A module subclasses `ApiSource`: who logs in how, how pages follow one another, where the values of a customer stand.
Everything else (limits, tries, errors by consequence, the way to disk) is the same for all and stands here.
"""

from __future__ import annotations

import email.utils
import json
import logging
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from sync_pipeline import progress
from sync_pipeline.billing.records import Spool
from sync_pipeline.billing.settings import ApiSettings
from sync_pipeline.billing.source import Organization, Reading
from sync_pipeline.errors import ConfigurationError, DataError, LimitReached, ReconnectError, SyncError, TransientError
from sync_pipeline.http import IDEMPOTENT, ApiSession, RateLimit, is_loopback, translated
from sync_pipeline.yaml_types.shapes import api_url
from sync_pipeline.yaml_types.values import EnvRef, text

log = logging.getLogger(__name__)

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a vendor allows one account; kept from the start, not found out by 429. One request is under way at a time.

    Attributes:
        per_minute: requests a minute.
        left: headers that tell how many requests are left of the day (or of a longer budget), with the number below
            which a reading stops and leaves the rest to others. Lower-case names.
        refill: headers that tell how many requests are left of a short time, with its seconds: where none is left, a
            reading waits so long. For limits that differ from account to account. Lower-case names.
    """

    per_minute: float
    left: Mapping[str, int] = field(default_factory=dict)
    refill: Mapping[str, float] = field(default_factory=dict)


class ApiSource(ABC):
    """A billing system; its module's `SOURCE` is an instance."""

    title: ClassVar[str]
    """The system's name in messages."""
    fields: ClassVar[Mapping[str, Sequence[str]]]
    """Column of the spool to the record's field (a dot leads into objects), or several: the first present one counts."""
    without: ClassVar[Sequence[str]] = ()
    """Fields that say nothing about the customer. All others go to custom_fields, whole."""
    expressions: ClassVar[Mapping[str, str]]
    """Column of the customer row to SQL over `fields`; what is left out is null."""
    overlap: ClassVar[timedelta | None] = None
    """How far before the last reading changes are asked for; None where the system can't say what has changed."""
    new_key: ClassVar[str]
    """What to do where the login is refused, as the next step of a message."""

    @abstractmethod
    def auth(self, org: Organization) -> AuthBase:
        """How requests log in. Raises ConfigurationError where a key can't be one."""

    @abstractmethod
    def limits(self, org: Organization) -> Limits:
        """The vendor's limits for this account."""

    @abstractmethod
    def pages(self, api: Api, since: datetime | None) -> Iterator[Sequence[Record]]:
        """Every customer, or every one changed since a moment (UTC, the overlap taken off).

        Data may change meanwhile: a customer may come twice (the later one counts), none may be missed.
        """

    def customer_url(self, org: Organization, customer_id: str) -> str | None:
        """The customer's page; None where there is none."""
        return None

    def url(self, org: Organization) -> str:
        """Address that paths are added to, without a slash at its end.

        Raises:
            ConfigurationError: the variable that holds it is not set, or holds no address of an API.
        """
        setting = _settings(org).url
        address = text(setting)
        if isinstance(setting, EnvRef):  # what stands in the file is checked with it
            try:
                api_url(address)
            except ValueError as error:
                raise ConfigurationError(f"{org.where('billing', 'url')}: {setting.env}: {error}") from None
        return address.rstrip("/")

    def account(self, org: Organization) -> str:
        """Whose customers these are, so that another account's changes are not taken for this one's."""
        return self.url(org)

    def headers(self, org: Organization) -> Mapping[str, str]:
        """Sent with every request."""
        return {}

    def count(self, api: Api) -> int | None:
        """How many customers the system has, so that a deletion is noticed which changes don't show; None if untold."""
        return None

    def said(self, body: Record) -> str:
        """The vendor's own words in the body of a refusal."""
        return str(body.get("message") or "")

    def refusal(self, api: Api, refused: Refused) -> SyncError | None:
        """An error that only this system can tell by its code; None for what the HTTP status says."""
        return None

    def read(self, org: Organization, folder: Path, since: datetime | None = None) -> Reading:
        """Fetch the customers, page by page, to disk: all of them, or those that have changed.

        Raises:
            ReconnectError: the login is refused, in the system's words.
            TransientError: the system is away, too busy, or broke off; LimitReached: its budget is nearly used up.
            DataError: the answer is no list of customers.
            ConfigurationError: the identifier is on no customer, or the request is refused.
        """
        api = Api(org, self)
        start = since - self.overlap if since and self.overlap is not None else None
        with (
            Spool(org, folder / "customers.csv", self.title, self.fields, self.without) as spool,
            api.explained(),
        ):
            for page in self.pages(api, start):
                for customer in page:
                    spool.add(customer)
                progress.report("customers read", spool.count)
            count = self.count(api) if start is not None else None  # a whole reading has nothing to compare it with
        if start is None:
            spool.require_field()
        relation, params = spool.relation()
        expressions = {"position": "CAST(position AS BIGINT)", "identifier": "identifier", **self.expressions}
        expressions.setdefault("custom_fields", "custom_fields")
        until = api.began if self.overlap is not None else None
        return Reading(
            relation, expressions, params, latest_wins=True, changes=start is not None, read_until=until, count=count
        )

    def probe(self, org: Organization) -> str:
        """Ask for the first page. Whether customers carry the identifier is only known when all are read."""
        api = Api(org, self)
        with api.explained():
            page = next(iter(self.pages(api, None)), [])
        return f"{self.title} answers; its first page has {len(page)} customers."


class Refused(Exception):
    """The system answered, and not with what was asked for.

    Attributes:
        status: HTTP status.
        body: the JSON object of the answer; empty where there is none.
    """

    def __init__(self, status: int, body: Record) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body


class Api:
    """One reading's connection to a billing system.

    Attributes:
        began: the system's clock (UTC) at its first answer, this machine's where the answer has no date.
    """

    def __init__(self, org: Organization, source: ApiSource) -> None:
        self.org, self.source = org, source
        self.base = source.url(org)
        self._limits = source.limits(org)
        self._session = ApiSession(
            ca_file=ca_file_of(org),
            limit=RateLimit(per_minute=self._limits.per_minute),
            retry_methods=IDEMPOTENT | {"POST"},  # `post` is for questions only
            pool_size=1,
        )
        self._session.auth = self._auth = source.auth(org)
        self._session.headers.update(source.headers(org))
        self._session.headers["Accept"] = "application/json"
        if is_loopback(urlsplit(self.base).hostname or ""):
            self._session.headers["Accept-Encoding"] = "identity"  # compression costs more than it saves here
        self._began: datetime | None = None

    @property
    def began(self) -> datetime:
        """The moment from which the next reading has to ask for changes."""
        return self._began or datetime.now(UTC)

    def get(
        self,
        path: str,
        params: Mapping[str, str | int] | Sequence[tuple[str, str | int]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The JSON object at a path below the address (or at a whole address); raises Refused where there is none."""
        return self._ask("GET", path, params=params, headers=headers)

    def post(
        self, path: str, body: object, params: Mapping[str, str | int] | Sequence[tuple[str, str | int]] = ()
    ) -> dict[str, Any]:
        """The same with a JSON body. Only for requests that change nothing: they may be sent twice."""
        return self._ask("POST", path, params=params, json=body)

    def records(self, answer: Mapping[str, Any], *keys: str) -> list[dict[str, Any]]:
        """The list of records at `keys` of an answer; DataError where there is none."""
        found: Any = answer
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        if isinstance(found, list) and all(isinstance(record, dict) for record in found):
            return found
        raise self.strange("does not answer with a list of customers")

    def where(self, *path: str) -> str:
        """Place of a key of `billing` in the YAML file."""
        return self.org.where("billing", *path)

    def strange(self, what: str) -> DataError:
        """The error for an answer that is not this system's: `what answers at host ...`."""
        return DataError(
            f"{self.where()}: what answers at {self._host} {what}.", next_step="Check billing.url in the YAML file."
        )

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn `Refused` into an error by consequence."""
        try:
            yield
        except Refused as refused:
            raise self.explanation(refused) from None

    def explanation(self, refused: Refused) -> SyncError:
        """What a refusal means for the user."""
        if special := self.source.refusal(self, refused):
            return special
        title = self.source.title
        words = self.words(refused)
        if refused.status in (401, 403):
            return ReconnectError(f"{self.where()}: {title} refuses the login: {words}", next_step=self.source.new_key)
        if refused.status == requests.codes.too_many_requests or refused.status >= 500:
            return TransientError(f"{self.where()}: {title} can't answer now: {words}", next_step="Try again later.")
        return ConfigurationError(
            f"{self.where()}: {title} refuses to list customers: {words}",
            next_step="Check the section billing of the YAML file.",
        )

    def words(self, refused: Refused) -> str:
        """The system's own words and the status, without secrets: `Invalid key (HTTP 401).`"""
        return f"{self._clean(self.source.said(refused.body)) or 'no reason given'} (HTTP {refused.status})."

    @property
    def _host(self) -> str:
        return urlsplit(self.base).netloc

    def _ask(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        url = path if path.startswith("http") else f"{self.base}{path}"
        if urlsplit(url).netloc != self._host:  # a link in an answer must not take the login elsewhere
            raise self.strange("points to another host for the next page")
        try:
            with translated(f"{self.where()}: {self.source.title}"):
                response = self._session.request(method, url, **kwargs)
                if response.status_code == 401 and self._renewed():
                    response = self._session.request(method, url, **kwargs)
        except UnicodeEncodeError:  # half a surrogate pair, which JSON lets pass
            raise self.strange("says in what is no text where the list of customers goes on") from None
        if response.status_code != requests.codes.ok:
            raise Refused(response.status_code, _object(self._masked(response.content)) or {})
        self._note(response)
        answer = _object(response.content)
        if answer is None:
            raise self._unreadable(response.content)
        return answer

    def _renewed(self) -> bool:
        """Whether the login has something newer to offer than what was just refused."""
        renew = getattr(self._auth, "renew", None)
        return bool(renew and renew())

    def _note(self, response: requests.Response) -> None:
        """Remember the system's clock, and stop before its budget is used up."""
        if self._began is None:
            try:
                told = email.utils.parsedate_to_datetime(response.headers.get("Date", ""))
                self._began = min(told.astimezone(UTC), datetime.now(UTC))
            except (ValueError, OverflowError):  # the latter for a date that no calendar has
                self._began = datetime.now(UTC)
        for header, least in self._limits.left.items():
            left = response.headers.get(header, "")
            if re.fullmatch(r"[0-9]{1,18}", left) and int(left) < least:
                raise LimitReached(
                    f"{self.where()}: {self.source.title} has only {int(left):,} requests left ({header}); the sync stops, "
                    "so that others can go on.",
                    next_step="Try again when the budget is renewed, or sync less often.",
                )
        for header, seconds in self._limits.refill.items():
            if re.fullmatch(r"-?\d{1,9}", left := response.headers.get(header, "")) and int(left) <= 0:
                log.info("%s: no requests left (%s); waiting %.0f s", self._host, header, seconds)
                time.sleep(seconds)

    def _unreadable(self, body: bytes) -> SyncError:
        start = body.lstrip()[:1]
        if start == b"<":
            return DataError(
                f"{self.where()}: {self._host} answers with a web page instead of JSON.",
                next_step="Check billing.url in the YAML file, and whether a proxy or a login page stands in between.",
            )
        if start == b"{":
            return TransientError(
                f"{self.where()}: {self.source.title}'s answer breaks off after {len(body):,} bytes.",
                next_step="Try again later.",
            )
        return self.strange("answers with something that is not a JSON object")

    def _masked(self, body: bytes) -> bytes:
        """The body without the secrets that a vendor may repeat in it."""
        for secret in getattr(self._auth, "secrets", ()):
            body = body.replace(secret.encode(), b"key_***") if secret else body
        return body

    def _clean(self, words: str) -> str:
        """The vendor's words on one line."""
        return re.sub(r"\s+", " ", words).strip().rstrip(".")[:500]


class KeyAuth(AuthBase):
    """A fixed key in a header. As requests' own auth, because a plain header would give way to a ~/.netrc.

    Args:
        value: what the header says, e.g. `Bearer rk_live_...`.
        secrets: what of it must not be shown, in every form that an answer might repeat.
    """

    def __init__(self, value: str, *secrets: str, header: str = "Authorization") -> None:
        self._header, self._value = header, value
        self.secrets = secrets

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers[self._header] = self._value
        return request


def key_of(org: Organization, title: str, place: str, secret: EnvRef) -> str:
    """A key that can stand in a header; ConfigurationError (without it) for one that can't, or that isn't set."""
    value = secret.value()
    if not re.fullmatch(r"[!-~]+", value):  # requests would quote it in its complaint
        raise ConfigurationError(
            f"{org.where('billing', place)}: what {secret.env} holds is no key of {title}: "
            "it has white space or other characters in it that no key has.",
            next_step="Copy the key again.",
        )
    return value


def ca_file_of(org: Organization) -> str | None:
    """The certificate authority that the YAML file names; None for the system's."""
    file = _settings(org).ca_file
    return str(org.path(file)) if file else None


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):  # the latter where lists stand in lists a thousand times
        return None
    return found if isinstance(found, dict) else None


def _settings(org: Organization) -> ApiSettings:
    return cast(ApiSettings, org.billing)
