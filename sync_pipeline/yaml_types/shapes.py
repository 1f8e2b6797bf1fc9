"""The shapes single values must have, as types of the models.

A check raises ValueError with what is wrong and what is allowed; the loader adds file and line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from sync_pipeline.http import is_loopback
from sync_pipeline.yaml_types.domain import salesforce_base_url
from sync_pipeline.yaml_types.ids import id_18
from sync_pipeline.yaml_types.values import EnvRef, Setting

SALESFORCE_FIELD = r"^[A-Za-z][A-Za-z0-9_]*$"


def _written(check: Callable[[str], object]) -> AfterValidator:
    """Apply `check` to a setting that stands in the file; one in the environment is checked when it is used."""

    def validate(setting: str | EnvRef) -> str | EnvRef:
        if isinstance(setting, str):
            check(setting)
        return setting

    return AfterValidator(validate)


def _same(check: Callable[[str], object]) -> AfterValidator:
    """Apply `check`; the value stays as it is written."""

    def validate(value: str) -> str:
        check(value)
        return value

    return AfterValidator(validate)


def api_url(address: str) -> str:
    """Check the address of an API: https, or http on this machine; no credentials in it.

    Raises:
        ValueError: what is wrong with it, without the address itself (it may hold a password).
    """
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("this is no address. Allowed: https://host/path.") from None
    if parts.username or parts.password:
        raise ValueError("the address holds credentials. Write it without them; keys have settings of their own.")
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", host):
        raise ValueError("this is no address. Allowed: https://host/path.")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(f"http://{host} would send credentials unencrypted. Allowed: https, or http on loopback.")
    if parts.query or parts.fragment or re.search(r"\s", address):
        raise ValueError("the address of an API has no ?, no # and no white space. Allowed: https://host/path.")
    return address


def _database_url(address: str) -> None:
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise ValueError(
            "SQLAlchemy can't read this address. Allowed: sqlite:///customers.db, postgresql+psycopg://host/database, "
            "or {env: NAME} where it holds a password."
        ) from None
    if url.password is not None or any("password" in key.lower() or key.lower() == "pwd" for key in url.query):
        raise ValueError(
            "the address holds a password, and secrets never stand in this file. Put the whole address "
            "into an environment variable and write {env: NAME}."
        )
    if url.drivername == "postgres":
        raise ValueError("SQLAlchemy knows PostgreSQL as postgresql://, not postgres://.")


def _template(*schemes: str) -> Callable[[str], None]:
    allowed = f"Allowed: {schemes[0]}://... with {{customer_id}} in it, e.g. https://billing.example.com/customers/{{customer_id}}"

    def check(template: str) -> None:
        rest = template.replace("{customer_id}", "1")
        if "{customer_id}" not in template:
            raise ValueError(
                f"{{customer_id}} stands nowhere in it, so every customer would get the same address. {allowed}."
            )
        if "{" in rest or "}" in rest:
            raise ValueError(f"it holds braces other than {{customer_id}}. {allowed}.")
        scheme, _, host = template.partition("://")
        if (
            scheme.lower() not in schemes
            or not host
            or re.match(r"[^/]*(\{|@)", host)
            or re.search(r"[\s<>\"\\]", rest)
        ):
            raise ValueError(f"it is no web address, or its host depends on the customer. {allowed}.")

    return check


_LAST = (59, 23, 31, 12, 7)
"""The last minute, hour, day of the month, month and day of the week."""


def _cron(expression: str) -> None:
    allowed = 'Allowed: five fields (minute hour day month weekday), e.g. "30 6 * * 1-5" for 6:30 from Monday to Friday'
    fields = expression.split()
    # L, W and # mean different things to different readers of cron: what runs a schedule must agree with its check.
    if (
        len(fields) != 5
        or re.search(r"[^A-Za-z0-9*/,\s-]", expression)
        or re.search(r"(?i)(?<![a-z])(l|w|lw)(?![a-z])|\dl", expression)
    ):
        raise ValueError(f"{shown(expression)} is no schedule. {allowed}.")
    for part, last in ((part, last) for field, last in zip(fields, _LAST, strict=True) for part in field.split(",")):
        span = re.fullmatch(r"(?:\*|\d+(?:-(\d+))?)/(\d+)|\d+-(\d+)", part)
        if span and int(span[2] or 1) > int(span[1] or span[3] or last):
            raise ValueError(
                f"{shown(expression)} has a step longer than its range ({part}), which cron cuts off. {allowed}."
            )
    try:
        next(CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as error:
        why = str(error) or "it never comes"
        raise ValueError(f"{shown(expression)} is no schedule ({why}). {allowed}.") from None


@lru_cache(maxsize=1)
def _zones() -> dict[str, str]:
    return {zone.lower(): zone for zone in sorted(available_timezones()) if zone not in ("Factory", "localtime")}


def _time_zone(name: str) -> None:
    zones = _zones()
    if zones.get(name.lower()) == name:
        return
    low = name.lower().strip().replace(" ", "_")
    cities = {zone.rpartition("/")[2]: zone for zone in zones if "/" in zone}
    near = [low] if low in zones else [cities[low]] if low in cities else get_close_matches(low, zones, n=1, cutoff=0.7)
    if not near:
        near = [cities[city] for city in get_close_matches(low.rpartition("/")[2], cities, n=1, cutoff=0.8)]
    hint = f" Is it {zones[near[0]]}?" if near else ""
    raise ValueError(
        f"{shown(name)} is no time zone.{hint} Allowed: IANA names, e.g. UTC, Europe/Paris, America/New_York."
    )


def _encoding(name: str) -> None:
    allowed = "Allowed: utf-8, utf-16, cp1252, latin-1, and every other text encoding that Python knows"
    try:
        "".encode(name)  # refuses codecs that are not for text, e.g. base64
    except (LookupError, ValueError, UnicodeError):
        near = get_close_matches(
            name.lower(), ["utf-8", "utf-16", "cp1252", "latin-1", "iso-8859-15", "mac-roman"], n=1
        )
        hint = f" Is it {near[0]}?" if near else ""
        raise ValueError(f"{shown(name)} is no encoding.{hint} {allowed}.") from None


def _delimiter(character: str) -> None:
    if len(character) != 1 or character.isalnum() or character in "\"'\r\n":
        raise ValueError(
            f'{shown(character)} can\'t separate columns. Allowed: one character, e.g. "," or ";" or "|"; '
            'a tab is written "\\t", in double quotes.'
        )


_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.S)


def _query(query: str) -> None:
    bare = _QUOTED.sub(" ", query).strip()
    if not re.match(r"(?i)(select|with)\b|\(", bare):
        raise ValueError(
            "this is no SELECT. Allowed: one statement that starts with SELECT or WITH; for a whole table use `table`."
        )
    if ";" in bare.rstrip(";\n\r\t "):
        raise ValueError("there is more than one statement. Allowed: one statement that starts with SELECT or WITH.")


def _api_version(version: str) -> None:
    if not re.fullmatch(r"\d{2}\.0", version) or float(version) < 58:
        raise ValueError(f'{shown(version)} is no version this works with. Allowed: "58.0" or newer, in quotes.')


def _salesforce_field(name: str) -> None:
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) and len(name) <= 80:
        return
    hint = ""
    if re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", name, re.A):
        hint = " Fields of a related object can't be read here."
    elif re.fullmatch(r"[A-Za-z0-9]+( [A-Za-z0-9]+)*", name):
        hint = " Is it the label? The API name stands in Setup > Object Manager > Fields & Relationships."
    raise ValueError(
        f"{shown(name)} is no API name of a Salesforce field.{hint} Allowed: letters, digits and underscores, "
        f"starting with a letter ({SALESFORCE_FIELD}), e.g. Id, Industry, Billing_Id__c."
    )


def _domain(domain: str) -> None:
    salesforce_base_url(domain, login_hosts=True)  # whether a login host fits the method is a rule of its own


def _organization_id(record_id: str) -> str:
    allowed = (
        "Allowed: the 15 or 18 characters after Setup > Company Information > Salesforce.com Organization ID (00D...)"
    )
    if not record_id.startswith("00D"):
        raise ValueError(f"{shown(record_id)} is no id of an organization, which starts with 00D. {allowed}.")
    try:
        return id_18(record_id)
    except ValueError as error:
        raise ValueError(f"{shown(record_id)} can't be right: {error}. {allowed}.") from None


def shown(value: object) -> str:
    """A value for a message: short, on one line, and with nothing in it that a terminal would obey."""
    full = repr(value)
    return full if len(full) <= 80 else full[:77] + "..."


Domain = Annotated[Setting, _written(_domain)]
OrganizationId = Annotated[
    str,
    AfterValidator(_organization_id),
    Field(json_schema_extra={"pattern": "^00D[A-Za-z0-9]{12}([A-Z0-5]{3})?$"}),
]
ApiUrl = Annotated[Setting, _written(api_url)]
DatabaseUrl = Annotated[Setting, _written(_database_url)]
LinkTemplate = Annotated[
    str, _same(_template("https")), Field(json_schema_extra={"pattern": r"^https://.*\{customer_id\}"})
]
CustomerUrl = Annotated[
    str, _same(_template("https", "http")), Field(json_schema_extra={"pattern": r"^https?://.*\{customer_id\}"})
]
Cron = Annotated[str, _same(_cron), Field(examples=["30 6 * * 1-5"])]
TimeZone = Annotated[str, _same(_time_zone), Field(examples=["Europe/Paris"])]
Encoding = Annotated[str, _same(_encoding), Field(examples=["utf-8", "cp1252"])]
Delimiter = Annotated[str, _same(_delimiter), Field(json_schema_extra={"minLength": 1, "maxLength": 1})]
Query = Annotated[str, _same(_query)]
ApiVersion = Annotated[str, _same(_api_version), Field(json_schema_extra={"pattern": r"^\d{2}\.0$"})]
SalesforceField = Annotated[str, _same(_salesforce_field), Field(json_schema_extra={"pattern": SALESFORCE_FIELD})]
