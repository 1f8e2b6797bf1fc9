"""An access token in the header of every request, replaced before it ends, and once where it is refused."""

from __future__ import annotations

import threading
from abc import abstractmethod
from dataclasses import dataclass, field

import requests
from requests.auth import AuthBase

from sync_pipeline.logins.answers import is_good


@dataclass(frozen=True, slots=True)
class Access:
    """An access token, and until when it is used (see `answers.good_until`)."""

    token: str = field(repr=False)
    until: float | None


class Bearer(AuthBase):
    """`session.auth` for a system with OAuth. As requests' own auth, because a header would give way to a ~/.netrc.

    Whoever is answered 401 calls `renew`, and asks again where that says so. Safe among threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Access | None = None

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header. Raises what fetching a token raises (`SyncError`)."""
        request.headers["Authorization"] = f"Bearer {self.access_token()}"
        return request

    def access_token(self) -> str:
        """One that is good for some time yet, fetched where there is none."""
        with self._lock:
            if self._held is None or not is_good(self._held.until):
                self._held = self._fetch(None)
            return self._held.token

    def renew(self) -> bool:
        """Get another token than the one that was just refused; False where nothing was sent yet."""
        with self._lock:
            if self._held is None:
                return False
            self._held = self._fetch(self._held.token)
            return True

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown, should an answer repeat it."""
        return (self._held.token,) if self._held else ()

    @abstractmethod
    def _fetch(self, refused: str | None) -> Access:
        """A token that is not `refused`."""
