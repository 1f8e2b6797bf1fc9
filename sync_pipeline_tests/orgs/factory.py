"""Organizations for tests, built by the real loader from a real file."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import yaml

from sync_pipeline.orgs import Loaded, Organization, load_organizations

VALID: dict[str, Any] = {
    "name": "acme",
    "salesforce": {
        "domain": "acme.my.salesforce.com",
        "login": {
            "method": "client_credentials",
            "client_id": "acme-app",
            "client_secret": {"env": "ACME_CLIENT_SECRET"},
        },
    },
    "billing": {"system": "file", "path": "customers.csv"},
    "identifier": {"billing_field": "customer_id", "salesforce_field": "Billing_Id__c"},
    "import": {"account_fields": {"Industry": "Industry"}, "contact_fields": {"Language__c": "Language"}},
    "receivables": {"platform": "warehouse", "portal_link_template": "https://pay.example.com/{customer_id}"},
    "export": {"portal_link": {"salesforce_field": "Portal_Link__c"}},
}
"""A file without a problem, as plain data."""


def merged(**overrides: Any) -> dict[str, Any]:
    """`VALID` with top-level keys replaced whole, so that no key of another billing system or platform stays behind.

    `double__underscores` reach into a section (`identifier__normalize=["trim"]`); the value `None` removes the key;
    `imports` means `import`.
    """
    data = copy.deepcopy(VALID)
    for key, value in overrides.items():
        *sections, last = ("import" if part == "imports" else part for part in key.split("__"))
        section = data
        for name in sections:
            section = section.setdefault(name, {})
        if value is None:
            section.pop(last, None)
        else:
            section[last] = value
    return data


def write(folder: Path, data: Any, file: str = "acme.yaml") -> Path:
    """Write `data` (plain data, or YAML text) to a file of `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file
    path.write_text(
        data if isinstance(data, str) else yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    return path


def load(folder: Path, data: Any) -> Loaded:
    """What the loader says about one file with `data` in it."""
    write(folder, data)
    return load_organizations(folder)


def make_organization(*, folder: Path | None = None, **overrides: Any) -> Organization:
    """A valid organization, e.g. `make_organization(folder=tmp_path, identifier__normalize=["trim"])`.

    Args:
        folder: where its YAML file is written and relative paths count from; a temporary folder where none is given
            (it is gone when this returns, so give one wherever the organization names files).
        overrides: as in `merged`.

    Raises:
        AssertionError: the loader found problems; they are the message.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            return make_organization(folder=Path(temporary), **overrides)
    loaded = load(folder, merged(**overrides))
    assert not loaded.problems, "\n".join(map(str, loaded.problems))
    (organization,) = loaded.organizations.values()
    return organization
