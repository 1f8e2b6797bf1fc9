"""Logging in: as a server that proves itself anew each time, or as a person who connected once by browser."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sync_pipeline.errors import SyncError
from sync_pipeline.orgs.models import BrowserLogin, Organization
from sync_pipeline.salesforce.logins import approvals, browser_login, server_login
from sync_pipeline.salesforce.logins.oauth import Token
from sync_pipeline.salesforce.logins.tokens import TokenStore

__all__ = ["Token", "kept_login", "log_in", "login_of", "when_refused"]


def login_of(org: Organization) -> Callable[[], Token]:
    """What gets a session: called at first, and again whenever Salesforce refuses the session it gave last."""
    login = org.salesforce.login
    if isinstance(login, BrowserLogin):
        return browser_login.StoredLogin(org)
    return partial(server_login.log_in, org, login)


def log_in(org: Organization) -> Token:
    """Get a session, now.

    Raises:
        ReconnectError: Salesforce refuses the credentials, with its own reason; or nobody has connected the organization.
        ConfigurationError: the domain is not Salesforce's or does not answer as Salesforce does, an environment
            variable or the private key is missing, or the token would have to go to another host than Salesforce's.
        TransientError: Salesforce can't be reached, or is busy.
    """
    return login_of(org)()


def kept_login(org: Organization) -> list[Callable[[], str]]:
    """For `check`: questions about a login that is kept, each answered by a sentence or a SyncError.

    None of a server's login, and none where no login is kept that could be used: who logs in is told why.
    """
    if not isinstance(org.salesforce.login, BrowserLogin):
        return []
    try:
        browser_login.connected(org, TokenStore())
    except SyncError:
        return []
    return [partial(browser_login.told, org), partial(approvals.told, org)]


def when_refused(org: Organization) -> str:
    """What to do where Salesforce grants a session and refuses it all the same."""
    login = org.salesforce.login
    return browser_login.reconnect(org) if isinstance(login, BrowserLogin) else server_login.what_to_check(login)
