"""`sync-pipeline billing fields`: what the shared identifier can be chosen from."""

from __future__ import annotations

from rich import box
from rich.table import Table

from sync_pipeline.billing.fields import GOOD_PERCENT, Survey, survey
from sync_pipeline.cli.orgs import the_organization
from sync_pipeline.cli.output import err, out, print_json, shown_progress

SIGNS = {"good": "*", "nearly": "~", "no": ""}
WIDE = 110
"""Columns of a terminal from which on there is room for what is against a field."""
SHOWN = 200
"""Metadata may have as many keys as there are customers."""
FEW = 20
"""Below so many customers, having no repeats says little."""


def show(name: str, *, samples: bool, as_json: bool) -> int:
    """Read the billing system and print its fields. Returns 0."""
    org = the_organization(name)
    with shown_progress(name):
        found = survey(org, samples=samples)
    if as_json:
        document = {
            "organization": name,
            "customers": found.customers,
            "billing_field": org.identifier.billing_field,
            "fields": [field.as_json() for field in found.fields],
            "more_fields": found.more,
        }
        print_json(document)
        return 0
    if not found.customers:
        out.print(f"{name}: the billing system has no customers yet, so it shows no fields.", markup=False)
        return 0
    out.print(f"{name}: {found.customers:,} customers, {len(found.fields) + found.more:,} fields.", markup=False)
    out.print(fields_table(found, wide=out.width >= WIDE, samples=samples), soft_wrap=False)
    _explain(found)
    if found.current is None:
        err.print(
            f"{org.where('identifier', 'billing_field')}: no customer has the field {org.identifier.billing_field!r} that "
            "is named there.",
            style="yellow",
            markup=False,
        )
    return 0


def fields_table(found: Survey, *, wide: bool, samples: bool = False) -> Table:
    """A line per field, those that could identify first."""
    table = Table(header_style="bold", pad_edge=False, box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    table.add_column("field", overflow="fold", min_width=16)
    table.add_column("type", no_wrap=True)
    for head in ("filled", "%", "distinct", "repeat", "longest"):
        table.add_column(head, justify="right", no_wrap=True)
    if wide:
        table.add_column("against it", overflow="fold")
    if samples:
        table.add_column("samples, masked", overflow="fold")
    for field in [field for field in found.fields if field.filled][:SHOWN]:
        cells = [
            f"{'>' if field.current else ' '}{SIGNS[field.fit]}",
            field.name,
            field.type,
            f"{field.filled:,}",
            percent(field.percent),
            f"{field.distinct:,}",
            f"{field.repeated:,}",
            f"{field.longest:,}",
        ]
        cells += [field.why_not] if wide else []
        cells += [", ".join(field.samples)] if samples else []
        style = "green" if field.fit == "good" else None
        table.add_row(*map(_escaped, cells), style=style)
    return table


def percent(value: float) -> str:
    """Rounded, but never to all or none where it isn't."""
    if 99.5 <= value < 100:
        return ">99"
    return "<1" if 0 < value < 0.5 else f"{value:.0f}"


def _explain(found: Survey) -> None:
    filled = [field.name for field in found.fields if field.filled]
    empty = [field.name for field in found.fields if not field.filled]
    if beyond := max(len(filled) - SHOWN, 0) + found.more:
        out.print(f"... and {beyond:,} more fields; those that most customers fill are listed.")
    if empty:
        more = f" and {len(empty) - SHOWN:,} more" if len(empty) > SHOWN else ""
        out.print(f"Empty everywhere: {', '.join(empty[:SHOWN])}{more}.", markup=False, soft_wrap=False)
    out.print(
        f"* could be identifier.billing_field: {GOOD_PERCENT} % of the customers or more have a value, and no two the same.\n"
        "~ nearly: customers without one, or with one that repeats, would be set aside.\n"
        "> is named in the YAML file now.",
        markup=False,
    )
    if found.customers < FEW:
        out.print(f"With {found.customers} customers, that no value repeats says little.")


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
