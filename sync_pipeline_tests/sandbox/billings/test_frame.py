"""What all stand-ins of billing systems share, in one that is no vendor's; and how they are found."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from sync_pipeline.sandbox.billings import BILLINGS, STAND_INS, frame
from sync_pipeline.sandbox.billings.frame import BillingApp, Limits, StandInError, with_extra
from sync_pipeline.sandbox.billings.tokens import Tokens
from sync_pipeline.sandbox.state import State
from sync_pipeline.sandbox.web import LARGEST_BODY, Call, json_answer


class PaperApp(BillingApp):
    """Two requests a second."""

    name = "paper"
    per_second = 2

    def __init__(self, state: State, limits: Limits) -> None:
        super().__init__(state, limits)
        self.route("GET", "/customers", lambda org, call: json_answer({"org": org}))
        self.route("GET", "/customers/{id}", self._one)
        self.open_route("POST", "/token", lambda call: json_answer({"grant": call.body.decode()}))

    def authenticate(self, call: Call) -> str:
        org = self.org_with("key", call.headers.get("x-key", ""))
        if org is None:
            raise StandInError(401, {"message": "Who?"}, {"WWW-Authenticate": "Key"})
        return org

    def headers(self, call: Call | None, org: str | None) -> dict[str, str]:
        return {"X-Left": str(self.remaining(org))} if org else {}

    def _one(self, org: str, call: Call, customer: str) -> Response:
        row = self.state.row("SELECT * FROM billing_customer WHERE org = ? AND customer_id = ?", org, customer)
        if row is None:
            raise StandInError(404, {"message": f"No {customer}"})
        return json_answer(with_extra({"id": customer, "name": row["name"]}, row))


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(frame, "time", made)
    return made


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """Two organizations with the same system, and one with another."""
    with closing(State(tmp_path / "state.sqlite")) as made:
        for org, billing, key in (("one", "paper", "k1"), ("two", "paper", "k2"), ("else", "stone", "k3")):
            texts = ("org", "billing", "organization_id", "name", "user_id", "username", "client_id", "client_secret")
            texts += ("public_key", "access_token", "upflow_key", "upflow_secret")
            values = {name: f"{name} of {org}" for name in texts} | {"org": org, "billing": billing, "is_sandbox": 1}
            marks = ", ".join("?" * len(values))
            made.db.execute(f"INSERT INTO organizations ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
            made.db.execute("INSERT INTO billing_login VALUES (?, 'key', ?)", (org, key))
        yield made


class Answer:
    """Status, headers and JSON of an answer."""

    def __init__(self, app: BillingApp, method: str, path: str, key: str = "", body: bytes = b"") -> None:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(b"x-key", key.encode())],
            "server": ("127.0.0.1", 1),
            "scheme": "http",
        }
        asyncio.run(app(scope, receive, send))
        self.status = sent[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        self.json = json.loads(b"".join(message.get("body", b"") for message in sent))


@pytest.fixture
def app(state: State, clock: Clock) -> PaperApp:
    return PaperApp(state, Limits())


def test_a_known_caller_is_served(app: PaperApp) -> None:
    assert Answer(app, "GET", "/customers", "k2").json == {"org": "two"}


def test_nobody_else_is(app: PaperApp) -> None:
    for key in ("", "k3", "wrong"):
        answer = Answer(app, "GET", "/customers", key)
        assert (answer.status, answer.json, answer.headers["www-authenticate"]) == (401, {"message": "Who?"}, "Key")


def test_an_open_route_asks_nobody_who_they_are(app: PaperApp) -> None:
    assert Answer(app, "POST", "/token", body=b"please").json == {"grant": "please"}


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/x", 404), ("PUT", "/customers", 405)])
def test_what_is_not_there(app: PaperApp, method: str, path: str, status: int) -> None:
    assert Answer(app, method, path, "k1").status == status
    assert Answer(app, method, path).status == 401, "only those who are known are told so"


def test_a_body_without_end(app: PaperApp) -> None:
    assert Answer(app, "POST", "/token", body=b"x" * (LARGEST_BODY + 1)).status == 413


def test_an_error_is_the_answer_and_extra_fields_win(app: PaperApp, state: State) -> None:
    assert Answer(app, "GET", "/customers/c1", "k1").json == {"message": "No c1"}
    state.db.execute(
        "INSERT INTO billing_customer (org, position, customer_id, name, created, updated, extra)"
        """ VALUES ('one', 0, 'c1', 'Acme', 1, 2, '{"name": 7, "more": null}')"""
    )
    assert Answer(app, "GET", "/customers/c1", "k1").json == {"id": "c1", "name": 7, "more": None}


def test_the_vendor_s_limit_is_each_organization_s_own(app: PaperApp, clock: Clock) -> None:
    assert [Answer(app, "GET", "/customers", "k1").headers["x-left"] for _ in range(2)] == ["1", "0"]
    clock.now += 0.25
    refused = Answer(app, "GET", "/customers", "k1")
    assert (refused.status, refused.headers["retry-after"], refused.headers["x-left"]) == (429, "1", "0")
    assert Answer(app, "GET", "/customers", "k2").status == 200
    assert Answer(app, "POST", "/token").status == 200
    clock.now += 0.75
    assert Answer(app, "GET", "/customers", "k1").status == 200, "what was refused did not count"


def test_the_sandbox_s_limit_takes_the_place_of_the_vendor_s(state: State, clock: Clock) -> None:
    app = PaperApp(state, Limits(per_minute=3))
    assert [Answer(app, "GET", "/customers", "k1").status for _ in range(4)] == [200, 200, 200, 429]
    assert Answer(app, "GET", "/customers", "k1").headers["retry-after"] == "60"
    clock.now += 59
    assert Answer(app, "GET", "/customers", "k1").headers["retry-after"] == "1"


def test_every_call_is_counted(app: PaperApp, state: State) -> None:
    for method, path, key in (("GET", "/customers/c1", "k1"), ("GET", "/customers/c2", "k1"), ("PUT", "/y", "k1")):
        Answer(app, method, path, key)
    Answer(app, "GET", "/customers", "wrong")
    Answer(app, "POST", "/token")
    assert {tuple(row) for row in state.rows("SELECT * FROM request_log")} == {
        ("one", "paper", "GET", "/customers/{id}", 2),
        ("one", "paper", "PUT", "?", 1),
        ("", "paper", "GET", "/customers", 1),
        ("", "paper", "POST", "/token", 1),
    }


def test_a_token_is_good_for_its_kind_and_its_time(state: State) -> None:
    tokens = Tokens(state, "paper")
    good, late = tokens.issue("one", "access", 60), tokens.issue("one", "access", -1)
    assert tokens.org_of(good, "access") == "one"
    assert tokens.org_of(good, "refresh") is tokens.org_of(late, "access") is tokens.org_of("x", "access") is None
    assert Tokens(state, "stone").org_of(good, "access") is None
    tokens.revoke(good)
    assert tokens.org_of(good, "access") is None


def test_a_rotated_token_is_good_once_and_the_ready_file_has_the_newest(state: State) -> None:
    tokens = Tokens(state, "paper")
    first = tokens.issue("one", "refresh", 60)
    state.db.execute("INSERT INTO billing_login VALUES ('one', 'refresh_token', ?)", (first,))
    second = tokens.rotate(first, 60)
    assert second
    assert tokens.rotate(first, 60) is None
    assert PaperApp(state, Limits()).login("one") == {"key": "k1", "refresh_token": second}
    third = tokens.rotate(second, 60)
    assert third
    assert tokens.org_of(third, "refresh") == "one"


def test_systems_are_found_by_their_modules() -> None:
    folder = Path(frame.__file__).parent
    there = {file.stem for file in folder.glob("*.py") if "\nSTAND_IN = " in file.read_text(encoding="utf-8")}
    assert len(STAND_INS) == len(there) > 0
    assert list(STAND_INS) == sorted(STAND_INS)
    assert (*STAND_INS, "database", "file") == BILLINGS


@pytest.mark.parametrize("name", STAND_INS)
def test_credentials_are_new_each_time_and_ids_are_unique(name: str) -> None:
    stand_in = STAND_INS[name]
    one, other = stand_in.credentials(), stand_in.credentials()
    assert one.keys() == other.keys()
    assert not one or one != other
    assert len({stand_in.customer_id(number, 5) for number in range(20_000)}) == 20_000
