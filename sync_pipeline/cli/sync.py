"""`sync-pipeline sync`."""

from __future__ import annotations

from sync_pipeline.cli.instance import open_instance
from sync_pipeline.cli.orgs import load
from sync_pipeline.cli.output import err, out, print_error, print_json, print_plans, results_table, shown_progress
from sync_pipeline.cli.running import Result, look_after_organizations, sync
from sync_pipeline.errors import ConfigurationError
from sync_pipeline.orgs import Loaded


def run(names: list[str], *, everyone: bool, dry_run: bool, as_json: bool) -> int:
    """Sync each organization in turn, print the results, answer with the first failure's exit code."""
    loaded = load()
    chosen = _chosen(names, everyone, loaded)
    results = sync_each(chosen, loaded, dry_run=dry_run)
    if as_json:
        print_json([result.as_json() for result in results])
    else:
        show(results)
    return next((result.exit_code for result in results if result.exit_code), 0)


def sync_each(names: list[str], loaded: Loaded, *, dry_run: bool = False) -> list[Result]:
    """Sync the organizations one after the other, with progress; then judge files and last syncs."""
    results = []
    with open_instance() as instance:
        for name in names:
            with shown_progress(f"{'dry run of ' if dry_run else ''}{name}"):
                try:
                    results.append(sync(name, loaded, instance, dry_run=dry_run))
                except KeyboardInterrupt:
                    print_error(f"{name}: interrupted. What it had done is kept; the next sync goes on.")
                    raise
        if not dry_run:
            look_after_organizations(loaded, instance)
    return results


def show(results: list[Result]) -> None:
    """The table, what a dry run would change, and what went wrong."""
    for result in results:
        if result.dry_run and not result.exit_code:
            print_plans(result)
    told = [result for result in results if not result.exit_code]
    if told:
        out.print(results_table(told))
    for result in results:
        for error in result.errors:
            print_error(f"{result.organization}: {error}")
        if sum(result.refused.values()):
            err.print(
                f"{result.organization}: {sum(result.refused.values())} row(s) were refused and are tried again next time; "
                "the checks in the Dagster UI list them with the other system's own words.",
                markup=False,
            )


def _chosen(names: list[str], everyone: bool, loaded: Loaded) -> list[str]:
    known = sorted({*loaded.organizations, *loaded.broken})
    if not known:
        raise ConfigurationError(
            "There are no organizations yet.", next_step="Copy config/orgs/_example.yaml and fill it in."
        )
    if everyone and not names:
        return known
    if everyone:
        raise ConfigurationError("Names and --all do not go together.", next_step="Say one of them.")
    if not names:
        raise ConfigurationError("Which organizations?", next_step=f"Name some of {', '.join(known)}, or say --all.")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigurationError(
            f"There is no organization {', '.join(unknown)}.",
            next_step=f"Those there are: {', '.join(known)}.",
        )
    return list(dict.fromkeys(names))
