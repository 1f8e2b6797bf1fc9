"""Which fields a billing system has and how well customers fill them: what a shared identifier is chosen from.

Everything is counted by SQL over rows on disk, and nothing is kept. A field that many values share, or few customers have,
would set customers aside; what would do is marked, and choosing stays with people.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import duckdb

from sync_pipeline import progress
from sync_pipeline.billing.api import Api, ApiSource
from sync_pipeline.billing.field_counts import Counts, count_fields, lay_out
from sync_pipeline.billing.load import MEMORY
from sync_pipeline.billing.records import Spool
from sync_pipeline.billing.settings import BillingSettings
from sync_pipeline.billing.source import Organization, Reading
from sync_pipeline.billing.systems import sources
from sync_pipeline.errors import DataError
from sync_pipeline.masking import mask
from sync_pipeline.warehouse import Warehouse
from sync_pipeline.warehouse.connection import MEMORY_LIMIT
from sync_pipeline.warehouse.load import passing_through
from sync_pipeline.yaml_types.values import EnvRef

GOOD_PERCENT, NEARLY_PERCENT = 90, 75
"""Percent of customers that fill a field which could be the identifier, or nearly."""
NEARLY_REPEATED_PERCENT = 5
"""Percent of a field's values that may repeat where it nearly could: each sets its customers aside."""
LONGEST = 255
"""Characters of the longest text that a Salesforce field of type string holds."""

OTHER_USES = {
    "emails": "an e-mail address",
    "primary_email": "an e-mail address",
    "currency": "a currency",  # before the balance, which is made from it too
    "balance": "an amount",
    "status": "a status",
    "is_individual": "yes or no",
    "parent_id": "another customer's id",
    "merged_into_id": "another customer's id",
    "created_at": "a date",
    "updated_at": "a date",
}
"""Columns of the customer row whose fields identify nobody."""
_NO_IDENTIFIER = {
    "yes/no": "yes or no",
    "decimal": "an amount",
    "date": "a date",
    "e-mail": "an e-mail address",
    "address": "a web address",
    "list": "a list",
    "mixed": "values of several types",
    "empty": "empty",
}
_AMOUNT = re.compile(r"(?i)balance|amount|total|overdue|credit_?limit|revenue")
_MOMENT = re.compile(r"(?i)date|time|created|updated|modified|_(at|on)$|[a-z](At|On)$")
_PHONE = re.compile(r"(?i)phone|mobile|fax")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a billing system, over all its customers.

    Attributes:
        name: as `identifier.billing_field` names it.
        type: text, number, decimal, date, yes/no, e-mail, address, list, mixed, or empty.
        filled: customers that have more in it than white space.
        percent: the same of all customers.
        distinct: different values.
        repeated: values that more than one customer has.
        longest: characters of the longest value.
        fit: whether it could be the shared identifier: good, nearly, or no.
        why_not: what is against it; empty where it is good.
        current: whether the YAML names it now.
        samples: a few values, masked; empty unless asked for.
    """

    name: str
    type: str
    filled: int
    percent: float
    distinct: int
    repeated: int
    longest: int
    fit: str
    why_not: str
    current: bool
    samples: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """For machines; keys as the attributes."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Survey:
    """All customers of a system and their fields: what could identify first, then by how many fill it.

    Attributes:
        customers: how many there are.
        fields: all of a table's; of records' those that most customers fill.
        more: fields beyond these, where keys are as many as customers.
    """

    customers: int
    fields: list[Field] = field(default_factory=list)
    more: int = 0

    @property
    def current(self) -> Field | None:
        """The field that the YAML names; None where the system has none of this name."""
        return next((found for found in self.fields if found.current), None)


def survey(org: Organization, *, samples: bool = False) -> Survey:
    """Read every customer into a temporary folder, and count. The organization's identifier need not be right yet.

    Args:
        org: the organization; of `identifier` only what is current is taken.
        samples: also give a few values of each field, masked.

    Raises:
        SyncError: as `load_customers` does, but for the identifier.
    """
    with (
        tempfile.TemporaryDirectory(prefix="sync-pipeline-fields-") as folder,
        Warehouse(Path(folder), org.name).connect() as con,
    ):
        reading = _read(org, Path(folder))
        always = [*reading.fields, org.identifier.billing_field]
        try:
            rows, measured, more = _count_small(con, reading, always, samples)
        except duckdb.InvalidInputException:  # not shown: it quotes the line, which is personal data
            if reading.otherwise is None:
                raise DataError(f"{org.where('billing')}: DuckDB can't read what the system delivered.") from None
            reading = reading.otherwise()
            rows, measured, more = _count_small(con, reading, always, samples)
    progress.report("customers read", rows, rows)
    current = _current(org, reading, [counts.name for counts in measured])
    uses: dict[str, str] = {}
    for column, use in OTHER_USES.items():
        for name in _fields_of(org, reading, column):
            uses.setdefault(name, use)
    parents = {counts.name.rpartition(".")[0] for counts in measured if "." in counts.name}
    fields = [_field(counts, rows, current, uses) for counts in measured if counts.filled or counts.name not in parents]
    return Survey(rows, sorted(fields, key=lambda f: (("good", "nearly", "no").index(f.fit), -f.filled, f.name)), more)


