"""Upflow as the billing system: the Upflow stand-in serves it, so billing and receivables are the same customers."""

from __future__ import annotations

from sync_pipeline.sandbox.billings.frame import StandIn

STAND_IN = StandIn(
    name="upflow",
    field="externalId",
    identified_by="customer_id",
    customer_id=lambda number, dice: f"U{number:07d}",
    credentials=dict,
    app=None,
)
