"""The JSON schema of an organization's file, for editors that complete and check YAML."""

from __future__ import annotations

from typing import Any

from sync_pipeline.orgs.models import Organization


def json_schema() -> dict[str, Any]:
    """The schema as `config/org.schema.json` holds it."""
    schema = Organization.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "description": "One organization, one YAML file. Generated from the models by `python -m sync_pipeline.orgs`.",
    }
