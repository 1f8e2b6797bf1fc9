"""Whether the fields a YAML file names can serve: asked of Salesforce's describe, every problem at once.

Field types of the identifier: Upflow's guide supports textarea, string and reference fields, and the Account Id itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import duckdb

from sync_pipeline.errors import ConfigurationError
from sync_pipeline.orgs.models import Organization, WarehouseSettings
from sync_pipeline.salesforce.client import Client

ACCOUNT, CONTACT, USER = "Account", "Contact", "User"

STANDARD_FIELDS = {
    ACCOUNT: ("Id", "Name", "OwnerId", "CreatedDate", "SystemModstamp"),
    CONTACT: (
        "Id",
        "AccountId",
        "FirstName",
        "LastName",
        "Email",
        "Phone",
        "Title",
        "CreatedDate",
        "SystemModstamp",
    ),
    USER: ("Id", "Name", "FirstName", "LastName", "Email", "IsActive"),
}
"""What is read of every record, whatever the YAML says."""

IDENTIFIER_TYPES = frozenset({"string", "textarea", "reference"})
LINK_TYPES = frozenset({"string", "textarea", "url"})
UNREADABLE_TYPES = frozenset({"address", "location", "base64"})
"""What a Bulk query refuses: compound fields and files."""

_NUMBERS = frozenset({"double", "int", "long", "currency", "percent"})
_API_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class FieldFact:
    """One field and one purpose: a row of `salesforce_fields`, whose columns say what each value is.

    `calculated` is no column: whether the field is a formula, whose changes leave no trace on the record.
    """

    object: str
    field: str
    purpose: str
    type: str | None = None
    length: int | None = None
    updateable: bool | None = None
    is_unique: bool | None = None
    label: str | None = None
    problem: str | None = None
    calculated: bool = False

    def where(self, org: Organization) -> str:
        """File and line of the YAML key that names the field."""
        if self.purpose == "identifier":
            return org.where("identifier", "salesforce_field")
        if self.purpose == "export":
            return org.where("export", "portal_link", "salesforce_field")
        if self.object == USER:
            return org.where("import", "owners")
        return org.where("import", "account_fields" if self.object == ACCOUNT else "contact_fields", self.field)


def inspect_fields(client: Client, org: Organization, objects: Collection[str] | None = None) -> list[FieldFact]:
    """Every field the YAML names, as Salesforce describes it, with its problem if it can't serve its purpose.

    A field that is read of every record whatever the YAML says (Name, OwnerId, ...) is listed only if the user may not
    see it. Costs one request for each object.

    Args:
        client: a connected client.
        org: its organization.
        objects: look at fields of these only; by default of those that `objects_read` names.

    Raises:
        ReconnectError: the user sees no such object, or the login is refused.
    """
    facts = []
    objects = objects_read(org) if objects is None else objects
    for object_name, field, purpose in _named(org):
        if object_name not in objects:
            continue
        found = find_field(client, object_name, field)
        if found is None:
            facts.append(FieldFact(object_name, field, purpose, problem=_missing(client, object_name, field)))
            continue
        facts.append(
            FieldFact(
                object_name,
                field,
                purpose,
                type=found["type"],
                length=int(found.get("length") or 0),
                updateable=bool(found.get("updateable")),
                is_unique=bool(found.get("unique")) or found["type"] == "id",
                label=found.get("label"),
                problem=_problem(client, org, purpose, found),
                calculated=bool(found.get("calculated")),
            )
        )
    return facts + list(_hidden_standard_fields(client, objects))


def objects_read(org: Organization) -> tuple[str, ...]:
    """The objects a sync of this organization reads besides User."""
    return (ACCOUNT, CONTACT) if org.imports.contacts or org.imports.contact_fields else (ACCOUNT,)


def find_field(client: Client, object_name: str, field: str) -> dict[str, Any] | None:
    """Describe's entry for an API name in any spelling; None where the user is shown no such field."""
    if not _API_NAME.fullmatch(field):
        return None
    for entry in client.describe(object_name)["fields"]:
        if entry["name"].lower() == field.lower():
            found: dict[str, Any] = entry
            return found
    return None


def readable(client: Client, org: Organization, object_name: str) -> None:
    """Make sure that every field a read of `object_name` needs can be read.

    Raises:
        ConfigurationError: one or more can't, all named with file and line.
    """
    problems = [
        f"{fact.where(org)}: {fact.problem}"
        for fact in inspect_fields(client, org, (object_name,))
        if fact.purpose != "export" and fact.problem
    ]
    if problems:
        raise ConfigurationError("\n".join(problems))


