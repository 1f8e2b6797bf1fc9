"""Where logins are kept: a keyring or a file, and nothing of them anywhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError, PasswordSetError

from sync_pipeline.errors import ConfigurationError, TransientError
from sync_pipeline.logins import tokens
from sync_pipeline.salesforce.logins.tokens import Grant, Secrets, TokenStore
from sync_pipeline_tests.paths import PROJECT
from sync_pipeline_tests.salesforce.logins.rotating import PRODUCTION, USER

GRANT = Grant(
    organization="acme",
    login_url="https://login.salesforce.com",
    client_id="3MVG9",
    organization_id=PRODUCTION,
    organization_name="Acme SA",
    is_sandbox=False,
    user_id=USER,
    username="sync@acme.example",
    connected_at="2026-01-02T03:04:05+00:00",
)
HELD = Secrets("refresh-secret", "access-secret", "https://acme.my.salesforce.com")

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has access lists instead of modes")


class Keyring(KeyringBackend):
    """A keyring in memory, as good as the system's."""

    priority = 5

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}
        self.locked = self.full = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked("locked")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked or self.full:
            raise PasswordSetError("no room")
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.entries.pop((service, username), None) is None:
            raise PasswordDeleteError("not there")


@pytest.fixture(autouse=True)
def _no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNC_PIPELINE_TOKENS", raising=False)


@pytest.fixture
def ring() -> Iterator[Keyring]:
    before, ours = keyring.get_keyring(), Keyring()
    keyring.set_keyring(ours)
    yield ours
    keyring.set_keyring(before)


@pytest.fixture
def no_ring() -> Iterator[None]:
    from keyring.backends import fail

    before = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())
    yield
    keyring.set_keyring(before)


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return TokenStore(tmp_path / "data" / "tokens")


def test_where_there_is_a_keyring_no_secret_is_on_disk(store: TokenStore, ring: Keyring) -> None:
    grant = store.start(GRANT, HELD)
    assert grant.kept_in == "keyring"
    assert store.grant("acme") == grant
    assert store.secrets(grant) == HELD
    written = "".join(file.read_text() for file in store.folder.iterdir())
    assert "-secret" not in written
    assert "sync-pipeline" in str(ring.entries.keys())


def test_a_rotated_token_replaces_the_entry(store: TokenStore, ring: Keyring) -> None:
    grant = store.start(GRANT, HELD)
    store.save(grant, replace(HELD, refresh_token="refresh-2"))
    assert store.secrets(grant).refresh_token == "refresh-2"
    assert len(ring.entries) == 1
    again = store.start(GRANT, HELD)
    assert again.key != grant.key
    assert len(ring.entries) == 1


def test_a_token_that_the_keyring_does_not_take_is_not_lost(store: TokenStore, ring: Keyring) -> None:
    grant = store.start(GRANT, HELD)
    ring.full = True
    kept = store.save(grant, replace(HELD, refresh_token="refresh-2"))
    assert kept.kept_in == "file"
    found = store.grant("acme")
    assert found == kept
    assert store.secrets(kept).refresh_token == "refresh-2"


def test_a_locked_keyring_is_named(store: TokenStore, ring: Keyring) -> None:
    grant = store.start(GRANT, HELD)
    ring.locked = True
    with pytest.raises(ConfigurationError, match=r"keyring.*does not answer \(KeyringLocked\).*Unlock it"):
        store.secrets(grant)


def test_an_emptied_keyring_asks_to_connect_again(store: TokenStore, ring: Keyring) -> None:
    grant = store.start(GRANT, HELD)
    ring.entries.clear()
    with pytest.raises(ConfigurationError, match=r"not in its keyring any more.*sync-pipeline connect acme"):
        store.secrets(grant)


@posix
def test_without_a_keyring_a_file_is_kept_for_its_owner_alone(store: TokenStore, no_ring: None) -> None:
    os.umask(0)
    grant = store.start(GRANT, HELD)
    assert grant.kept_in == "file"
    assert store.secrets(grant) == HELD
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in store.folder.iterdir()] == [0o600]


