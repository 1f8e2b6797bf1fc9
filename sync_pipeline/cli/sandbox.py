"""`sync-pipeline sandbox`: the options, and the error that a person can put right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sync_pipeline.errors import ConfigurationError
from sync_pipeline.sandbox import SandboxError, SandboxOptions, run

_Count = Annotated[int | None, typer.Option(help="Accounts of each organization (2000).", min=0)]


def sandbox(
    folder: Annotated[Path, typer.Option(help="State, certificates, files and truth.")] = Path("var/sandbox"),
    billing: Annotated[
        list[str] | None,
        typer.Option(help="stripe, database or file; once for each organization wanted. All three by default."),
    ] = None,
    accounts: _Count = None,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same world (1).")] = None,
    trouble: Annotated[float | None, typer.Option(help="Share of records with planted trouble (0.1).")] = None,
    plain_http: Annotated[bool, typer.Option("--plain-http", help="Serve without TLS.")] = False,
    ready_file: Annotated[
        Path | None, typer.Option(help="Gets one JSON object, with addresses and credentials, once everything listens.")
    ] = None,
    port_salesforce: Annotated[int, typer.Option(help="0: the one used before, else any free one.")] = 0,
    port_upflow: Annotated[int, typer.Option(help="As --port-salesforce.")] = 0,
    port_stripe: Annotated[int, typer.Option(help="As --port-salesforce.")] = 0,
    upflow_per_minute: Annotated[int, typer.Option(help="Calls a minute before Upflow's stand-in answers 429.")] = 600,
) -> None:
    """Serve until Ctrl-C."""
    try:
        options = SandboxOptions(
            folder=folder,
            billing=tuple(billing) if billing else None,
            accounts=accounts,
            seed=seed,
            trouble=trouble,
            plain_http=plain_http,
            ready_file=ready_file,
            port_salesforce=port_salesforce,
            port_upflow=port_upflow,
            port_stripe=port_stripe,
            upflow_per_minute=upflow_per_minute,
        )
        run(options)
    except SandboxError as error:
        raise ConfigurationError(str(error)) from error
