"""What the command line shows: one table for people, one JSON document for machines, progress on the error stream."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from sync_pipeline import progress
from sync_pipeline.cli.running import WRITERS, Result

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

MOST_COLUMNS = 4
SET_ASIDE = ("missing_identifier", "duplicate_identifier", "no_counterpart", "gone")


def print_json(document: Any) -> None:
    """One JSON document on standard output; dates as ISO text."""
    sys.stdout.write(json.dumps(document, indent=2, default=str, ensure_ascii=False) + "\n")


@contextmanager
def shown_progress(title: str) -> Iterator[None]:
    """Draw what the clients report, on the error stream; where that is no terminal, one line for each asset."""
    if not err.is_terminal:
        with progress.watched(lambda what, *_: _print_asset(title, what)):
            yield
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bars:
        head = bars.add_task(f"[bold]{title}", total=None)
        tasks: dict[str, TaskID] = {}

        def watch(what: str, done: int, total: int | None) -> None:
            if what in WATCHED_ASSETS:
                bars.update(head, description=f"[bold]{title}[/bold] {what}")
                return
            if what not in tasks:
                tasks[what] = bars.add_task(f"  {what}", total=total)
            bars.update(tasks[what], completed=done, total=total)

        with progress.watched(watch):
            yield


def _print_asset(title: str, what: str) -> None:
    if what in WATCHED_ASSETS:
        err.print(f"{title}: {what}", markup=False)


WATCHED_ASSETS = {
    "salesforce_fields",
    "salesforce_accounts",
    "salesforce_users",
    "salesforce_contacts",
    "billing_customers",
    "account_mapping",
    *WRITERS,
}


TURNED = ("customers", "matched", "set aside", "to write", "written now", "rows refused", "checks failed")
"""What is told of each of many organizations; `sync --json` and the Dagster UI have the rest."""


def results_table(results: Sequence[Result]) -> Table:
    """One column per organization while they are few; one row per organization beyond, with what fits 80 columns."""
    turned = len(results) > MOST_COLUMNS
    lines = [line for line in _lines(results) if not turned or line[0] in TURNED]
    padding = (0, 0, 0, 1) if turned else (0, 1)
    table = Table(header_style="bold", pad_edge=False, box=box.SIMPLE_HEAD, padding=padding)
    table.add_column("organization" if turned else "", no_wrap=True)
    if turned:
        for label, values in lines:  # a label can be broken, a number can't
            table.add_column(label, justify="right", min_width=max(map(len, values)))
        for index, result in enumerate(results):
            cells = (values[index] for _, values in lines)
            table.add_row(result.organization, *cells, style="red" if result.exit_code else None)
    else:
        for result in results:
            table.add_column(result.organization, justify="right")
        for label, values in lines:
            table.add_row(label, *values)
    return table


def _lines(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """What is told of every organization: a label, and a value for each of them."""

    def count(name: str) -> list[str]:
        return [f"{result.counts[name]:,}" if name in result.counts else "-" for result in results]

    dry = any(result.dry_run for result in results)
    return [
        ("accounts", count("accounts")),
        ("customers", count("customers")),
        ("matched", count("matched")),
        ("set aside", [f"{sum(result.counts.get(name, 0) for name in SET_ASIDE):,}" for result in results]),
        ("  missing identifier", count("missing_identifier")),
        ("  duplicate identifier", count("duplicate_identifier")),
        ("  no counterpart", count("no_counterpart")),
        *([("  gone", count("gone"))] if any(result.counts.get("gone") for result in results) else []),
        ("  (of these near misses)", count("near_misses")),
        ("owners", count("owners")),
        ("contacts", count("contacts")),
        ("custom fields", count("custom_fields")),
        ("links in Salesforce", count("links")),
        ("to write" if dry else "written now", _written(results, list(WRITERS), dry)),
        *((f"  {what}", _written(results, [asset], dry)) for asset, what in WRITERS.items()),
        ("rows refused", [f"{sum(result.refused.values()):,}" for result in results]),
        ("checks passed", [str(result.checks["passed"]) for result in results]),
        ("checks warned", [str(result.checks["warned"]) for result in results]),
        ("checks failed", [str(result.checks["failed"]) for result in results]),
        ("accounts read", [result.reads.get("Account", "-").partition(",")[0].partition(":")[0] for result in results]),
        ("Salesforce requests", [f"{result.api_calls:,}" for result in results]),
        ("seconds", [f"{result.seconds:.1f}" for result in results]),
    ]


def _written(results: Sequence[Result], assets: Sequence[str], dry: bool) -> list[str]:
    rows = [result.planned if dry else result.written for result in results]
    return [f"{sum(row.get(asset, 0) for asset in assets):,}" for row in rows]


def print_plans(result: Result) -> None:
    """What a dry run would change: counts, and the first rows of each plan with personal data masked."""
    for asset, what in WRITERS.items():
        planned = result.planned.get(asset, 0)
        out.print(f"{result.organization}: {planned:,} {what} would be written.", markup=False)
        rows = result.plans.get(asset, [])
        if not rows:
            continue
        table = Table(header_style="bold", pad_edge=False)
        shown = [name for name in rows[0] if any(row[name] is not None for row in rows)]
        for name in shown:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*("" if row[name] is None else str(row[name]) for name in shown))
        out.print(table)
        if planned > len(rows):
            out.print(f"... and {planned - len(rows):,} more.")


def print_error(text: str) -> None:
    """One error for a person, on the error stream."""
    err.print(f"[bold red]Error:[/bold red] {_escaped(text)}", soft_wrap=True)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
