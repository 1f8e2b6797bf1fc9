import email.utils
import time

import pytest
import requests

from sync_pipeline import http
from sync_pipeline.errors import ConfigurationError, TransientError
from sync_pipeline.http import ApiSession, RateLimit, is_loopback, refuse_plain_http, translated
from sync_pipeline_tests.salesforce.scripted import Reply, in_turn, serving


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BACKOFF_SECONDS", 0.001)


@pytest.mark.parametrize("status", sorted(http.RETRIED_STATUSES))
def test_a_busy_server_is_asked_again(status: int) -> None:
    with serving(in_turn(Reply(status), Reply(status), Reply(200, "here"))) as server, ApiSession() as session:
        assert session.get(server.url).text == "here"
        assert len(server.requests) == 3


def test_after_the_last_try_the_answer_is_the_callers() -> None:
    with serving(in_turn(Reply(503))) as server, ApiSession(retries=2) as session:
        assert session.get(server.url).status_code == 503
        assert len(server.requests) == 3


def test_a_post_is_sent_once_unless_the_caller_knows_better() -> None:
    with serving(in_turn(Reply(503), Reply(200))) as server:
        with ApiSession() as session:
            assert session.post(server.url).status_code == 503
        with ApiSession(retry_methods=frozenset({"POST"})) as session:
            assert session.post(server.url).status_code == 200


def test_a_post_that_was_put_off_is_sent_again() -> None:
    with serving(in_turn(Reply(429, headers={"Retry-After": "0"}), Reply(200))) as server, ApiSession() as session:
        assert session.post(server.url).status_code == 200


def test_a_body_that_breaks_off_is_asked_for_again() -> None:
    with (
        serving(in_turn(Reply(200, "0123456789", missing_bytes=4), Reply(200, "whole"))) as server,
        ApiSession() as session,
    ):
        assert session.get(server.url).text == "whole"


def test_a_body_that_always_breaks_off_is_an_error() -> None:
    with serving(in_turn(Reply(200, "0123456789", missing_bytes=4))) as server, ApiSession(retries=1) as session:
        with pytest.raises(TransientError, match=r"Upflow: 127\.0\.0\.1:\d+ can't be reached"), translated("Upflow"):
            session.get(server.url)
        assert len(server.requests) == 2


def test_a_host_that_is_not_there_is_asked_again_whatever_the_method(caplog: pytest.LogCaptureFixture) -> None:
    with serving(in_turn(Reply())) as server:
        url = server.url
    caplog.set_level("INFO", "sync_pipeline.http")
    with ApiSession(retries=2) as session, pytest.raises(TransientError), translated("Salesforce"):
        session.post(url)
    assert len([record for record in caplog.records if "trying again" in record.message]) == 2


def test_retry_after_is_honoured_as_number_and_as_date() -> None:
    soon = email.utils.formatdate(time.time() + 2, usegmt=True)
    for value, expected in (("1", 1.0), (soon, 1.0), ("", 0.0), ("whenever", 0.0), ("-5", 0.0)):
        response = requests.Response()
        response.headers["Retry-After"] = value
        assert expected <= http.retry_after(response) <= expected + 1.1


def test_nobody_sleeps_for_an_hour() -> None:
    with serving(in_turn(Reply(503, headers={"Retry-After": "3600"}))) as server, ApiSession() as session:
        assert session.get(server.url).status_code == 503
        assert len(server.requests) == 1


def test_every_try_passes_the_rate_limit() -> None:
    limit = RateLimit(per_minute=60 / 0.05)
    with serving(in_turn(Reply(503), Reply(503), Reply(200))) as server, ApiSession(limit=limit) as session:
        started = time.monotonic()
        session.get(server.url)
    assert time.monotonic() - started >= 0.1


def test_who_woke_up_late_is_not_followed_too_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    limit, sleep, late = RateLimit(per_minute=60 / 0.05), time.sleep, iter([0.0, 0.04, 0.0])
    monkeypatch.setattr(http.time, "sleep", lambda seconds: sleep(seconds + next(late)))
    left = [limit.wait() or time.monotonic() for _ in range(3)]
    assert min(left[1] - left[0], left[2] - left[1]) >= 0.05


def test_redirects_are_not_followed() -> None:
    elsewhere = Reply(302, headers={"Location": "https://evil.example.com/"})
    refused = pytest.raises(ConfigurationError, match=r"redirects to evil\.example\.com, which is not followed")
    with serving(in_turn(elsewhere)) as server, ApiSession() as session, refused:
        session.get(server.url, headers={"X-Api-Key": "secret"})


def test_what_is_not_json_is_not_the_readers_fault() -> None:
    refused = pytest.raises(TransientError, match="not JSON")
    with serving(in_turn(Reply(200, "<html>"))) as server, ApiSession() as session, refused, translated("Stripe"):
        session.get(server.url).json()


@pytest.mark.parametrize(
    "url", ["http://example.com/", "http://127.0.0.1.example.com/", "ftp://example.com", "http://"]
)
def test_plain_http_is_refused_beyond_loopback(url: str) -> None:
    with pytest.raises(ConfigurationError, match="unencrypted"):
        refuse_plain_http(url)
    with pytest.raises(ConfigurationError), ApiSession() as session:
        session.get(url)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *(("localhost", True), ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True)),
        *(("localhost.example.com", False), ("10.0.0.1", False), ("", False), ("0.0.0.0", False)),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_an_address_that_is_none_is_the_configurations_fault() -> None:
    with ApiSession() as session, pytest.raises(ConfigurationError, match="An address"):
        session.get("https://[broken/")
