"""The commands. Each does one thing and leaves the work to the rooms.

Exit codes: 0 done; 1 a sync failed; 2 the configuration or the command is wrong; 3 a login was refused; 4 a passing failure,
try again; 5 a guard stopped the sync; 6 a source can't be read. Of several organizations, the first failure decides.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from sync_pipeline import settings
from sync_pipeline.errors import ConfigurationError, SyncError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Keeps billing customers and Salesforce accounts one to one, and the receivables platform in step.",
    epilog=(
        "Exit codes: 0 done, 1 failed, 2 configuration, 3 login refused, 4 try again later, 5 stopped by a guard, "
        "6 unreadable source."
    ),
)

billing = typer.Typer(no_args_is_help=True, help="Look into an organization's billing system.")
app.add_typer(billing, name="billing")

Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")]


@app.callback()
def _common(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Folder with one YAML file per organization.", envvar=settings.CONFIG_VARIABLE),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder for warehouses and Dagster's records.", envvar=settings.DATA_VARIABLE),
    ] = None,
) -> None:
    # Everything below, the Dagster definitions too, reads the folders from the environment.
    if config:
        os.environ[settings.CONFIG_VARIABLE] = str(config)
    if data:
        os.environ[settings.DATA_VARIABLE] = str(data)


@app.command()
def orgs(json: Json = False) -> None:
    """List the organizations, and every problem of every file."""
    from sync_pipeline.cli.orgs import show

    raise typer.Exit(show(as_json=json))


@app.command()
def init(
    organization: Annotated[str, typer.Argument(help="Name of the new organization.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask, and print the file; write nothing.")] = False,
) -> None:
    """Ask for what a new organization needs, and write its YAML file."""
    from sync_pipeline.cli.init import init as ask_and_write

    raise typer.Exit(ask_and_write(organization, dry_run=dry_run))


@app.command()
def connect(
    organization: Annotated[str, typer.Argument(help="Name of the organization.")],
    no_browser: Annotated[
        bool,
        typer.Option("--no-browser", help="Print the address instead of opening it, and take the answer pasted here."),
    ] = False,
    # The port that Salesforce's own command line listens on, so that apps made for it fit.
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the callback URL that the app lists.")] = 1717,
    yes: Annotated[bool, typer.Option("--yes", help="Go on although a user has five organizations already.")] = False,
    billing: Annotated[bool, typer.Option("--billing", help="To the billing system instead of Salesforce.")] = False,
    refresh_token: Annotated[
        bool,
        typer.Option(
            "--refresh-token",
            help="With --billing: begin with a refresh token that you have; it is asked for, or read from standard input.",
        ),
    ] = False,
) -> None:
    """Let a person log in by browser, and keep the login; for login.method: browser."""
    from sync_pipeline.cli import connect as connecting
    from sync_pipeline.cli import connect_billing

    if refresh_token and not billing:
        raise ConfigurationError("--refresh-token is for billing systems.", next_step="Say --billing too.")
    if refresh_token:
        raise typer.Exit(connect_billing.begin_with_refresh_token(organization))
    if billing:
        raise typer.Exit(connect_billing.connect(organization, browser=not no_browser, port=port))
    raise typer.Exit(connecting.connect(organization, browser=not no_browser, port=port, yes=yes))


@app.command()
def disconnect(
    organization: Annotated[str, typer.Argument(help="Name of the organization.")],
    billing: Annotated[bool, typer.Option("--billing", help="From the billing system instead of Salesforce.")] = False,
) -> None:
    """Revoke the login that connect kept, and forget it."""
    from sync_pipeline.cli import connect as connecting
    from sync_pipeline.cli import connect_billing

    if billing:
        raise typer.Exit(connect_billing.disconnect(organization))
    raise typer.Exit(connecting.disconnect(organization))


@app.command()
def check(
    organization: Annotated[str, typer.Argument(help="Name of the organization.")],
    json: Json = False,
    permission_set: Annotated[
        Path | None,
        typer.Option(
            "--permission-set",
            metavar="FILE",
            help="Write the least permission set for this organization there, as Salesforce metadata (a file that ends "
            "in .permissionset-meta.xml, or a folder); check nothing.",
        ),
    ] = None,
) -> None:
    """Check configuration, logins, fields and rights of an organization; everything that is wrong at once. Changes nothing."""
    if permission_set is not None:
        from sync_pipeline.cli.permission_set import write

        raise typer.Exit(write(organization, permission_set, as_json=json))
    from sync_pipeline.cli.check import show

    raise typer.Exit(show(organization, as_json=json))


@app.command()
def sync(
    organizations: Annotated[list[str] | None, typer.Argument(help="Names of the organizations.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every organization of the folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; write nothing anywhere.")] = False,
    json: Json = False,
) -> None:
    """Sync organizations: the Dagster job, run here, so that it shows in the UI."""
    from sync_pipeline.cli.sync import run as run_sync

    raise typer.Exit(run_sync(organizations or [], everyone=everyone, dry_run=dry_run, as_json=json))


@app.command()
def demo(
    ui: Annotated[
        bool, typer.Option("--ui", help="Open the Dagster UI on the demo organizations instead of syncing them.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="One organization for every billing system there is, instead of three.")
    ] = False,
    accounts: Annotated[int, typer.Option(min=1, help="Accounts of each demo organization.")] = 2000,
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
) -> None:
    """Start the sandbox, sync the three demo organizations, and show what happened."""
    from sync_pipeline.cli.demo import run_demo, run_ui

    raise typer.Exit(run_ui(accounts, port, everything=everything) if ui else run_demo(accounts, everything=everything))


@billing.command("fields")
def billing_fields(
    organization: Annotated[str, typer.Argument(help="Name of the organization.")],
    samples: Annotated[bool, typer.Option("--samples", help="Show some values of each field, masked.")] = False,
    json: Json = False,
) -> None:
    """List the fields customers have, how many fill each and how many values repeat, and mark possible identifiers.

    Reads every customer into a temporary folder; identifier.billing_field need not be right yet.
    """
    from sync_pipeline.cli.fields import show

    raise typer.Exit(show(organization, samples=samples, as_json=json))


# The sandbox has a command line of its own, so that it can be started without anything of the product.
@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def sandbox(context: typer.Context) -> None:
    """Serve stand-ins for Salesforce, Upflow and Stripe on loopback."""
    try:
        from sync_pipeline.sandbox.__main__ import main
    except ImportError as error:
        raise ConfigurationError(
            f"The sandbox needs the package {error.name}.",
            next_step="Install it: pip install 'sync-pipeline[sandbox]'.",
        ) from error
    raise typer.Exit(main(context.args))


def run() -> None:
    """Run the command line."""
    # Dagster announces its own preview features; whoever runs a command can do nothing about them.
    warnings.filterwarnings("ignore", module="dagster")
    _end_orderly()
    try:
        app()
    except SyncError as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


def _end_orderly() -> None:
    """Let every way of ending us (Ctrl-C, kill, a closed terminal) end what we started: sandbox, web server, run."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    # SIGINT too: a shell starts background jobs with it ignored, and our children would inherit that.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # no SIGHUP on Windows
            signal.signal(getattr(signal, name), interrupt)


def _fail(error: SyncError) -> None:
    from sync_pipeline.cli.output import print_error

    print_error(str(error))
    sys.exit(error.exit_code)
