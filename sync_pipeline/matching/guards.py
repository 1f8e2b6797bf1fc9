"""Whether the mapping holds what it promises, counted anew from the tables, by nothing that made it."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb


@dataclass(frozen=True, slots=True)
class Unaccounted:
    """How many records have no row in `account_mapping`, and how many have more than one. All zero when all is well."""

    accounts_missing: int
    accounts_twice: int
    customers_missing: int
    customers_twice: int

    @property
    def total(self) -> int:
        """The sum of all four."""
        return self.accounts_missing + self.accounts_twice + self.customers_missing + self.customers_twice


def one_to_one_violations(con: duckdb.DuckDBPyConnection) -> int:
    """How many records break the one-to-one rule: matched more than once, or matched with nothing. 0 when it holds."""
    found = con.execute(
        """
        WITH matched AS (
            SELECT billing_customer_id AS customer, salesforce_account_id AS account
            FROM warehouse.main.account_mapping WHERE verdict = 'matched'
        )
        SELECT
            (SELECT count(customer) - count(DISTINCT customer) + count(account) - count(DISTINCT account) FROM matched)
            + (SELECT count(*) FROM matched WHERE customer IS NULL OR account IS NULL)"""
    ).fetchone()
    return int(found[0]) if found else 0


def unaccounted(con: duckdb.DuckDBPyConnection) -> Unaccounted:
    """Compare the records of both sides with the rows of the mapping, one by one."""
    accounts = _unaccounted_side(con, "salesforce_accounts", "account_id", "salesforce_account_id")
    customers = _unaccounted_side(con, "billing_customers", "customer_id", "billing_customer_id")
    return Unaccounted(*accounts, *customers)


def _unaccounted_side(con: duckdb.DuckDBPyConnection, table: str, record_id: str, mapping_id: str) -> tuple[int, int]:
    """(records without a row, records with several) of one side. A row whose record is gone counts as one too many."""
    found = con.execute(
        f"""
        WITH balance AS (
            SELECT id, sum(records) AS records, sum(rows) AS rows
            FROM (
                SELECT {record_id} AS id, 1 AS records, 0 AS rows FROM warehouse.main.{table}
                UNION ALL
                SELECT {mapping_id}, 0, 1 FROM warehouse.main.account_mapping WHERE {mapping_id} IS NOT NULL
            ) GROUP BY id
        )
        SELECT count(*) FILTER (rows = 0), count(*) FILTER (rows > 1 OR records = 0) FROM balance"""
    ).fetchone()
    return (int(found[0]), int(found[1])) if found else (0, 0)
