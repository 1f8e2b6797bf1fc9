"""What is kept of a person's login to Salesforce; how and where it is kept is `sync_pipeline.logins.tokens`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sync_pipeline import settings
from sync_pipeline.logins import tokens


@dataclass(frozen=True, slots=True)
class Grant:
    """Who is connected to which Salesforce organization, and where the secrets are. Holds none itself.

    Attributes:
        organization: name of the organization's YAML file.
        login_url: where the person logged in; its tokens are sent nowhere else.
        client_id: the app.
        organization_id, user_id: Salesforce's ids, 18 characters.
        username: personal data: shown to a person at the terminal, never in an error or an event.
        connected_at: ISO time (UTC).
        kept_in: keyring or file.
        key: names the entry in the keyring. New with each connection, so that no other installation shares it.
    """

    organization: str
    login_url: str
    client_id: str
    organization_id: str
    organization_name: str
    is_sandbox: bool
    user_id: str
    username: str = field(repr=False)
    connected_at: str
    kept_in: str = tokens.FILE
    key: str = ""


@dataclass(frozen=True, slots=True)
class Secrets:
    """The tokens of a grant. They stay out of the representation.

    Attributes:
        refresh_token: the only one that may be sent; a refresh may replace it.
        access_token: the session that all processes share until Salesforce refuses it.
        instance_url: where the session is valid.
        rotates: whether the last refresh brought a new refresh token; None before the first.
        sent_at: when (ISO, UTC) the refresh token was sent, as long as no answer to that is stored.
        refused: Salesforce's reason, once it has said that the refresh token is dead.
    """

    refresh_token: str = field(repr=False)
    access_token: str = field(repr=False)
    instance_url: str
    rotates: bool | None = None
    sent_at: str | None = None
    refused: str | None = None


class TokenStore(tokens.TokenStore[Grant, Secrets]):
    """The organizations of this installation that are connected to Salesforce.

    Args:
        folder: `tokens` below the data folder unless a test says otherwise.
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder or settings.data_dir() / "tokens", Grant, Secrets)
