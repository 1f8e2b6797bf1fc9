"""The declared types of what leaves for another system, and the gate they pass before it leaves.

dagster-pandas' own constraints put the offending values (customers' data) into the event log, so the constraints here are
ours and name only the column and the rule.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import cast

import dagster as dg
import pandas as pd
from dagster_pandas import PandasColumn, create_dagster_pandas_dataframe_type
from dagster_pandas.constraints import (
    ColumnConstraint,
    ColumnConstraintViolationException,
    DataFrameConstraint,
    DataFrameConstraintViolationException,
    StrictColumnsConstraint,
)

from sync_pipeline.errors import GuardStop
from sync_pipeline.receivables import contacts, custom_fields, owners, portal_links
from sync_pipeline.salesforce import exports


class Filled(ColumnConstraint):
    """Every row has a value that is more than white space."""

    def __init__(self) -> None:
        ColumnConstraint.__init__(self, "every row has a value", "every row has a value")

    def validate(self, dataframe: pd.DataFrame, column_name: str) -> None:
        """Raise without naming any value."""
        column = dataframe[column_name]
        if column.isna().any() or (column.astype(str).str.strip() == "").any():
            raise ColumnConstraintViolationException("filled", "a row has no value", column_name)


class OneRowEach(DataFrameConstraint):
    """No two rows speak of the same thing: the given columns together are unique."""

    def __init__(self, columns: Sequence[str]) -> None:
        text = f"one row for each {' + '.join(columns)}"
        DataFrameConstraint.__init__(self, text, text)
        self.columns = list(columns)

    def validate(self, dataframe: pd.DataFrame) -> None:
        """Raise without naming any value."""
        if dataframe.duplicated(self.columns).any():
            raise DataFrameConstraintViolationException("one row each", f"two rows share {' + '.join(self.columns)}")


def _declare(
    name: str, description: str, columns: Mapping[str, str], *, filled: Sequence[str], key: Sequence[str]
) -> dg.DagsterType:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=dg.BetaWarning)  # all of dagster-pandas is called beta, since 2019
        declared: dg.DagsterType = create_dagster_pandas_dataframe_type(
            name=name,
            description=description,
            columns=[PandasColumn(column, constraints=[Filled()] if column in filled else []) for column in columns],
            dataframe_constraints=[StrictColumnsConstraint(list(columns)), OneRowEach(key)],
        )
    return declared


OWNERS_PLAN = _declare(
    "OwnersPlan",
    "Assigned users to set on the receivables platform.",
    owners.PLAN_COLUMNS,
    filled=["action", "billing_customer_id"],
    key=owners.PLAN_KEY,
)
CONTACTS_PLAN = _declare(
    "ContactsPlan",
    "Contacts to create, change or remove on the receivables platform.",
    contacts.PLAN_COLUMNS,
    filled=["action", "billing_customer_id"],
    key=contacts.PLAN_KEY,
)
CUSTOM_FIELDS_PLAN = _declare(
    "CustomFieldsPlan",
    "Custom field values to set on the receivables platform.",
    custom_fields.PLAN_COLUMNS,
    filled=["action", "record", "billing_customer_id", "platform_field"],
    key=custom_fields.PLAN_KEY,
)
PORTAL_LINKS_PLAN = _declare(
    "PortalLinksPlan",
    "Customers to ask a portal link for.",
    portal_links.PLAN_COLUMNS,
    filled=["action", "billing_customer_id", "salesforce_account_id"],
    key=portal_links.PLAN_KEY,
)
EXPORT_PLAN = _declare(
    "ExportPlan",
    "Portal links to write to Salesforce accounts.",
    exports.PLAN_COLUMNS,
    filled=["salesforce_account_id", "billing_customer_id", "url"],
    key=["salesforce_account_id"],
)


def validated(plan: pd.DataFrame, plan_type: dg.DagsterType, org: str) -> pd.DataFrame:
    """The plan, if it keeps its declared type.

    Raises:
        GuardStop: it does not; nothing has been written.
    """
    # The type's check takes a step context that it never reads.
    check = plan_type.type_check(cast("dg.TypeCheckContext", None), plan)
    if not check.success:
        raise GuardStop(
            f"Organization {org}: the {plan_type.display_name} is not what it must be ({check.description}); "
            "nothing was written.",
            next_step="This is a fault of sync_pipeline: please report it with this message.",
        )
    return plan
