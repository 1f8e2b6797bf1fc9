"""HTTP as every client here speaks it: TLS, time-outs, retries that honour Retry-After, and a limit of its own.

One session class instead of one per vendor SDK, so that the rules of the house (no plain http but on loopback, no secret in an
error, nothing waits for ever) hold in one place.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from sync_pipeline.errors import ConfigurationError, TransientError

TIMEOUT = (10.0, 120.0)
"""Seconds to connect, seconds between two bytes."""

BACKOFF_SECONDS = 1.0
"""Waits of 1, 2, 4 and 8 seconds between tries (Upflow's own advice; suits the others)."""

RETRIES = 4
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"})
RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})


class RateLimit:
    """Keeps a vendor's requests a minute from the start, instead of finding them out by 429. Safe among threads."""

    def __init__(self, per_minute: float) -> None:
        self._gap = 60.0 / per_minute
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Sleep until the next request may leave."""
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + self._gap
        if at > now:
            time.sleep(at - now)


class ApiSession(requests.Session):
    """A requests session that keeps the rules of the house.

    Args:
        ca_file: a certificate authority to trust instead of the system's, for a private or sandbox host.
        limit: the vendor's requests a minute.
        retry_methods: methods that may be sent twice. POST is left out unless the caller knows it is safe to repeat.
    """

    def __init__(
        self,
        *,
        ca_file: str | None = None,
        limit: RateLimit | None = None,
        retry_methods: frozenset[str] = IDEMPOTENT,
        pool_size: int = 10,
    ) -> None:
        super().__init__()
        if ca_file:
            self.verify = ca_file
            self.trust_env = False  # REQUESTS_CA_BUNDLE would override `verify`
        self._limit = limit
        retry = Retry(
            total=RETRIES,
            backoff_factor=BACKOFF_SECONDS / 2,  # urllib3 doubles before the first wait
            status_forcelist=RETRIED_STATUSES,
            allowed_methods=retry_methods,
            respect_retry_after_header=True,
            raise_on_status=False,
        )
        self.mount("https://", HTTPAdapter(max_retries=retry, pool_maxsize=pool_size))
        self.mount("http://", HTTPAdapter(max_retries=retry, pool_maxsize=pool_size))

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one request, after the rate limit and with a time-out; refuses plain http beyond loopback."""
        refuse_plain_http(str(url))
        if self._limit:
            self._limit.wait()
        kwargs.setdefault("timeout", TIMEOUT)
        return super().request(method, url, *args, **kwargs)


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
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            f"{parts.scheme}://{parts.hostname} would send credentials unencrypted.", next_step="Use an https address."
        )


@contextmanager
def translated(system: str) -> Iterator[None]:
    """Turn what can go wrong on the wire into errors by consequence; `system` is named in the message."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        host = urlsplit(error.request.url or "").hostname if error.request is not None else None
        raise ConfigurationError(
            f"{system}: the certificate of {host or 'the host'} is not trusted here.",
            next_step="If it is a private or sandbox host, name its certificate authority as `ca_file` in the YAML file.",
        ) from error
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        host = urlsplit(error.request.url or "").netloc if error.request is not None else None
        raise TransientError(
            f"{system}: {host or 'the host'} can't be reached or stopped answering ({type(error).__name__}).",
            next_step="Try again later; if it lasts, check the address in the YAML file and this machine's network.",
        ) from error
    except requests.exceptions.RequestException as error:
        raise ConfigurationError(f"{system}: the request can't be sent ({type(error).__name__}).") from error
