"""Downloads from a Salesforce that breaks in ways no well-behaved stand-in would."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sync_pipeline import http
from sync_pipeline.errors import ConfigurationError, ReconnectError, TransientError
from sync_pipeline.progress import watched
from sync_pipeline.salesforce import jobs
from sync_pipeline.salesforce.client import Client
from sync_pipeline.salesforce.logins.login import Token
from sync_pipeline.salesforce.reads import bulk
from sync_pipeline.salesforce.reads.pages import Result
from sync_pipeline.salesforce.session import SalesforceSession
from sync_pipeline_tests.salesforce.scripted import Reply, Request, Server, serving

EXPIRED = Reply(401, [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}])
PAGE_0, PAGE_1 = '"Id"\n"1"\n"2"\n', '"Id"\n"3"\n"4"\n'
Override = Callable[[Request], Reply | None]


COMPLETE = {"id": "750x", "state": "JobComplete"}


class Organization:
    """Serves one job with three pages of two records; `override` is asked first."""

    def __init__(self, override: Override = lambda request: None, pages: int = 3) -> None:
        self.override = override
        self.pages = tuple(f'"Id"\n"{2 * page + 1}"\n"{2 * page + 2}"\n' for page in range(pages))
        self.logins = 0
        self.server: Server

    def __call__(self, request: Request) -> Reply:
        if (reply := self.override(request)) is not None:
            return reply
        if request.method == "POST":
            return Reply(200, {"id": "750x", "state": "UploadComplete"})
        if "/results" not in request.path:
            return Reply(200, COMPLETE | {"numberRecordsProcessed": 2 * len(self.pages)})
        found = re.search(r"locator=(\d+)", request.path)
        index = int(found[1]) if found else 0
        following = str(index + 1) if index + 1 < len(self.pages) else "null"
        count = str(self.pages[index].count("\n") - 1)
        return Reply(200, self.pages[index], {"Sforce-NumberOfRecords": count, "Sforce-Locator": following})

    def log_in(self) -> Token:
        self.logins += 1
        return Token(f"token-{self.logins}", self.server.url)

    def download(self, folder: Path) -> Result:
        with serving(self) as self.server, SalesforceSession(self.log_in) as session:
            return bulk.download(Client(session, "66.0"), "SELECT Id FROM Account", folder)


def once(method: str, part: str, reply: Reply) -> Override:
    """The reply to the first request whose path matches."""
    left = [reply]
    return lambda request: left.pop() if left and request.method == method and re.search(part, request.path) else None


def always(method: str, part: str, reply: Reply) -> Override:
    return lambda request: reply if request.method == method and re.search(part, request.path) else None


def test_every_page_reaches_the_disk(tmp_path: Path) -> None:
    seen = []
    organization = Organization()
    with watched(lambda what, done, total: seen.append((done, total))):
        result = organization.download(tmp_path)
    assert [page.read_text() for page in result.pages] == list(organization.pages)
    assert (result.records, seen) == (6, [(2, 6), (4, 6), (6, 6)])
    assert sorted(tmp_path.iterdir()) == result.pages


def test_an_organization_without_records_has_no_pages(tmp_path: Path) -> None:
    organization = Organization(always("GET", "jobs/query/750x$", Reply(200, COMPLETE | {"numberRecordsProcessed": 0})))
    organization.pages = ('"Id"\n',)
    assert organization.download(tmp_path) == Result([], 0)


def test_a_job_that_counts_none_though_its_page_has_some_is_not_believed(tmp_path: Path) -> None:
    organization = Organization(always("GET", "jobs/query/750x$", Reply(200, COMPLETE | {"numberRecordsProcessed": 0})))
    with pytest.raises(TransientError, match="counted 0 records, its pages 2"):
        organization.download(tmp_path)


def test_a_page_that_breaks_off_is_asked_for_again_and_only_that(tmp_path: Path) -> None:
    cut = Reply(200, PAGE_1, {"Sforce-NumberOfRecords": "2", "Sforce-Locator": "2"}, missing_bytes=5)
    organization = Organization(once("GET", "locator=1", cut))
    result = organization.download(tmp_path)
    assert [page.read_text() for page in result.pages] == list(organization.pages)
    assert len(organization.server.asked("GET", "/results")) == 4
    assert len(organization.server.asked("POST")) == 1


def test_a_page_that_always_breaks_off_is_transient_and_leaves_no_page(tmp_path: Path) -> None:
    cut = Reply(200, PAGE_1, {"Sforce-NumberOfRecords": "2", "Sforce-Locator": "2"}, missing_bytes=5)
    with pytest.raises(TransientError):
        Organization(always("GET", "locator=1", cut)).download(tmp_path)
    assert not (tmp_path / "page-00001.csv").exists()


@pytest.mark.parametrize("status", [503, 420, 406, 500])
def test_a_busy_salesforce_with_an_empty_body_is_asked_again(status: int, tmp_path: Path) -> None:
    organization = Organization(once("GET", "locator=2", Reply(status)))
    assert organization.download(tmp_path).records == 6


def test_a_salesforce_that_stays_busy_is_transient(tmp_path: Path) -> None:
    organization = Organization(always("GET", "results", Reply(503)))
    with pytest.raises(TransientError, match="HTTP 503"):
        organization.download(tmp_path)
    assert len(organization.server.asked("GET", "results")) == http.RETRIES + 1


@pytest.mark.parametrize("part", ["jobs/query/750x$", "results", "locator=1", "locator=2"])
def test_a_session_that_expires_is_renewed_in_the_middle(part: str, tmp_path: Path) -> None:
    organization = Organization(once("GET", part, EXPIRED))
    assert organization.download(tmp_path).records == 6
    assert organization.logins == 2
    assert organization.server.requests[-1].headers["Authorization"] == "Bearer token-2"


def test_a_new_session_that_is_refused_too_asks_to_reconnect(tmp_path: Path) -> None:
    organization = Organization(always("GET", "locator=1", EXPIRED))
    with pytest.raises(ReconnectError, match="INVALID_SESSION_ID: Session expired or invalid"):
        organization.download(tmp_path)
    assert organization.logins == 2


def test_used_up_requests_are_transient(tmp_path: Path) -> None:
    used_up = Reply(403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}])
    with pytest.raises(TransientError, match="TotalRequests Limit exceeded"):
        Organization(always("GET", "locator=1", used_up)).download(tmp_path)


def test_a_missing_right_asks_to_reconnect(tmp_path: Path) -> None:
    refused = Reply(403, [{"errorCode": "FORBIDDEN", "message": "You don't have access to the Bulk API."}])
    with pytest.raises(ReconnectError, match="You don't have access"):
        Organization(always("POST", "jobs/query", refused)).download(tmp_path)


def test_a_refused_query_says_why(tmp_path: Path) -> None:
    refused = Reply(400, [{"errorCode": "INVALID_FIELD", "message": "No such column 'F' on entity 'Account'."}])
    organization = Organization(always("POST", "jobs/query", refused))
    with pytest.raises(ConfigurationError, match="No such column 'F'"):
        organization.download(tmp_path)
    assert len(organization.server.asked("POST")) == 1


@pytest.mark.parametrize(
    "gone",
    [
        Reply(404, [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]),
        Reply(400, [{"errorCode": "INVALID_QUERY_LOCATOR", "message": "invalid query locator"}]),
    ],
)
def test_a_job_or_locator_that_is_gone_starts_again_once(gone: Reply, tmp_path: Path) -> None:
    organization = Organization(once("GET", "locator=1", gone))
    assert organization.download(tmp_path).records == 6
    assert len(organization.server.asked("POST")) == 2
    with pytest.raises(TransientError, match="twice"):
        Organization(always("GET", "locator=1", gone)).download(tmp_path)


def test_pages_that_hold_fewer_records_than_counted_start_again_once(tmp_path: Path) -> None:
    short = Reply(200, '"Id"\n"1"\n', {"Sforce-NumberOfRecords": "1", "Sforce-Locator": "1"})
    assert Organization(once("GET", "results", short)).download(tmp_path).records == 6
    with pytest.raises(TransientError, match="counted 6 records, its pages 5"):
        Organization(always("GET", r"results\?maxRecords=\d+$", short)).download(tmp_path)


def test_a_page_without_its_headers_is_not_trusted(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="number of records"):
        Organization(always("GET", "results", Reply(200, PAGE_0))).download(tmp_path)


@pytest.mark.parametrize(
    ("state", "error"), [("Failed", ConfigurationError), ("Aborted", TransientError)], ids=["Failed", "Aborted"]
)
def test_a_job_that_ends_otherwise_says_why(state: str, error: type[Exception], tmp_path: Path) -> None:
    job = {"id": "750x", "state": state, "object": "Account", "errorMessage": "InvalidBatch : Field not found"}
    with pytest.raises(error, match=f"750x on Account as {state}: InvalidBatch : Field not found"):
        Organization(always("GET", "jobs/query/750x$", Reply(200, job))).download(tmp_path)


def test_a_job_that_takes_its_time_is_looked_at_less_and_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(jobs.time, "sleep", pauses.append)
    waiting = [Reply(200, {"id": "750x", "state": "InProgress"})] * 12
    job = always("GET", "jobs/query/750x$", waiting[0])
    organization = Organization(lambda request: waiting.pop() if waiting and job(request) else None)
    assert organization.download(tmp_path).records == 6
    assert pauses[0] < 0.1
    assert pauses == sorted(pauses)
    assert pauses[-1] == jobs.LONGEST_WAIT


def test_a_job_that_never_ends_is_aborted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "JOB_PATIENCE", 0)
    organization = Organization(always("GET", "jobs/query/750x$", Reply(200, {"id": "750x", "state": "InProgress"})))
    with pytest.raises(TransientError, match="it was aborted"):
        organization.download(tmp_path)
    assert organization.server.asked("PATCH")[0].body == b'{"state": "Aborted"}'
