"""Logging in to NetSuite: a signed JWT exchanged for an hour's token, or every request signed (OAuth 1.0).

Source: NetSuite Help, "OAuth 2.0 Client Credentials Flow" and "Token-based Authentication"; RFC 7523, RFC 5849.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, urlsplit

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from requests.auth import AuthBase

from sync_pipeline.billing.api import Refused, key_of
from sync_pipeline.billing.source import Organization
from sync_pipeline.errors import ConfigurationError, DataError
from sync_pipeline.http import IDEMPOTENT, ApiSession
from sync_pipeline.logins.bearer import Access, Bearer
from sync_pipeline.logins.private_keys import read_pem, with_line_breaks
from sync_pipeline.yaml_types.values import Secret, Section, Setting, one_of, text

TOKEN_PATH = "/services/rest/auth/oauth2/v1/token"  # noqa: S105, an address
SCOPE = "rest_webservices"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JWT_SECONDS = 300
"""Life of the signed token, which is used at once; NetSuite accepts at most an hour."""
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class CertificateLogin(Section):
    """A server logs in by a token signed with a private key, whose certificate is mapped to a user and role."""

    model_config = one_of("private_key_file", "private_key")

    method: Literal["certificate"]
    """How the sync logs in."""
    client_id: Setting
    """The integration's consumer key / client id."""
    certificate_id: Setting
    """The certificate's id, as OAuth 2.0 Client Credentials (M2M) Setup lists it."""
    private_key: Secret | None = None
    """The private key itself (PEM), named as an environment variable. Exactly one of it and private_key_file."""
    private_key_file: Setting | None = None
    """Path of the private key (PEM), relative to this file. Exactly one of it and private_key."""


class TokenLogin(Section):
    """Token-based authentication, which NetSuite ends in 2027/28: no new integrations with it, so take certificate."""

    method: Literal["tba"]
    """How the sync logs in."""
    consumer_key: Setting
    """The integration's consumer key."""
    consumer_secret: Secret
    """The integration's consumer secret, named as an environment variable."""
    token_id: Setting
    """The access token's id."""
    token_secret: Secret
    """The access token's secret, named as an environment variable."""


class CertificateAuth(Bearer):
    """A bearer token, fetched when the first request leaves and again when one is refused: after its hour, or revoked.

    Raises `Refused` with the token endpoint's answer where that gives none.
    """

    def __init__(self, org: Organization, login: CertificateLogin, base: str, ca_file: str | None) -> None:
        super().__init__()
        self._org, self._login, self._url, self._ca_file = org, login, f"{base}{TOKEN_PATH}", ca_file
        self._key, self._algorithm = _private_key(org, login)

    def _fetch(self, refused: str | None) -> Access:
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._assertion(),
        }
        # A token asked for twice is two tokens, and no harm done.
        session = ApiSession(ca_file=self._ca_file, retry_methods=IDEMPOTENT | {"POST"}, pool_size=1)
        with session:
            session.trust_env = False  # a ~/.netrc must not log in here
            response = session.request("POST", self._url, data=form, headers={"Accept": "application/json"})
        body = _object(response.content.replace(form["client_assertion"].encode(), b"***"))
        if response.status_code != requests.codes.ok:
            raise Refused(response.status_code, body)
        token = body.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise DataError(
                f"{self._org.where('billing')}: what answers at {urlsplit(self._url).netloc} gives no access token.",
                next_step="Check billing.account and billing.url in the YAML file.",
            )
        return Access(token, None)

    def _assertion(self) -> str:
        now = int(time.time())
        claims = {
            "iss": text(self._login.client_id),
            "scope": [SCOPE],
            "aud": self._url,
            "iat": now,
            "exp": now + JWT_SECONDS,
        }
        headers = {"kid": text(self._login.certificate_id)}
        return jwt.encode(claims, self._key, algorithm=self._algorithm, headers=headers)


class TokenAuth(AuthBase):
    """Signs every request by HMAC-SHA256 (RFC 5849). Ends with token-based authentication itself, in 2027/28.

    Args:
        realm: the account as 1234567_SB1; NetSuite takes no small letters here.
        login: the settings.

    Attributes:
        secrets: what must not be shown.
    """

    def __init__(self, org: Organization, login: TokenLogin, realm: str) -> None:
        self._realm = realm
        self._consumer, self._token = text(login.consumer_key), text(login.token_id)
        self._secret = key_of(org, "NetSuite", "login", login.consumer_secret)
        self._token_secret = key_of(org, "NetSuite", "login", login.token_secret)
        self.secrets = (self._secret, self._token_secret, self._consumer, self._token)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the signature; each try has a nonce of its own."""
        oauth = {
            "oauth_consumer_key": self._consumer,
            "oauth_nonce": secrets.token_hex(16),
            "oauth_signature_method": "HMAC-SHA256",
            "oauth_timestamp": str(int(time.time())),
            "oauth_token": self._token,
            "oauth_version": "1.0",
        }
        base = signature_base(request.method or "", request.url or "", oauth)
        key = f"{_quoted(self._secret)}&{_quoted(self._token_secret)}"
        digest = hmac.digest(key.encode(), base.encode(), hashlib.sha256)
        signed = {"realm": self._realm, **oauth, "oauth_signature": base64.b64encode(digest).decode()}
        request.headers["Authorization"] = "OAuth " + ", ".join(f'{k}="{_quoted(v)}"' for k, v in signed.items())
        return request


def signature_base(method: str, url: str, oauth: Mapping[str, str]) -> str:
    """What OAuth 1.0 signs of a request without a form in its body (RFC 5849, 3.4.1)."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{parts.port}"
    pairs = [*parse_qsl(parts.query, keep_blank_values=True), *oauth.items()]
    given = "&".join(f"{name}={value}" for name, value in sorted((_quoted(k), _quoted(v)) for k, v in pairs))
    return "&".join(map(_quoted, (method.upper(), f"{parts.scheme}://{host}{port}{parts.path or '/'}", given)))


def _quoted(value: str) -> str:
    return quote(value, safe="-._~")


def _private_key(org: Organization, login: CertificateLogin) -> tuple[Any, str]:
    """The key, and the algorithm that goes with it: NetSuite takes PS256 for RSA, ES256 to ES512 by the curve."""
    pem, where = _pem(org, login)
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):  # what they say may quote the key
        key = None
    if isinstance(key, RSAPrivateKey):
        return key, "PS256"
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return key, _CURVES[key.curve.name]
    raise ConfigurationError(
        f"{where}: this is no private key that NetSuite takes.",
        next_step="Give an RSA or EC key in PEM form without a password, the one whose certificate is mapped there.",
    )


def _pem(org: Organization, login: CertificateLogin) -> tuple[str, str]:
    if login.private_key is not None:
        return with_line_breaks(login.private_key.value()), org.where("billing", "login", "private_key")
    where = org.where("billing", "login", "private_key_file")
    return read_pem(org.path(login.private_key_file or ""), where), where


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
