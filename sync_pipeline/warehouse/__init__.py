"""The warehouse: one DuckDB catalog per organization, attached as `warehouse`, and its tables."""

from sync_pipeline.warehouse.connection import Warehouse
from sync_pipeline.warehouse.load import insert_rows, literal, quote, replace_table
from sync_pipeline.warehouse.tables import TABLES, Column, Table

__all__ = ["TABLES", "Column", "Table", "Warehouse", "insert_rows", "literal", "quote", "replace_table"]
