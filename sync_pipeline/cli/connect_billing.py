"""`sync-pipeline connect --billing` and `disconnect --billing`: a person lets an organization's sync into its billing system."""

from __future__ import annotations

import getpass
import sys
from contextlib import ExitStack
from urllib.parse import urlsplit

from sync_pipeline import billing
from sync_pipeline.cli.orgs import load, the_organization
from sync_pipeline.cli.output import err, out
from sync_pipeline.cli.visit import HOW, kept_where, listen, send
from sync_pipeline.errors import ConfigurationError, SyncError
from sync_pipeline.http import is_loopback
from sync_pipeline.logins import callback, connecting
from sync_pipeline.logins.grants import AuthorizationServer, Grant, GrantStore
from sync_pipeline.logins.tokens import place


def connect(name: str, *, browser: bool, port: int) -> int:
    """Let a person log in by browser and keep the login; where none has to be kept, try the login. Returns 0."""
    org = the_organization(name)
    server = billing.authorization(org)
    if server is None:
        out.print(
            f"The customers of {name} come from {billing.title(org)}: nothing has to be kept. Trying it.", markup=False
        )
        out.print(billing.probe(org), markup=False)
        return 0
    place()  # a wrong $SYNC_PIPELINE_TOKENS is better found before a person has logged in
    redirect_uri = server.redirect_uri or callback.address(port)
    ends = urlsplit(redirect_uri)
    local = ends.scheme == "http" and is_loopback(ends.hostname or "")
    tried = connecting.Attempt(name, server, redirect_uri)
    waiting = callback.Callback(server.title, ends.path or "/")
    with ExitStack() as stack:
        listens = local and listen(stack, waiting, ends.port or 80, needed=browser)
        err.print(f"Log in to {server.title} {HOW.format(redirect_uri)}", markup=False)
        send(waiting, tried.address, redirect_uri, browser=browser, listens=listens)
        try:
            grant = connecting.finish(tried, waiting.wait())
        except SyncError as error:
            waiting.tell("Not connected", error.message, good=False)
            raise
        waiting.tell("Connected", f"{grant}.", good=True)
    return _told(grant)


def begin_with_refresh_token(name: str) -> int:
    """Keep a login that begins with a refresh token: asked for where a person types, else read. Returns 0."""
    server = _needed(name)
    place()
    asked = f"Refresh token of {server.title} for {name}: "
    token = (getpass.getpass(asked) if sys.stdin.isatty() else sys.stdin.readline()).strip()
    if not token:
        raise ConfigurationError("No refresh token was given.", next_step="Type it, or send it to standard input.")
    return _told(connecting.from_refresh_token(name, server, token))


def disconnect(name: str) -> int:
    """End the login at the billing system where that can be done, and forget it. Returns 0."""
    org = load().organizations.get(name)
    server = None
    if org is not None:
        try:
            server = billing.authorization(org)
        except ConfigurationError as error:  # say, the variable of the secret is not set: forgotten it is all the same
            err.print(str(error), markup=False)
    out.print(connecting.disconnect(name, server), markup=False)
    return 0


def _needed(name: str) -> AuthorizationServer:
    org = the_organization(name)
    server = billing.authorization(org)
    if server is None:
        raise ConfigurationError(
            f"{org.where('billing')}: the login to {billing.title(org)} has no refresh token.",
            next_step=f"Look whether it works as it is: sync-pipeline connect {name} --billing",
        )
    return server


def _told(grant: Grant) -> int:
    out.print(f"{grant}. {kept_where(grant.kept_in, GrantStore().folder)}", markup=False)
    out.print(f"Next: sync-pipeline check {grant.organization}", markup=False)
    return 0
