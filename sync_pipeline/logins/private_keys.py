"""Private keys that an organization's YAML file names as a file or as a variable."""

from __future__ import annotations

from pathlib import Path

from sync_pipeline.errors import ConfigurationError


def with_line_breaks(pem: str) -> str:
    r"""A key from a variable: where that can't hold line breaks, people write \n."""
    return pem.replace("\\n", "\n")


def read_pem(path: Path, where: str) -> str:
    """The text of a key's file; ConfigurationError, with the place in the YAML file that names it, where it has none."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text"
        raise ConfigurationError(
            f"{where}: the private key can't be read from {path} ({why}).", next_step="Name the file that holds it."
        ) from None
