"""Extract, load and match a large organization three ways, side by side, each in a process of its own.

    project  this project: Bulk query to disk, into the warehouse, mapping with verdicts and near misses
    script   what a user would write: simple-salesforce bulk2 into pandas, `merge`
    floor    what can't be beaten: stream the pages to disk, one `read_csv`, one join; no verdicts

All three read the same accounts from the same sandbox over TLS, and the same customers from the same CSV file. The ways take
turns, so that a slow moment of the machine hits all of them; the figures are medians, the ratios are the result. Peak memory
is that of the measured process alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

FIELDS = ["Id", "Name", "Company_Number__c", "OwnerId", "Portal_Link__c", "CreatedDate", "SystemModstamp"]
SOQL = f"SELECT {', '.join(FIELDS)} FROM Account"
WAYS = ("project", "script", "floor")


def project(sandbox: dict[str, Any], work: Path) -> int:
    """This project's own path, through its public functions, as the assets call them."""
    from sync_pipeline import billing, matching, salesforce
    from sync_pipeline.orgs import load_organizations
    from sync_pipeline.warehouse import Warehouse

    org = load_organizations(work / "config").organizations["bench"]
    with Warehouse(work / "warehouse", org.name).connect() as con:
        client = salesforce.connect(org)
        salesforce.load_accounts(con, client, org)
        billing.load_customers(con, org)
        matching.match(con, org.identifier, salesforce_ids=False)
        return _one(con.execute("SELECT count(*) FROM account_mapping WHERE verdict = 'matched'").fetchall())


def script(sandbox: dict[str, Any], work: Path) -> int:
    """simple-salesforce's bulk2 into pandas; its five seconds before the first poll are taken away to be fair."""
    import io

    import pandas as pd
    import requests
    from simple_salesforce import Salesforce

    session = requests.Session()
    session.verify = sandbox["ca_file"]
    session.trust_env = False
    sf = Salesforce(
        instance_url=_salesforce(sandbox)["url"], session_id=_token(sandbox), session=session, version="66.0"
    )
    pages = sf.bulk2.Account.query(SOQL, max_records=50_000, wait=0.1)
    accounts = pd.concat([pd.read_csv(io.StringIO(page), dtype=str) for page in pages])
    customers = pd.read_csv(_customers(sandbox), dtype=str, encoding="utf-8-sig")
    merged = customers.merge(accounts, left_on="company_number", right_on="Company_Number__c")
    return len(merged)


def floor(sandbox: dict[str, Any], work: Path) -> int:
    """No checks, no verdicts, no reasons: bytes to disk, one read_csv, one join."""
    import duckdb
    import requests

    session = requests.Session()
    session.verify = sandbox["ca_file"]
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {_token(sandbox)}"
    session.headers["Accept-Encoding"] = "identity"
    jobs = f"{_salesforce(sandbox)['url']}/services/data/v66.0/jobs/query"
    job = session.post(jobs, json={"operation": "query", "query": SOQL}, timeout=60).json()["id"]
    while session.get(f"{jobs}/{job}", timeout=60).json()["state"] != "JobComplete":
        time.sleep(0.05)
    locator, page = None, 0
    while locator != "null":
        params = {"maxRecords": "50000"} | ({"locator": locator} if locator else {})
        with session.get(f"{jobs}/{job}/results", params=params, stream=True, timeout=60) as answer:
            with (work / f"{page:05}.csv").open("wb") as file:
                for chunk in answer.iter_content(1 << 20):
                    file.write(chunk)
            locator, page = answer.headers["Sforce-Locator"], page + 1
    con = duckdb.connect(str(work / "floor.duckdb"))
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in FIELDS)
    con.execute(
        f"CREATE TABLE accounts AS SELECT * FROM read_csv('{work}/*.csv', auto_detect=false, header=true, "
        f"columns={{{columns}}}, quote='\"', escape='\"')"
    )
    with open(_customers(sandbox), encoding="utf-8-sig") as file:
        names = file.readline().strip().split(",")
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
    con.execute(
        f"CREATE TABLE customers AS SELECT * FROM read_csv('{_customers(sandbox)}', auto_detect=false, header=true, "
        f"delim=',', columns={{{columns}}}, quote='\"', escape='\"')"
    )
    con.execute("CREATE TABLE pairs AS SELECT * FROM customers JOIN accounts ON company_number = Company_Number__c")
    return _one(con.execute("SELECT count(*) FROM pairs").fetchall())


