from __future__ import annotations

import gzip
import threading
from pathlib import Path

import pytest

from sync_pipeline.errors import ConfigurationError, DataError, ReconnectError, TransientError
from sync_pipeline.salesforce import record_url
from sync_pipeline.salesforce.client import Client
from sync_pipeline.salesforce.logins.login import Token
from sync_pipeline.salesforce.session import ApiRefusal, SalesforceSession
from sync_pipeline_tests.salesforce.scripted import Answer, Reply, Request, in_turn, serving


def ask(answer: Answer, path: str = "/services/data/v66.0/limits") -> list[Request]:
    with serving(answer) as server, SalesforceSession(lambda: Token("token", server.url)) as session:
        try:
            session.get(server.url + path)
        finally:
            asked = server.requests
        return asked


def test_queries_follow_their_pages() -> None:
    first = {"done": False, "nextRecordsUrl": "/services/data/v66.0/query/0r8x-2", "records": [{"Id": "1"}]}
    second = {"done": True, "records": [{"attributes": {"type": "User"}, "Id": "2"}]}
    with serving(in_turn(Reply(200, first), Reply(200, second))) as server:
        client = Client(SalesforceSession(lambda: Token("token", server.url)), "66.0")
        assert list(client.query("SELECT Id FROM User")) == [{"Id": "1"}, {"Id": "2"}]
    assert [request.path for request in server.requests] == [
        "/services/data/v66.0/query/?q=SELECT+Id+FROM+User",
        "/services/data/v66.0/query/0r8x-2",
    ]
    assert {request.headers["Authorization"] for request in server.requests} == {"Bearer token"}
    assert {request.headers["Accept-Encoding"] for request in server.requests} == {"identity"}


@pytest.mark.parametrize("following", ["@evil.example.com/x", ".evil.example.com/x", ":1/x"])
def test_a_next_page_elsewhere_is_not_followed(following: str) -> None:
    page = {"done": False, "nextRecordsUrl": following, "records": []}
    with serving(in_turn(Reply(200, page))) as server:
        client = Client(SalesforceSession(lambda: Token("token", server.url)), "66.0")
        with pytest.raises(ConfigurationError):
            list(client.query("SELECT Id FROM User"))
    assert len(server.requests) == 1


def test_describe_is_asked_for_once() -> None:
    with serving(in_turn(Reply(200, {"fields": []}))) as server:
        client = Client(SalesforceSession(lambda: Token("token", server.url)), "66.0")
        assert client.describe("Account") == client.describe("Account") == {"fields": []}
    assert len(server.requests) == 1


def test_an_object_the_user_may_not_see_asks_for_the_right() -> None:
    gone = Reply(404, [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}])
    with serving(in_turn(gone)) as server:
        client = Client(SalesforceSession(lambda: Token("token", server.url)), "66.0")
        with pytest.raises(ReconnectError, match="Give the user read access to Contact"):
            client.describe("Contact")


def test_no_organization_is_an_error_not_a_crash() -> None:
    with serving(in_turn(Reply(200, {"done": True, "records": []}))) as server:
        client = Client(SalesforceSession(lambda: Token("token", server.url)), "66.0")
        with pytest.raises(DataError, match="no organization"):
            client.organization()


@pytest.mark.parametrize(
    ("reply", "error", "text"),
    [
        (Reply(300, [{"errorCode": "X", "message": "several"}]), ApiRefusal, "X: several"),
        (Reply(400, [{"errorCode": "MALFORMED_QUERY", "message": "unexpected token"}]), ApiRefusal, "unexpected token"),
        (Reply(400, "<html>"), ApiRefusal, "HTTP 400: Bad Request"),
        (Reply(400, [{"errorCode": "QUERY_TIMEOUT", "message": "too long"}]), TransientError, "too long"),
        (Reply(400, ["?"]), ApiRefusal, "HTTP 400"),
        (Reply(410, [{"errorCode": "UNSUPPORTED_API_VERSION", "message": "gone"}]), ApiRefusal, "api_version"),
        (Reply(403, ""), ReconnectError, "HTTP 403"),
        (Reply(302, headers={"Location": "https://evil.example.com"}), ConfigurationError, "not followed"),
    ],
)
def test_errors_by_consequence(reply: Reply, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ask(in_turn(reply))


def test_what_is_not_json_is_transient() -> None:
    with serving(in_turn(Reply(200, "<html>maintenance"))) as server:
        client = Client(SalesforceSession(lambda: Token("token", server.url)), "66.0")
        with pytest.raises(TransientError, match="not JSON"):
            client.call("GET", "/limits")


def test_of_many_threads_with_an_expired_session_one_logs_in() -> None:
    expired = Reply(401, [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}])
    logins: list[Token] = []
    barrier = threading.Barrier(5)

    def log_in() -> Token:
        logins.append(Token(f"token-{len(logins) + 1}", server.url))
        return logins[-1]

    def answer(request: Request) -> Reply:
        if request.headers["Authorization"] == "Bearer token-1":
            barrier.wait(5)
            return expired
        return Reply(200, {})

    with serving(answer) as server, SalesforceSession(log_in) as session:
        threads = [threading.Thread(target=session.get, args=(server.url,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(logins) == 2


def test_an_organization_that_moved_is_not_followed_in_the_middle() -> None:
    expired = Reply(401, [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}])
    with serving(in_turn(expired)) as server:
        addresses = iter([server.url, "http://127.0.0.1:2"])
        with (
            SalesforceSession(lambda: Token("token", next(addresses))) as session,
            pytest.raises(TransientError, match="moved"),
        ):
            session.get(server.url)


def test_compressed_answers_are_read(tmp_path: Path) -> None:
    body = gzip.compress(b'{"DailyApiRequests": {"Max": 1}}')
    with serving(in_turn(Reply(200, body, {"Content-Encoding": "gzip"}))) as server:
        client = Client(SalesforceSession(lambda: Token("token", server.url)), "66.0")
        assert client.call("GET", "/limits") == {"DailyApiRequests": {"Max": 1}}


@pytest.mark.parametrize(
    ("instance", "page"),
    [
        ("https://acme.my.salesforce.com", "https://acme.lightning.force.com/lightning/r/Account/001A/view"),
        (
            "https://acme--uat.sandbox.my.salesforce.com",
            "https://acme--uat.sandbox.lightning.force.com/lightning/r/Account/001A/view",
        ),
        ("https://127.0.0.1:8443", "https://127.0.0.1:8443/lightning/r/Account/001A/view"),
    ],
)
def test_record_pages(instance: str, page: str) -> None:
    assert record_url(instance, "Account", "001A") == page
