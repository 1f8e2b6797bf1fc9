"""The operating system's keyring: macOS Keychain, Windows Credential Manager, GNOME Keyring or KWallet."""

from __future__ import annotations

import logging

from sync_pipeline.errors import ConfigurationError

log = logging.getLogger(__name__)

SERVICE = "sync-pipeline"
"""What our entries are called where people look into their keyring."""


def available() -> bool:
    """Whether there is a real one. Backends below priority 1 are none, or keep their entries in the open."""
    import keyring  # looks for backends when imported: only who stores a token waits for that

    return bool(keyring.get_keyring().priority >= 1)


def read(key: str) -> str | None:
    """An entry; None where there is none. ConfigurationError where the keyring does not answer (it may be locked)."""
    import keyring

    try:
        return keyring.get_password(SERVICE, key)
    except Exception as error:  # each backend brings errors of its own (D-Bus, ctypes), besides KeyringError
        raise ConfigurationError(
            f"The operating system's keyring, which holds this login, does not answer ({type(error).__name__}).",
            next_step="Unlock it, or, where the sync runs without a desktop, connect again there with "
            "SYNC_PIPELINE_TOKENS=file.",
        ) from None


def write(key: str, content: str) -> bool:
    """Write an entry; False where the keyring does not take it."""
    import keyring

    try:
        keyring.set_password(SERVICE, key, content)
    except Exception as error:
        log.warning("The operating system's keyring takes no entry (%s).", type(error).__name__)
        return False
    return True


def delete(key: str) -> None:
    """Forget an entry, if it is there."""
    import keyring

    try:
        keyring.delete_password(SERVICE, key)
    except Exception as error:
        log.info("The operating system's keyring has no entry to forget (%s).", type(error).__name__)