def _one(rows: list[Any]) -> int:
    return int(rows[0][0])


def _salesforce(sandbox: dict[str, Any]) -> dict[str, str]:
    return dict(sandbox["organizations"]["file"]["salesforce"])


def _customers(sandbox: dict[str, Any]) -> str:
    return str(sandbox["organizations"]["file"]["billing"]["path"])


def _token(sandbox: dict[str, Any]) -> str:
    import requests

    credentials = _salesforce(sandbox)
    session = requests.Session()
    session.verify = sandbox["ca_file"]
    session.trust_env = False
    answer = session.post(
        f"{credentials['url']}/services/oauth2/token",
        data={
            "grant_type": "client_credentials",
            "client_id": credentials["client_id"],
            "client_secret": credentials["client_secret"],
        },
        timeout=60,
    )
    return str(answer.json()["access_token"])


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


def measure(way: str, ready: Path) -> None:
    """In a process of its own: run one way in an empty folder, print what it took."""
    sandbox = json.loads(ready.read_text())
    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        work = Path(folder)
        credentials = _salesforce(sandbox)
        os.environ["BENCH_CLIENT_SECRET"] = credentials["client_secret"]
        (work / "config").mkdir()
        text = CONFIG.format(
            url=credentials["url"],
            ca_file=sandbox["ca_file"],
            client_id=credentials["client_id"],
            customers=_customers(sandbox),
        )
        (work / "config" / "bench.yaml").write_text(text)
        started = time.perf_counter()
        matched = globals()[way](sandbox, work)
        seconds = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "megabytes": usage.ru_maxrss / 1024}
    print(json.dumps({**figures, "matched": matched}))


@contextmanager
def serving(size: int, folder: Path) -> Iterator[Path]:
    """A sandbox with one organization of `size` accounts, whose customers are a CSV file."""
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "sync_pipeline.sandbox", "--folder", str(folder / "sandbox"), "--billing", "file"]
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


def run(way: str, ready: Path) -> dict[str, float]:
    """Measure one way once."""
    command = [sys.executable, "-m", "benchmarks.extract_load_match", "--way", way, "--ready", str(ready)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        sys.exit(f"{way} failed:\n{answer.stderr}")
    return dict(json.loads(answer.stdout.splitlines()[-1]))


def main() -> None:
    """Parse the command line; measure, and print one table."""
    parser = argparse.ArgumentParser(description="Extract + load + match, three ways.")
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help="measure this one once, and print JSON; needs --ready")
    parser.add_argument("--ready", type=Path, help="ready file of a sandbox that serves already")
    arguments = parser.parse_args()
    if arguments.way:
        measure(arguments.way, arguments.ready)
        return
    with tempfile.TemporaryDirectory(prefix="bench_") as folder, ExitStack() as stack:
        ready = arguments.ready or stack.enter_context(serving(arguments.size, Path(folder)))
        run("floor", ready)  # the sandbox renders its pages once; nobody is to pay for that
        figures: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(arguments.rounds):
            for way in WAYS:
                figures[way].append(run(way, ready))
    show(arguments.size, figures)


def show(size: int, figures: dict[str, list[dict[str, float]]]) -> None:
    """Medians, and each way as a multiple of the floor and of the script."""
    median = {
        way: {key: statistics.median(one[key] for one in rounds) for key in ("seconds", "cpu", "megabytes", "matched")}
        for way, rounds in figures.items()
    }
    print(f"{size:,} accounts x {len(FIELDS)} columns, and their customers; median of {len(figures['floor'])} rounds")
    print(f"{'way':<9}{'seconds':>9}{'cpu s':>9}{'peak MB':>9}{'matched':>11}{'x floor':>9}{'x script':>9}")
    for way in WAYS:
        one = median[way]
        to_floor = statistics.median(
            a["seconds"] / b["seconds"] for a, b in zip(figures[way], figures["floor"], strict=True)
        )
        to_script = statistics.median(
            a["seconds"] / b["seconds"] for a, b in zip(figures[way], figures["script"], strict=True)
        )
        print(
            f"{way:<9}{one['seconds']:>9.2f}{one['cpu']:>9.2f}{one['megabytes']:>9.0f}{one['matched']:>11,.0f}{to_floor:>9.2f}{to_script:>9.2f}"
        )
    print("goals at a million: project at most 1.5 x floor, below 1 x script, under 800 MB")


if __name__ == "__main__":
    main()
