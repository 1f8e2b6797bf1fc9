"""How many organizations one user has connected: Salesforce ends the oldest approval at the sixth, and says nothing.

Counted are the logins kept on this machine, whichever folder of YAML files they came from; Salesforce shows no others.
"""

from __future__ import annotations

from sync_pipeline.errors import ReconnectError
from sync_pipeline.orgs.models import Organization
from sync_pipeline.salesforce.logins.browser_login import connected, login_settings
from sync_pipeline.salesforce.logins.tokens import Grant, TokenStore
from sync_pipeline.yaml_types.values import text

MOST = 5
"""Approvals that one user can give to one app. Source: Salesforce Help, "Manage OAuth-Enabled Connected Apps Access to Your
Data"; the receivables platform's own guide says the same of its organizations."""


def sharing(grant: Grant, grants: list[Grant]) -> list[Grant]:
    """The grants of the same user for the same app, the oldest first."""
    return [one for one in grants if _who(one) == _who(grant)]


def too_many() -> list[list[Grant]]:
    """Every group of more than five organizations that share a user and an app; each the oldest first."""
    grants = TokenStore().grants()
    groups = {_who(grant): sharing(grant, grants) for grant in grants}
    return [group for group in groups.values() if len(group) > MOST]


def full(org: Organization) -> list[Grant]:
    """Five or more other organizations that one user has connected by this app, the oldest first; empty where none has."""
    client_id = text(login_settings(org).client_id)
    others = [one for one in TokenStore().grants() if one.client_id == client_id and one.organization != org.name]
    groups = (sharing(grant, others) for grant in others)
    return next((group for group in groups if len(group) >= MOST), [])


def is_last_of_five(grant: Grant) -> bool:
    """Whether connecting this organization once more would be the user's sixth approval, until the earlier one is ended."""
    return len(sharing(grant, TokenStore().grants())) >= MOST


def told(org: Organization) -> str:
    """For `check`: how many organizations the user of this one has connected.

    Raises:
        ReconnectError: more than Salesforce allows; or the organization is not connected.
    """
    store = TokenStore()
    shared = sharing(connected(org, store), store.grants())
    if len(shared) > MOST:
        raise ReconnectError(f"{org.where('salesforce', 'login')}: {explained(shared)}", next_step=way_out(shared))
    return f"The user has connected {len(shared)} of at most {MOST} organizations by this app: {names(shared)}."


def explained(shared: list[Grant]) -> str:
    """What it means that so many share a user."""
    return (
        f"One Salesforce user ({shared[0].user_id}) has connected {len(shared)} organizations by one app: {names(shared)}. "
        f"Salesforce allows {MOST} and ends the oldest without a word: {names(shared[: len(shared) - MOST])} may stop any time."
    )


def way_out(shared: list[Grant]) -> str:
    """What to do about it."""
    name = shared[-1].organization
    return (
        f"Use another Salesforce user for each five: sync-pipeline disconnect {name}, then sync-pipeline connect {name} as "
        f"another user; and connect {names(shared[: len(shared) - MOST])} again."
    )


def names(grants: list[Grant]) -> str:
    """`a, b and c`."""
    *first, last = (grant.organization for grant in grants)
    return f"{', '.join(first)} and {last}" if first else last


def _who(grant: Grant) -> tuple[str, str, str]:
    return grant.organization_id, grant.user_id, grant.client_id