def _count_small(
    con: duckdb.DuckDBPyConnection, reading: Reading, always: Sequence[str], samples: bool
) -> tuple[int, list[Counts], int]:
    """Customers, their fields, and how many more there are; in little memory, or in all there may be, as a sync reads."""
    try:
        with passing_through(con, MEMORY, threads=1):
            return _count(con, reading, always, samples)
    except (duckdb.OutOfMemoryException, duckdb.TransactionException):
        with passing_through(con, MEMORY_LIMIT, threads=1):
            return _count(con, reading, always, samples)


def _count(
    con: duckdb.DuckDBPyConnection, reading: Reading, always: Sequence[str], samples: bool
) -> tuple[int, list[Counts], int]:
    try:
        rows = lay_out(con, reading)
    finally:
        reading.unchanged()
    return rows, *count_fields(con, always, samples=samples)


@dataclass(frozen=True, slots=True)
class _Nothing:
    """An `identifier` that asks for nothing."""

    billing_field: str = ""


@dataclass(frozen=True, slots=True)
class _Unidentified:
    """The organization before its identifier is known."""

    org: Organization
    name: str
    billing: BillingSettings
    identifier: _Nothing = _Nothing()

    def where(self, *path: str | int) -> str:
        return self.org.where(*path)

    def path(self, setting: str | EnvRef) -> Path:
        return self.org.path(setting)


def _read(org: Organization, folder: Path) -> Reading:
    """Every customer with all fields: tables as they are read for a sync, records whole."""
    asking = _Unidentified(org, org.name, org.billing)
    source = sources()[org.billing.system]
    if not isinstance(source, ApiSource):
        return source.read(asking, folder)
    api = Api(asking, source)
    path = folder / "customers.csv"
    with Spool(asking, path, source.title, source.fields, source.without, whole=True) as spool, api.explained():
        for page in source.pages(api, None):
            for customer in page:
                spool.add(customer)
            progress.report("customers read", spool.count)
    relation, params = spool.relation()
    # A customer that changes while pages are read may come twice; once counts. Told from the ids alone: whole rows are large.
    customer_id = source.expressions["customer_id"]
    later = f"row_number() OVER (PARTITION BY {customer_id} ORDER BY CAST(position AS BIGINT) DESC) > 1"
    earlier = f"SELECT position FROM {relation} WHERE {customer_id} IS NOT NULL QUALIFY {later}"
    relation = f"(FROM {relation} WHERE position NOT IN ({earlier}))"
    return Reading(relation, source.expressions, params, rest="custom_fields")


def _field(counts: Counts, customers: int, current: str | None, uses: Mapping[str, str]) -> Field:
    name, filled, distinct, repeated = counts.name, counts.filled, counts.distinct, counts.repeated
    kind = _together(set(counts.types))
    percent = 100 * filled / customers if customers else 0.0
    against = uses.get(name) or _NO_IDENTIFIER.get(kind) or _named_otherwise(name, kind)
    if counts.longest > LONGEST:
        against = against or f"longer than {LONGEST} characters"
    fit = "no" if against else _fit(percent, repeated, distinct)
    reasons = [against or "", *(() if against else _gaps(percent, repeated))]
    why_not = ", ".join(reason for reason in reasons if reason)
    samples = tuple(map(mask, counts.samples))
    return Field(
        name, kind, filled, percent, distinct, repeated, counts.longest, fit, why_not, name == current, samples
    )


def _together(types: set[str]) -> str:
    """One word for what all values look like."""
    if len(types) < 2:
        return next(iter(types), "empty")
    if types == {"number", "decimal"}:
        return "decimal"
    return "text" if types <= {"text", "number", "e-mail", "address", "yes/no", "decimal"} else "mixed"


def _named_otherwise(name: str, kind: str) -> str | None:
    """What the field's name says that its values can't: a number may be an amount, or a moment in seconds."""
    last = name.rpartition(".")[2]
    if kind == "number" and _AMOUNT.search(last):
        return "an amount"
    if kind == "number" and _MOMENT.search(last):
        return "a date"
    return "a phone number" if _PHONE.search(last) else None


def _fit(percent: float, repeated: int, distinct: int) -> str:
    if percent >= GOOD_PERCENT and not repeated:
        return "good"
    nearly = percent >= NEARLY_PERCENT and 100 * repeated <= NEARLY_REPEATED_PERCENT * distinct
    return "nearly" if nearly else "no"


def _gaps(percent: float, repeated: int) -> Iterator[str]:
    if percent < GOOD_PERCENT:
        yield f"{100 - percent:.0f} % have none"
    if repeated:
        yield f"{repeated:,} value{'' if repeated == 1 else 's'} repeat{'s' if repeated == 1 else ''}"


def _current(org: Organization, reading: Reading, names: Sequence[str]) -> str | None:
    """The field that `identifier.billing_field` means: records by the very name, tables as SQL names columns."""
    wanted = org.identifier.billing_field
    if wanted in names or not reading.fields:
        return wanted if wanted in names else None
    near = [name for name in names if name.strip().casefold() == wanted.strip().casefold()]
    return next(iter([*near, *_fields_of(org, reading, wanted)]), None)


def _fields_of(org: Organization, reading: Reading, column: str) -> list[str]:
    """Fields that a column of the customer row is made from."""
    expression = reading.expressions.get(column, "")
    source = sources()[org.billing.system]
    declared = source.fields if isinstance(source, ApiSource) else {}
    spooled = [name for short, names in declared.items() if re.search(rf"\b{short}\b", expression) for name in names]
    return spooled + [name for name, sql in reading.fields.items() if sql in expression]
