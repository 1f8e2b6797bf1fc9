"""Several requests at once, one customer at a time: jobs go to a few threads, and their results come back as they are
done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import duckdb

from sync_pipeline.errors import Refusal, TransientError
from sync_pipeline.receivables.platform import Answer, Recorder, take_answers
from sync_pipeline.receivables.upflow.client import PARALLEL
from sync_pipeline.warehouse.load import transaction

T = TypeVar("T")

GIVE_UP_AFTER = 10
"""Server failures in a row, each after all its retries, that mean the platform is down and not one row bad."""


def in_parallel(jobs: Iterable[Callable[[], T]]) -> Iterator[list[T]]:
    """Results of the jobs, in the order they are done, several at a time.

    No more jobs are out than there are threads: while the caller records results, at most those can finish
    unrecorded. After a failure nothing new is started, what is under way is waited for and yielded, and then the
    first failure is raised.
    """
    waiting = iter(jobs)
    running: set[Future[T]] = set()
    failure: Exception | None = None
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="upflow") as pool:
        try:
            while True:
                while failure is None and len(running) < PARALLEL and (job := next(waiting, None)):
                    running.add(pool.submit(job))
                if not running:
                    break
                done, running = wait(running, return_when=FIRST_COMPLETED)
                results = []
                for future in done:
                    error = future.exception()
                    if error is None:
                        results.append(future.result())
                    elif isinstance(error, Exception):
                        failure = failure or error
                    else:
                        raise error
                if results:
                    yield results
        finally:
            for future in running:
                future.cancel()
    if failure:
        raise failure


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
