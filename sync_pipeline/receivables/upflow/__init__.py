"""The platform `upflow`: Upflow's API."""

from __future__ import annotations

from sync_pipeline.errors import ConfigurationError
from sync_pipeline.orgs.models import Organization, UpflowSettings
from sync_pipeline.receivables.upflow.client import Client
from sync_pipeline.receivables.upflow.platform import Upflow
from sync_pipeline.yaml_types.values import text

__all__ = ["open_upflow"]


def open_upflow(org: Organization) -> Upflow:
    """Upflow for an organization whose receivables platform it is. Sends nothing yet.

    Raises:
        ConfigurationError: a variable that holds a credential is not set.
    """
    settings = org.receivables
    if not isinstance(settings, UpflowSettings):
        raise ConfigurationError(f"{org.where('receivables', 'platform')}: the receivables platform is not upflow.")
    return Upflow(
        Client(
            organization=org.name,
            url=text(settings.url),
            key=settings.api_key.value(),
            secret=settings.api_secret.value(),
            ca_file=str(org.path(settings.ca_file)) if settings.ca_file else None,
            per_minute=settings.requests_per_minute,
            next_step=(
                f"Make a new API key in Upflow and set {settings.api_key.env} and {settings.api_secret.env} "
                f"({org.where('receivables', 'api_key')})."
            ),
        )
    )
