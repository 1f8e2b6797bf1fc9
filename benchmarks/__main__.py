"""`make bench`: every benchmark against one sandbox, its goals below each table."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import extract_load_match, read_billing, read_salesforce
from benchmarks.measuring import serving


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description="This project beside a script and the floor.")
    parser.add_argument("--size", type=int, default=1_000_000, help="accounts")
    parser.add_argument("--large", type=int, default=5_000_000, help="accounts of the read for memory; 0 leaves it out")
    parser.add_argument(
        "--customers", type=int, default=100_000, help="customers of each billing system; at most --size"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ready", type=Path, help="ready file of a sandbox of --size accounts that serves already")
    parser.add_argument("--large-ready", type=Path, help="the same for --large")
    parser.add_argument("--billing-ready", type=Path, help="the same for --customers, with every billing system")
    arguments = parser.parse_args()
    with ExitStack() as stack:

        def sandbox(size: int, ready: Path | None, billing: str = "file") -> Path:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench_")))
            return ready or stack.enter_context(serving(size, folder, billing))

        ready = sandbox(arguments.size, arguments.ready)
        read_salesforce.compare(ready, arguments.size, arguments.rounds)
        extract_load_match.compare(ready, arguments.size, arguments.rounds)
        stack.close()
        customers = min(arguments.customers, arguments.size)
        read_billing.compare(sandbox(customers, arguments.billing_ready, "all"), customers)
        stack.close()
        if arguments.large:
            read_salesforce.compare_memory(sandbox(arguments.large, arguments.large_ready), arguments.large)


if __name__ == "__main__":
    main()
