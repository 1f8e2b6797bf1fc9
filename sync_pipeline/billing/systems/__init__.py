"""The billing systems, a module each; a new module here is a new `billing.system`, with no other change.

A module has `Settings`, its section of the YAML file, whose `system` is the Literal that people write; and `SOURCE`, or
the functions of `billing.source.Source` itself.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from typing import Any, cast

from sync_pipeline.billing.settings import BillingSettings
from sync_pipeline.billing.source import Source


@cache
def sources() -> dict[str, Source]:
    """What reads each `billing.system`."""
    return {name: cast(Source, getattr(module, "SOURCE", module)) for name, module in _modules().items()}


@cache
def settings() -> tuple[type[BillingSettings], ...]:
    """The settings of every `billing.system`."""
    return tuple(module.Settings for module in _modules().values())


@cache
def _modules() -> dict[str, Any]:
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    modules = [import_module(f"{__name__}.{name}") for name in names]
    return {module.Settings.model_fields["system"].annotation.__args__[0]: module for module in modules}
