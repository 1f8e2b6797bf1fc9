"""What two values of one file must have to do with each other.

Every rule reads the plain data, whatever else is wrong with it, and answers with findings: so all of them are reported at once. A
part that is missing or of the wrong type is none of their business; the models say so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from sync_pipeline.orgs.explain import Finding
from sync_pipeline.orgs.tree import Path, dotted

SYNCED = {
    "id",
    "name",
    "ownerid",
    "parentid",
    "isdeleted",
    "masterrecordid",
    "createddate",
    "lastmodifieddate",
    "systemmodstamp",
}
"""Account fields (lower case) that Salesforce keeps or the sync reads; nothing is exported into them."""


def rule_findings(data: dict[str, Any]) -> Iterator[Finding]:
    """Findings of every rule, in no order."""
    for rule in _RULES:
        yield from rule(data)


def _get(data: object, *path: str) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _texts(data: object, *path: str) -> dict[str, str]:
    """The entries of a mapping whose value is text."""
    found = _get(data, *path)
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def _exactly_one(data: dict[str, Any], at: Path, one: str, other: str) -> Iterator[Finding]:
    section = _get(data, *map(str, at))
    given = [key for key in (one, other) if section.get(key) is not None]
    if len(given) == 2:
        yield (*at, other), f"{dotted(at)}: {one} and {other} can't both be given. Keep one of them."
    if not given:
        yield at, f"{dotted(at)}: one of {one} and {other} is missing."


def _private_key(data: dict[str, Any]) -> Iterator[Finding]:
    if _get(data, "salesforce", "login", "method") == "jwt":
        yield from _exactly_one(data, ("salesforce", "login"), "private_key_file", "private_key")
    path: Path = ("salesforce", "login", "private_key_file")
    if "-----BEGIN" in str(_get(data, *map(str, path)) or ""):
        yield (
            path,
            (
                f"{dotted(path)}: a private key itself stands here. Allowed: the path of a file that holds it, or instead of it "
                "private_key: {env: ACME_PRIVATE_KEY}. If the file has left this machine, have the key replaced."
            ),
        )


def _query_or_table(data: dict[str, Any]) -> Iterator[Finding]:
    if _get(data, "billing", "system") == "database":
        yield from _exactly_one(data, ("billing",), "query", "table")


def _env_is_a_name(data: object, path: Path = ()) -> Iterator[Finding]:
    if isinstance(data, dict):
        if re.match(r"(?i)(sk|rk|pk|whsec)_(live|test)_", str(data.get("env"))) and set(data) == {"env"}:
            yield (
                path,
                f"{dotted(path)}: the secret itself seems to stand here. Write the name of a variable that holds it, and have the secret replaced.",
            )
        for key, value in data.items():
            yield from _env_is_a_name(value, (*path, key))


def _links_are_renewed_in_time(data: dict[str, Any]) -> Iterator[Finding]:
    life = _get(data, "receivables", "portal_link")
    lifetime, renew = (
        _get(life, key) if _get(life, key) is not None else default
        for key, default in (("lifetime_days", 60), ("renew_after_days", 30))
    )
    if type(lifetime) is int and type(renew) is int and renew >= lifetime and isinstance(life, dict):
        path = (
            "receivables",
            "portal_link",
            "renew_after_days" if life.get("renew_after_days") is not None else "lifetime_days",
        )
        yield (
            path,
            (
                f"receivables.portal_link: renew_after_days ({renew}) must be less than lifetime_days ({lifetime}), or links expire "
                f"before a new one is fetched. Allowed: 1 to {max(lifetime - 1, 1)} days, or a longer life."
            ),
        )


def _normalize(data: dict[str, Any]) -> Iterator[Finding]:
    rules = _get(data, "identifier", "normalize")
    if not isinstance(rules, list):
        return
    field = _get(data, "identifier", "salesforce_field")
    ids = _get(data, "identifier", "salesforce_id") is True or (isinstance(field, str) and field.lower() == "id")
    for index, rule in enumerate(rules):
        path: Path = ("identifier", "normalize", index)
        if rule in rules[:index]:
            yield path, f"{dotted(path)}: {rule} is listed twice. Keep one of them."
        elif ids and rule in ("case", "leading_zeros"):
            yield (
                path,
                (
                    f"{dotted(path)}: {rule} can't be ignored in Salesforce ids: they are case-sensitive, and every character counts "
                    "(001Ab... and 001aB... are two accounts). Allowed here: trim. 15- and 18-character forms are one identity anyway."
                ),
            )


def _export_overwrites_nothing(data: dict[str, Any]) -> Iterator[Finding]:
    path: Path = ("export", "portal_link", "salesforce_field")
    field = _get(data, *map(str, path))
    if not isinstance(field, str):
        return
    identifier = _get(data, "identifier", "salesforce_field")
    imported = (
        {key.lower() for key in _get(data, "import", "account_fields") or ()}
        if isinstance(_get(data, "import", "account_fields"), dict)
        else set()
    )
    if isinstance(identifier, str) and field.lower() == identifier.lower():
        use = "the shared identifier (identifier.salesforce_field), and every match would be lost"
    elif field.lower() in imported:
        use = "imported (import.account_fields), and the link would come back as a custom field"
    elif field.lower() in SYNCED:
        use = "kept by Salesforce or read by the sync"
    else:
        return
    yield (
        path,
        f"{dotted(path)}: the link would overwrite {field}, which is {use}. Allowed: a text or url field of its own, e.g. Portal_Link__c.",
    )


def _fields_once(data: dict[str, Any]) -> Iterator[Finding]:
    for kind in ("account_fields", "contact_fields"):
        seen: dict[str, str] = {}
        targets: dict[str, str] = {}
        for field, target in _texts(data, "import", kind).items():
            path: Path = ("import", kind, field)
            if first := seen.get(field.lower()):
                yield path, f"{dotted(path)}: Salesforce knows {field} and {first} as one field. Keep one of them."
            if first := targets.get(target.strip().casefold()):
                yield (
                    path,
                    f"{dotted(path)}: {first} already goes to this field of the platform. Give each a field of its own.",
                )
            seen.setdefault(field.lower(), field)
            targets.setdefault(target.strip().casefold(), field)


def _contact_fields_need_contacts(data: dict[str, Any]) -> Iterator[Finding]:
    if _get(data, "import", "contacts") is False and _texts(data, "import", "contact_fields"):
        yield (
            ("import", "contact_fields"),
            "import.contact_fields: they have no contact to go to while import.contacts is false. Drop them, or import contacts.",
        )


_RULES: tuple[Callable[[dict[str, Any]], Iterator[Finding]], ...] = (
    _private_key,
    _query_or_table,
    _env_is_a_name,
    _links_are_renewed_in_time,
    _normalize,
    _export_overwrites_nothing,
    _fields_once,
    _contact_fields_need_contacts,
)
