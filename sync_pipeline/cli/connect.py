"""`sync-pipeline connect` and `disconnect`: a person lets an organization's sync into Salesforce, and ends that again."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from sync_pipeline import salesforce
from sync_pipeline.cli.orgs import load, the_organization
from sync_pipeline.cli.output import err, out
from sync_pipeline.cli.visit import HOW, kept_where, listen, send
from sync_pipeline.errors import ConfigurationError, SyncError
from sync_pipeline.logins import callback
from sync_pipeline.logins.tokens import place
from sync_pipeline.orgs import Organization
from sync_pipeline.orgs.models import BrowserLogin
from sync_pipeline.salesforce.logins import approvals, connecting
from sync_pipeline.salesforce.logins.tokens import Grant, TokenStore
from sync_pipeline.salesforce.organization import Identity, recorded_here
from sync_pipeline.yaml_types.domain import LOGIN_HOSTS


def connect(name: str, *, browser: bool, port: int, yes: bool) -> int:
    """Let a person log in by browser and keep the login; where none has to be kept, try the login. Returns 0."""
    org = the_organization(name)
    if not isinstance(org.salesforce.login, BrowserLogin):
        return _try(org)
    place()  # a wrong $SYNC_PIPELINE_TOKENS is better found before a person has logged in
    _make_room(org, yes=yes)
    tried = connecting.attempt(org, callback.address(port))
    waiting = callback.Callback()
    with ExitStack() as stack:
        listens = listen(stack, waiting, port, needed=browser)
        host = tried.base.partition("://")[2]
        kind = f" ({LOGIN_HOSTS[host]})" if host in LOGIN_HOSTS else ""
        err.print(f"Log in at {host}{kind} {HOW.format(tried.redirect_uri)}", markup=False)
        send(waiting, tried.address, tried.redirect_uri, browser=browser, listens=listens)
        try:
            grant = connecting.finish(tried, waiting.wait(), recorded_here(org))
        except SyncError as error:
            waiting.tell("Not connected", error.message, good=False)
            raise
        kind = "sandbox" if grant.is_sandbox else "production"
        what = f"{org.name} is connected to {grant.organization_name} ({kind}, {grant.organization_id}) as {grant.username}."
        waiting.tell("Connected", what, good=True)
    out.print(f"{what} {kept_where(grant.kept_in, TokenStore().folder)}", markup=False)
    _warn(grant)
    out.print(f"Next: sync-pipeline check {org.name}", markup=False)
    return 0


def disconnect(name: str) -> int:
    """Revoke the login at Salesforce and forget it. Returns 0."""
    loaded = load()
    org = loaded.organizations.get(name)
    if org and not isinstance(org.salesforce.login, BrowserLogin) and TokenStore().grant(name, to_end=True) is None:
        out.print(
            f"{name} logs in by {org.salesforce.login.method}: nothing is kept that could be forgotten.", markup=False
        )
        return 0
    out.print(connecting.disconnect(name, org), markup=False)
    return 0


def _try(org: Organization) -> int:
    out.print(f"{org.name} logs in by {org.salesforce.login.method}: nothing has to be kept. Trying it.", markup=False)
    client = salesforce.connect(org)
    with client.session:
        found = Identity.of(client.organization())
    out.print(f"{org.name} reaches {found}. Next: sync-pipeline check {org.name}", markup=False)
    return 0


def _make_room(org: Organization, *, yes: bool) -> None:
    """See to it that Salesforce does not end another organization's login by this one."""
    if others := approvals.full(org):
        err.print(
            f"Salesforce user {others[0].username} has connected {approvals.names(others)} by this app, and Salesforce allows "
            f"{approvals.MOST}: if the same user connects {org.name}, Salesforce ends the login of {others[0].organization} "
            "without a word. Log in as another user.",
            markup=False,
        )
        if not yes and not _agreed():
            raise ConfigurationError(
                f"{org.name} was not connected.", next_step="Say --yes to go on, and log in as another user."
            )
    own = TokenStore().grant(org.name, to_end=True)
    if own and approvals.is_last_of_five(own):
        err.print(f"The user has five organizations connected already, so the old login of {org.name} is ended first.")
        err.print(connecting.disconnect(org.name, org), markup=False)


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    err.print("Go on? [y/N] ", end="", markup=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _warn(grant: Grant) -> None:
    shared = approvals.sharing(grant, TokenStore().grants())
    if len(shared) > approvals.MOST:
        err.print(f"{approvals.explained(shared)} {approvals.way_out(shared)}", style="yellow", markup=False)
