"""Billing systems with an API. Each is a module with a `STAND_IN`; adding one takes nothing but the module."""

from __future__ import annotations

import importlib
import pkgutil

from sync_pipeline.sandbox.billings.frame import IdentifiedBy, StandIn


def _discovered() -> dict[str, StandIn]:
    """Every `STAND_IN` of this package's modules, sorted by name; modules without one are shared by the others."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    stand_ins = [module.STAND_IN for module in modules if hasattr(module, "STAND_IN")]
    return {one.name: one for one in sorted(stand_ins, key=lambda one: one.name)}


STAND_INS = _discovered()

_FILES: dict[str, IdentifiedBy] = {"database": "customer_id", "file": "number"}
"""Billing systems without an API: the sandbox writes a file."""

BILLINGS = (*STAND_INS, *_FILES)
"""All billing systems; each can have one organization of the same name."""


def identified_by(billing: str) -> IdentifiedBy:
    """What identifies the customers of a billing system."""
    return STAND_INS[billing].identified_by if billing in STAND_INS else _FILES[billing]
