"""What the benchmarks share: a sandbox to read from, each way in a process of its own, and a table of medians and ratios.

The ways take turns, so that a slow moment of the machine hits all of them; the figures are medians, the ratios are the
result. Peak memory is that of the measured process alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

FIELDS = ["Id", "Name", "Company_Number__c", "OwnerId", "Portal_Link__c", "CreatedDate", "SystemModstamp"]
SOQL = f"SELECT {', '.join(FIELDS)} FROM Account"
PAGE_RECORDS = 50_000

CONFIG = """
name: bench
salesforce:
  domain: {url}
  ca_file: {ca_file}
  login: {{method: client_credentials, client_id: {client_id}, client_secret: {{env: BENCH_CLIENT_SECRET}}}}
billing: {{system: file, path: {customers}, columns: {{}}}}
identifier: {{billing_field: company_number, salesforce_field: Company_Number__c}}
receivables: {{platform: warehouse, portal_link_template: "https://portal.example.com/{{customer_id}}"}}
export: {{portal_link: {{salesforce_field: Portal_Link__c}}}}
"""

Figures = dict[str, float]


class Bench:
    """What a way works with: a sandbox and an empty folder.

    Args:
        ready: ready file of the sandbox.
        work: folder of this way alone.
    """

    def __init__(self, ready: Path, work: Path) -> None:
        self.sandbox: dict[str, Any] = json.loads(ready.read_text())
        self.work = work
        self.salesforce: dict[str, str] = self.sandbox["organizations"]["file"]["salesforce"]
        self.customers = str(self.sandbox["organizations"]["file"]["billing"]["path"])
        self.figures: Figures = {}
        self.began = time.perf_counter()

    def begin(self) -> None:
        """The clock starts now: everything is imported and connected."""
        self.began = time.perf_counter()

    def organization(self) -> Any:
        """The organization of this project that syncs the sandbox."""
        from sync_pipeline.orgs import load_organizations

        os.environ["BENCH_CLIENT_SECRET"] = self.salesforce["client_secret"]
        config = self.work / "config"
        config.mkdir(exist_ok=True)
        text = CONFIG.format(
            url=self.salesforce["url"],
            ca_file=self.sandbox["ca_file"],
            client_id=self.salesforce["client_id"],
            customers=self.customers,
        )
        (config / "bench.yaml").write_text(text)
        return load_organizations(config).organizations["bench"]

    def session(self) -> Any:
        """A requests session that trusts the sandbox; what a script of one's own would use."""
        import requests

        session = requests.Session()
        session.verify = self.sandbox["ca_file"]
        session.trust_env = False
        return session

    def connected(self) -> Any:
        """The same, logged in, without compression: on one machine that costs more than it saves."""
        session = self.session()
        session.headers["Authorization"] = f"Bearer {self.token()}"
        session.headers["Accept-Encoding"] = "identity"
        return session

    def token(self) -> str:
        """An access token for ways that do not log in through this project."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.salesforce["client_id"],
            "client_secret": self.salesforce["client_secret"],
        }
        answer = self.session().post(f"{self.salesforce['url']}/services/oauth2/token", data=form, timeout=60)
        return str(answer.json()["access_token"])

    def faults(self, *rules: dict[str, Any]) -> None:
        """What goes wrong at the sandbox's Salesforce from now on; nothing, where no rule is given."""
        address = f"{self.salesforce['url']}/sandbox/faults"
        self.session().delete(address, timeout=60)
        if rules:
            self.session().post(address, json=list(rules), timeout=60).raise_for_status()


def bulk_pages(bench: Bench, session: Any) -> Iterator[Path]:
    """The floor's way to the pages: one after the other, straight to disk, nothing checked."""
    jobs = f"{bench.salesforce['url']}/services/data/v66.0/jobs/query"
    job = session.post(jobs, json={"operation": "query", "query": SOQL}, timeout=60).json()["id"]
    while session.get(f"{jobs}/{job}", timeout=60).json()["state"] != "JobComplete":
        time.sleep(0.05)
    locator, number = "", 0
    while locator != "null":
        params = {"maxRecords": str(PAGE_RECORDS)} | ({"locator": locator} if locator else {})
        page = bench.work / f"{number:05}.csv"
        with session.get(f"{jobs}/{job}/results", params=params, stream=True, timeout=60) as answer:
            with page.open("wb") as file:
                for chunk in answer.iter_content(1 << 20):
                    file.write(chunk)
            locator, number = answer.headers["Sforce-Locator"], number + 1
        yield page


