"""What a person, a test or a program has to know of a sandbox that runs: the content of the ready file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sync_pipeline.sandbox.billings import STAND_INS
from sync_pipeline.sandbox.building import billing_file, key_file, state_file, truth_file
from sync_pipeline.sandbox.certificates import CA_FILE
from sync_pipeline.sandbox.options import SandboxOptions
from sync_pipeline.sandbox.state import State

HOST = "127.0.0.1"


def ready_content(state: State, options: SandboxOptions, ports: dict[str, int]) -> dict[str, Any]:
    """What the ready file says: addresses and credentials of every stand-in, by organization, and where files are.

    The top-level `salesforce` and `upflow` are those of the first organization, `stripe` is the billing of the
    organization that has it.
    """
    folder = options.folder.resolve()
    scheme = "http" if options.plain_http else "https"
    base = {name: f"{scheme}://{HOST}:{port}" for name, port in ports.items()}
    organizations = {}
    for row in state.rows("SELECT * FROM organizations ORDER BY org = 'stripe' DESC, org"):
        org = row["org"]
        upflow = {"url": f"{base['upflow']}/v1", "api_key": row["upflow_key"], "api_secret": row["upflow_secret"]}
        organizations[org] = {
            "salesforce": {
                "url": base["salesforce"],
                "client_id": row["client_id"],
                "client_secret": row["client_secret"],
                "username": row["username"],
                "password": row["password"],
                "security_token": row["security_token"],
                "private_key_file": str(key_file(folder, org)),
                "access_token": row["access_token"],
                "organization_id": row["organization_id"],
            },
            "upflow": upflow,
            "billing": _billing(state, folder, org, base, upflow),
            "truth": str(truth_file(folder, org)),
        }
    first = next(iter(organizations.values()))
    return {
        "ca_file": str(folder / CA_FILE),
        "state_file": str(state_file(folder)),
        "process": os.getpid(),
        "truth": {org: content["truth"] for org, content in organizations.items()},
        **{name: first[name] for name in ("salesforce", "upflow")},
        **({"stripe": organizations["stripe"]["billing"]} if "stripe" in organizations else {}),
        "organizations": organizations,
    }


def _billing(state: State, folder: Path, org: str, base: dict[str, str], upflow: dict[str, str]) -> dict[str, str]:
    """How to reach an organization's billing customers, and for an API which field has the identifier."""
    if org in STAND_INS:
        stand_in = STAND_INS[org]
        at = {"url": f"{base[org]}{stand_in.base}"} if stand_in.app else upflow
        login = {row["name"]: row["value"] for row in state.rows("SELECT * FROM billing_login WHERE org = ?", org)}
        if stand_in.login_path:
            at = {**at, "login_url": f"{base[org]}{stand_in.login_path}"}
        return {**at, **login, "field": stand_in.field}
    file = billing_file(folder, org)
    return {"url": f"sqlite:///{file}", "table": "customers"} if org == "database" else {"path": str(file)}
