"""How NetSuite's stand-in knows who calls: a JWT signed by a mapped certificate's key, or a signature on every request."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from sync_pipeline.sandbox.web import Call

_CLOCK_SECONDS = 300
"""† How far the clock of a signed request may be off."""
_ALGORITHMS = ["PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]


def is_signed(call: Call, login: Mapping[str, str], told: Mapping[str, str]) -> bool:
    """Whether a request is signed by these credentials, now (RFC 5849); the realm is the account, in capitals.

    Args:
        call: the request.
        login: the organization's credentials.
        told: what the header Authorization says, decoded.
    """
    stamp = told.get("oauth_timestamp", "")
    if not stamp.isdecimal() or abs(time.time() - int(stamp)) > _CLOCK_SECONDS or not told.get("oauth_nonce"):
        return False
    pairs = [*call.query, *((n, v) for n, v in told.items() if n not in ("realm", "oauth_signature"))]
    joined = "&".join(f"{n}={v}" for n, v in sorted((_quoted(n), _quoted(v)) for n, v in pairs))
    path = "/" + "/".join(map(_quoted, call.segments))
    base = "&".join(map(_quoted, (call.method, call.base.lower() + path, joined)))
    key = f"{_quoted(login['consumer_secret'])}&{_quoted(login['token_secret'])}"
    right = base64.b64encode(hmac.digest(key.encode(), base.encode(), hashlib.sha256))
    return (
        told.get("realm") == login["account"]
        and told.get("oauth_consumer_key") == login["consumer_key"]
        and told.get("oauth_signature_method") == "HMAC-SHA256"
        and hmac.compare_digest(told.get("oauth_signature", "").encode(), right)
    )


def is_vouched_for(login: Mapping[str, str], assertion: str, audience: str) -> bool:
    """Whether the private key of a certificate that still holds has signed what NetSuite asks for."""
    key: Any = load_pem_private_key(login["private_key"].encode(), None)
    required: Any = {"require": ["iss", "scope", "aud", "iat", "exp"]}
    try:
        claims = jwt.decode(assertion, key.public_key(), algorithms=_ALGORITHMS, audience=audience, options=required)
    except jwt.PyJWTError:
        return False
    return (
        claims["iss"] == login["client_id"]
        and "rest_webservices" in claims["scope"]
        and claims["exp"] - claims["iat"] <= 3600
        and float(login["certificate_valid_until"]) > time.time()
    )


def new_credentials() -> dict[str, str]:
    """An account with an integration, a certificate and a token."""
    key = ec.generate_private_key(ec.SECP256R1())
    return {
        "account": f"{1_000_000 + secrets.randbelow(9_000_000)}_SB1",
        "client_id": secrets.token_hex(32),
        "certificate_id": secrets.token_urlsafe(32),
        "certificate_valid_until": str(int(time.time()) + 2 * 365 * 86_400),
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        **{name: secrets.token_hex(32) for name in ("consumer_key", "consumer_secret", "token_id", "token_secret")},
    }


def _quoted(value: str) -> str:
    return quote(value, safe="~")
