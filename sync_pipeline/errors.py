"""Errors by consequence: what the reader has to do next decides the class.

    SyncError
    ├── ConfigurationError   change the YAML file, an environment variable, or a field in Salesforce
    ├── ReconnectError       the login was refused: the credentials or the user's rights
    ├── DataError            a source delivered data that can't be read
    ├── TransientError       nothing is wrong here: try again later (Dagster retries it)
    │   └── LimitReached     a day's requests are used up: try again when they are there again, not in a minute
    └── GuardStop            a guard stopped the sync before anything was written

A row that another system refuses is not an error of the sync: it is recorded as a `Refusal` with that system's own code and
message, the other rows go on, and the next sync tries it again.
"""

from __future__ import annotations

from dataclasses import dataclass


class SyncError(Exception):
    """Root of everything a user can cause or meet.

    Args:
        message: what happened and where (organization, object, field, file and line). Never a secret, never personal data.
        next_step: what to do about it, as one imperative sentence.
    """

    exit_code = 1

    def __init__(self, message: str, *, next_step: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}" if self.next_step else self.message


class ConfigurationError(SyncError):
    """The YAML file, an environment variable or the schema of another system has to change."""

    exit_code = 2


class ReconnectError(SyncError):
    """A login was refused; somebody has to renew credentials or rights."""

    exit_code = 3


class TransientError(SyncError):
    """The other side is away or busy; the same call may work later."""

    exit_code = 4


class LimitReached(TransientError):
    """The requests that the other side allows in a day are used up, or as good as."""


class GuardStop(SyncError):
    """A guard stopped the sync before anything was written."""

    exit_code = 5


class DataError(SyncError):
    """A source delivered something that can't be read as customers or accounts."""

    exit_code = 6


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row that another system refused, in that system's own words."""

    code: str
    message: str
