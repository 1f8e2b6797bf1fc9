"""A certificate authority of the sandbox's own, kept in its folder: who trusted it before a restart trusts it after."""

from __future__ import annotations

import os
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

HOSTS = ("127.0.0.1", "localhost", "::1")
CA_FILE = "ca.pem"
_CA_KEY_FILE = "ca-key.pem"
_SERVER_FILE = "server.pem"


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)


def authority(folder: Path) -> trustme.CA:
    """The folder's certificate authority; made where there is none."""
    certificate, key = folder / CA_FILE, folder / _CA_KEY_FILE
    if certificate.exists() and key.exists():
        return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
    made = trustme.CA(organization_name="sync-pipeline sandbox")
    write_private(key, made.private_key_pem.bytes())
    certificate.write_bytes(made.cert_pem.bytes())
    return made


def server_certificate(folder: Path) -> Path:
    """A new certificate for loopback with its key, in one PEM file, signed by the folder's authority."""
    leaf = authority(folder).issue_cert(*HOSTS)
    path = folder / _SERVER_FILE
    write_private(path, leaf.private_key_and_cert_chain_pem.bytes())
    return path


def signing_key() -> tuple[bytes, str]:
    """A new RSA key pair for JWT bearer logins: the private key and the public key, both PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public.decode()
