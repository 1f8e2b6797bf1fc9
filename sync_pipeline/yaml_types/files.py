"""Where a customer file lies and how it is written, as far as its address says."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator

from sync_pipeline.http import is_loopback
from sync_pipeline.yaml_types.values import EnvRef, Setting

FileFormat = Literal["csv", "parquet", "jsonl"]
"""How a customer file is written."""
ENDINGS: dict[str, FileFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
"""What an ending says; .gz may follow it."""
STORES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}
"""Scheme of an object store to the package that speaks to it."""
_ALLOWED = "Allowed: a path, s3://bucket/key, gs://bucket/key, az://container/key, https://host/path"


def scheme_of(address: str) -> str | None:
    """The scheme, in lower case, of an address like s3://bucket/key; None where it is the path of a file."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", address)
    return found[1].lower() if found else None


def format_of(address: str) -> FileFormat | None:
    """The format that the ending of a path or address says."""
    scheme = scheme_of(address)
    path = (urlsplit(address).path if scheme in ("http", "https") else address).lower()
    ending = re.search(r"(\.[a-z0-9]+)(?:\.gz)?$", path)
    return ENDINGS.get(ending[1]) if ending else None


def check_address(address: str) -> None:
    """Check where a file lies: a path, an object in a store, or an https address.

    Raises:
        ValueError: what is wrong with it, without the address itself (it may hold a secret).
    """
    scheme = scheme_of(address)
    if scheme is None:
        return
    if scheme not in (*STORES, "http", "https"):
        raise ValueError(f"files are not read from {scheme}://. {_ALLOWED}.")
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        raise ValueError(f"this is no address. {_ALLOWED}.") from None
    if not host or not parts.path.strip("/"):
        raise ValueError(f"the address names no file. {_ALLOWED}.")
    if scheme == "http" and not is_loopback(host):
        raise ValueError(f"http://{host} would send customers unencrypted. {_ALLOWED}.")


def without_secret(setting: str | EnvRef) -> str | EnvRef:
    """Check a setting as `check_address` does, and refuse one that holds a login or a signature."""
    if not isinstance(setting, str):
        return setting
    check_address(setting)
    scheme = scheme_of(setting)
    # abfss://container@account.dfs.core.windows.net is a name; everywhere else what stands before @ is a login.
    login = r"://[^/]*:[^/]*@" if scheme in ("abfs", "abfss") else r"://[^/]*@"
    if scheme and (re.search(login, setting) or (scheme in ("http", "https") and "?" in setting)):
        raise ValueError(
            "the address holds a signature or a login, and secrets never stand in this file. Put the whole address "
            "into an environment variable and write {env: NAME}."
        )
    return setting


FileAddress = Annotated[Setting, AfterValidator(without_secret)]
"""A path relative to the YAML file, or an address."""
FORMATS = get_args(FileFormat)
