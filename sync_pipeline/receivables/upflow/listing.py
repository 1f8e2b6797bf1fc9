"""Upflow's lists into temporary tables: a page's JSON goes to DuckDB as it came, so a million customers are no Python
objects.
"""

from __future__ import annotations

import duckdb

from sync_pipeline.progress import report
from sync_pipeline.receivables.platform import fresh
from sync_pipeline.receivables.upflow.client import Client


def read_users(con: duckdb.DuckDBPyConnection, client: Client) -> None:
    """† GET /users -> {"users": [{id, email, ...}]}."""
    fresh(con, "platform_users")
    for page, _ in client.pages("/users", "users"):
        con.execute(
            """
            INSERT INTO temp.platform_users
            SELECT u->>'id', lower(trim(u->>'email')) FROM (SELECT unnest((?::JSON->'$.users')::JSON[]) AS u)
            """,
            [page],
        )


def read_fields(con: duckdb.DuckDBPyConnection, client: Client) -> None:
    """† GET /custom_fields -> {"customFields": [{id, name, entity}]}; a field without `entity` is taken for a
    customer's.
    """
    fresh(con, "platform_fields")
    for page, _ in client.pages("/custom_fields", "customFields"):
        con.execute(
            """
            INSERT INTO temp.platform_fields
            SELECT f->>'id', upper(coalesce(f->>'entity', 'CUSTOMER')), f->>'name'
            FROM (SELECT unnest((?::JSON->'$.customFields')::JSON[]) AS f)
            """,
            [page],
        )


def read_customers(con: duckdb.DuckDBPyConnection, client: Client) -> None:
    """† GET /customers -> items with id, externalId, accountManagerId, customFields[{id, value}].

    What an item says more than once (the list moves while it is paged) counts once. Where an item lacks a key
    altogether, Upflow tells nothing about it, and our own record of its answers is used instead.
    """
    fresh(con, "platform_customers", "platform_values")
    con.execute("CREATE OR REPLACE TEMP TABLE listed_customers (c JSON)")
    done = 0
    for page, items in client.pages("/customers", "customers"):
        con.execute(
            """
            INSERT INTO temp.listed_customers
            SELECT json_object('id', c->'id', 'externalId', c->'externalId', 'manager', c->'accountManagerId',
                'manager_known', json_exists(c, '$.accountManagerId'), 'fields', c->'customFields')
            FROM (SELECT unnest((?::JSON->'$.customers')::JSON[]) AS c)
            """,
            [page],
        )
        done += items
        report("customers read from Upflow", done)
    con.execute(
        """
        INSERT INTO temp.platform_customers
        SELECT c->>'id', any_value(c->>'externalId'), last(c->>'manager'), bool_and((c->>'manager_known')::BOOLEAN),
            bool_and(coalesce((json_type(c->'fields') = 'ARRAY'), false))
        FROM temp.listed_customers WHERE (c->>'externalId') IS NOT NULL GROUP BY (c->>'id')
        """
    )
    con.execute(
        """
        INSERT INTO temp.platform_values
        SELECT customer_id, v->>'id', v->>'value' FROM (
            SELECT c->>'externalId' AS customer_id, unnest((c->'fields')::JSON[]) AS v
            FROM temp.listed_customers WHERE (json_type(c->'fields') = 'ARRAY') AND (c->>'externalId') IS NOT NULL
        )
        """
    )
    con.execute("DROP TABLE temp.listed_customers")
