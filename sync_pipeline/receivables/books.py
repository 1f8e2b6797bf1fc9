"""What the four imports share: plans as data frames, addresses, and the pairs that may be touched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb
import pandas as pd

from sync_pipeline.errors import GuardStop
from sync_pipeline.orgs.models import Organization
from sync_pipeline.warehouse import quote

PAIRS = "SELECT billing_customer_id, salesforce_account_id FROM account_mapping WHERE verdict = 'matched'"
"""The only customers that are ever touched."""

NOW = "(now() AT TIME ZONE 'UTC')"

_BLANK = r"[\s\p{Z}\x{200B}\x{FEFF}]+"
_ADDRESS = r"""[^@\s,;:<>()"\x{5B}\x{5D}\\]+@[^@\s,;:<>()"\x{5B}\x{5D}\\.]+(\.[^@\s,;:<>()"\x{5B}\x{5D}\\.]+)+"""


def text(expression: str) -> str:
    """SQL: the text without white space of any kind around it; null where nothing is left."""
    return f"nullif(regexp_replace({expression}, '^{_BLANK}|{_BLANK}$', '', 'g'), '')"


def address(expression: str) -> str:
    """SQL: an e-mail address as it is compared and sent: trimmed, in lower case."""
    return f"lower({text(expression)})"


def is_address(expression: str) -> str:
    """SQL: whether a trimmed text has the form of an e-mail address; at most 254 characters, as mail servers take."""
    return f"(regexp_full_match({expression}, '{_ADDRESS}') AND length({expression}) <= 254)"


def frame(con: duckdb.DuckDBPyConnection, sql: str, columns: Mapping[str, str], params: object = ()) -> pd.DataFrame:
    """Rows of a query as a data frame of the declared columns and dtypes."""
    found = con.execute(f"SELECT {', '.join(map(quote, columns))} FROM ({sql})", params).df()
    for name, dtype in columns.items():  # one by one: a large plan is not in memory twice
        found[name] = found[name].astype(pd.api.types.pandas_dtype(dtype))
    return found


@contextmanager
def staged(con: duckdb.DuckDBPyConnection, plan: pd.DataFrame) -> Iterator[None]:
    """The plan as the temporary table `plan` (and an empty `answers`) while the block runs."""
    con.register("plan_frame", plan)
    try:
        con.execute("CREATE OR REPLACE TEMP TABLE plan AS SELECT * FROM plan_frame")
    finally:
        con.unregister("plan_frame")
    try:
        yield
    finally:
        con.execute("DROP TABLE IF EXISTS temp.plan")
        con.execute("DROP TABLE IF EXISTS temp.answers")


def rows(plan: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows of a plan one by one, absent values as None."""
    columns = list(plan.columns)
    for values in plan.itertuples(index=False, name=None):
        yield {name: None if value is pd.NA else value for name, value in zip(columns, values, strict=True)}


def field_map(fields: Mapping[str, str]) -> str:
    """Imported fields (Salesforce field to the platform's) as a JSON list to bind: names, and JSON pointers."""
    return json.dumps(
        [
            {
                "salesforce_field": field,
                "platform_field": name,
                "pointer": "/" + field.replace("~", "~0").replace("/", "~1"),
            }
            for field, name in fields.items()
        ]
    )


def require_one_to_one(con: duckdb.DuckDBPyConnection, org: Organization) -> None:
    """Stop where a customer or an account is in two pairs, before debts reach the wrong company.

    Raises:
        GuardStop: the mapping is not one to one.
    """
    ((customers, accounts),) = con.execute(
        f"""
        SELECT count(*) - count(DISTINCT billing_customer_id), count(*) - count(DISTINCT salesforce_account_id)
        FROM ({PAIRS})
        """
    ).fetchall()
    if customers or accounts:
        raise GuardStop(
            f"Organization {org.name}: account_mapping is not one to one ({customers} customer(s) and {accounts} "
            "account(s) are in more than one pair, or in none); nothing was written.",
            next_step="Materialize account_mapping again; if it stays so, report it.",
        )
