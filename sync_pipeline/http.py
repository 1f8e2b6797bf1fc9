"""HTTP as every client here speaks it: TLS, time-outs, retries that honour Retry-After, and a limit of its own.

One session class instead of one per vendor SDK, so that the rules of the house (no plain http but on loopback, no
secret in an error or at a redirect's target, nothing waits for ever) hold in one place.
"""

from __future__ import annotations

import email.utils
import ipaddress
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import (
    ChunkedEncodingError,
    ConnectionError,
    ConnectTimeout,
    ContentDecodingError,
    ProxyError,
    SSLError,
    Timeout,
)
from urllib3.exceptions import NewConnectionError

from sync_pipeline.errors import ConfigurationError, TransientError

log = logging.getLogger(__name__)

TIMEOUT = (10.0, 120.0)
"""Seconds to connect, seconds between two bytes."""

BACKOFF_SECONDS = 1.0
"""Waits of 1, 2, 4 and 8 seconds between tries (Upflow's own advice; suits the others)."""

RETRIES = 4
LONGEST_RETRY_AFTER = 120.0
"""Seconds. Who asks for a longer pause gets it from the next sync, not from a sleeping one."""

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"})
RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})

BROKEN_CONNECTION = (ConnectionError, Timeout, ChunkedEncodingError, ContentDecodingError)
"""What requests raises where an answer did not come, or not whole."""


class RateLimit:
    """Keeps a vendor's requests a minute from the start, instead of finding them out by 429. Safe among threads."""

    def __init__(self, per_minute: float) -> None:
        self._gap = 60.0 / per_minute
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Sleep until the next request may leave."""
        with self._lock:  # also while sleeping: whoever else waits has a later turn anyway
            time.sleep(max(0.0, self._next - time.monotonic()))
            # Counted from when a request leaves, not from when it should have: one that woke up late, and the next in
            # time, would be too close.
            self._next = time.monotonic() + self._gap


class ApiSession(requests.Session):
    """A requests session that keeps the rules of the house.

    A request is sent again after a status of `retried_statuses`, or where the connection broke before the answer was
    whole; each try passes the rate limit. After the last try the answer, or requests' own exception, goes to the
    caller. With `stream=True` the body is the caller's to read, and to ask for again. Redirects are not followed: they
    would take the credentials along.

    Args:
        ca_file: a certificate authority to trust instead of the system's, for a private or sandbox host.
        limit: the vendor's requests a minute.
        retry_methods: methods that may be sent twice. POST is left out unless the caller knows it is safe to repeat. A
            request that was not carried out (no connection came about, 429) is repeated whatever its method.
        retried_statuses: statuses that say "later", not "no".
        retries: tries after the first.
    """

    def __init__(
        self,
        *,
        ca_file: str | None = None,
        limit: RateLimit | None = None,
        retry_methods: frozenset[str] = IDEMPOTENT,
        retried_statuses: frozenset[int] = RETRIED_STATUSES,
        retries: int = RETRIES,
        pool_size: int = 10,
    ) -> None:
        super().__init__()
        if ca_file:
            self.verify = ca_file
            self.trust_env = False  # REQUESTS_CA_BUNDLE would override `verify`
        self._limit = limit
        self._retry_methods = retry_methods
        self._retried_statuses = retried_statuses
        self._retries = retries
        self.mount("https://", HTTPAdapter(pool_maxsize=pool_size))
        self.mount("http://", HTTPAdapter(pool_maxsize=pool_size))

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one request, after the rate limit and with a time-out; refuses plain http beyond loopback."""
        refuse_plain_http(str(url))
        kwargs.setdefault("timeout", TIMEOUT)
        kwargs["allow_redirects"] = False
        repeatable = str(method).upper() in self._retry_methods
        for retry in range(self._retries + 1):
            if self._limit:
                self._limit.wait()
            try:
                response = super().request(method, url, *args, **kwargs)
            except BROKEN_CONNECTION as error:
                error.request = error.request or requests.Request(str(method), str(url))  # for the host in the message
                if isinstance(error, SSLError) or retry == self._retries or not (repeatable or never_left(error)):
                    raise
                why, pause = type(error).__name__, backoff(retry)
            else:
                pause = max(backoff(retry), retry_after(response))
                later = response.status_code in self._retried_statuses and pause <= LONGEST_RETRY_AFTER
                if not later or not (repeatable or response.status_code == 429) or retry == self._retries:
                    return _not_elsewhere(response)
                why = f"HTTP {response.status_code}"
                response.close()
            log.info("%s: %s; trying again in %.1f s", host_of(str(url)), why, pause)
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere: requests would prepare the next request all the same, and stumble over a target that is no address."""


def backoff(retry: int) -> float:
    """Seconds to wait before try number `retry` + 2, counted from 0: 1, 2, 4, 8."""
    return float(BACKOFF_SECONDS * 2**retry)


def retry_after(response: requests.Response) -> float:
    """Seconds the answer asks to wait (RFC 9110: a number or a date); 0 where it doesn't say."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):  # the latter for a date that no calendar has
        return 0.0


def host_of(url: str) -> str:
    """Host and port of an address, without a name or password before them; empty where it is no address."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _not_elsewhere(response: requests.Response) -> requests.Response:
    if not response.is_redirect:
        return response
    response.close()  # a body that is streamed would keep the connection
    scheme, target = response.url.partition("://")[0], host_of(response.headers["Location"])
    raise ConfigurationError(
        f"{scheme}://{host_of(response.url)} redirects to {target or 'another of its pages'}, which is not followed.",
        next_step="Name the address it redirects to in the YAML file, if you trust it.",
    )


def never_left(error: requests.RequestException) -> bool:
    """Whether no connection came about, so that the request can't have been carried out."""
    if isinstance(error, (ConnectTimeout, ProxyError)):
        return True
    if isinstance(error, SSLError):  # a certificate is refused before anything is sent; other trouble may come later
        return "CERTIFICATE_VERIFY_FAILED" in str(error)
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine and no other."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def refuse_plain_http(url: str) -> None:
    """Raise ConfigurationError where credentials would cross a network in the clear."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigurationError("An address of the YAML file is none.", next_step="Write https://host/path.") from None
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            f"{parts.scheme}://{parts.hostname} would send credentials unencrypted.", next_step="Use an https address."
        )


@contextmanager
def translated(system: str) -> Iterator[None]:
    """Turn what can go wrong on the wire into errors by consequence; `system` is named in the message."""
    try:
        yield
    except SSLError as error:
        raise ConfigurationError(
            f"{system}: the certificate of {_host(error)} is not trusted here.",
            next_step="If it is a private or sandbox host, name its certificate authority as ca_file in the YAML file.",
        ) from error
    except BROKEN_CONNECTION as error:
        raise TransientError(
            f"{system}: {_host(error)} can't be reached or stopped answering ({type(error).__name__}).",
            next_step="Try again later; if it lasts, check the address in the YAML file and this machine's network.",
        ) from error
    except requests.exceptions.JSONDecodeError as error:
        raise TransientError(
            f"{system} answered with something that is not JSON.",
            next_step="Try again later; if it lasts, check the address in the YAML file: a proxy may answer for it.",
        ) from error
    except requests.exceptions.RequestException as error:
        raise ConfigurationError(f"{system}: the request can't be sent ({type(error).__name__}).") from error


def _host(error: requests.RequestException) -> str:
    return host_of((error.request.url if error.request is not None else None) or "") or "the host"
