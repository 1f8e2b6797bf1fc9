"""`sync-pipeline sandbox`, or `python -m sync_pipeline.sandbox`: serve the stand-ins until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from sync_pipeline.sandbox.billings import BILLINGS, STAND_INS
from sync_pipeline.sandbox.options import (
    DEFAULT_ACCOUNTS,
    DEFAULT_API_LIMIT,
    DEFAULT_BILLINGS,
    DEFAULT_FOLDER,
    DEFAULT_REFRESH_IDLE_DAYS,
    DEFAULT_SEED,
    DEFAULT_TROUBLE,
    SandboxError,
    SandboxOptions,
)
from sync_pipeline.sandbox.server import run

_LISTENERS = ("salesforce", "upflow", *(name for name, stand_in in STAND_INS.items() if stand_in.app))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sync-pipeline sandbox", description="Stand-ins for Salesforce, Upflow and billing systems on loopback."
    )
    add = parser.add_argument
    add(
        "--folder",
        type=Path,
        default=DEFAULT_FOLDER,
        help="state, certificates, files and truth (default: %(default)s)",
    )
    add(
        "--billing",
        action="append",
        choices=(*BILLINGS, "all"),
        help=f"one organization with this billing system; repeatable (default: {', '.join(DEFAULT_BILLINGS)})",
    )
    add("--accounts", type=int, help=f"accounts of each organization (default: {DEFAULT_ACCOUNTS})")
    add("--seed", type=int, help=f"the same seed makes the same world (default: {DEFAULT_SEED})")
    add("--trouble", type=float, help=f"share with something wrong, 0 to 1 (default: {DEFAULT_TROUBLE})")
    add("--plain-http", action="store_true", help="no TLS")
    add("--ready-file", type=Path, help="gets one JSON object once everything listens")
    for name in _LISTENERS:
        add(f"--port-{name}", type=int, default=0, help="0: the one used before, else any (default)")
    add("--upflow-per-minute", type=int, default=600, help="calls before Upflow answers 429 (default: %(default)s)")
    add("--billing-per-minute", type=int, help="calls before a billing system answers 429 (default: the vendor's own)")
    add("--api-limit", type=int, default=DEFAULT_API_LIMIT, help="Salesforce API calls a day (default: %(default)s)")
    add(
        "--refresh-idle-days",
        type=int,
        default=DEFAULT_REFRESH_IDLE_DAYS,
        help="days until an unused refresh token of Salesforce is dead; 0: never (default: %(default)s)",
    )
    add("--faults", type=Path, metavar="FILE", help="YAML or JSON: what goes wrong in Salesforce, where and how often")
    return parser


def _announce(ready: dict[str, Any]) -> None:
    served = {name: ready[name] for name in ("salesforce", "upflow")}
    served |= {org: of["billing"] for org, of in ready["organizations"].items() if org in _LISTENERS}
    addresses = ", ".join(f"{name} {at['url']}" for name, at in served.items())
    print(f"The sandbox is ready: {addresses}. Ctrl-C ends it.", flush=True)


def _progress(org: str, done: int, total: int) -> None:
    if total >= 100_000:
        end = "\n" if done >= total else ""
        print(f"\rMaking the organization {org}: {done:,} of {total:,} accounts", end=end, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run with command-line arguments; the exit code is 2 for what a person has to change."""
    given = vars(_parser().parse_args(arguments))
    if given["billing"]:
        given["billing"] = BILLINGS if "all" in given["billing"] else tuple(given["billing"])
    given["ports"] = {name: given.pop(f"port_{name}") for name in _LISTENERS}
    try:
        run(SandboxOptions(**given), announce=_announce, progress=_progress)
    except SandboxError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # while a world was being made
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
