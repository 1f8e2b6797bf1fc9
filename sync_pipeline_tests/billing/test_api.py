"""What every billing system with an API has in common, shown by the plainest of them: odd answers, odd addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.errors import ConfigurationError, DataError, TransientError
from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.billing.systems.scripted import Answer, Server, said, serving
from sync_pipeline_tests.orgs.factory import make_organization

Read = Callable[[Organization], list[tuple[Any, ...]]]
CUSTOMERS = "/v1/customers"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("STRIPE_KEY", "sk_live_51GeheimGeheimGeheim4242")
    monkeypatch.setattr("sync_pipeline.http.BACKOFF_SECONDS", 0.001)
    with serving() as found:
        yield found


@pytest.fixture
def org(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Organization]:
    def make(url: str | None = None) -> Organization:
        monkeypatch.setenv("STRIPE_URL", url or server.url)
        billing = {"system": "stripe", "api_key": {"env": "STRIPE_KEY"}, "url": {"env": "STRIPE_URL"}}
        return make_organization(folder=tmp_path / "config", billing=billing, identifier__billing_field="email")

    return make


def listed(*customers: dict[str, Any], **headers: str) -> Answer:
    return said({"data": [{"email": "ada@example.com"} | one for one in customers], "has_more": False}, **headers)


@pytest.mark.parametrize(
    "value", [True, 0.5, 2.0**53, 1e300, float("inf"), [], ["a"], {}, {"id": "a"}, "a\ud800"], ids=str
)
def test_an_id_that_could_be_several_customers_is_none(
    org: Callable[..., Organization], server: Server, read: Read, value: object
) -> None:
    server.at[CUSTOMERS] = [listed({"id": "cus_1"}, {"id": value, "name": "one"}, {"id": value, "name": "another"})]
    with pytest.raises(
        DataError, match=r"acme\.yaml:\d+: Stripe delivered a customer whose id is no text and no whole"
    ):
        read(org())


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (1000.0, "1000"), (10**40 + 1, f"1{'0' * 39}1"), (" 7", " 7"), ("ü🦆", "ü🦆"), ("a" * 5000, "a" * 5000)],
    ids=["number", "float", "huge", "space", "unicode", "long"],
)
def test_an_id_keeps_what_it_is_written_with(
    *, org: Callable[..., Organization], server: Server, read: Read, value: object, text: str
) -> None:
    server.at[CUSTOMERS] = [listed({"id": value}, {"id": "a"}, {"id": "A"})]
    assert {row[0] for row in read(org())} == {text, "a", "A"}


@pytest.mark.parametrize("value", [{"created": 10**15}, {"currency": "jpy", "balance": 10**16}], ids=["time", "money"])
def test_numbers_beyond_all_bounds_are_the_datas_fault(
    org: Callable[..., Organization], server: Server, read: Read, value: dict[str, Any]
) -> None:
    server.at[CUSTOMERS] = [listed({"id": "cus_1"} | value)]
    with pytest.raises(DataError, match="delivered a number or a time that is none"):
        read(org())


def test_lists_in_lists_without_end_are_no_answer(org: Callable[..., Organization], server: Server, read: Read) -> None:
    server.at[CUSTOMERS] = [(200, {}, b'{"data": ' + b"[" * 200_000)]
    with pytest.raises(TransientError, match="Stripe's answer breaks off after 200,009 bytes"):
        read(org())


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 -1200", "Mon, 01 Jan 0000 00:00:00 GMT", "today"])
def test_a_date_of_no_calendar_is_no_clock(
    org: Callable[..., Organization], server: Server, read: Read, date: str
) -> None:
    server.at[CUSTOMERS] = [listed({"id": "cus_1"}, Date=date)]
    assert len(read(org())) == 1


@pytest.mark.parametrize("place", ["http://[", "https://user:geheim@evil.example.com:1/x", "/v2"])
def test_a_redirect_goes_nowhere(org: Callable[..., Organization], server: Server, read: Read, place: str) -> None:
    server.at[CUSTOMERS] = [(302, {"Location": place}, b"")]
    with pytest.raises(ConfigurationError, match=r"redirects to .*, which is not followed") as caught:
        read(org())
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "http://[",
        "nothing",
        "http://api.example.com",
        "https://user:geheim@127.0.0.1:9",
        "https://api.example.com?k=geheim",
    ],
)
def test_an_address_in_the_environment_is_held_to_the_rules_of_the_file(
    org: Callable[..., Organization], read: Read, address: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"acme\.yaml:\d+: STRIPE_URL: .*Allowed|Write it without") as caught:
        read(org(address))
    assert "geheim" not in str(caught.value)


def test_an_address_may_have_a_path_and_end_in_a_slash(
    org: Callable[..., Organization], server: Server, read: Read
) -> None:
    server.at[f"/proxy{CUSTOMERS}"] = [listed({"id": "cus_1"})]
    assert len(read(org(f"{server.url}/proxy/"))) == 1
