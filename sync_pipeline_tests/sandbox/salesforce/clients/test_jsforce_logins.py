"""Every way in that jsforce has, over TLS."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.clients.conftest import Node, StandIn

USERNAME = f"admin@{world.ORG}.example"
APP = {"clientId": f"client-{world.ORG}", "clientSecret": f"secret+{world.ORG}/%"}
BROWSER = APP | {"callback": "http://localhost:1717/OauthRedirect"}
PERSON = {"username": USERNAME, "password": world.PASSWORD + world.SECURITY_TOKEN}

Login = Callable[..., dict[str, Any]]


@pytest.fixture
def login(node: Node, stand_in: StandIn, tmp_path: Path) -> Login:
    """Log in by one of the ways in jsforce_logins.cjs; what the connection then sees."""

    def run(how: str, **given: Any) -> dict[str, Any]:
        script = Path(__file__).with_name("jsforce_logins.cjs")
        asked = {"url": stand_in.https, "login": how, **given}
        environment = {"HOME": str(tmp_path), "NODE_EXTRA_CA_CERTS": str(stand_in.ca_file)}
        done = node.run(script, stdin=json.dumps(asked), **environment)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


def assertion(stand_in: StandIn) -> str:
    claims = {"iss": APP["clientId"], "sub": USERNAME, "aud": stand_in.https, "exp": int(time.time()) + 120}
    return jwt.encode(claims, world.PRIVATE_KEY, algorithm="RS256")


def test_ways_in(login: Login, stand_in: StandIn) -> None:
    ways: dict[str, dict[str, Any]] = {
        "soap": PERSON,
        "password": PERSON | APP,
        "browser": BROWSER,
        "jwt": {"assertion": assertion(stand_in)},
        "clientCredentials": APP,
        "session": {"token": world.TOKEN},
    }
    seen = {how: login(how, **given) for how, given in ways.items()}
    assert seen == {how: {"organization": world.ORGANIZATION_ID, "refreshed": False} for how in ways}


def test_a_session_that_ended_is_refreshed(login: Login) -> None:
    assert login("refresh", **BROWSER) == {"organization": world.ORGANIZATION_ID, "refreshed": True}


def test_logging_out(login: Login, stand_in: StandIn) -> None:
    world.insert(stand_in.state, "session", org=world.ORG, access_token="00Dx!short", created_at=0, expires_at=2**40)
    assert login("session", token="00Dx!short", logout=True)["organization"] == world.ORGANIZATION_ID
    assert login("session", token="00Dx!short")["error"] == "INVALID_SESSION_ID"


def test_ways_that_are_closed(login: Login) -> None:
    wrong = {"username": USERNAME, "password": world.PASSWORD}
    assert login("soap", **wrong)["message"].startswith("INVALID_LOGIN")
    assert login("password", **wrong, **APP) == {"error": "invalid_grant", "message": "authentication failure"}
    assert login("clientCredentials", **APP | {"clientSecret": "wrong"})["error"] == "invalid_client"
