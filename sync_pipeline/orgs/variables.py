"""Which environment variables an organization still waits for."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from sync_pipeline.orgs.models import Organization
from sync_pipeline.orgs.problems import Problem
from sync_pipeline.yaml_types.values import EnvRef


def unset_variables(org: Organization) -> list[Problem]:
    """One problem for every `{env: NAME}` of the file whose variable is not set or empty, by line.

    Loading a file never reads them: a machine that only shows the graph needs no secrets.
    """
    return sorted(
        (
            Problem(
                org.file,
                int(reference.where.rpartition(":")[2]),
                f"the environment variable {reference.env} is not set or empty. Set it where the sync runs.",
                org.name,
            )
            for reference in references(org)
            if not reference.is_set()
        ),
        key=lambda problem: problem.line,
    )


def references(value: object) -> Iterator[EnvRef]:
    """Every `{env: NAME}` below `value`."""
    if isinstance(value, EnvRef):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from references(getattr(value, name))
