"""What two values of one file must have to do with each other.

Every rule reads the plain data, whatever else is wrong with it, and answers with findings: so all of them are reported
at once. A part that is missing or of the wrong type is none of their business; the models say so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel

from sync_pipeline.billing.systems import settings
from sync_pipeline.orgs.models import ApiBudget, Organization, PortalLinkLife
from sync_pipeline.orgs.sections import alternatives, choices_of, keys_of, kind_of, models_of, words_of
from sync_pipeline.orgs.tree import Finding, Path, dotted, key_text
from sync_pipeline.yaml_types.domain import salesforce_base_url

SYNCED = frozenset(
    "id name ownerid parentid isdeleted masterrecordid createddate lastmodifieddate systemmodstamp".split()  # noqa: SIM905
)
"""Account fields (lower case) that Salesforce keeps or the sync reads; nothing is exported into them."""

_LOGIN: Path = ("salesforce", "login")
_KEY_LOGINS: dict[Path, str] = {_LOGIN: "jwt", ("billing", "login"): "certificate"}
"""Where a login stands, and the method that signs with a private key."""
_REPLACE = "If the file has left this machine, have the secret replaced."


def rule_findings(data: dict[str, Any]) -> Iterator[Finding]:
    """Findings of every rule, in no order."""
    for rule in _RULES:
        for path, sentence in rule(data):
            yield path, f"{dotted(path)}: {sentence}"


def _get(data: object, *path: str | int) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _mapping(data: object, *path: str | int) -> dict[str, Any]:
    found = _get(data, *path)
    return found if isinstance(found, dict) else {}


def _exactly_one(data: dict[str, Any]) -> Iterator[Finding]:
    """Keys of which exactly one is written, as the model of their section declares them (`values.one_of`)."""
    for at, model, section in _sections(Organization, data, ()):
        keys = alternatives(model)
        given = [key for key in keys if section.get(key) is not None]
        yield from (((*at, key), f"{given[0]} and {key} can't both be given. Keep one of them.") for key in given[1:])
        if keys and not given:
            yield at, f"{keys[0]} is missing, or {' or '.join(keys[1:])} instead of it."


def _sections(model: type[BaseModel], data: dict[str, Any], at: Path) -> Iterator[tuple[Path, type[BaseModel], Any]]:
    """Every section that can be told, with its model."""
    yield at, model, data
    for key, info in keys_of(model).items():
        inner = data.get(key)
        if not isinstance(inner, dict):
            continue
        kind = kind_of(info)
        found = choices_of(info).get(str(inner.get(str(info.discriminator)))) if kind == "choice" else None
        if found or kind == "section":
            yield from _sections(found or models_of(info)[0], inner, (*at, key))


def _billing_as_its_system_wants_it(data: dict[str, Any]) -> Iterator[Finding]:
    """What only the billing system's own module knows."""
    section = _mapping(data, "billing")
    for model in settings():
        if section.get("system") in words_of(model.model_fields["system"]):
            for path, sentence in model.findings(section):
                yield ("billing", *path), sentence


def _private_key_file_is_a_path(data: dict[str, Any]) -> Iterator[Finding]:
    for path in [(*at, "private_key_file") for at in _KEY_LOGINS]:
        if "-----BEGIN" in str(_get(data, *path)):
            yield (
                path,
                "the private key itself stands here. Allowed: the path of a file that holds it, or, instead of this key, "
                f"private_key: {{env: ACME_PRIVATE_KEY}}. {_REPLACE}",
            )


def _servers_log_in_at_my_domain(data: dict[str, Any]) -> Iterator[Finding]:
    path: Path = ("salesforce", "domain")
    domain = _get(data, *path)
    if not isinstance(domain, str) or _get(data, *_LOGIN, "method") not in ("client_credentials", "jwt"):
        return
    try:
        salesforce_base_url(domain, login_hosts=True)
    except ValueError:
        return  # no address at all: the models say so
    try:
        salesforce_base_url(domain)
    except ValueError as error:
        yield path, str(error)


def _env_is_a_name(data: object, path: Path = ()) -> Iterator[Finding]:
    if not isinstance(data, dict):
        return
    # A key of Stripe has the form of a variable's name, so only its beginning gives it away.
    if set(data) == {"env"} and re.match(r"(?i)(sk|rk|pk|whsec)_(live|test)_", str(data["env"])):
        yield (
            path,
            f"the secret itself seems to stand after env. Allowed: the name of a variable that holds it. {_REPLACE}",
        )
    for key, value in data.items():
        yield from _env_is_a_name(value, (*path, key))


def _links_are_renewed_in_time(data: dict[str, Any]) -> Iterator[Finding]:
    at: Path = ("receivables", "portal_link")
    life = {key: info.default for key, info in PortalLinkLife.model_fields.items()}
    life |= {key: value for key, value in _mapping(data, *at).items() if value is not None}
    lifetime, renew = life["lifetime_days"], life["renew_after_days"]
    if type(lifetime) is int and type(renew) is int and renew >= lifetime:
        written = "renew_after_days" if _get(data, *at, "renew_after_days") is not None else "lifetime_days"
        yield (
            (*at, written),
            f"links would expire before new ones are fetched. Allowed: renew_after_days (now {renew}) less than "
            f"lifetime_days (now {lifetime}).",
        )


