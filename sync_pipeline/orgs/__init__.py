"""Organizations in YAML: one file each, checked whole, every problem with its file and line."""

from sync_pipeline.orgs.loader import Loaded, findings_of, load_organizations, read_organization
from sync_pipeline.orgs.models import Organization, Schedule
from sync_pipeline.orgs.problems import Problem
from sync_pipeline.orgs.schema import json_schema
from sync_pipeline.orgs.variables import unset_variables
from sync_pipeline.yaml_types.domain import salesforce_base_url
from sync_pipeline.yaml_types.shapes import api_url
from sync_pipeline.yaml_types.values import EnvRef, text

__all__ = [
    "EnvRef",
    "Loaded",
    "Organization",
    "Problem",
    "Schedule",
    "api_url",
    "findings_of",
    "json_schema",
    "load_organizations",
    "read_organization",
    "salesforce_base_url",
    "text",
    "unset_variables",
]
