"""The command line, `sync-pipeline`."""

from __future__ import annotations


def main() -> None:
    """Entry point: run the command, and turn whatever a user can cause into a sentence and an exit code."""
    from sync_pipeline.cli.app import run

    run()
