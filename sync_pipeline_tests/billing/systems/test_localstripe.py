"""Stripe as others wrote it: localstripe, in a process of its own, with 500 customers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import requests

from sync_pipeline.billing import customer_url, load_customers
from sync_pipeline.errors import ReconnectError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.orgs.factory import make_organization

CUSTOMERS = 500
# It would write its whole state to one file below /tmp after every customer.
SERVER = """
import socket
from aiohttp import web
from localstripe import resources
from localstripe.server import app
resources.Store.dump_to_disk = lambda self: None
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
web.run_app(app, sock=listener, print=None, access_log=None)
"""


@pytest.fixture(scope="module")
def localstripe() -> Iterator[str]:
    quiet = subprocess.DEVNULL
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=quiet, text=True) as server:
        try:
            assert server.stdout
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            _fill(url)
            yield url
        finally:
            server.terminate()


def _fill(url: str) -> None:
    with requests.Session() as session:
        session.headers["Authorization"] = "Bearer sk_test_12345"
        for number in range(CUSTOMERS):
            customer = {
                "name": f'Customer {number}, "O\'Hara" 🦆',
                "email": f"c{number}@example.com",
                "balance": number,
                "metadata[salesforce_account_id]": f"001IV{number:010d}",
            }
            session.post(f"{url}/v1/customers", data=customer, timeout=10).raise_for_status()


@pytest.fixture
def org(localstripe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Organization]:
    def make(key: str = "sk_live_12345") -> Organization:
        monkeypatch.setenv("STRIPE_KEY", key)
        billing = {"system": "stripe", "api_key": {"env": "STRIPE_KEY"}, "url": localstripe}
        field = "metadata.salesforce_account_id"
        return make_organization(folder=tmp_path / "config", billing=billing, identifier__billing_field=field)

    return make


def test_all_customers_arrive(org: Callable[..., Organization], con: duckdb.DuckDBPyConnection) -> None:
    assert load_customers(con, org()) == CUSTOMERS
    found: list[tuple[Any, ...]] = con.execute(
        "SELECT identifier, name, primary_email, balance::DOUBLE, currency,"
        " custom_fields ->> '$.metadata.salesforce_account_id'"
        " FROM billing_customers ORDER BY identifier"
    ).fetchall()
    assert found == [
        (
            *(f"001IV{number:010d}", f'Customer {number}, "O\'Hara" 🦆', f"c{number}@example.com"),
            *(-number / 100, "EUR", f"001IV{number:010d}"),  # localstripe turns the sign of a balance around
        )
        for number in range(CUSTOMERS)
    ]


def test_a_bad_key(org: Callable[..., Organization], con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ReconnectError, match="Unauthorized"):
        load_customers(con, org(key="nonsense"))


def test_pages_of_customers_stay_below_the_stand_in(org: Callable[..., Organization], localstripe: str) -> None:
    assert customer_url(org(), "cus_1") == f"{localstripe}/customers/cus_1"
