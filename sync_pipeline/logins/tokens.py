"""Where the logins of people are kept between two syncs: what is secret in the operating system's keyring, or in a file.

`tokens/` below the data folder holds a file for each connected organization. It says who is connected to what (nothing
secret), and, where there is no keyring (a server without a desktop), the secrets as well. Files can be read by their
owner alone, and one that others could read is not used: whoever read it has the login.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from filelock import FileLock, Timeout

from sync_pipeline import settings
from sync_pipeline.errors import ConfigurationError, TransientError
from sync_pipeline.logins import keyrings

KEYRING, FILE = "keyring", "file"

HELD_SECONDS = 300.0
"""How long to wait for another process that refreshes: longer than its request can take with all its tries."""


class Kept(Protocol):
    """What a grant says about its keeping; a frozen dataclass of strings and truth values, without any secret."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def organization(self) -> str:
        """Name of the organization's YAML file."""
        ...

    @property
    def connected_at(self) -> str:
        """ISO time (UTC)."""
        ...

    @property
    def kept_in(self) -> str:
        """Keyring or file."""
        ...

    @property
    def key(self) -> str:
        """Names the entry in the keyring. New with each connection, so that no other installation shares it."""
        ...


class Tokens(Protocol):
    """The secrets of a grant: a frozen dataclass of what JSON can hold."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


G = TypeVar("G", bound=Kept)
S = TypeVar("S", bound=Tokens)


class TokenStore(Generic[G, S]):
    """The connected organizations of this installation, for one kind of grant.

    Args:
        folder: where their files are.
        grants: the class of a grant.
        tokens: the class of its secrets.
        option: what the commands `connect` and `disconnect` need for this kind, e.g. ` --billing`.
    """

    def __init__(self, folder: Path, grants: type[G], tokens: type[S], option: str = "") -> None:
        self.folder = folder.absolute()
        self._grants, self._tokens, self._option = grants, tokens, option

    def grant(self, organization: str, *, to_end: bool = False) -> G | None:
        """Who connected the organization; None where nobody did.

        Args:
            organization: name of its YAML file.
            to_end: to be revoked: then a file that others could read too is the best reason, and no hindrance.

        Raises:
            ConfigurationError: its file can't be used.
        """
        found = self._read(organization, shared=to_end)
        return found[0] if found else None

    def grants(self) -> list[G]:
        """Every grant, the oldest first. Files that can't be used are left out: `grant` says what is wrong with them."""
        found = []
        for path in self.folder.glob("*.json"):
            with suppress(ConfigurationError):
                grant = self.grant(path.stem)
                found += [grant] if grant else []
        return sorted(found, key=lambda grant: grant.connected_at)

    def secrets(self, grant: G, *, to_end: bool = False) -> S:
        """The grant's tokens; ConfigurationError where the keyring, or the file, does not give them."""
        try:
            if grant.kept_in == KEYRING:
                return self._tokens(**json.loads(keyrings.read(grant.key) or "{}"))
            found = self._read(grant.organization, shared=to_end)
            return self._tokens(**(found[1] if found and found[0] == grant and found[1] else {}))
        except (TypeError, ValueError):  # what they say may quote a token
            raise ConfigurationError(
                f"The login of {grant.organization} is not in its {grant.kept_in} any more.",
                next_step=f"Connect again: {self.connect(grant.organization)}",
            ) from None

    def save(self, grant: G, held: S) -> G:
        """Keep both; when this returns, they outlive a power cut. Returns the grant as it is kept.

        A keyring that takes no entry (it was locked meanwhile, the entry is too long) does not lose a token that has
        just become the only good one: it goes to the file instead.
        """
        content = json.dumps(asdict(held))
        if grant.kept_in == KEYRING and keyrings.write(grant.key, content):
            if self.grant(grant.organization) != grant:
                self._write(grant, None)
            return grant
        kept = replace(grant, kept_in=FILE)
        self._write(kept, asdict(held))
        return kept

    def start(self, grant: G, held: S) -> G:
        """Keep a new connection, in the keyring where there is one and `$SYNC_PIPELINE_TOKENS` does not say otherwise.

        Raises:
            ConfigurationError: the setting is neither keyring nor file; it asks for a keyring and there is none.
        """
        with suppress(ConfigurationError):
            old = self.grant(grant.organization, to_end=True)
            if old and old.kept_in == KEYRING:
                keyrings.delete(old.key)
        return self.save(replace(grant, kept_in=place(), key=f"{grant.organization}-{secrets.token_hex(8)}"), held)

    def forget(self, organization: str, grant: G | None) -> None:
        """Keep nothing of the organization's grant, whatever its file holds."""
        self._path(organization).unlink(missing_ok=True)
        if grant and grant.kept_in == KEYRING:
            keyrings.delete(grant.key)

    @contextmanager
    def held(self, organization: str) -> Iterator[None]:
        """Keep every other process and thread from refreshing or replacing the organization's tokens meanwhile.

        The lock ends with its process, however that ends. TransientError where somebody else does not let go.
        """
        self._make_folder()
        try:
            with FileLock(self.folder / f"{organization}.lock", timeout=HELD_SECONDS):
                yield
        except Timeout:
            raise TransientError(
                f"Another process has been renewing the login of {organization} for {HELD_SECONDS:.0f} seconds.",
                next_step="End it, then try again.",
            ) from None

    def connect(self, organization: str) -> str:
        """The command that connects the organization."""
        return f"sync-pipeline connect {organization}{self._option}"

    def disconnect(self, organization: str) -> str:
        """The command that ends the connection."""
        return f"sync-pipeline disconnect {organization}{self._option}"

    def _path(self, organization: str) -> Path:
        return self.folder / f"{organization}.json"

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)  # somebody may have made it before, for all to look into
        except OSError as error:
            raise self._unusable(self.folder, error.strerror or "unknown trouble") from error

    def _read(self, organization: str, *, shared: bool = False) -> tuple[G, dict[str, Any] | None] | None:
        path = self._path(organization)
        try:
            # Judged and read by one descriptor: nobody can put another file in its place in between.
            with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), encoding="utf-8") as file:
                if not shared:
                    self._refuse_shared(path, os.fstat(file.fileno()), organization)
                content = json.load(file)
            held = content.pop("secrets", None)
            return self._grants(**content), held if isinstance(held, dict) else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(path, error.strerror or "unknown trouble", organization) from None
        except (ValueError, TypeError, AttributeError):  # what they say may quote a token
            raise ConfigurationError(
                f"The login kept in {path} can't be used: somebody changed the file.",
                next_step=f"Connect again: {self.connect(organization)}",
            ) from None

    def _write(self, grant: G, held: dict[str, Any] | None) -> None:
        """Replace the file whole: a reader, a kill or a power cut meets the old one or the new one."""
        self._make_folder()
        path = self._path(grant.organization)
        try:
            descriptor, name = tempfile.mkstemp(dir=self.folder, prefix=f".{grant.organization}-")  # made with 0600
            try:
                with open(descriptor, "w", encoding="utf-8") as file:
                    json.dump(asdict(grant) | ({"secrets": held} if held else {}), file, indent=2)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            _sync_folder(self.folder)
        except OSError as error:
            raise self._unusable(path, error.strerror or "unknown trouble", grant.organization) from error

    def _refuse_shared(self, path: Path, found: os.stat_result, organization: str) -> None:
        if os.name != "posix":
            return  # Windows has access lists instead; the user's own folders are closed to others there
        if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or found.st_uid != os.geteuid():
            raise ConfigurationError(
                f"{path} holds a login, and others than this user can read or own it (mode {stat.S_IMODE(found.st_mode):04o}). "
                "It is not used, because whoever has read it can use the login as well.",
                next_step=f"Disconnect and connect again: {self.disconnect(organization)}, "
                f"then {self.connect(organization)}",
            )

    def _unusable(self, path: Path, why: str, organization: str = "") -> ConfigurationError:
        again = f"; connect again: {self.connect(organization)}" if organization else ""
        return ConfigurationError(
            f"The login kept in {path} can't be used ({why}).",
            next_step=f"Make room or rights for it, or name another data folder ($SYNC_PIPELINE_DATA){again}",
        )


def place() -> str:
    """Where a new connection is kept, keyring or file; ConfigurationError where the setting asks for what is not there."""
    wanted = settings.tokens_in()
    if wanted not in ("auto", KEYRING, FILE):
        raise ConfigurationError(
            f"${settings.TOKENS_VARIABLE} is {wanted!r:.40}.", next_step=f"Allowed: {KEYRING}, {FILE}, or not set."
        )
    if wanted == FILE or (wanted == "auto" and not keyrings.available()):
        return FILE
    if not keyrings.available():
        raise ConfigurationError(
            f"${settings.TOKENS_VARIABLE} asks for the operating system's keyring, and there is none here.",
            next_step=f"Set it to {FILE}: a file that only its owner can read.",
        )
    return KEYRING


def _sync_folder(folder: Path) -> None:
    """Make the new name of a file as lasting as its content; Windows knows no such thing."""
    with suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
