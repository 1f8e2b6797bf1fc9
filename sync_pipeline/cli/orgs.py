"""`sync-pipeline orgs`: what is configured, and what is wrong with it."""

from __future__ import annotations

from rich.table import Table

from sync_pipeline.assets.organizations import overview
from sync_pipeline.cli.instance import open_instance
from sync_pipeline.cli.output import err, out, print_error, print_json
from sync_pipeline.errors import ConfigurationError
from sync_pipeline.orgs import Loaded, Organization, load_organizations
from sync_pipeline.settings import config_dir


def load() -> Loaded:
    """The organizations of the configured folder; ConfigurationError where there is no such folder."""
    folder = config_dir()
    if not folder.is_dir():
        raise ConfigurationError(
            f"There is no folder {folder} with the organizations' YAML files.",
            next_step="Name the folder with --config or $SYNC_PIPELINE_CONFIG, or start in the project's folder.",
        )
    return load_organizations(folder)


def the_organization(name: str) -> Organization:
    """One organization by its name; ConfigurationError where there is none, or where its file has problems."""
    loaded = load()
    if name in loaded.broken:
        raise ConfigurationError("\n".join(str(problem) for problem in loaded.broken[name]))
    if name not in loaded.organizations:
        known = ", ".join(sorted({*loaded.organizations, *loaded.broken})) or "none yet"
        raise ConfigurationError(f"There is no organization {name}.", next_step=f"Those there are: {known}.")
    return loaded.organizations[name]


def show(*, as_json: bool) -> int:
    """Print the overview; the exit code is that of a wrong configuration where a file has problems."""
    loaded = load()
    with open_instance() as instance:
        rows = overview(loaded, instance)
    if as_json:
        problems = [
            {"organization": p.org, "file": str(p.file), "line": p.line, "message": p.message} for p in loaded.problems
        ]
        print_json({"organizations": rows, "problems": problems})
    else:
        _print(rows, loaded)
    return ConfigurationError.exit_code if loaded.problems else 0


def _print(rows: list[dict[str, str]], loaded: Loaded) -> None:
    if not rows:
        out.print(
            f"No organizations in {config_dir()}. Run `sync-pipeline init NAME`, or copy config/orgs/_example.yaml there.",
            markup=False,
        )
        return
    table = Table(header_style="bold", pad_edge=False)
    for column in rows[0]:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*row.values(), style="red" if row["problems"] not in ("", "0") else None)
    out.print(table)
    for problem in loaded.problems:
        print_error(str(problem))
    if loaded.problems:
        files = len({problem.file for problem in loaded.problems})
        rest = "; the other organizations work" if loaded.organizations else ""
        err.print(f"{len(loaded.problems)} problem(s) in {files} file(s){rest}.")
