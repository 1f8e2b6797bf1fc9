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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sync_pipeline import settings
from sync_pipeline.errors import ConfigurationError, TransientError
from sync_pipeline.salesforce.logins import keyrings

KEYRING, FILE = "keyring", "file"

HELD_SECONDS = 300.0
"""How long to wait for another process that refreshes: longer than its request can take with all its tries."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Who is connected to which Salesforce organization, and where the secrets are. Holds none itself.

    Attributes:
        organization: name of the organization's YAML file.
        login_url: where the person logged in; its tokens are sent nowhere else.
        client_id: the app.
        organization_id, user_id: Salesforce's ids, 18 characters.
        username: personal data: shown to a person at the terminal, never in an error or an event.
        connected_at: ISO time (UTC).
        kept_in: keyring or file.
        key: names the entry in the keyring. New with each connection, so that no other installation shares it.
    """

    organization: str
    login_url: str
    client_id: str
    organization_id: str
    organization_name: str
    is_sandbox: bool
    user_id: str
    username: str = field(repr=False)
    connected_at: str
    kept_in: str = FILE
    key: str = ""


@dataclass(frozen=True, slots=True)
class Secrets:
    """The tokens of a grant. They stay out of the representation.

    Attributes:
        refresh_token: the only one that may be sent; a refresh may replace it.
        access_token: the session that all processes share until Salesforce refuses it.
        instance_url: where the session is valid.
        rotates: whether the last refresh brought a new refresh token; None before the first.
        sent_at: when (ISO, UTC) the refresh token was sent, as long as no answer to that is stored.
        refused: Salesforce's reason, once it has said that the refresh token is dead.
    """

    refresh_token: str = field(repr=False)
    access_token: str = field(repr=False)
    instance_url: str
    rotates: bool | None = None
    sent_at: str | None = None
    refused: str | None = None


class TokenStore:
    """The connected organizations of this installation.

    Args:
        folder: `tokens` below the data folder unless a test says otherwise.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or settings.data_dir() / "tokens").absolute()

    def grant(self, organization: str, *, to_end: bool = False) -> Grant | None:
        """Who connected the organization; None where nobody did.

        Args:
            organization: name of its YAML file.
            to_end: to be revoked: then a file that others could read too is the best reason, and no hindrance.

        Raises:
            ConfigurationError: its file can't be used.
        """
        found = self._read(organization, shared=to_end)
        return found[0] if found else None

    def grants(self) -> list[Grant]:
        """Every grant, the oldest first. Files that can't be used are left out: `grant` says what is wrong with them."""
        found = []
        for path in self.folder.glob("*.json"):
            with suppress(ConfigurationError):
                grant = self.grant(path.stem)
                found += [grant] if grant else []
        return sorted(found, key=lambda grant: grant.connected_at)

    def secrets(self, grant: Grant, *, to_end: bool = False) -> Secrets:
        """The grant's tokens; ConfigurationError where the keyring, or the file, does not give them."""
        try:
            if grant.kept_in == KEYRING:
                return Secrets(**json.loads(keyrings.read(grant.key) or "{}"))
            found = self._read(grant.organization, shared=to_end)
            return Secrets(**(found[1] if found and found[0] == grant and found[1] else {}))
        except (TypeError, ValueError):  # what they say may quote a token
            raise ConfigurationError(
                f"The login of {grant.organization} is not in its {grant.kept_in} any more.",
                next_step=f"Connect again: sync-pipeline connect {grant.organization}",
            ) from None

    def save(self, grant: Grant, held: Secrets) -> Grant:
        """Keep both; when this returns, they outlive a power cut. Returns the grant as it is kept.

        A keyring that takes no entry (it was locked meanwhile, the entry is too long) does not lose a token that
        Salesforce has just made the only good one: it goes to the file instead.
        """
        content = json.dumps(asdict(held))
        if grant.kept_in == KEYRING and keyrings.write(grant.key, content):
            if self.grant(grant.organization) != grant:
                self._write(grant, None)
            return grant
        kept = replace(grant, kept_in=FILE)
        self._write(kept, asdict(held))
        return kept

    def start(self, grant: Grant, held: Secrets) -> Grant:
        """Keep a new connection, in the keyring where there is one and `$SYNC_PIPELINE_TOKENS` does not say otherwise.

        Raises:
            ConfigurationError: the setting is neither keyring nor file; it asks for a keyring and there is none.
        """
        with suppress(ConfigurationError):
            old = self.grant(grant.organization, to_end=True)
            if old and old.kept_in == KEYRING:
                keyrings.delete(old.key)
        return self.save(replace(grant, kept_in=place(), key=f"{grant.organization}-{secrets.token_hex(8)}"), held)

    def forget(self, organization: str, grant: Grant | None) -> None:
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

    def _path(self, organization: str) -> Path:
        return self.folder / f"{organization}.json"

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)  # somebody may have made it before, for all to look into
        except OSError as error:
            raise self._unusable(self.folder, error.strerror or "unknown trouble") from error

    def _read(self, organization: str, *, shared: bool = False) -> tuple[Grant, dict[str, Any] | None] | None:
        path = self._path(organization)
        try:
            # Judged and read by one descriptor: nobody can put another file in its place in between.
            with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), encoding="utf-8") as file:
                if not shared:
                    _refuse_shared(path, os.fstat(file.fileno()), organization)
                content = json.load(file)
            held = content.pop("secrets", None)
            return Grant(**content), held if isinstance(held, dict) else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(path, error.strerror or "unknown trouble", organization) from None
        except (ValueError, TypeError, AttributeError):  # what they say may quote a token
            raise ConfigurationError(
                f"The login kept in {path} can't be used: somebody changed the file.",
                next_step=f"Connect again: sync-pipeline connect {organization}",
            ) from None

    def _write(self, grant: Grant, held: dict[str, Any] | None) -> None:
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

    def _unusable(self, path: Path, why: str, organization: str = "") -> ConfigurationError:
        again = f"; connect again: sync-pipeline connect {organization}" if organization else ""
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


def _refuse_shared(path: Path, found: os.stat_result, organization: str) -> None:
    if os.name != "posix":
        return  # Windows has access lists instead; the user's own folders are closed to others there
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{path} holds a login, and others than this user can read or own it (mode {stat.S_IMODE(found.st_mode):04o}). "
            "It is not used, because whoever has read it can use the login as well.",
            next_step=f"Disconnect and connect again: sync-pipeline disconnect {organization}, "
            f"then sync-pipeline connect {organization}",
        )


def _sync_folder(folder: Path) -> None:
    """Make the new name of a file as lasting as its content; Windows knows no such thing."""
    with suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
