"""Validation rules of an organization: a save that leaves a record in the rule's condition is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sync_pipeline.sandbox.salesforce.errors import ApiError, RowError
from sync_pipeline.sandbox.salesforce.objects import Catalog, SObject
from sync_pipeline.sandbox.salesforce.soql import compile_query


@dataclass(frozen=True, slots=True)
class ValidationRule:
    """One rule.

    Args:
        object: name of the object.
        when: a SOQL condition; a record that meets it is refused, e.g. "Industry = 'Retail' AND Portal_Link__c != null".
        message: what Salesforce shows.
        field: the field the message stands at; none shows it at the top of the page.
    """

    object: str
    when: str
    message: str
    field: str | None = None

    def sql(self, catalog: Catalog, org: str, entity: SObject, record_id: str) -> tuple[str, tuple[Any, ...]]:
        """SQL that gives a row count, and its parameters: not 0 where the record meets the condition."""
        soql = f"SELECT Id FROM {entity.name} WHERE Id = '{record_id}' AND ({self.when})"
        compiled = compile_query(soql, catalog, org)
        return compiled.count_sql, compiled.parameters

    def refusal(self) -> RowError:
        """The error of a record that meets the condition."""
        return RowError("FIELD_CUSTOM_VALIDATION_EXCEPTION", self.message, (self.field,) if self.field else ())


def read_rule(given: dict[str, Any], catalog: Catalog, org: str) -> ValidationRule:
    """A rule from JSON.

    Raises:
        ValueError: with what is wrong with it.
    """
    unknown = given.keys() - {"org", "object", "when", "message", "field"}
    if unknown or not all(isinstance(given.get(key), str) for key in ("object", "when", "message")):
        raise ValueError("a validation rule has org, object, when (a SOQL condition), message, and perhaps field")
    entity = catalog.get(given["object"])
    if entity is None:
        raise ValueError(f"no object {given['object']!r}")
    field = entity.fields.get(str(given["field"]).lower()) if given.get("field") else None
    if given.get("field") and field is None:
        raise ValueError(f"no field {given['field']!r} of {entity.name!r}")
    rule = ValidationRule(entity.name, given["when"], given["message"], field.name if field else None)
    try:
        rule.sql(catalog, org, entity, f"{entity.prefix}000000000001")
    except ApiError as error:
        raise ValueError(f"when: {error.message}") from None
    return rule
