"""A person's browser at the authorize page, and the app behind its callback."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.conftest import Served

CLIENT = f"client-{world.ORG}"
CALLBACK = "http://localhost:1717/OauthRedirect"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
ASKED = {
    "response_type": "code",
    "client_id": CLIENT,
    "redirect_uri": CALLBACK,
    "state": "s & t",
    "scope": "api refresh_token",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


def visit(served: Served, **changed: Any) -> requests.Response:
    """Open the authorize page; None takes a parameter away."""
    asked = {name: value for name, value in (ASKED | changed).items() if value is not None}
    return requests_session(served).get(f"{served.url}/services/oauth2/authorize", params=asked, allow_redirects=False)


def press(served: Served, page: requests.Response, decision: str = "allow") -> requests.Response:
    """Send the page's own form with one of its buttons."""
    assert page.status_code == 200, page.text
    assert f'name="decision" value="{decision}"' in page.text
    form = {
        name: unescape(value)
        for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="(.*?)">', page.text)
    }
    (action,) = re.findall(r'<form method="post" action="(.*?)">', page.text)
    return requests_session(served).post(
        served.url + action, data={**form, "decision": decision}, allow_redirects=False
    )


def answer(redirect: requests.Response) -> dict[str, str]:
    """What the callback is told."""
    assert redirect.status_code == 302, redirect.text
    parts = urlsplit(redirect.headers["Location"])
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == CALLBACK
    return {name: values[0] for name, values in parse_qs(parts.query).items()}


def allowed(served: Served, **changed: Any) -> str:
    """A code."""
    return answer(press(served, visit(served, **changed)))["code"]


def token(served: Served, **form: str) -> requests.Response:
    """Ask the token endpoint as the app."""
    return requests_session(served).post(f"{served.url}/services/oauth2/token", data={"client_id": CLIENT, **form})


def redeemed(served: Served, code: str, **changed: str) -> requests.Response:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    return token(served, **form | changed)


def connected(served: Served) -> dict[str, str]:
    """What the app holds after a person allowed it."""
    found = redeemed(served, allowed(served))
    assert found.status_code == 200, found.text
    return dict(found.json())


def refreshed(served: Served, refresh_token: str) -> requests.Response:
    return token(served, grant_type="refresh_token", refresh_token=refresh_token)


def lives(served: Served, access_token: str) -> bool:
    asked = requests_session(served).get(served.data("limits"), headers={"Authorization": f"Bearer {access_token}"})
    return asked.status_code == 200


def requests_session(served: Served) -> requests.Session:
    """The test's connections, without its access token."""
    served.http.headers.pop("Authorization", None)
    return served.http
