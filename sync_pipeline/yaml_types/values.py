"""Values that stand in the environment instead of the file."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, PrivateAttr, Tag, model_validator

from sync_pipeline.errors import ConfigurationError


class Section(BaseModel):
    """A mapping of the YAML file. A key with nothing after its colon counts as not written."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class EnvRef(Section):
    """The name of an environment variable; its value is read when it is used and stays out of every file."""

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", examples=["ACME_CLIENT_SECRET"])
    """Name of the environment variable."""
    _where: str = PrivateAttr(default="")  # "config/orgs/acme.yaml:12", set by the loader

    def value(self) -> str:
        """The variable's value without white space at its ends (a secret read from a file often ends in a line break).

        Raises:
            ConfigurationError: the variable is not set or empty, naming it and the line that asks for it.
        """
        found = os.environ.get(self.env, "").strip()
        if not found:
            place = f"{self._where}: " if self._where else ""
            state = "empty" if self.env in os.environ else "not set"
            raise ConfigurationError(
                f"{place}the environment variable {self.env} is {state}.",
                next_step=f"Set {self.env} where the sync runs.",
            )
        return found

    def is_set(self) -> bool:
        """Whether `value()` would answer."""
        return bool(os.environ.get(self.env, "").strip())

    @property
    def where(self) -> str:
        """`config/orgs/acme.yaml:12`, the line that names the variable."""
        return self._where


def _kind(value: Any) -> str:
    return "<env>" if isinstance(value, (dict, EnvRef)) else "<text>"


Name = Annotated[str, Field(min_length=1)]
"""Text that says something."""


def one_of(*keys: str) -> ConfigDict:
    """Exactly one of these keys is written; `orgs/rules.py` holds files to it, and the schema tells editors."""
    return ConfigDict(json_schema_extra={"oneOf": [{"required": [key]} for key in keys]})


Secret = EnvRef
"""A value that may only be named."""


def _written_out(value: str) -> str:
    if name := re.fullmatch(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?", value):
        raise ValueError(f"variables are not filled in here. Write {{env: {name[1]}}} instead of {value}.")
    return value


Setting = Annotated[
    Annotated[str, Field(min_length=1), AfterValidator(_written_out), Tag("<text>")] | Annotated[EnvRef, Tag("<env>")],
    Discriminator(_kind),
]
"""A value in the file, or the name of an environment variable that holds it. `text()` reads either."""


def text(setting: str | EnvRef) -> str:
    """What a setting says, read from the environment where it is named there.

    Raises:
        ConfigurationError: the variable is not set or empty.
    """
    return setting.value() if isinstance(setting, EnvRef) else setting
