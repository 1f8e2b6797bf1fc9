"""The objects of an organization, their fields and what Salesforce's describe says about them.

One `Catalog` per organization: the same objects for all, but for what its field overrides hide or change. A field that
field-level security hides is simply absent, so nothing else here has to know about permissions; what a user's other rights change
of them, `permissions` says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from sync_pipeline.sandbox.salesforce.errors import ApiError

TEXT_TYPES = frozenset({"string", "textarea", "picklist", "url", "email", "phone"})
NUMBER_TYPES = frozenset({"int", "double", "currency", "percent"})
LONG_TEXT = 255
"""A textarea longer than this can be neither filtered nor sorted."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field as describe shows it.

    Args:
        name: API name, which is also the column of the state.
        type: Salesforce's type.
        length: longest text it takes; 0 where it is no text.
        parent: object a reference points at.
        relationship: name of that parent in a query (Owner), or None.
        sql: expression over the object's table, `{t}` its alias; the column itself by default, None if compound.
    """

    name: str
    type: str
    label: str = ""
    length: int = 0
    updateable: bool = True
    createable: bool = True
    nillable: bool = True
    external_id: bool = False
    unique: bool = False
    calculated: bool = False
    parent: str | None = None
    relationship: str | None = None
    picklist: tuple[str, ...] = ()
    precision: int = 0
    scale: int = 0
    hidden: bool = False
    sql: str | None = ""

    @property
    def custom(self) -> bool:
        """Whether the company made it."""
        return self.name.endswith("__c")

    @property
    def filterable(self) -> bool:
        """Whether WHERE and ORDER BY take it."""
        return self.type != "address" and not (self.type == "textarea" and self.length > LONG_TEXT)

    def expression(self, alias: str) -> str:
        """SQL of its value."""
        if self.sql:
            return self.sql.format(t=alias)
        return f'{alias}."{self.name}"'


@dataclass(frozen=True, slots=True)
class SObject:
    """One object. `fields` by lower-cased name; `relationships` by lower-cased name of the parent in a query."""

    name: str
    label: str
    plural: str
    prefix: str
    table: str
    fields: MappingProxyType[str, Field]
    updateable: bool = True
    deletable: bool = True
    relationships: MappingProxyType[str, Field] = field(init=False)

    def __post_init__(self) -> None:
        parents = {f.relationship.lower(): f for f in self.fields.values() if f.relationship}
        object.__setattr__(self, "relationships", MappingProxyType(parents))


def _fixed(name: str, type_: str, label: str, length: int = 0, **others: Any) -> Field:
    """A field that nobody can write."""
    return Field(name, type_, label, length, updateable=False, createable=False, **others)


def _kept(name: str, type_: str, label: str, length: int = 0) -> Field:
    """A field that Salesforce keeps itself, always filled."""
    return _fixed(name, type_, label, length, nillable=False)


def _system(*extra: Field, deletable: bool = True) -> tuple[Field, ...]:
    """Id first, then the object's own, then the fields Salesforce keeps itself."""
    deleted = (_kept("IsDeleted", "boolean", "Deleted"),) if deletable else ()
    return (
        _kept("Id", "id", "Record ID", 18),
        *extra,
        *deleted,
        _kept("CreatedDate", "datetime", "Created Date"),
        _kept("LastModifiedDate", "datetime", "Last Modified Date"),
        _kept("SystemModstamp", "datetime", "System Modstamp"),
    )


