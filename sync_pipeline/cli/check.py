"""`sync-pipeline check`."""

from __future__ import annotations

from sync_pipeline.cli.orgs import load
from sync_pipeline.cli.output import out, print_json
from sync_pipeline.errors import ConfigurationError
from sync_pipeline.preflight import Line, look


def show(name: str, *, as_json: bool) -> int:
    """Print a line for everything looked at; the exit code is that of the first problem."""
    loaded = load()
    if name in loaded.broken:
        code = ConfigurationError.exit_code
        lines = [Line("configuration", False, str(problem), exit_code=code) for problem in loaded.broken[name]]
    elif name in loaded.organizations:
        lines = []
        for line in look(loaded.organizations[name]):
            lines.append(line)
            if not as_json:
                _print(line)
    else:
        known = ", ".join(sorted({*loaded.organizations, *loaded.broken})) or "none yet"
        raise ConfigurationError(f"There is no organization {name}.", next_step=f"Those there are: {known}.")
    problems = [line for line in lines if not line.ok]
    if as_json:
        document = {"organization": name, "ok": not problems, "looked_at": [line.as_json() for line in lines]}
        print_json(document)
    else:
        if name in loaded.broken:
            for line in lines:
                _print(line)
        verdict = f"{len(problems)} problem(s)." if problems else "Ready to sync."
        out.print(f"{name}: {verdict}", style="bold red" if problems else "bold green", markup=False)
    return problems[0].exit_code if problems else 0


def _print(line: Line) -> None:
    sign = "[green]ok[/green]" if line.ok else "[bold red]no[/bold red]"
    text = line.text.replace("[", r"\[")
    out.print(f"{sign}  {line.area:<14} {text}", soft_wrap=True)
