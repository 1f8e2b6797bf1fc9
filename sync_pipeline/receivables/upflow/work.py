"""Several requests at once, one customer at a time: jobs go to a few threads, and their results come back as they are
done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import duckdb

from sync_pipeline.errors import Refusal, TransientError
from sync_pipeline.receivables.platform import Answer, Recorder, take_answers
from sync_pipeline.receivables.upflow.client import PARALLEL
from sync_pipeline.warehouse.load import transaction

T = TypeVar("T")

GATHER_SECONDS = 0.1
GATHER_MOST = 20
"""A batch of answers is recorded after so many seconds or answers. What a kill leaves unrecorded is found again on the
platform; only a portal link has to be asked for once more."""
GIVE_UP_AFTER = 10
"""Server failures in a row, each after all its retries, that mean the platform is down and not one row bad."""


def in_parallel(jobs: Iterable[Callable[[], T]]) -> Iterator[list[T]]:
    """Results of the jobs, in the order they are done, a few at a time.

    A batch is handed over after `GATHER_SECONDS` or `GATHER_MOST` results, whichever comes first: a kill leaves no more
    than that unrecorded, and what the caller does with a batch does not cost a transaction per answer. After a failure
    nothing new is started, what is under way is waited for and handed over, and then the first failure is raised.
    """
    waiting = iter(jobs)
    running: set[Future[T]] = set()
    gathered: list[T] = []
    due = 0.0
    failure: Exception | None = None
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="upflow") as pool:
        try:
            while True:
                while failure is None and len(running) < PARALLEL and (job := next(waiting, None)):
                    running.add(pool.submit(job))
                if not running:
                    break
                patience = max(0.0, due - time.monotonic()) if gathered else None
                done, running = wait(running, patience, return_when=FIRST_COMPLETED)
                if done and not gathered:
                    due = time.monotonic() + GATHER_SECONDS
                results, failed = _outcome(done)
                gathered += results
                failure = failure or failed
                if gathered and (len(gathered) >= GATHER_MOST or time.monotonic() >= due):
                    yield gathered
                    gathered = []
        finally:
            for future in running:
                future.cancel()
    if gathered:
        yield gathered
    if failure:
        raise failure


def _outcome(done: Iterable[Future[T]]) -> tuple[list[T], Exception | None]:
    """Results of finished jobs, and the first failure among them."""
    results: list[T] = []
    failure: Exception | None = None
    for future in done:
        try:
            results.append(future.result())
        except Exception as error:
            failure = failure or error
    return results, failure


class Patience:
    """Counts server failures in a row, so that a platform that is down ends the sync instead of refusing every row."""

    def __init__(self) -> None:
        self._failures = 0

    def see(self, answers: Iterable[Answer]) -> None:
        """Take note of answers that have been recorded.

        Raises:
            TransientError: so many in a row were server failures that the platform must be down.
        """
        for answer in answers:
            down = answer.status in ("refused", "unsettled") and (answer.code or "").startswith("5")
            self._failures = self._failures + 1 if down else 0
        if self._failures >= GIVE_UP_AFTER:
            raise TransientError(
                f"Upflow failed {self._failures} times in a row (last: HTTP 5xx).", next_step="Try again later."
            )


def recorded(
    con: duckdb.DuckDBPyConnection,
    jobs: Iterable[Callable[[], list[Answer]]],
    record: Recorder,
    patience: Patience | None = None,
) -> Iterator[list[Answer]]:
    """Run jobs side by side and record their answers as they come; yields them afterwards.

    Raises:
        ReconnectError, TransientError: the login was refused, or Upflow is away. What was answered until then is
        recorded.
    """
    patience = patience or Patience()
    for results in in_parallel(jobs):
        answers = [answer for result in results for answer in result]
        with transaction(con):
            take_answers(con, answers)
            record()
        yield answers
        patience.see(answers)


def refused(customer_id: str, refusal: Refusal, **key: Any) -> Answer:
    """The answer to a row that Upflow refused."""
    return Answer(customer_id, "refused", code=refusal.code, reason=refusal.message, **key)
