"""`sync-pipeline connect` and `disconnect`: a person lets an organization's sync into Salesforce, and ends that again."""

from __future__ import annotations

import sys
import threading
import webbrowser
from contextlib import ExitStack, suppress

from sync_pipeline import salesforce
from sync_pipeline.cli.orgs import load, the_organization
from sync_pipeline.cli.output import err, out
from sync_pipeline.errors import ConfigurationError, SyncError
from sync_pipeline.logins import callback
from sync_pipeline.logins.tokens import KEYRING, place
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
        listens = _listen(stack, waiting, port, needed=browser)
        _send(tried, waiting, browser=browser, listens=listens)
        try:
            grant = connecting.finish(tried, waiting.wait(), recorded_here(org))
        except SyncError as error:
            waiting.tell("Not connected", error.message, good=False)
            raise
        kind = "sandbox" if grant.is_sandbox else "production"
        what = f"{org.name} is connected to {grant.organization_name} ({kind}, {grant.organization_id}) as {grant.username}."
        waiting.tell("Connected", what, good=True)
    where = (
        "the operating system's keyring"
        if grant.kept_in == KEYRING
        else f"{TokenStore().folder}, for you alone to read"
    )
    out.print(f"{what} The login is kept in {where}.", markup=False)
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


def _listen(stack: ExitStack, waiting: callback.Callback, port: int, *, needed: bool) -> bool:
    try:
        stack.enter_context(callback.listening(waiting, port))
    except ConfigurationError as error:
        if needed:
            raise
        err.print(f"{error.message} The answer can be pasted here all the same.", markup=False)
        return False
    return True


def _send(tried: connecting.Attempt, waiting: callback.Callback, *, browser: bool, listens: bool) -> None:
    host = tried.base.partition("://")[2]
    kind = f" ({LOGIN_HOSTS[host]})" if host in LOGIN_HOSTS else ""
    err.print(
        f"Log in at {host}{kind} as the user that the sync shall work as, and allow access. The app must list exactly this "
        f"callback URL: {tried.redirect_uri}",
        markup=False,
    )
    # In a thread: some browsers end only when their window is closed.
    opener = threading.Thread(target=_open, args=(tried.address,), daemon=True)
    if browser:
        opener.start()
        err.print(f"If no browser opens, open this address:\n{tried.address}", markup=False)
        return
    port = tried.redirect_uri.rpartition(":")[2].partition("/")[0]
    tunnel = f" For that over ssh, log in here with: ssh -L {port}:localhost:{port} ..." if listens else ""
    err.print(
        f"Open this address in a browser on any machine:\n{tried.address}\n"
        + (f"A browser that reaches port {port} of this machine comes back by itself.{tunnel}\n" if listens else "")
        + f"Any other ends at a page that can't be reached: paste its address ({tried.redirect_uri}?code=...) here.",
        markup=False,
    )
    threading.Thread(target=_read_pasted, args=(waiting,), daemon=True).start()


def _open(address: str) -> None:
    if not webbrowser.open(address):
        err.print("No browser could be started here.", markup=False)


def _read_pasted(waiting: callback.Callback) -> None:
    # Not by sys.stdin: a thread that waits in there keeps the interpreter from ending in good order.
    with suppress(OSError), open(0, encoding="utf-8", errors="replace", closefd=False) as typed:
        for line in typed:
            if line.strip() and not waiting.take(line):
                err.print("This is not the address that the browser ended at. Paste it whole.", markup=False)


def _warn(grant: Grant) -> None:
    shared = approvals.sharing(grant, TokenStore().grants())
    if len(shared) > approvals.MOST:
        err.print(f"{approvals.explained(shared)} {approvals.way_out(shared)}", style="yellow", markup=False)