@posix
def test_a_folder_that_was_open_to_all_is_closed(store: TokenStore, no_ring: None) -> None:
    store.folder.mkdir(parents=True, mode=0o755)
    store.start(GRANT, HELD)
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_the_setting_decides(store: TokenStore, ring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_PIPELINE_TOKENS", "file")
    assert store.start(GRANT, HELD).kept_in == "file"
    assert not ring.entries
    monkeypatch.setenv("SYNC_PIPELINE_TOKENS", "vault")
    with pytest.raises(ConfigurationError, match="Allowed: keyring, file"):
        store.start(GRANT, HELD)


def test_a_keyring_that_is_asked_for_and_missing_is_an_error(
    store: TokenStore, no_ring: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNC_PIPELINE_TOKENS", "keyring")
    with pytest.raises(ConfigurationError, match="there is none here"):
        store.start(GRANT, HELD)


@posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666])
def test_a_file_that_others_can_read_is_not_used(store: TokenStore, no_ring: None, mode: int) -> None:
    store.start(GRANT, HELD)
    (store.folder / "acme.json").chmod(mode)
    with pytest.raises(ConfigurationError, match=r"others than this user.*sync-pipeline disconnect acme") as refused:
        store.grant("acme")
    assert f"{mode:04o}" in str(refused.value)
    ending = store.grant("acme", to_end=True)
    assert ending
    assert store.secrets(ending, to_end=True) == HELD  # to be revoked


@posix
def test_a_link_is_not_followed(store: TokenStore, no_ring: None, tmp_path: Path) -> None:
    store.start(GRANT, HELD)
    (store.folder / "acme.json").rename(tmp_path / "elsewhere.json")
    (store.folder / "acme.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ConfigurationError, match="can't be used"):
        store.grant("acme")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"organization": "acme"}', '{"x": "refresh-secret"}', "\xff"]
)
def test_a_damaged_file_is_named_and_not_quoted(store: TokenStore, no_ring: None, content: str) -> None:
    store.start(GRANT, HELD)
    (store.folder / "acme.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"acme\.json.*sync-pipeline connect acme") as damaged:
        store.grant("acme")
    assert "refresh-secret" not in str(damaged.value)
    assert store.grants() == []


def test_secrets_damaged_inside_a_file_ask_to_connect_again(store: TokenStore, no_ring: None) -> None:
    grant = store.start(GRANT, HELD)
    file = store.folder / "acme.json"
    for wrong in ({"refresh_token": "refresh-secret"}, "refresh-secret", None, {"unknown": 1}):
        file.write_text(json.dumps(asdict(grant) | {"secrets": wrong}))
        with pytest.raises(ConfigurationError, match="connect acme") as damaged:
            store.secrets(grant)
        assert "refresh-secret" not in str(damaged.value)


def test_nothing_shows_a_secret_or_a_name(store: TokenStore, ring: Keyring) -> None:
    grant = store.start(GRANT, HELD)
    shown = f"{HELD!r} {HELD} {grant!r} {store!r}"
    assert "-secret" not in shown
    assert "sync@acme.example" not in shown


def test_forgetting_leaves_nothing(store: TokenStore, ring: Keyring) -> None:
    grant = store.start(GRANT, HELD)
    store.forget("acme", grant)
    assert store.grant("acme") is None
    assert not ring.entries
    store.forget("acme", None)


def test_grants_are_listed_the_oldest_first(store: TokenStore, no_ring: None) -> None:
    for name, year in (("b", 2025), ("a", 2026), ("c", 2024)):
        store.start(replace(GRANT, organization=name, connected_at=f"{year}-01-01T00:00:00+00:00"), HELD)
    assert [grant.organization for grant in store.grants()] == ["c", "b", "a"]


def test_one_at_a_time(store: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = most = 0

    def enter() -> None:
        nonlocal inside, most
        with store.held("acme"):
            inside += 1
            most = max(most, inside)
            inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    monkeypatch.setattr(tokens, "HELD_SECONDS", 0.05)
    with store.held("acme"), pytest.raises(TransientError, match="renewing the login of acme"), store.held("acme"):
        pass


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from sync_pipeline_tests.logins.test_tokens import GRANT, HELD
from sync_pipeline.salesforce.logins.tokens import TokenStore
store = TokenStore(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    store.save(GRANT, replace(HELD, refresh_token=f"refresh-{number}", access_token="x" * (number % 2000)))
    print(number, flush=True)
"""


def test_whenever_it_is_killed_the_file_is_whole(store: TokenStore, no_ring: None) -> None:
    for after in (1, 7, 20):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store.folder)],
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path])},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        for _ in range(after):
            written = int(process.stdout.readline())
        process.kill()
        process.communicate()
        grant = store.grant("acme")
        assert grant
        assert int(store.secrets(grant).refresh_token.removeprefix("refresh-")) >= written
