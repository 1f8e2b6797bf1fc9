"""Read the customers of every billing system: what of the time is this project's own, how much memory, how many requests.

project   this project: every page to disk and from there into the warehouse
floor     what can't be beaten: the same requests by plain `requests`, each answer parsed and thrown away; of a file one
          `read_csv` into DuckDB, of a database one cursor

Own work is the processor time of the reading process alone: the stand-in's work and the network do not count. In that
process (and at the sandbox) the vendors' limits are lifted, which would make it wait for minutes. Systems are found as
the product finds them; each is configured by its demo organization.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import requests

from benchmarks.measuring import Bench, Figures, measure_one, run
from sync_pipeline.billing.api import ApiSource
from sync_pipeline.billing.systems import sources

MODULE = "benchmarks.read_billing"
CONFIGS = Path(__file__).parents[1] / "config"
PER_SECOND, MEGABYTES, MORE_REQUESTS = 5000, 300, 3


def project(name: str, bench: Bench) -> int:
    """What the asset `billing_customers` does."""
    from sync_pipeline import billing
    from sync_pipeline.http import RateLimit
    from sync_pipeline.warehouse import Warehouse

    org = _organization(bench, name)
    asked = _recording()
    waits: list[int] = []
    RateLimit.wait = lambda limit: waits.append(1)  # type: ignore[method-assign]  # the limit is lifted, tries are counted
    with Warehouse(bench.work / "warehouse", org.name).connect() as con:
        _begin(bench)
        rows = billing.load_customers(con, org)
        _end(bench)
    bench.figures |= {"requests": len(waits), "fewest": math.ceil(rows / page_size(name))}
    _asked(bench, name).write_text(json.dumps([one for one in asked if one["url"].startswith(_address(bench, name))]))
    return rows


def floor(name: str, bench: Bench) -> int:
    """The same requests as `project`, which has to come before."""
    at = bench.sandbox["organizations"][name]["billing"]
    if name == "file":
        import duckdb

        con = duckdb.connect(str(bench.work / "floor.duckdb"))
        _begin(bench)
        con.execute("CREATE TABLE customers AS FROM read_csv($path, all_varchar = true)", {"path": at["path"]})
    elif name == "database":
        with closing(sqlite3.connect(at["url"].removeprefix("sqlite:///"))) as db:
            _begin(bench)
            for _ in db.execute(f"SELECT * FROM {at['table']}"):
                pass
    else:
        session, asked = bench.session(), json.loads(_asked(bench, name).read_text())
        _begin(bench)
        for one in asked:
            json.loads(session.request(**one, timeout=60).content)
    _end(bench)
    return 0


def _organization(bench: Bench, name: str) -> Any:
    """The system's demo organization, logged in as a person does where the login is a person's."""
    from sync_pipeline.billing import authorization
    from sync_pipeline.logins.connecting import from_refresh_token
    from sync_pipeline.orgs import load_organizations

    os.environ["SYNC_PIPELINE_DATA"] = str(bench.work)
    config = bench.work / "config"
    config.mkdir()
    shutil.copy(next(CONFIGS.glob(f"demo*/demo_{name}.yaml")), config)
    org = load_organizations(config).organizations[f"demo_{name}"]
    if server := authorization(org):
        with closing(sqlite3.connect(bench.sandbox["state_file"], timeout=60)) as db:  # the ready file's is used up
            sql = "SELECT value FROM billing_login WHERE org = ? AND name = 'refresh_token'"
            from_refresh_token(org.name, server, db.execute(sql, (name,)).fetchone()[0])
    return org


def _recording() -> list[dict[str, Any]]:
    """Every request from now on, as `requests` takes it."""
    asked: list[dict[str, Any]] = []
    send = requests.Session.send

    def recorded(session: requests.Session, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        body = request.body.decode() if isinstance(request.body, bytes) else request.body
        asked.append({"method": request.method, "url": request.url, "headers": dict(request.headers), "data": body})
        return send(session, request, **kwargs)

    requests.Session.send = recorded  # type: ignore[method-assign]
    return asked


def _begin(bench: Bench) -> None:
    bench.begin()
    bench.figures["own"] = -time.process_time()


def _end(bench: Bench) -> None:
    bench.figures["own"] += time.process_time()


def _asked(bench: Bench, name: str) -> Path:
    return Path(bench.sandbox["state_file"]).with_name(f"{name}.asked.json")


def _address(bench: Bench, name: str) -> str:
    return str(bench.sandbox["organizations"][name]["billing"]["url"]) if page_size(name) < math.inf else "none"


def page_size(name: str) -> float:
    """The most records of one request, PAGE_SIZE of the system's module; a file or a database has no pages."""
    source = sources()[name]
    return float(sys.modules[type(source).__module__].PAGE_SIZE) if isinstance(source, ApiSource) else math.inf


def compare(ready: Path, size: int) -> None:
    """Measure, and print the table and its goals."""
    from sync_pipeline.cli.demo import environment_of

    sandbox = json.loads(ready.read_text())
    environment = environment_of(sandbox)
    names = sorted(set(sources()) & set(sandbox["organizations"]))
    print(f"\nRead billing systems: {size:,} accounts' customers, {os.cpu_count()} cores, the vendors' limits lifted")
    print(
        f"{'system':<12}{'seconds':>9}{'own cpu s':>11}{'customers':>11}{'a second':>10}{'x floor':>9}{'peak MB':>9}"
        f"{'requests':>10}{'fewest':>8}"
    )
    figures = {}
    for name in names:
        taken, least = (run(MODULE, way, ready, environment) for way in (name, f"floor_{name}"))
        figures[name] = taken
        requested = f"{taken['requests']:>10.0f}{taken['fewest']:>8.0f}" if taken["fewest"] else f"{'-':>10}{'-':>8}"
        print(
            f"{name:<12}{taken['seconds']:>9.2f}{taken['own']:>11.2f}{taken['rows']:>11,.0f}{_speed(taken):>10,.0f}"
            f"{taken['own'] / least['own']:>9.2f}{taken['megabytes']:>9.0f}{requested}",
            flush=True,
        )
    slowest = min(names, key=lambda name: _speed(figures[name]))
    largest = max(names, key=lambda name: figures[name]["megabytes"])
    asking = max(names, key=lambda name: _more(figures[name]))
    print(
        f"goals at 100,000: {_speed(figures[slowest]):,.0f} customers a second of {PER_SECOND:,} ({slowest}); "
        f"{figures[largest]['megabytes']:.0f} of {MEGABYTES} MB ({largest}); "
        f"{_more(figures[asking]):.0f} requests above the fewest of {MORE_REQUESTS} ({asking})"
    )


def _speed(taken: Figures) -> float:
    return taken["rows"] / taken["own"]


def _more(taken: Figures) -> float:
    return taken["requests"] - taken["fewest"] if taken["fewest"] else 0


WAYS = {name: partial(project, name) for name in sources()} | {
    f"floor_{name}": partial(floor, name) for name in sources()
}


if __name__ == "__main__":
    measure_one(WAYS)
