"""A scripted Salesforce with one user and one app that rotates refresh tokens, for what no stand-in does on demand."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from sync_pipeline.orgs import Organization
from sync_pipeline.salesforce.logins.tokens import Grant, Secrets, TokenStore
from sync_pipeline_tests.orgs.factory import make_organization
from sync_pipeline_tests.salesforce.scripted import Reply, Request, serving

PRODUCTION, SANDBOX = "00D5g000004ABCDEA4", "00D5g000009ZZZZEA4"
USER = "0055g000001AAAAAA4"
EXPIRED = Reply(401, [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}])
CLIENT_ID = "3MVG9-browser"


def lost(reply: Reply) -> Reply:
    """The same answer, of which the end never comes."""
    return Reply(reply.status, reply.body, missing_bytes=5)


class Rotating:
    """Answers as Salesforce does. Change its attributes to make it do otherwise."""

    def __init__(self) -> None:
        self.organization_id, self.organization_name, self.is_sandbox = PRODUCTION, "Acme SA", False
        self.user_id, self.username = USER, "sync@acme.example"
        self.rotates = True
        self.refresh_token: str | None = "refresh-0"
        self.sessions: set[str] = {"session-0"}
        self.retired: set[str] = set()
        self.refreshes, self.reused = 0, 0
        self.challenges: dict[str, str] = {}
        self.next_token: Callable[[Reply], Reply] | None = None
        """Changes the next answer of the token endpoint, after it was worked out."""
        self.next_refused: Reply | None = None
        """Answers the next question to the token endpoint instead, with nothing done."""
        self.before_token: Callable[[], object] = lambda: None
        self.refuse_sessions = False
        self.url = ""
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Reply:
        path = urlsplit(request.path).path
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if path == "/services/oauth2/token":
            self.before_token()
            with self._lock:
                if self.next_refused:
                    refused, self.next_refused = self.next_refused, None
                    return refused
                reply = self._token(form)
                change, self.next_token = self.next_token, None
                return change(reply) if change else reply
        if path == "/services/oauth2/authorize":
            return Reply(302, headers={"Location": self.allow(request.path)})
        if path == "/services/oauth2/revoke":
            return self._revoke(form["token"])
        with self._lock:
            if self.refuse_sessions or request.headers["Authorization"].removeprefix("Bearer ") not in self.sessions:
                return EXPIRED
        return self._rows(request.path)

    def allow(self, address: str) -> str:
        """What the browser does when a person allows access: the address it ends at."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert asked["client_id"] == CLIENT_ID
        code = f"code-{len(self.challenges)}"
        self.challenges[code] = asked["code_challenge"]
        return f"{asked['redirect_uri']}?code={code}&state={asked['state']}"

    def expire(self) -> None:
        """As after two hours: no session is good any more."""
        with self._lock:
            self.sessions.clear()

    def lose_next(self) -> None:
        """Work out the next answer of the token endpoint, and lose it on the way."""
        self.next_token = lost

    def refuse_next(self) -> None:
        """Be busy once."""
        self.next_refused = Reply(503)

    def _token(self, form: dict[str, str]) -> Reply:
        assert form["client_id"] == CLIENT_ID
        if form["grant_type"] == "authorization_code":
            digest = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode()
            if self.challenges.pop(form["code"], None) != digest.rstrip("="):
                return Reply(400, {"error": "invalid_grant", "error_description": "invalid code verifier"})
            return self._granted(new=True)
        if form["refresh_token"] != self.refresh_token:
            self.reused += form["refresh_token"] in self.retired
            self.refresh_token = None
            self.sessions.clear()
            return Reply(400, {"error": "invalid_grant", "error_description": "expired access/refresh token"})
        self.refreshes += 1
        return self._granted(new=self.rotates)

    def _granted(self, *, new: bool) -> Reply:
        number = len(self.retired) + self.refreshes + 1
        if new:
            self.retired |= {self.refresh_token} if self.refresh_token else set()
            self.refresh_token = f"refresh-{number}"
        self.sessions = {f"session-{number}"}
        answer = {
            "access_token": f"session-{number}",
            "instance_url": self.url,
            "id": f"{self.url}/id/{self.organization_id}/{self.user_id}",
        }
        return Reply(200, answer | ({"refresh_token": self.refresh_token} if new else {}))

    def _revoke(self, token: str) -> Reply:
        if token != self.refresh_token:
            return Reply(400, {"error": "invalid_token", "error_description": "token is invalid"})
        self.retired.add(token)
        self.refresh_token = None
        self.sessions.clear()
        return Reply(200)

    def _rows(self, path: str) -> Reply:
        if path.endswith("/services/data/v66.0"):
            return Reply(200, {"identity": f"{self.url}/id/{self.organization_id}/{self.user_id}"})
        if path.endswith("/describe"):
            return Reply(200, {"fields": []})
        if path.endswith("/limits/"):
            return Reply(200, {"DailyApiRequests": {"Max": 100_000, "Remaining": 99_000}})
        records: list[dict[str, object]] = []
        if "Organization" in path:
            row = {"Id": self.organization_id, "Name": self.organization_name, "IsSandbox": self.is_sandbox}
            records = [row]
        elif "Username" in path:
            records = [{"Username": self.username}]
        return Reply(200, {"done": True, "records": records})


@contextmanager
def rotating() -> Iterator[Rotating]:
    answer = Rotating()
    with serving(answer) as server:
        answer.url = server.url
        yield answer


def by_browser(folder: Path, url: str, name: str = "acme", **salesforce: object) -> Organization:
    """An organization whose user logs in by browser, from a real file."""
    login = {"method": "browser", "client_id": CLIENT_ID}
    settings = {"domain": url, "login": login} | salesforce
    return make_organization(folder=folder / name, name=name, salesforce=settings)


def connected_to(there: Rotating, org: Organization, **changes: object) -> Grant:
    """What `connect` leaves behind, without a browser."""
    grant = {
        "organization": org.name,
        "login_url": there.url,
        "client_id": CLIENT_ID,
        "organization_id": there.organization_id,
        "organization_name": there.organization_name,
        "is_sandbox": there.is_sandbox,
        "user_id": there.user_id,
        "username": there.username,
        "connected_at": "2026-01-02T03:04:05+00:00",
    } | changes
    held = Secrets("refresh-0", "session-0", there.url)
    return TokenStore().start(Grant(**grant), held)  # type: ignore[arg-type]