def identifier_is_salesforce_id(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether the shared identifier is a Salesforce id by its field's type (Id itself, or a reference).

    Reads `salesforce_fields`, so `load_fields` comes first.
    """
    found = con.execute("SELECT type FROM salesforce_fields WHERE purpose = 'identifier'").fetchall()
    return any(field_type in ("id", "reference") for (field_type,) in found)


def _named(org: Organization) -> Iterator[tuple[str, str, str]]:
    yield ACCOUNT, org.identifier.salesforce_field, "identifier"
    for field in org.imports.account_fields:
        yield ACCOUNT, field, "import"
    for field in org.imports.contact_fields:
        yield CONTACT, field, "import"
    if org.export.portal_link is not None:
        yield ACCOUNT, org.export.portal_link.salesforce_field, "export"


def _hidden_standard_fields(client: Client, objects: Collection[str]) -> Iterator[FieldFact]:
    for object_name in objects:
        for field in STANDARD_FIELDS[object_name]:
            if find_field(client, object_name, field) is None:
                problem = (
                    f"{object_name}.{field} is read of every record, but hidden from the connected user by field-level "
                    "security. Give the user read access to it."
                )
                yield FieldFact(object_name, field, "import", problem=problem)


def _missing(client: Client, object_name: str, field: str) -> str:
    names = {entry["name"].lower(): entry["name"] for entry in client.describe(object_name)["fields"]}
    by_label = {str(entry.get("label")).lower(): entry["name"] for entry in client.describe(object_name)["fields"]}
    wanted = field.lower()
    near = [names[name] for name in get_close_matches(wanted, names, n=3, cutoff=0.75)]
    if not near:
        candidates = [by_label.get(wanted), by_label.get(wanted.replace("_", " ")), names.get(f"{wanted}__c")]
        near = [name for name in candidates if name]
    hint = f" Is it {' or '.join(dict.fromkeys(near))}?" if near else ""
    return (
        f"{object_name} has no field {ascii(field)[1:-1]}, or field-level security hides it from the connected user; "
        f"Salesforce answers the same to both.{hint} Correct the API name (Setup > Object Manager > {object_name} > "
        "Fields & Relationships), or give the user read access to the field."
    )


def _problem(client: Client, org: Organization, purpose: str, found: dict[str, Any]) -> str | None:
    if purpose == "identifier":
        return _identifier_problem(found)
    if purpose == "export":
        return _export_problem(client, org, found)
    return _import_problem(found)


def _identifier_problem(found: dict[str, Any]) -> str | None:
    name, kind = f"Account.{found['name']}", found["type"]
    if kind in IDENTIFIER_TYPES or found["name"] == "Id":
        return None
    copy = f"Make a text field, copy {name} into it (by a formula field or a flow), and name that field."
    if kind in _NUMBERS:
        return (
            f"{name} is a number field (type {kind}), which can't be the shared identifier: numbers lose leading "
            f"zeros and are written with decimals. {copy}"
        )
    return (
        f"{name} is of type {kind}; the shared identifier must be the Account Id or a field of type string, textarea "
        f"or reference. {copy}"
    )


def _import_problem(found: dict[str, Any]) -> str | None:
    if found["type"] not in UNREADABLE_TYPES:
        return None
    if found["type"] == "base64":
        return f"{found['name']} holds a file, which can't be imported. Leave it out."
    example = f", e.g. {found['name'].removesuffix('Address')}City" if found["type"] == "address" else ""
    return (
        f"{found['name']} is a compound field (type {found['type']}), which Bulk queries can't read. "
        f"Name its parts instead{example}."
    )


def _export_problem(client: Client, org: Organization, found: dict[str, Any]) -> str | None:
    name = f"Account.{found['name']}"
    if found["name"].lower() == org.identifier.salesforce_field.lower():
        return f"{name} is the shared identifier; the portal link would overwrite it. Name another field."
    if found.get("calculated"):
        return f"{name} is a formula, which nobody can write. Name a text, long text or URL field."
    if found["type"] not in LINK_TYPES:
        return f"{name} is of type {found['type']}; a link needs textarea, string or url. Name such a field."
    if found.get("htmlFormatted") or found.get("extraTypeInfo") == "richtextarea":
        return f"{name} is rich text, where Salesforce rewrites links. Name a text, long text or URL field."
    if not found.get("updateable"):
        if not client.describe(ACCOUNT).get("updateable", True):
            return f"{name} may not be edited by the connected user, who may not edit Account at all."
        return (
            f"{name} may not be edited by the connected user. Give the user edit access to the field, by field-level "
            "security: a permission set, or the profile."
        )
    needed = _shortest_link(org)
    if found["length"] < needed:
        return f"{name} holds {found['length']} characters, a portal link has at least {needed}. Name a longer field."
    return None


def _shortest_link(org: Organization) -> int:
    """Characters no portal link of this organization stays under, as far as its YAML tells."""
    if isinstance(org.receivables, WarehouseSettings):
        return len(org.receivables.portal_link_template.replace("{customer_id}", "1"))
    return len("https://a.io/p")