def _budget_warns_before_it_stops(data: dict[str, Any]) -> Iterator[Finding]:
    at: Path = ("salesforce", "api_budget")
    budget = {key: info.default for key, info in ApiBudget.model_fields.items()}
    budget |= {key: value for key, value in _mapping(data, *at).items() if value is not None}
    warn, stop = budget["warn_percent"], budget["stop_percent"]
    if type(warn) is int and type(stop) is int and warn > stop:
        written = "stop_percent" if _get(data, *at, "stop_percent") is not None else "warn_percent"
        yield (
            (*at, written),
            f"a sync would stop before a check warns. Allowed: warn_percent (now {warn}) no more than stop_percent (now {stop}).",
        )


def _normalize(data: dict[str, Any]) -> Iterator[Finding]:
    rules = _get(data, "identifier", "normalize")
    field = _get(data, "identifier", "salesforce_field")
    ids = _get(data, "identifier", "salesforce_id") is True or (isinstance(field, str) and field.lower() == "id")
    seen: set[str] = set()
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        path: Path = ("identifier", "normalize", index)
        if not isinstance(rule, str):
            continue
        if rule in seen:
            yield path, f"{key_text(rule)} is listed twice. Keep one of them."
        elif ids and rule in ("case", "leading_zeros"):
            yield (
                path,
                f"{rule} can't be ignored in Salesforce ids: they are case-sensitive and every character counts, so "
                "two accounts could become one. Allowed here: trim. Their 15- and 18-character forms are one anyway.",
            )
        seen.add(rule)


def _export_overwrites_nothing(data: dict[str, Any]) -> Iterator[Finding]:
    path: Path = ("export", "portal_link", "salesforce_field")
    field = _get(data, *path)
    if not isinstance(field, str):
        return
    if field.lower() == str(_get(data, "identifier", "salesforce_field")).lower():
        use = "the shared identifier (identifier.salesforce_field)"
    elif field.lower() in {key.lower() for key in _mapping(data, "import", "account_fields")}:
        use = "imported (import.account_fields)"
    elif field.lower() in SYNCED:
        use = "kept by Salesforce or read by the sync"
    else:
        return
    yield (
        path,
        f"the link would overwrite {key_text(field)}, which is {use}. Allowed: a field of its own, e.g. Link__c.",
    )


def _import_keeps_the_identifier(data: dict[str, Any]) -> Iterator[Finding]:
    """Where customers are Upflow's, what the sync writes there is what the next one reads."""
    field = _get(data, "identifier", "billing_field")
    both = _get(data, "billing", "system") == _get(data, "receivables", "platform") == "upflow"
    if not both or not isinstance(field, str) or not field.startswith("customFields."):
        return
    name = field.removeprefix("customFields.")
    own = str(_get(data, "identifier", "salesforce_field")).lower()  # brings the value that is there already
    for source, target in _mapping(data, "import", "account_fields").items():
        if isinstance(target, str) and target.strip().casefold() == name.strip().casefold() and source.lower() != own:
            yield (
                ("import", "account_fields", source),
                f"it would overwrite {key_text(name)} in Upflow, by which customers are matched "
                "(identifier.billing_field). Allowed: another field of Upflow.",
            )


def _fields_once(data: dict[str, Any]) -> Iterator[Finding]:
    for at in (("import", "account_fields"), ("import", "contact_fields")):
        fields: dict[str, str] = {}
        targets: dict[str, str] = {}
        for field, target in _mapping(data, *at).items():
            first = fields.setdefault(field.lower(), field)
            if first != field:
                yield (*at, field), f"Salesforce knows it and {key_text(first)} as one field. Keep one of them."
            rival = targets.setdefault(target.strip().casefold(), field) if isinstance(target, str) else field
            if rival != field:
                yield (
                    (*at, field),
                    f"{key_text(rival)} already goes to this field of the platform. Give each one of its own.",
                )


def _contact_fields_need_contacts(data: dict[str, Any]) -> Iterator[Finding]:
    at: Path = ("import", "contact_fields")
    if _get(data, "import", "contacts") is False and _mapping(data, *at):
        yield at, "without contacts they have nowhere to go. Drop them, or set import.contacts to true."


_RULES: tuple[Callable[[dict[str, Any]], Iterator[Finding]], ...] = (
    _exactly_one,
    _billing_as_its_system_wants_it,
    _private_key_file_is_a_path,
    _servers_log_in_at_my_domain,
    _env_is_a_name,
    _links_are_renewed_in_time,
    _budget_warns_before_it_stops,
    _normalize,
    _export_overwrites_nothing,
    _import_keeps_the_identifier,
    _fields_once,
    _contact_fields_need_contacts,
)
