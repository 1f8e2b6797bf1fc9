"""Billing systems: one module per system, one row shape for all of them (`warehouse.tables.BILLING_CUSTOMERS`).

A module says how its system lists customers and how a record becomes the row; everything they share stands once:
`source.py` (what a module has to offer), `records.py` (systems that answer JSON), `tabular.py` (systems that answer
tables), `load.py` (what every system's customers must satisfy, and the way into the warehouse).
"""

from sync_pipeline.billing.load import authorization, customer_url, kept_login, load_customers, probe, title

__all__ = ["authorization", "customer_url", "kept_login", "load_customers", "probe", "title"]
