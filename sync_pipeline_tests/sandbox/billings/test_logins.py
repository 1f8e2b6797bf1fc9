"""Whatever a client sends as its login, each stand-in refuses it in the vendor's words and goes on."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
import requests

from sync_pipeline.sandbox.billings import STAND_INS
from sync_pipeline_tests.conftest import Sandbox

SERVED = [name for name, one in STAND_INS.items() if one.app]
LOGINS = {
    "none": None,
    "no kind": b"x",
    "no token": b"Bearer",
    "another's token": b"Bearer x",
    "no text": b"Bearer \xe9",
    "no base64": b"Basic ???",
    "base64 of no ASCII": b"Basic \xe9\xe9\xe9\xe9",
    "base64 of no text": b"Basic /////w==",
    "another's key": b"Basic " + base64.b64encode("clé:é".encode()),
    "another kind": b"Digest x",
}


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("name", SERVED)
def test_a_login_that_is_none_is_refused(sandbox: Callable[..., Sandbox], name: str, login: str) -> None:
    there = sandbox(accounts=20, billing=["all"])
    ready = there.organization(name)["billing"]
    headers = {"Authorization": value} if (value := LOGINS[login]) else {}
    for method, url in [("GET", ready["url"]), ("POST", ready.get("login_url") or ready["url"])]:
        answer = requests.request(method, url, headers=headers, verify=there.http().verify, timeout=30)
        assert 400 <= answer.status_code < 500, answer.text
        assert isinstance(answer.json(), dict)