_ACCOUNT = _system(
    Field("Name", "string", "Account Name", 255, nillable=False),
    Field("OwnerId", "reference", "Owner ID", 18, nillable=False, parent="User", relationship="Owner"),
    Field("ParentId", "reference", "Parent Account ID", 18, parent="Account", relationship="Parent"),
    Field("AccountNumber", "string", "Account Number", 40),
    Field(
        "Industry", "picklist", "Industry", 255, picklist=("Banking", "Energy", "Manufacturing", "Retail", "Technology")
    ),
    Field("Type", "picklist", "Account Type", 255, picklist=("Prospect", "Customer - Direct", "Partner", "Other")),
    Field("Website", "url", "Website", 255),
    Field("AnnualRevenue", "currency", "Annual Revenue", precision=18, scale=0),
    Field("NumberOfEmployees", "int", "Employees"),
    Field("BillingCountry", "string", "Billing Country", 80),
    Field("BillingAddress", "address", "Billing Address", updateable=False, createable=False, sql=None),
    Field("Billing_Id__c", "string", "Billing Id", 255, external_id=True),
    Field("Company_Number__c", "string", "Company Number", 80, external_id=True),
    Field("Legacy_Number__c", "double", "Legacy Number", precision=18, scale=0),
    Field("Notes__c", "textarea", "Notes", 32768),
    Field("Portal_Link__c", "textarea", "Portal Link", 1000),
    Field("Portal_Url__c", "url", "Portal URL", 255),
    Field("Short_Link__c", "string", "Short Link", 20),
    Field("Score__c", "double", "Score", precision=18, scale=2, updateable=False, createable=False, calculated=True),
    Field("Hidden__c", "string", "Hidden", 255, hidden=True),
    Field("Segment__c", "string", "Segment", 80),
    Field(
        "MasterRecordId",
        "reference",
        "Master Record ID",
        18,
        updateable=False,
        createable=False,
        parent="Account",
        relationship="MasterRecord",
    ),
)
_CONTACT = _system(
    Field("AccountId", "reference", "Account ID", 18, parent="Account", relationship="Account"),
    Field("FirstName", "string", "First Name", 40),
    Field("LastName", "string", "Last Name", 80, nillable=False),
    Field("Name", "string", "Full Name", 121, updateable=False, createable=False, nillable=False),
    Field("Email", "email", "Email", 80),
    Field("Phone", "phone", "Business Phone", 40),
    Field("Title", "string", "Title", 128),
    Field("Department", "string", "Department", 80),
    Field("Language__c", "string", "Language", 40),
    Field(
        "MasterRecordId",
        "reference",
        "Master Record ID",
        18,
        updateable=False,
        createable=False,
        parent="Contact",
        relationship="MasterRecord",
    ),
)
_USER = _system(
    Field("Username", "string", "Username", 80, nillable=False),
    Field("Name", "string", "Full Name", 121, updateable=False, createable=False, nillable=False),
    Field("FirstName", "string", "First Name", 40),
    Field("LastName", "string", "Last Name", 80, nillable=False),
    Field("Email", "email", "Email", 128, nillable=False),
    Field("IsActive", "boolean", "Active", nillable=False),
    deletable=False,
)
_ORGANIZATION = (
    _fixed("Id", "id", "Organization ID", 18, nillable=False, sql="{t}.organization_id"),
    _fixed("Name", "string", "Name", 80, nillable=False, sql="{t}.name"),
    _fixed("InstanceName", "string", "Instance Name", 5, sql="'SBX1'"),
    _fixed("IsSandbox", "boolean", "Is Sandbox", nillable=False, sql="{t}.is_sandbox"),
    _fixed("TrialExpirationDate", "datetime", "Trial Expiration Date", sql="NULL"),
    _fixed("NamespacePrefix", "string", "Namespace Prefix", 15, sql="NULL"),
    _fixed("OrganizationType", "picklist", "Edition", 40, sql="'Enterprise Edition'", picklist=("Enterprise Edition",)),
)


def _fields(fields: tuple[Field, ...]) -> MappingProxyType[str, Field]:
    return MappingProxyType({f.name.lower(): f for f in fields})


OBJECTS = (
    SObject("Account", "Account", "Accounts", "001", "account", _fields(_ACCOUNT)),
    SObject("Contact", "Contact", "Contacts", "003", "contact", _fields(_CONTACT)),
    SObject("User", "User", "Users", "005", "user", _fields(_USER), deletable=False),
    SObject(
        "Organization", "Organization", "Organizations", "00D", "organizations", _fields(_ORGANIZATION), False, False
    ),
)

CHANGEABLE = ("hidden", "type", "length", "updateable", "nillable", "unique", "label")
"""What a field override may set."""


class Catalog:
    """The objects one organization shows to its connected user.

    Args:
        overrides: (object, field) in lower case -> attributes of `Field` that differ from the ordinary.
        objects: those that the user may see.
    """

    def __init__(
        self,
        overrides: dict[tuple[str, str], dict[str, Any]] | None = None,
        objects: Iterable[SObject] = OBJECTS,
    ) -> None:
        self._objects = {o.name.lower(): _overridden(o, overrides or {}) for o in objects}

    def __iter__(self) -> Any:
        return iter(self._objects.values())

    def limited_to(self, names: frozenset[str]) -> Catalog:
        """The same with these objects only, named in lower case."""
        limited = Catalog()
        limited._objects = {name: entity for name, entity in self._objects.items() if name in names}
        return limited

    def get(self, name: str) -> SObject | None:
        """An object by its name in any case."""
        return self._objects.get(name.lower())

    def required(self, name: str) -> SObject:
        """An object by its name; NOT_FOUND for one that does not exist."""
        found = self.get(name)
        if found is None:
            raise ApiError("NOT_FOUND", "The requested resource does not exist", 404)
        return found

    def by_id(self, record_id: str) -> SObject | None:
        """The object a record id belongs to."""
        return next((o for o in self._objects.values() if record_id.startswith(o.prefix)), None)


def _overridden(entity: SObject, overrides: dict[tuple[str, str], dict[str, Any]]) -> SObject:
    fields = []
    for key, declared in entity.fields.items():
        changed = replace(declared, **overrides.get((entity.name.lower(), key), {}))
        if not changed.hidden:
            fields.append(changed)
    return replace(entity, fields=_fields(tuple(fields)))
