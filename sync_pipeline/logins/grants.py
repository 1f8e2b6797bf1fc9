"""What a person has granted at an authorization server, and what has to be known of such a server.

A billing system whose login is such a grant describes its server by `authorization(org) -> AuthorizationServer | None` (a
function of its module, or a method of its SOURCE); None where the organization's file chooses another way to log in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import requests

from sync_pipeline import settings
from sync_pipeline.errors import ReconnectError
from sync_pipeline.http import ApiSession
from sync_pipeline.logins import tokens
from sync_pipeline.logins.answers import TOKEN_RETRIES, encoded


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """An authorization server, as one organization's app uses it. Holds the app's secret, outside its representation.

    Attributes:
        title: the system's name in messages, e.g. Xero.
        where: file and line of the login's settings.
        authorize_url: where a person allows access.
        token_url: where tokens are fetched, by HTTP Basic with the app's id and secret.
        scope: what is asked for, with spaces between.
        client_id, client_secret: the app's.
        ca_file: a certificate authority to trust instead of the system's.
        pkce: whether the server supports a proof key (RFC 7636).
        redirect_uri: the app's own callback URL, where it can't be one of this machine; None for the loopback's.
        resend_seconds: how long the server takes a refresh token again after it was used, for who lost the answer.
        tenant: whose data it is (a Xero tenant, a QuickBooks company), where the file says so.
        tenant_key: the key of the YAML file for that.
        tenant_parameter: the parameter that names it when the browser comes back.
        tenants: asks which ones a login reaches, id to name; for servers that tell it afterwards.
        revoke_url: where one grant is ended (RFC 7009). Only where that leaves the user's other grants alone.
    """

    title: str
    where: str
    authorize_url: str
    token_url: str
    scope: str
    client_id: str
    client_secret: str = field(repr=False)
    ca_file: str | None = None
    pkce: bool = False
    redirect_uri: str | None = None
    resend_seconds: float = 0.0
    tenant: str | None = None
    tenant_key: str = "tenant_id"
    tenant_parameter: str | None = None
    tenants: Callable[[ApiSession], Mapping[str, str]] | None = None
    revoke_url: str | None = None

    def post(self, url: str, form: Mapping[str, str]) -> requests.Response:
        """Send a form as the app, once: it may use up a code or a token. Raises what `ApiSession.request` raises."""
        with ApiSession(ca_file=self.ca_file, retries=TOKEN_RETRIES) as session:
            basic = encoded((self.client_id, self.client_secret))
            return session.post(url, data=dict(form), auth=basic, headers={"Accept": "application/json"})


@dataclass(frozen=True, slots=True)
class Grant:
    """What an organization's sync may read where. Holds no secret.

    Attributes:
        organization: name of the organization's YAML file.
        title: the system's name.
        token_url, client_id: the server and the app; the tokens are sent nowhere else.
        tenant: whose data it is; None where the system knows no such thing.
        tenant_name: its name for people, where the server told it.
        connected_at: ISO time (UTC).
        kept_in: keyring or file.
        key: names the entry in the keyring.
    """

    organization: str
    title: str
    token_url: str
    client_id: str
    tenant: str | None
    tenant_name: str | None
    connected_at: str
    kept_in: str = tokens.FILE
    key: str = ""

    def __str__(self) -> str:
        whose = f"{self.tenant_name} ({self.tenant})" if self.tenant_name else self.tenant
        return f"{self.organization} is connected to {self.title}" + (f": {whose}" if whose else "")


@dataclass(frozen=True, slots=True)
class Secrets:
    """The tokens of a grant. They stay out of the representation.

    Attributes:
        refresh_token: the newest, and the only one that may be sent.
        access_token: what all processes share until it ends or is refused.
        good_until: see `answers.good_until`.
        rotates: whether the last refresh brought a new refresh token; None before the first.
        sent_at: when (ISO, UTC) the refresh token was sent, as long as no answer to that is stored.
        refused: the server's reason, once it has said that the refresh token is dead.
    """

    refresh_token: str = field(repr=False)
    access_token: str = field(repr=False)
    good_until: float | None
    rotates: bool | None = None
    sent_at: str | None = None
    refused: str | None = None


class GrantStore(tokens.TokenStore[Grant, Secrets]):
    """The organizations of this installation that are connected to their billing system.

    Args:
        folder: `tokens/billing` below the data folder unless a test says otherwise.
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder or settings.data_dir() / "tokens" / "billing", Grant, Secrets, " --billing")


def connected(organization: str, server: AuthorizationServer, store: GrantStore) -> Grant:
    """The organization's grant, if it is the one its file asks for.

    Raises:
        ReconnectError: nobody has connected the organization, or its file names another app, server or tenant since.
        ConfigurationError: what is stored can't be used.
    """
    grant = store.grant(organization)
    if grant is None:
        raise ReconnectError(
            f"{server.where}: nobody has connected {organization} to {server.title} on this machine.",
            next_step=f"Connect it: {store.connect(organization)}",
        )
    # A refresh token goes to the app and the server it was given by, and one tenant's customers are not another's.
    for what, is_now, was in (
        ("client_id", server.client_id, grant.client_id),
        ("address of the login", server.token_url, grant.token_url),
        (server.tenant_key, server.tenant or grant.tenant, grant.tenant),
    ):
        if is_now != was:
            raise ReconnectError(
                f"{server.where}: {organization} was connected with another {what}.",
                next_step=f"Connect it again: {store.connect(organization)}",
            )
    return grant


def now() -> str:
    """ISO time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
