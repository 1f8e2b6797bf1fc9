"""What the command line shows: one table for people, one JSON document for machines, progress on the error stream."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from sync_pipeline import progress
from sync_pipeline.cli.running import WRITERS, Result

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def print_json(document: Any) -> None:
    """One JSON document on standard output; dates as ISO text."""
    sys.stdout.write(json.dumps(document, indent=2, default=str, ensure_ascii=False) + "\n")


@contextmanager
def shown_progress(title: str) -> Iterator[None]:
    """Draw what the clients report, on the error stream; where that is no terminal, one line per kind of work."""
    if not err.is_terminal:
        err.print(f"{title} ...", markup=False)
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


WATCHED_ASSETS = {
    "salesforce_fields",
    "salesforce_accounts",
    "salesforce_users",
    "salesforce_contacts",
    "billing_customers",
    "account_mapping",
    *WRITERS,
}


def results_table(results: Sequence[Result]) -> Table:
    """One row per organization."""
    table = Table(title=None, header_style="bold", pad_edge=False)
    table.add_column("organization", no_wrap=True)
    for column in ("accounts", "customers", "matched"):
        table.add_column(column, justify="right")
    table.add_column("set aside:\nmissing / duplicate /\nno counterpart", justify="right")
    for column in ("owners", "contacts", "custom\nfields", "links"):
        table.add_column(column, justify="right")
    table.add_column("written\nnow", justify="right")
    table.add_column("refused", justify="right")
    table.add_column("checks:\npassed / warned /\nfailed", justify="right")
    table.add_column("seconds", justify="right")
    for result in results:
        table.add_row(*_row(result), style="red" if result.exit_code else None)
    return table


def _row(result: Result) -> list[str]:
    counts = {name: f"{value:,}" for name, value in result.counts.items()}

    def n(name: str) -> str:
        return counts.get(name, "-")

    total = result.planned if result.dry_run else result.written
    return [
        result.organization,
        n("accounts"),
        n("customers"),
        n("matched"),
        f"{n('missing_identifier')} / {n('duplicate_identifier')} / {n('no_counterpart')}",
        n("owners"),
        n("contacts"),
        n("custom_fields"),
        n("links"),
        f"({sum(total.values()):,})" if result.dry_run else f"{sum(total.values()):,}",
        f"{sum(result.refused.values()):,}",
        f"{result.checks['passed']} / {result.checks['warned']} / {result.checks['failed']}",
        f"{result.seconds:.1f}",
    ]


def print_plans(result: Result) -> None:
    """What a dry run would change: counts, and the first rows of each plan with personal data masked."""
    for asset, what in WRITERS.items():
        planned = result.planned.get(asset, 0)
        out.print(f"{result.organization}: {planned:,} {what} would be written.", markup=False)
        rows = result.plans.get(asset, [])
        if not rows:
            continue
        table = Table(header_style="bold", pad_edge=False)
        for column in rows[0]:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*("" if value is None else str(value) for value in row.values()))
        out.print(table)
        if planned > len(rows):
            out.print(f"... and {planned - len(rows):,} more.")


def print_error(text: str) -> None:
    """One error for a person, on the error stream."""
    err.print(f"[bold red]Error:[/bold red] {_escaped(text)}", soft_wrap=True)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
