"""sf-toolkit and Airbyte's Salesforce source, as published, each in an environment of its own."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from sync_pipeline_tests.python_clients import run
from sync_pipeline_tests.sandbox.salesforce import world
from sync_pipeline_tests.sandbox.salesforce.clients.conftest import StandIn
from sync_pipeline_tests.sandbox.salesforce.world import ACME, BETA, DELETED, GAMMA, LOSER

HERE = Path(__file__).parent


def test_sf_toolkit(stand_in: StandIn, tmp_path: Path) -> None:
    (line,) = run("sf-toolkit", HERE / "sf_toolkit_calls.py", tmp_path, stand_in.ca_file, stand_in.https, world.TOKEN)
    seen: dict[str, Any] = json.loads(line)
    assert "Portal_Link__c" in seen.pop("fields")
    assert seen == {
        "user": "ada@stripe.example",
        "version": 68.0,
        "many": stand_in.many,
        "in bulk": stand_in.many,
        "count": 2,
        "fetched": "Gold",
        "saved": [True] * 5,
        "fetched many": ["Two", "Several 0"],
        "bulk upsert": [1, 0],
        "deleted": [True] * 3,
        "limit": 100_000,
    }


def approved(stand_in: StandIn) -> str:
    """A refresh token, as a person's yes leaves it behind."""
    user = {"org": world.ORG, "created_at": time.time()}
    world.insert(stand_in.state, "approval", id="airbyte", user_id=world.USER, scope="api refresh_token", **user)
    world.insert(stand_in.state, "refresh_token", token="5Aep861airbyte", approval="airbyte", **user)
    return "5Aep861airbyte"


def catalog(*streams: str) -> dict[str, Any]:
    """Airbyte's words for: read what changed of these objects."""
    cursor = ["SystemModstamp"]
    modes = ["full_refresh", "incremental"]
    return {
        "streams": [
            {
                "stream": {
                    "name": name,
                    "json_schema": {},
                    "supported_sync_modes": modes,
                    "source_defined_cursor": True,
                    "default_cursor_field": cursor,
                },
                "sync_mode": "incremental",
                "cursor_field": cursor,
                "destination_sync_mode": "append",
            }
            for name in streams
        ]
    }


def test_airbytes_source(stand_in: StandIn, tmp_path: Path) -> None:
    """It reads Account by REST, because of the compound address, and Contact by Bulk; both with deleted records."""
    config = {
        "client_id": f"client-{world.ORG}",
        "client_secret": f"secret+{world.ORG}/%",
        "refresh_token": approved(stand_in),
        "start_date": "2020-01-01T00:00:00Z",
        "stream_slice_step": "P4000D",
    }
    files = {"config": config, "catalog": catalog("Account", "Contact")}
    arguments = []
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        arguments += [f"--{name}", f"{name}.json"]
    lines = run("airbyte", HERE / "airbyte_source.py", tmp_path, stand_in.ca_file, stand_in.https, "read", *arguments)
    messages = [json.loads(line) for line in lines]
    records = [message["record"] for message in messages if message["type"] == "RECORD"]
    accounts = {r["data"]["Id"]: r["data"] for r in records if r["stream"] == "Account"}
    assert {ACME, BETA, GAMMA, DELETED, LOSER, *stand_in.many} <= accounts.keys()
    assert (accounts[LOSER]["MasterRecordId"], accounts[BETA]["Name"]) == (ACME, "ÉTÉ & Söhne 🚀")
    assert {r["data"]["Name"] for r in records if r["stream"] == "Contact"} == {"Zoë O'Neil", "Nobody"}
    ended = [m["trace"]["stream_status"]["status"] for m in messages if m["type"] == "TRACE"]
    assert ended.count("COMPLETE") == 2
    (rotated,) = {
        m["control"]["connectorConfig"]["config"]["refresh_token"] for m in messages if m["type"] == "CONTROL"
    }
    assert rotated != config["refresh_token"]
