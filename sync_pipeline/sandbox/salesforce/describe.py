"""The bodies of `sobjects/`, `sobjects/{object}` and `sobjects/{object}/describe`."""

from __future__ import annotations

from typing import Any

from sync_pipeline.sandbox.salesforce.objects import NUMBER_TYPES, TEXT_TYPES, Catalog, Field, SObject

_SOAP = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "datetime": "xsd:dateTime",
    "int": "xsd:int",
    "address": "urn:address",
}

_COMPOUND = {"BillingCountry": "BillingAddress", "FirstName": "Name", "LastName": "Name"}
_NOT_PERMISSIONABLE = frozenset({"FirstName", "LastName", "MasterRecordId"})
"""Besides what is always filled: field-level security does not reach them."""


def describe_global(catalog: Catalog, base: str) -> dict[str, Any]:
    """Every object, in short. `base` is the path of the version, e.g. /services/data/v66.0."""
    return {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": [brief(entity, base) for entity in catalog]}


def basic(entity: SObject, base: str) -> dict[str, Any]:
    """One object in short, as `sobjects/{object}` answers."""
    return {"objectDescribe": brief(entity, base), "recentItems": []}


def describe(entity: SObject, base: str) -> dict[str, Any]:
    """One object with all its fields."""
    return {
        **brief(entity, base),
        "actionOverrides": [],
        "childRelationships": [],
        "compactLayoutable": True,
        "defaultImplementation": None,
        "extendedBy": None,
        "extendsInterfaces": None,
        "fields": [_field(f) for f in entity.fields.values()],
        "implementedBy": None,
        "implementsInterfaces": None,
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": [],
        "searchLayoutable": True,
        "sobjectDescribeOption": "FULL",
        "supportedScopes": [{"label": f"All {entity.plural.lower()}", "name": "everything"}],
    }


def brief(entity: SObject, base: str) -> dict[str, Any]:
    """What the list of objects says about one."""
    address = f"{base}/sobjects/{entity.name}"
    return {
        "activateable": False,
        "associateEntityType": None,
        "associateParentEntity": None,
        "createable": entity.updateable,
        "custom": False,
        "customSetting": False,
        "deepCloneable": False,
        "deletable": entity.deletable,
        "deprecatedAndHidden": False,
        "feedEnabled": False,
        "hasSubtypes": False,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": entity.prefix,
        "label": entity.label,
        "labelPlural": entity.plural,
        "layoutable": True,
        "mergeable": entity.name in {"Account", "Contact"},
        "mruEnabled": True,
        "name": entity.name,
        "queryable": True,
        "replicateable": entity.name != "Organization",
        "retrieveable": True,
        "searchable": entity.name != "Organization",
        "triggerable": True,
        "undeletable": entity.deletable,
        "updateable": entity.updateable,
        "urls": {"sobject": address, "describe": f"{address}/describe", "rowTemplate": f"{address}/{{ID}}"},
    }


def _soap_type(field: Field) -> str:
    if field.type in NUMBER_TYPES and field.type != "int":
        return "xsd:double"
    return _SOAP.get(field.type, "xsd:string")


def _field(field: Field) -> dict[str, Any]:
    text = field.type in TEXT_TYPES
    filterable = field.filterable
    return {
        "aggregatable": filterable and field.type != "boolean",
        "aiPredictionField": False,
        "autoNumber": False,
        "byteLength": field.length * 3 if text else field.length,
        "calculated": field.calculated,
        "calculatedFormula": "AnnualRevenue / 1000" if field.calculated else None,
        "cascadeDelete": False,
        "caseSensitive": False,
        "compoundFieldName": _COMPOUND.get(field.name),
        "controllerName": None,
        "createable": field.createable,
        "custom": field.custom,
        "defaultValue": False if field.type == "boolean" else None,
        "defaultValueFormula": None,
        "defaultedOnCreate": field.type == "boolean" or not field.createable,
        "dependentPicklist": False,
        "deprecatedAndHidden": False,
        "digits": 9 if field.type == "int" else 0,
        "displayLocationInDecimal": False,
        "encrypted": False,
        "externalId": field.external_id,
        "extraTypeInfo": "plaintextarea" if field.type == "textarea" else None,
        "filterable": filterable,
        "filteredLookupInfo": None,
        "formulaTreatNullNumberAsZero": False,
        "groupable": filterable and field.type not in {"double", "currency", "datetime"},
        "highScaleNumber": False,
        "htmlFormatted": False,
        "idLookup": field.type == "id" or field.external_id,
        "inlineHelpText": None,
        "label": field.label or field.name,
        "length": field.length,
        "mask": None,
        "maskType": None,
        "name": field.name,
        "nameField": field.name == "Name",
        "namePointing": False,
        "nillable": field.nillable,
        "permissionable": field.nillable and field.type != "id" and field.name not in _NOT_PERMISSIONABLE,
        "picklistValues": [
            {"active": True, "defaultValue": False, "label": v, "validFor": None, "value": v} for v in field.picklist
        ],
        "polymorphicForeignKey": False,
        "precision": field.precision,
        "queryByDistance": False,
        "referenceTargetField": None,
        "referenceTo": [field.parent] if field.parent else [],
        "relationshipName": field.relationship,
        "relationshipOrder": None,
        "restrictedDelete": False,
        "restrictedPicklist": False,
        "scale": field.scale,
        "searchPrefilterable": field.type == "reference",
        "soapType": _soap_type(field),
        "sortable": filterable,
        "type": field.type,
        "unique": field.unique,
        "updateable": field.updateable,
        "writeRequiresMasterRead": False,
    }
