"""Read a large Salesforce organization: whole, over a slow line, and again after a few changes.

project   this project: Bulk query, five pages at a time, to disk and into the warehouse
script    what a user would write: simple-salesforce bulk2 into pandas
floor     what can't be beaten: stream the pages to disk, one `read_csv` with explicit columns
slow_...  the same over a line with 0.5 s to the first byte and 4 MB/s a connection; simple-salesforce only
          downloads, to files, which is its fastest way
whole     this project's Salesforce assets, first sync: organization, fields, accounts, contacts, users
changed   the same sync after 100 accounts changed
nothing   the same sync after nothing did, with the API requests it took
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import (
    FIELDS,
    PAGE_RECORDS,
    SOQL,
    Bench,
    Figures,
    floor_accounts,
    measure_one,
    median,
    print_table,
    ratio,
    rounds,
    run,
)

MODULE = "benchmarks.read_salesforce"
SLOW_LINE = (
    {"action": "slow", "path": "/services/", "seconds": 0.5, "times": 0},
    {"action": "bandwidth", "path": "/results", "bytes_per_second": 4_000_000, "times": 0},
)
CHANGED = 100


def project(bench: Bench) -> int:
    """The asset `salesforce_accounts` alone; the fields were described by the asset before it."""
    return _accounts(bench)


def script(bench: Bench) -> int:
    """simple-salesforce's bulk2 into pandas; its five seconds before the first poll are taken away to be fair."""
    import io

    import pandas as pd

    bulk2 = _bulk2(bench)
    bench.begin()
    pages = bulk2.query(SOQL, max_records=PAGE_RECORDS, wait=0.1)
    return len(pd.concat([pd.read_csv(io.StringIO(page), dtype=str) for page in pages]))


def floor(bench: Bench) -> int:
    """No checks: bytes to disk, one read_csv."""
    import duckdb

    session = bench.connected()
    con = duckdb.connect(str(bench.work / "floor.duckdb"))
    bench.begin()
    floor_accounts(bench, con, session)
    return int(con.execute("SELECT count(*) FROM accounts").fetchall()[0][0])


def slow_project(bench: Bench) -> int:
    """As over the internet: gzip, which this project leaves out on loopback (and simple-salesforce always asks for)."""
    bench.faults(*SLOW_LINE)
    try:
        return _accounts(bench, encoding="gzip")
    finally:
        bench.faults()


def slow_script(bench: Bench) -> int:
    """simple-salesforce asks for gzip always."""
    bench.faults(*SLOW_LINE)
    try:
        return script(bench)
    finally:
        bench.faults()


def syncs(bench: Bench) -> int:
    """Three syncs one after the other: the first, one after some changes, one after none."""
    rows = 0
    for name in ("whole", "changed", "nothing"):
        if name == "changed":
            _change(bench)
        elif name == "nothing":
            _age(bench)
        started = time.perf_counter()
        rows, bench.figures[f"{name} requests"] = _sync(bench)
        bench.figures[name] = time.perf_counter() - started
    return rows


def _accounts(bench: Bench, encoding: str | None = None) -> int:
    from sync_pipeline import salesforce
    from sync_pipeline.warehouse import Warehouse

    org = bench.organization()
    with Warehouse(bench.work / "warehouse", org.name).connect() as con:
        client = salesforce.connect(org)
        if encoding:
            client.session.headers["Accept-Encoding"] = encoding
        salesforce.inspect_fields(client, org)
        bench.begin()
        return salesforce.load_accounts(con, client, org)


def _sync(bench: Bench) -> tuple[int, int]:
    from sync_pipeline import salesforce
    from sync_pipeline.warehouse import Warehouse

    org = bench.organization()
    with Warehouse(bench.work / "warehouse", org.name).connect() as con:
        client = salesforce.connect(org)
        salesforce.load_organization(con, client, org)
        salesforce.load_fields(con, client, org)
        rows = sum(load(con, client, org) for load in (salesforce.load_accounts, salesforce.load_contacts))
        salesforce.load_users(con, client, org)
        return rows, client.session.budget.calls


def _bulk2(bench: Bench) -> Any:
    from simple_salesforce import Salesforce

    sf = Salesforce(
        instance_url=bench.salesforce["url"], session_id=bench.token(), session=bench.session(), version="66.0"
    )
    return sf.bulk2.Account


def _change(bench: Bench) -> None:
    """As people in Salesforce do: the stamps move."""
    with sqlite3.connect(bench.sandbox["state_file"], timeout=60) as db:
        db.execute(
            """UPDATE account SET "Type" = 'Other', "SystemModstamp" = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
            WHERE org = 'file' AND "Id" IN (SELECT "Id" FROM account WHERE org = 'file' AND NOT "IsDeleted" LIMIT ?)""",
            (CHANGED,),
        )


def _age(bench: Bench) -> None:
    """An hour goes by, so that the changes are not within the overlap any longer: they move back instead."""
    with sqlite3.connect(bench.sandbox["state_file"], timeout=60) as db:
        db.execute(
            """UPDATE account SET "SystemModstamp" = strftime('%Y-%m-%dT%H:%M:%fZ', "SystemModstamp", '-1 hour')
            WHERE org = 'file' AND "SystemModstamp" > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-30 minutes')"""
        )


WAYS = {
    "project": project,
    "script": script,
    "floor": floor,
    "slow_project": slow_project,
    "slow_script": slow_script,
    "syncs": syncs,
}


def compare(ready: Path, size: int, count: int) -> None:
    """Measure, and print the tables with their goals."""
    run(MODULE, "floor", ready)  # the sandbox renders its pages once; nobody is to pay for that
    near = rounds(MODULE, ["project", "script", "floor"], ready, count)
    slow = rounds(MODULE, ["slow_project", "slow_script"], ready, max(1, count - 1))
    again = rounds(MODULE, ["syncs"], ready, max(1, count - 1))["syncs"]
    print(f"\nRead Salesforce: {size:,} accounts x {len(FIELDS)} columns, {count} rounds, {os.cpu_count()} cores")
    print_table(near, ["floor", "script"])
    print_table(slow, ["slow_project"])
    for name in ("whole", "changed", "nothing"):
        print(
            f"sync, {name:<8}{median(again, name):>9.2f} s, {_share(again, name):>6.1%} of the whole, "
            f"{median(again, f'{name} requests'):.0f} API requests"
        )
    print(
        f"goals at a million: x floor {ratio(near['project'], near['floor']):.2f} of 1.2; "
        f"slow line {ratio(slow['slow_script'], slow['slow_project']):.1f} times as fast as simple-salesforce (3.5); "
        f"{max(one['megabytes'] for one in near['project']):.0f} of 400 MB; "
        f"{CHANGED} changes {_share(again, 'changed'):.1%} of 5 %; "
        f"no change {max(one['nothing requests'] for one in again):.0f} of 12 API requests"
    )


def compare_memory(ready: Path, size: int) -> None:
    """The peak memory of a read of many more."""
    taken = run(MODULE, "project", ready)
    print(f"\nRead Salesforce: {size:,} accounts in {taken['seconds']:.1f} s")
    print(f"goal at five million: {taken['megabytes']:.0f} of 600 MB")


def _share(taken: list[Figures], name: str) -> float:
    """A sync's time as a share of the whole one's, round by round."""
    return sorted(one[name] / one["whole"] for one in taken)[len(taken) // 2]


if __name__ == "__main__":
    measure_one(WAYS)
