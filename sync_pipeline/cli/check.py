"""`sync-pipeline check`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from sync_pipeline.cli.orgs import load, the_organization
from sync_pipeline.cli.output import out, print_json
from sync_pipeline.errors import ConfigurationError
from sync_pipeline.preflight import Line, look


def show(name: str, *, as_json: bool) -> int:
    """Print a line for everything looked at; the exit code is that of the first problem."""
    loaded = load()
    if name in loaded.broken:
        code = ConfigurationError.exit_code
        found = iter([Line("configuration", False, str(problem), exit_code=code) for problem in loaded.broken[name]])
    else:
        found = look(the_organization(name))
    lines = list(found if as_json else _printed(found))
    problems = [line for line in lines if not line.ok]
    if as_json:
        print_json({"organization": name, "ok": not problems, "looked_at": [line.as_json() for line in lines]})
    else:
        out.print(f"{name}: {_verdict(lines)}", style="bold red" if problems else "bold green", markup=False)
    return problems[0].exit_code if problems else 0


def _verdict(lines: list[Line]) -> str:
    problems, unsure = sum(not line.ok for line in lines), sum(line.ok and not line.sure for line in lines)
    open_questions = f" {unsure} thing(s) to look at yourself, marked ??." if unsure else ""
    return (f"{problems} problem(s)." if problems else "Ready to sync.") + open_questions


def _printed(lines: Iterable[Line]) -> Iterator[Line]:
    """The same lines, each area printed as soon as it is complete: what is wrong first, then what a person must look at."""
    for _, together in groupby(lines, key=lambda line: line.area):
        area = list(together)
        for line in sorted(area, key=lambda line: (line.ok, line.sure)):
            _print(line)
        yield from area


def _print(line: Line) -> None:
    sign = "[bold red]no[/bold red]" if not line.ok else "[green]ok[/green]" if line.sure else "[yellow]??[/yellow]"
    text = line.text.replace("[", r"\[")
    out.print(f"{sign}  {line.area:<14} {text}", soft_wrap=True)
