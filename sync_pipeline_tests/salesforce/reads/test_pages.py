"""Pages that Salesforce names, five at a time, in the ways it and others spell their addresses."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sync_pipeline.errors import ConfigurationError, TransientError
from sync_pipeline.salesforce.reads import pages
from sync_pipeline_tests.salesforce.reads.test_bulk import Organization
from sync_pipeline_tests.salesforce.scripted import Reply, Request

JOB = "/services/data/v66.0/jobs/query/750x"


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_RECORDS", 2)


class Named(Organization):
    """An organization that names its pages, as `spelled` says."""

    def __init__(self, count: int, spelled: Callable[[int, int, bool], dict[str, Any]]) -> None:
        super().__init__(self._named, pages=count)
        self._spelled = spelled
        self.lock, self.now, self.most = threading.Lock(), 0, 0
        self.together = threading.Barrier(min(count, pages.PAGES_AT_ONCE))

    def _named(self, request: Request) -> Reply | None:
        if "resultPages" not in request.path:
            return self._waiting(request) if "/results" in request.path else None
        found = re.search(r"from=(\d+)", request.path)
        first = int(found[1]) if found else 0
        following = min(first + pages.PAGES_AT_ONCE, len(self.pages))
        return Reply(200, self._spelled(first, following, following == len(self.pages)))

    def _waiting(self, request: Request) -> None:
        """The first five downloads wait for each other: one after the other would wait for ever."""
        found = re.search(r"locator=(\d+)", request.path)
        if found and int(found[1]) < self.together.parties:
            self.together.wait(20)


def as_documented(first: int, following: int, done: bool) -> dict[str, Any]:
    return {
        "resultPages": [{"resultUrl": f"{JOB}/results?locator={page}"} for page in range(first, following)],
        "nextRecordsUrl": None if done else f"{JOB}/resultPages?from={following}",
        "done": done,
    }


def other_name(first: int, following: int, done: bool) -> dict[str, Any]:
    answer = as_documented(first, following, done)
    return {**answer, "nextRecordUrl": answer.pop("nextRecordsUrl")}


def as_chunks(first: int, following: int, done: bool) -> dict[str, Any]:
    return {
        "resultChunks": [{"resultLink": f"jobs/query/750x/results?locator={page}"} for page in range(first, following)],
        "nextRecordsUrl": None if done else f"jobs/query/750x/resultPages?from={following}",
        "done": done,
    }


@pytest.mark.parametrize("spelled", [as_documented, other_name, as_chunks])
@pytest.mark.parametrize("count", [2, 5, 6, 13])
def test_named_pages_come_five_at_once(spelled: Any, count: int, tmp_path: Path) -> None:
    organization = Named(count, spelled)
    result = organization.download(tmp_path)
    assert [page.read_text() for page in result.pages] == list(organization.pages)
    assert result.records == 2 * count
    assert sorted(tmp_path.iterdir()) == result.pages
    assert len(organization.server.asked("GET", "resultPages")) == -(-count // 5)


@pytest.mark.parametrize(
    "reply", [Reply(404, [{"errorCode": "NOT_FOUND", "message": "none"}]), Reply(200, {"done": True})]
)
def test_where_no_pages_are_named_they_are_read_in_turn(reply: Reply, tmp_path: Path) -> None:
    organization = Organization(lambda request: reply if "resultPages" in request.path else None)
    assert [page.read_text() for page in organization.download(tmp_path).pages] == list(organization.pages)


def test_a_list_that_goes_away_in_the_middle_is_told(tmp_path: Path) -> None:
    def spelled(first: int, following: int, done: bool) -> dict[str, Any]:
        return {"done": True} if first else as_documented(first, following, done)

    with pytest.raises(TransientError, match="named some pages"):
        Named(7, spelled).download(tmp_path)


def test_pages_elsewhere_are_not_asked_for(tmp_path: Path) -> None:
    def spelled(first: int, following: int, done: bool) -> dict[str, Any]:
        return {"resultPages": [{"resultUrl": "https://elsewhere.example/results?locator=0"}], "done": True}

    with pytest.raises(ConfigurationError, match=r"names elsewhere\.example as the next address"):
        Named(2, spelled).download(tmp_path)


def test_one_page_that_fails_ends_all(tmp_path: Path) -> None:
    organization = Named(13, as_documented)
    named = organization.override
    organization.override = lambda request: Reply(200, "no headers") if "locator=7" in request.path else named(request)
    with pytest.raises(TransientError, match="without its number of records"):
        organization.download(tmp_path)
    assert not (tmp_path / "page-00007.csv").exists()


def test_a_locator_that_leads_back_to_itself_does_not_go_on_for_ever(tmp_path: Path) -> None:
    again = Reply(200, '"Id"\n"1"\n"2"\n', {"Sforce-NumberOfRecords": "2", "Sforce-Locator": "1"})
    none = Reply(404, [{"errorCode": "NOT_FOUND", "message": "none"}])

    def circle(request: Request) -> Reply | None:
        return none if "resultPages" in request.path else again if "/results" in request.path else None

    with pytest.raises(TransientError, match="counted 6 records, its pages 8"):
        Organization(circle).download(tmp_path)
