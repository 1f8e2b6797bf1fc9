"""A file that lies in an object store or behind an https address, brought to this machine's disk.

The stores are spoken to by fsspec's packages (s3fs, gcsfs, adlfs), which the user installs as the driver of a database.
They find their credentials as their users know it: in the environment, a profile, or the machine's own role. DuckDB's
httpfs is not used: it is fetched from the internet at its first use.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import requests

from sync_pipeline.billing.source import Organization
from sync_pipeline.errors import ConfigurationError, ReconnectError, SyncError, TransientError
from sync_pipeline.http import RETRIED_STATUSES, ApiSession, translated
from sync_pipeline.yaml_types.files import STORES, check_address, scheme_of
from sync_pipeline.yaml_types.values import EnvRef

CHUNK_BYTES = 1_048_576
_VERSION = (
    "ETag",
    "etag",
    "generation",
    "md5Hash",
    "LastModified",
    "last_modified",
    "updated",
    "mtime",
    "created",
    "size",
)
"""What the packages call that which changes with an object."""


def fetch(org: Organization, setting: str | EnvRef, address: str, target: Path, at_most: int | None = None) -> bool:
    """Copy the file to `target`.

    Args:
        org: the organization.
        setting: `billing.path`; what it names is shown only where it stands in the YAML file.
        address: what it says.
        target: where to.
        at_most: bytes; a larger file is left where it is.

    Returns:
        Whether `target` holds the whole file.

    Raises:
        ConfigurationError: there is no such file, or the package that speaks to the store is not installed.
        ReconnectError: the store refuses the login.
        TransientError: the store is away, or the file changed while it was copied.
    """
    shown = f"the file named by {setting.env}" if isinstance(setting, EnvRef) else address
    where = f"{org.where('billing', 'path')}: {shown}"
    try:
        check_address(address)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    if scheme_of(address) in ("http", "https"):
        return _by_http(where, address, target, at_most)
    return _by_store(where, address, target, at_most)


def _by_http(where: str, address: str, target: Path, at_most: int | None) -> bool:
    """One answer is one state of the file, and urllib3 minds that it comes whole."""
    try:
        with (
            _quiet(),
            translated(where),
            ApiSession() as session,
            # "identity": the length then counts the file's own bytes
            session.get(address, stream=True, headers={"Accept-Encoding": "identity"}) as response,
        ):
            _refuse_status(where, response)
            if at_most is not None and int(response.headers.get("Content-Length", 0)) > at_most:
                return False
            with target.open("wb") as file:
                for chunk in response.iter_content(CHUNK_BYTES):
                    file.write(chunk)
                    if at_most is not None and file.tell() > at_most:
                        return False
    except SyncError as error:
        raise error from None  # the cause quotes the address, and its signature with it
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the signature out of the log as well, where somebody has urllib3 log every request."""

    def without_query(record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(re.sub(r"\?\S+", "?***", arg) if isinstance(arg, str) else arg for arg in record.args)
        return True

    log = logging.getLogger("urllib3.connectionpool")
    log.addFilter(without_query)
    try:
        yield
    finally:
        log.removeFilter(without_query)


def _refuse_status(where: str, response: requests.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    if status in (401, 403):
        raise ReconnectError(
            f"{where}: the server refuses to give it (HTTP {status}).",
            next_step="Check the right to read it; a presigned address lives for a time only, so make a new one.",
        )
    if status in RETRIED_STATUSES:
        raise TransientError(f"{where}: the server can't answer now (HTTP {status}).", next_step="Try again later.")
    what = "there is no such file" if status in (404, 410) else "the server does not give it"
    raise ConfigurationError(f"{where}: {what} (HTTP {status}).", next_step="Check billing.path.")


def _by_store(where: str, address: str, target: Path, at_most: int | None) -> bool:
    with _explained(where, address):
        _package(scheme_of(address) or "")
        files, key = fsspec.url_to_fs(address, skip_instance_cache=True, use_listings_cache=False)
        before = files.info(key)
        if before.get("type") == "directory":
            raise ConfigurationError(f"{where} is a folder.", next_step="Name one file at billing.path.")
        if at_most is not None and (before.get("size") or 0) > at_most:
            return False
        files.get_file(key, str(target))
        files.invalidate_cache()
        after = files.info(key)
    if _state(before) != _state(after) or target.stat().st_size != after.get("size"):
        raise TransientError(f"{where} changed while it was read.", next_step="Let the export finish and sync again.")
    return True


def _package(scheme: str) -> None:
    """Load the package that speaks to the store; ImportError names the one to install."""
    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError:  # some packages bring a scheme that fsspec itself does not know
        raise ImportError(name=STORES[scheme]) from None


def _state(info: dict[str, Any]) -> dict[str, Any]:
    return {name: info[name] for name in _VERSION if name in info}


@contextmanager
def _explained(where: str, address: str) -> Iterator[None]:
    """The packages share no tree of errors: their names and numbers have to say what is to be done."""
    try:
        yield
    except SyncError:
        raise
    except ImportError as error:
        package = STORES[scheme_of(address) or ""]
        if error.name and error.name != package:
            package = error.name.partition(".")[0]
        raise ConfigurationError(
            f"{where}: the package that reads {scheme_of(address)}:// is not installed.",
            next_step=f"Run `pip install {package}` where the sync runs.",
        ) from None
    except FileNotFoundError:
        raise ConfigurationError(f"{where}: there is no such file.", next_step="Check billing.path.") from None
    except Exception as error:  # whatever a package raises is the store's or its configuration's, never ours
        raise _by_consequence(where, address, error) from None


def _by_consequence(where: str, address: str, error: Exception) -> SyncError:
    words = f"{type(error).__name__}: {_without_secrets(str(error), address)}"
    refused = re.search(r"Credential|Auth|Forbidden|Refresh|Token", type(error).__name__)
    code = getattr(error, "code", None) or getattr(error, "status_code", None)
    if isinstance(error, PermissionError) or refused or code in (401, 403):
        return ReconnectError(
            f"{where}: the store refuses the login ({words}).",
            next_step="Check the credentials in the environment where the sync runs, and their right to read the file.",
        )
    if isinstance(error, (ValueError, TypeError)):
        return ConfigurationError(f"{where}: the store can't be addressed ({words}).", next_step="Check billing.path.")
    return TransientError(
        f"{where}: the store can't answer now ({words}).", next_step="Try again later; if it lasts, check the network."
    )


def _without_secrets(said: str, address: str) -> str:
    said = re.sub(r"\?\S+", "?***", said.replace(address, "***"))
    return " ".join(said.split())[:300].rstrip(".")
