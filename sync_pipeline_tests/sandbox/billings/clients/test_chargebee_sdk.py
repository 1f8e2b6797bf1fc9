"""Chargebee's own Python client against the stand-in: it pages, filters, sorts, and knows the refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sync_pipeline_tests.conftest import Sandbox
from sync_pipeline_tests.python_clients import run


def test_chargebee_s_own_client(sandbox: Callable[..., Sandbox], tmp_path: Path) -> None:
    world = sandbox(accounts=300, billing=["chargebee"])
    login = world.organization("chargebee")["billing"]
    rows = world.rows("SELECT * FROM billing_customer ORDER BY position")
    moment, email = rows[-20]["updated"], next(row["email"] for row in rows if row["email"])
    arguments = (login["url"], login["api_key"], world["ca_file"], str(moment), email)
    script = Path(__file__).with_name("chargebee_calls.py")
    (line,) = run("chargebee", script, tmp_path, Path(world["ca_file"]), *arguments)
    seen: dict[str, Any] = json.loads(line)
    assert seen["everybody"] == [[row["customer_id"], False, row["identifier"]] for row in rows]
    assert seen["contacts"] == [f"second+{row['email']}" for row in rows if row["email"] and row["dice"] % 7 == 0]
    assert seen["created"] == [row["created"] for row in reversed(rows)]
    assert seen["changed"] == [row["customer_id"] for row in reversed(rows[-19:])]
    assert set(seen["named"]) == {email}
    assert seen["wrong"] == [
        ["APIError", 401, "api_authentication_failed", None],
        ["InvalidRequestError", 400, "param_wrong_value", "limit"],
        ["InvalidRequestError", 400, "param_wrong_value", "offset"],
        ["InvalidRequestError", 400, "param_wrong_value", "sort_by"],
        ["InvalidRequestError", 400, "invalid_request", "shoe[is]"],
    ]
