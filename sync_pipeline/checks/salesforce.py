"""Can the fields that the YAML names serve? Asked, and answered, before anything is read."""

from __future__ import annotations

from sync_pipeline import salesforce
from sync_pipeline.checks.building import Finding, organization_check
from sync_pipeline.resources import Step

_PROBLEMS = "SELECT purpose, object, field, type, problem FROM salesforce_fields WHERE problem IS NOT NULL"


def _said(step: Step, rows: str) -> str:
    """Every problem in full, with file and line: this text is what a person reads when the sync has stopped."""
    found = step.con.execute(rows).fetchall()
    return "\n".join(
        f"{salesforce.FieldFact(object_name, field, purpose).where(step.org)}: {problem}"
        for purpose, object_name, field, _, problem in found
    )


@organization_check("salesforce_fields", blocking=True)
def identifier_field_has_supported_type(step: Step) -> Finding:
    """The shared identifier is the Account Id or a field of type string, textarea or reference.

    A number field loses leading zeros and long digits, so it can't be compared safely. Copy it into a text field (a formula or a
    flow does it) and name that one in the YAML.
    """
    rows = f"{_PROBLEMS} AND purpose = 'identifier'"
    return Finding(
        rows=rows,
        found=_said(step, rows),
        none=f"{step.org.identifier.salesforce_field} can be the shared identifier.",
    )


@organization_check("salesforce_fields", blocking=True)
def configured_fields_can_be_used(step: Step) -> Finding:
    """Every other field that the YAML names exists, may be read, and, where the portal link is written to it, be written.

    A field that Salesforce hides from the user by field-level security looks the same as one that does not exist: add it to the
    user's permission set, or correct its name.
    """
    rows = f"{_PROBLEMS} AND purpose <> 'identifier'"
    return Finding(
        rows=rows,
        found=_said(step, rows),
        none="Every field that the YAML names can be used.",
    )


@organization_check("salesforce_fields")
def salesforce_has_requests_left(step: Step) -> Finding:
    """The organization has API requests left today, for the sync and for everybody else.

    From `salesforce.api_budget.warn_percent` on this check warns; at `stop_percent` a sync stops, and goes on next time. Setup >
    Company Information shows the requests, the API usage report who made them.
    """
    budget = step.org.salesforce.api_budget
    used = "round(100.0 * api_requests_used / api_requests_limit, 1)"
    return Finding(
        rows=f"""
            SELECT api_requests_used AS used, api_requests_limit AS most, {used} AS percent
            FROM salesforce_organization WHERE {used} >= {budget.warn_percent}
        """,
        found=f"{budget.warn_percent} % or more of the day's API requests are used; a sync stops at {budget.stop_percent} %.",
        none=f"Less than {budget.warn_percent} % of the day's API requests were used when the sync began.",
    )


CHECKS = (identifier_field_has_supported_type, configured_fields_can_be_used, salesforce_has_requests_left)
