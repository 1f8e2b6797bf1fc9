"""What the settings of billing systems have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from sync_pipeline.yaml_types.shapes import ApiUrl
from sync_pipeline.yaml_types.values import Secret, Section, Setting


class BillingSettings(Section):
    """`billing` of a YAML file; each system narrows `system` to its name."""

    system: str
    """The billing system."""

    @classmethod
    def findings(cls, section: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
        """What is wrong with keys that are right one by one: a key's path below `billing`, and a sentence.

        Args:
            section: `billing` as plain data, whatever else is wrong with it.
        """
        return iter(())


class ApiSettings(BillingSettings):
    """A billing system with an API; each system names its address as `url`, unless every account has one of its own."""

    url: ApiUrl
    """Address of the API."""
    ca_file: Setting | None = None
    """A certificate authority (PEM) to trust instead of the system's, relative to this file. Only for private hosts."""


class ChangingSettings(ApiSettings):
    """An API that says what has changed."""

    full_read_days: int = Field(default=7, ge=1, le=90)
    """Days after which every customer is read again, in case a change left no trace."""


class ClientLogin(Section):
    """A server logs in by the id and secret of an app (OAuth client credentials)."""

    client_id: Setting
    """The app's id."""
    client_secret: Secret
    """The app's secret, named as an environment variable."""
