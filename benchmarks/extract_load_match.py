"""Extract, load and match a large organization three ways, side by side.

    project  this project: Bulk query to disk, into the warehouse, mapping with verdicts and near misses
    script   what a user would write: simple-salesforce bulk2 into pandas, `merge`
    floor    what can't be beaten: stream the pages to disk, one `read_csv`, one join; no verdicts

All three read the same accounts from the same sandbox over TLS, and the same customers from the same CSV file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.measuring import (
    FIELDS,
    PAGE_RECORDS,
    SOQL,
    Bench,
    floor_accounts,
    measure_one,
    print_table,
    ratio,
    rounds,
    run,
)

MODULE = "benchmarks.extract_load_match"


def project(bench: Bench) -> int:
    """This project's own path, through its public functions, as the assets call them."""
    from sync_pipeline import billing, matching, salesforce
    from sync_pipeline.warehouse import Warehouse

    org = bench.organization()
    with Warehouse(bench.work / "warehouse", org.name).connect() as con:
        client = salesforce.connect(org)
        bench.begin()
        salesforce.load_accounts(con, client, org)
        billing.load_customers(con, org)
        matching.match(con, org.identifier, salesforce_ids=False)
        return _one(con.execute("SELECT count(*) FROM account_mapping WHERE verdict = 'matched'").fetchall())


def script(bench: Bench) -> int:
    """simple-salesforce's bulk2 into pandas; its five seconds before the first poll are taken away to be fair."""
    import io

    import pandas as pd
    from simple_salesforce import Salesforce

    sf = Salesforce(
        instance_url=bench.salesforce["url"], session_id=bench.token(), session=bench.session(), version="66.0"
    )
    bench.begin()
    pages = sf.bulk2.Account.query(SOQL, max_records=PAGE_RECORDS, wait=0.1)
    accounts = pd.concat([pd.read_csv(io.StringIO(page), dtype=str) for page in pages])
    customers = pd.read_csv(bench.customers, dtype=str, encoding="utf-8-sig")
    merged = customers.merge(accounts, left_on="company_number", right_on="Company_Number__c")
    return len(merged)


def floor(bench: Bench) -> int:
    """No checks, no verdicts, no reasons: bytes to disk, one read_csv, one join."""
    import duckdb

    session = bench.connected()
    con = duckdb.connect(str(bench.work / "floor.duckdb"))
    bench.begin()
    floor_accounts(bench, con, session)
    with open(bench.customers, encoding="utf-8-sig") as file:
        names = file.readline().strip().split(",")
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
    con.execute(
        f"CREATE TABLE customers AS SELECT * FROM read_csv('{bench.customers}', auto_detect=false, header=true, "
        f"delim=',', columns={{{columns}}}, quote='\"', escape='\"')"
    )
    con.execute("CREATE TABLE pairs AS SELECT * FROM customers JOIN accounts ON company_number = Company_Number__c")
    return _one(con.execute("SELECT count(*) FROM pairs").fetchall())


def _one(rows: list[Any]) -> int:
    return int(rows[0][0])


WAYS = {"project": project, "script": script, "floor": floor}


def compare(ready: Path, size: int, count: int) -> None:
    """Measure, and print one table."""
    run(MODULE, "floor", ready)  # the sandbox renders its pages once; nobody is to pay for that
    figures = rounds(MODULE, list(WAYS), ready, count)
    print(f"\nExtract, load and match: {size:,} accounts x {len(FIELDS)} columns and their customers, {count} rounds")
    print_table(figures, ["floor", "script"])
    print(
        f"goals at a million: x floor {ratio(figures['project'], figures['floor']):.2f} of 1.5, "
        f"x script {ratio(figures['project'], figures['script']):.2f} of 1, "
        f"{max(one['megabytes'] for one in figures['project']):.0f} of 800 MB"
    )


if __name__ == "__main__":
    measure_one(WAYS)
