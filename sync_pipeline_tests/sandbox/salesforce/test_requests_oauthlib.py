"""An OAuth client that this project did not write logs in at the stand-in, unmodified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from oauthlib.oauth2 import InvalidGrantError
from requests_oauthlib import OAuth2Session

from sync_pipeline_tests.sandbox.salesforce import browser, world
from sync_pipeline_tests.sandbox.salesforce.conftest import Served


@pytest.fixture
def client(served: Served) -> Iterator[OAuth2Session]:
    session = OAuth2Session(
        browser.CLIENT, redirect_uri=browser.CALLBACK, scope=["id", "api", "refresh_token"], pkce="S256"
    )
    session.trust_env, session.verify = False, str(served.ca_file)
    with session:
        yield session


def connect(client: OAuth2Session, served: Served) -> dict[str, Any]:
    address, state = client.authorization_url(f"{served.url}/services/oauth2/authorize")
    page = browser.requests_session(served).get(address)
    ended_at = browser.press(served, page).headers["Location"]
    assert f"state={state}" in ended_at
    # It takes nothing but https for the address that it ended at; that of the callback is a loopback one.
    token = client.fetch_token(
        f"{served.url}/services/oauth2/token",
        authorization_response=ended_at.replace("http://", "https://"),
        include_client_id=True,
    )
    return dict(token)


def test_connect_read_refresh_and_read(client: OAuth2Session, served: Served) -> None:
    first = connect(client, served)
    assert client.get(served.data("limits")).status_code == 200
    second = client.refresh_token(f"{served.url}/services/oauth2/token", client_id=browser.CLIENT)
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    identity = client.get(second["id"]).json()
    assert identity["organization_id"] == world.ORGANIZATION_ID


def test_a_replaced_refresh_token(client: OAuth2Session, served: Served) -> None:
    first = connect(client, served)
    address = f"{served.url}/services/oauth2/token"
    client.refresh_token(address, client_id=browser.CLIENT)
    with pytest.raises(InvalidGrantError, match="expired access/refresh token"):
        client.refresh_token(address, refresh_token=first["refresh_token"], client_id=browser.CLIENT)
    assert client.get(served.data("limits")).status_code == 401
