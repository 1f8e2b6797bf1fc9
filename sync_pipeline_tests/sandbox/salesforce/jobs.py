"""Query jobs as a client runs them."""

from __future__ import annotations

import csv
import io
import time
from typing import Any

import requests

from sync_pipeline_tests.sandbox.salesforce.conftest import Served


def wait(served: Served, job_id: str, kind: str = "query") -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        job: dict[str, Any] = served.http.get(served.data(f"jobs/{kind}/{job_id}")).json()
        if job["state"] in {"JobComplete", "Failed", "Aborted"}:
            return job
        time.sleep(0.01)
    raise TimeoutError(job)


def run_query(served: Served, soql: str, **more: Any) -> dict[str, Any]:
    created = served.http.post(served.data("jobs/query"), json={"operation": "query", "query": soql, **more})
    assert created.status_code == 200, created.text
    assert created.json()["state"] == "UploadComplete"
    assert created.json()["id"].startswith("750")
    return wait(served, created.json()["id"])


def read(served: Served, job: dict[str, Any], **parameters: Any) -> requests.Response:
    answer = served.http.get(served.data(f"jobs/query/{job['id']}/results"), params=parameters)
    assert answer.status_code == 200, answer.text
    return answer


def rows_of(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
