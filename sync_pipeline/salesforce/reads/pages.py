"""Result pages of a Bulk API 2.0 query on their way to disk: five at a time where Salesforce names them, else in turn.

Source: Bulk API 2.0 Developer Guide, "Get Results for a Query Job" and "Get Parallel Results for a Query Job". Locators
are stable while the job exists, so a page whose download breaks is asked for again, and only that page.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests

from sync_pipeline import http
from sync_pipeline.errors import TransientError
from sync_pipeline.progress import report
from sync_pipeline.salesforce.client import Client
from sync_pipeline.salesforce.session import ApiRefusal, understood

log = logging.getLogger(__name__)

PAGE_RECORDS = 50_000
"""Records a page: some megabytes, so that a broken download repeats little and DuckDB reads a page in one piece. Where
Salesforce names the pages itself, it chooses their size."""

PAGES_AT_ONCE = 5
"""As many as Salesforce names in one answer."""

CHUNK = 1 << 18
"""Bytes written at once. Every download holds a few such pieces."""


@dataclass(frozen=True, slots=True)
class Result:
    """A complete result: CSV pages in order, each with the header, and how many records they hold together."""

    pages: list[Path]
    records: int


def result_pages(client: Client, job: str, folder: Path, what: str, expected: int) -> Result:
    """Download every page of a finished job; only complete pages carry their final name.

    Args:
        client: a connected client.
        job: the job's path below the version, e.g. `/jobs/query/750...`.
        folder: an existing folder for the pages.
        what: named in progress reports.
        expected: how many records the job counted; a single page of them is not worth a list of pages. Where it
            counted none, the page that says so is read all the same: an empty table must not rest on one number.

    Raises:
        ApiRefusal: the job or a locator is gone.
        TransientError: Salesforce is away.
    """
    listed = _listed(client, f"{client.data_url}{job}/resultPages") if expected > PAGE_RECORDS else None
    if listed is None:
        return _in_turn(client, f"{client.data_url}{job}/results", folder, what, expected)
    return _at_once(client, listed, folder, what, expected)


def _in_turn(client: Client, url: str, folder: Path, what: str, expected: int) -> Result:
    pages: list[Path] = []
    records, locator = 0, ""
    while locator != "null" and records <= expected:  # a locator that leads back to itself would never end
        page = folder / f"page-{len(pages):05d}.csv"
        params = {"maxRecords": str(PAGE_RECORDS)} | ({"locator": locator} if locator else {})
        count, locator = _page(client, url, params, page)
        pages.append(page)
        records += count
        report(what, records, expected)
    return Result(pages, records)


def _at_once(client: Client, listed: _Listed, folder: Path, what: str, expected: int) -> Result:
    """Keep `PAGES_AT_ONCE` downloads going; the next list of pages is asked for before the last one is through."""
    pages: list[Path] = []
    records, waiting = 0, set[Future[tuple[int, str]]]()
    with ThreadPoolExecutor(PAGES_AT_ONCE, thread_name_prefix="salesforce-page") as pool:
        try:
            for url in _urls(client, listed):
                pages.append(folder / f"page-{len(pages):05d}.csv")
                waiting.add(pool.submit(_page, client, url, {}, pages[-1]))
                # One more than there are threads: whoever is free finds its next page at once.
                while len(waiting) > PAGES_AT_ONCE:
                    count, waiting = _ended(waiting)
                    records += count
                    report(what, records, expected)
            while waiting:
                count, waiting = _ended(waiting)
                records += count
                report(what, records, expected)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Result(pages, records)


def _ended(waiting: set[Future[tuple[int, str]]]) -> tuple[int, set[Future[tuple[int, str]]]]:
    """Wait for a download to end; how many records came, and the downloads still under way."""
    done, rest = wait(waiting, return_when=FIRST_COMPLETED)
    return sum(future.result()[0] for future in done), rest


@dataclass(frozen=True, slots=True)
class _Listed:
    """Addresses of up to five pages, and of the next list; None where this is the last one."""

    urls: list[str]
    following: str | None


def _urls(client: Client, listed: _Listed) -> Iterator[str]:
    while True:
        yield from listed.urls
        if listed.following is None:
            return
        following = _listed(client, listed.following)
        if following is None:
            raise TransientError(
                "Salesforce named some pages of a Bulk result, but not the others.", next_step="Sync again."
            )
        listed = following


def _listed(client: Client, url: str) -> _Listed | None:
    """The pages that one answer names; None where the organization does not offer the list."""
    with http.translated("Salesforce"):
        try:
            answer = client.session.get(url).json()
        except ApiRefusal as refusal:
            log.info("Salesforce names no result pages (%s); reading them in turn", refusal.code)
            return None
    with understood("the pages of a Bulk result"):
        # The guide's table says nextRecordUrl, its example nextRecordsUrl; one client reports chunks with links.
        named = answer.get("resultPages") or answer.get("resultChunks") or []
        urls = [str(page.get("resultUrl") or page["resultLink"]) for page in named]
        following = None if answer.get("done") is True else answer.get("nextRecordsUrl") or answer.get("nextRecordUrl")
    if not urls:
        return None
    return _Listed([_whole(client, page) for page in urls], _whole(client, following) if following else None)


def _whole(client: Client, link: str) -> str:
    """A link as an address: it is whole, or begins at the instance (/services/data/...), or at the version (jobs/...)."""
    if link.startswith("services/"):
        link = f"/{link}"
    return urljoin(f"{client.data_url}/", link)


def _page(client: Client, url: str, params: dict[str, str], page: Path) -> tuple[int, str]:
    """Download one page, again where it breaks off. Returns its number of records and the locator of the next page."""
    with http.translated("Salesforce"):
        for retry in range(http.RETRIES + 1):
            try:
                return _stream(client, url, params, page)
            except http.BROKEN_CONNECTION as error:
                # While the body was read; until then, the session tries again itself.
                if retry == http.RETRIES:
                    raise
                log.info("Salesforce: %s broke off (%s); asking for it again", page.name, type(error).__name__)
            time.sleep(http.backoff(retry))
    raise AssertionError("the last try returns or raises")


def _stream(client: Client, url: str, params: dict[str, str], page: Path) -> tuple[int, str]:
    part = page.with_suffix(".part")
    headers = {"Accept": "text/csv"}
    with client.session.get(url, params=params, headers=headers, stream=True) as response, part.open("wb") as file:
        for chunk in response.iter_content(CHUNK):  # raises where the body is shorter than announced
            file.write(chunk)
        count, locator = _announced(response)
    os.replace(part, page)
    return count, locator


def _announced(response: requests.Response) -> tuple[int, str]:
    headers: Any = response.headers
    try:
        return int(headers["Sforce-NumberOfRecords"]), headers["Sforce-Locator"] or "null"
    except (KeyError, ValueError):
        raise TransientError(
            "Salesforce answered a page of a Bulk result without its number of records or the next locator.",
            next_step="Sync again later; a proxy that drops headers would do this always.",
        ) from None