def floor_accounts(bench: Bench, con: Any, session: Any) -> None:
    """The floor's table of accounts: one `read_csv` with explicit columns."""
    files = ", ".join(f"'{page}'" for page in bulk_pages(bench, session))
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in FIELDS)
    con.execute(
        f"CREATE TABLE accounts AS SELECT * FROM read_csv([{files}], auto_detect=false, header=true, "
        f"columns={{{columns}}}, quote='\"', escape='\"')"
    )


def _measured(way: Callable[[Bench], int], ready: Path) -> None:
    """In a process of its own: run one way in an empty folder, print what it took as JSON."""
    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        bench = Bench(ready, Path(folder))
        rows = way(bench)
        seconds = time.perf_counter() - bench.began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "megabytes": _peak_megabytes()}
    print(json.dumps({**figures, "rows": rows, **bench.figures}))


def _peak_megabytes() -> float:
    """Of this process alone: ru_maxrss begins with what the process had that started it."""
    with suppress(OSError):
        return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_one(ways: dict[str, Callable[[Bench], int]]) -> None:
    """Of one module, measure one way once and print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--way", choices=sorted(ways), required=True)
    parser.add_argument("--ready", type=Path, required=True, help="ready file of a sandbox that serves")
    arguments = parser.parse_args()
    _measured(ways[arguments.way], arguments.ready)


def run(module: str, way: str, ready: Path, environment: Mapping[str, str] | None = None) -> Figures:
    """Measure one way of a module once; with more variables in its environment, if any are given."""
    command = [sys.executable, "-m", module, "--way", way, "--ready", str(ready)]
    variables = {**os.environ, **(environment or {})}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    if answer.returncode:
        sys.exit(f"{way} failed:\n{answer.stderr}")
    return dict(json.loads(answer.stdout.splitlines()[-1]))


def rounds(module: str, ways: Sequence[str], ready: Path, count: int) -> dict[str, list[Figures]]:
    """Measure the ways in turn, `count` times each."""
    figures: dict[str, list[Figures]] = {way: [] for way in ways}
    for _ in range(count):
        for way in ways:
            figures[way].append(run(module, way, ready))
    return figures


def median(figures: list[Figures], key: str) -> float:
    """The median of one figure."""
    return statistics.median(one[key] for one in figures)


def ratio(one: list[Figures], other: list[Figures], key: str = "seconds") -> float:
    """The median of the ratios round by round."""
    return statistics.median(a[key] / b[key] for a, b in zip(one, other, strict=True))


def print_table(figures: dict[str, list[Figures]], beside: Sequence[str]) -> None:
    """Medians of every way, and its time as a multiple of that of the ways `beside`."""
    print(
        f"{'way':<12}{'seconds':>9}{'cpu s':>9}{'peak MB':>9}{'rows':>12}"
        + "".join(f"{f'x {name}':>16}" for name in beside)
    )
    for way, taken in figures.items():
        print(
            f"{way:<12}{median(taken, 'seconds'):>9.2f}{median(taken, 'cpu'):>9.2f}{median(taken, 'megabytes'):>9.0f}"
            f"{median(taken, 'rows'):>12,.0f}" + "".join(f"{ratio(taken, figures[name]):>16.2f}" for name in beside)
        )


@contextmanager
def serving(size: int, folder: Path, billing: str = "file") -> Iterator[Path]:
    """A sandbox with one organization of `size` accounts, whose customers are a CSV file; `all`: one of every billing system,
    which keeps no limit."""
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "sync_pipeline.sandbox", "--folder", str(folder / "sandbox"), "--billing", billing]
    command += ["--billing-per-minute", "1000000000"]
    print(f"Making a world of {size:,} accounts ...", file=sys.stderr)
    process = subprocess.Popen(
        [*command, "--accounts", str(size), "--ready-file", str(ready)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not ready.exists():
            if process.poll() is not None:
                sys.exit("The sandbox did not start.")
            time.sleep(0.1)
        yield ready
    finally:
        process.terminate()
        process.wait()
