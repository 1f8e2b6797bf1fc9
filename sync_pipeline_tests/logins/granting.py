"""A scripted authorization server whose refresh tokens rotate, and the API behind it."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sync_pipeline.http import ApiSession
from sync_pipeline.logins.grants import AuthorizationServer, Grant, GrantStore, Secrets
from sync_pipeline_tests.salesforce.scripted import Reply, Request, serving

CLIENT_ID, CLIENT_SECRET = "app-1", "app-secret-geheim-é"
BASIC = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()


def lost(reply: Reply) -> Reply:
    """The same answer, of which the end never comes."""
    return Reply(reply.status, reply.body, missing_bytes=5)


class Granting:
    """Answers as RFC 6749 says. Change its attributes to make it do otherwise."""

    def __init__(self) -> None:
        self.refresh_token: str | None = "refresh-0"
        self.sessions = {"session-0"}
        self.retired: set[str] = set()
        self.rotates, self.patient = True, False
        self.expires_in: object = 1800
        self.refreshes = self.reused = self.number = 0
        self.codes: dict[str, dict[str, str]] = {}
        self.tenants = {"t-1": "Acme SA"}
        self.next_token: Callable[[Reply], Reply] | None = None
        """Changes the next answer of the token endpoint, after it was worked out."""
        self.next_refused: Reply | None = None
        """Answers the next question to the token endpoint instead, with nothing done."""
        self.before_token: Callable[[], object] = lambda: None
        self.before_row: Callable[[], object] = lambda: None
        self.revoked: list[str] = []
        self.url = ""
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Reply:
        path = urlsplit(request.path).path
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if path in ("/token", "/revoke") and request.headers["Authorization"] != BASIC:
            said = f"nobody knows {request.headers['Authorization']} and {CLIENT_SECRET}"
            return Reply(401, {"error": "invalid_client", "error_description": said})
        if path == "/revoke":
            self.revoked.append(form["token"])
            return Reply(200)
        if path == "/token":
            self.before_token()
            with self._lock:
                if self.next_refused:
                    refused, self.next_refused = self.next_refused, None
                    return refused
                reply = self._token(form)
                change, self.next_token = self.next_token, None
                return change(reply) if change else reply
        self.before_row()
        with self._lock:
            if request.headers["Authorization"].removeprefix("Bearer ") not in self.sessions:
                return Reply(401, {"Title": "Unauthorized"})
        if path == "/connections":
            return Reply(200, [{"tenantId": id, "tenantName": name} for id, name in self.tenants.items()])
        return Reply(200, {"rows": []})

    def allow(self, address: str, **more: str) -> dict[str, str]:
        """What a browser comes back with when a person allows access."""
        asked = parameters(address)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        return {"code": code, "state": asked["state"], **more}

    def expire(self) -> None:
        """No access token is good any more."""
        with self._lock:
            self.sessions.clear()

    def lose_next(self) -> None:
        """Work out the next answer of the token endpoint, and lose it on the way."""
        self.next_token = lost

    def refuse_next(self) -> None:
        """Be busy once."""
        self.next_refused = Reply(503)

    def _token(self, form: dict[str, str]) -> Reply:
        if form["grant_type"] == "authorization_code":
            asked = self.codes.pop(form["code"], {})
            verifier = form.get("code_verifier", "")
            proof = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
            fits = asked.get("code_challenge") in (None, proof) and asked.get("redirect_uri") == form["redirect_uri"]
            if not asked or not fits:
                return Reply(400, {"error": "invalid_grant", "error_description": f"bad {form['code']}"})
            return self._granted(new=True)
        token = form["refresh_token"]
        if token != self.refresh_token and not (self.patient and token in self.retired):
            self.reused += token in self.retired
            return Reply(400, {"error": "invalid_grant", "error_description": f"unknown {token}"})
        self.refreshes += 1
        return self._granted(new=self.rotates)

    def _granted(self, *, new: bool) -> Reply:
        self.number += 1
        if new:
            self.retired |= {self.refresh_token} if self.refresh_token else set()
            self.refresh_token = f"refresh-{self.number}"
        self.sessions.add(f"session-{self.number}")
        answer = {
            "access_token": f"session-{self.number}",
            "expires_in": self.expires_in,
            "token_type": "Bearer",
            "refresh_token": self.refresh_token,
        }
        return Reply(200, {name: value for name, value in answer.items() if value is not None})

    def server(self, **changes: Any) -> AuthorizationServer:
        """How a connector describes it."""
        described = AuthorizationServer(
            title="Xero",
            where="acme.yaml:7",
            authorize_url=f"{self.url}/authorize",
            token_url=f"{self.url}/token",
            scope="offline_access accounting.contacts.read",
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            pkce=True,
            tenants=self.reached,
        )
        return replace(described, **changes)

    def reached(self, session: ApiSession) -> Mapping[str, str]:
        """As Xero's connector asks which tenants a login reaches."""
        found = session.get(f"{self.url}/connections").json()
        return {one["tenantId"]: one["tenantName"] for one in found}


@contextmanager
def granting() -> Iterator[Granting]:
    answer = Granting()
    with serving(answer) as server:
        answer.url = server.url
        yield answer


def parameters(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def connected_to(there: Granting, folder: Path | None = None, **changes: Any) -> Grant:
    """What `connect` leaves behind: tokens that are good for a long time."""
    server = there.server()
    grant = Grant("acme", "Xero", server.token_url, CLIENT_ID, "t-1", "Acme SA", "2026-01-02T03:04:05+00:00")
    return GrantStore(folder).start(replace(grant, **changes), Secrets("refresh-0", "session-0", 4e9))


def held() -> Secrets:
    """What is stored."""
    store = GrantStore()
    grant = store.grant("acme")
    assert grant
    return store.secrets(grant)


def alter(**changes: Any) -> None:
    """Change what is stored."""
    store = GrantStore()
    grant = store.grant("acme")
    assert grant
    store.save(grant, replace(store.secrets(grant), **changes))
