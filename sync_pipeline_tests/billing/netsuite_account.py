"""As much of a NetSuite account as a reading asks for, and organizations that read it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sync_pipeline.orgs.models import Organization
from sync_pipeline_tests.billing.systems.scripted import Answer, Asked, Server, next_of, said
from sync_pipeline_tests.orgs.factory import make_organization

Make = Callable[..., Organization]
TOKEN, SUITEQL = "/services/rest/auth/oauth2/v1/token", "/services/rest/query/v1/suiteql"
KEY = ec.generate_private_key(ec.SECP256R1())
TBA = {"consumer_key": "ck-1", "consumer_secret": "geheim&1", "token_id": "tk-1", "token_secret": "geheim=2"}
CERTIFICATE = {"method": "certificate", "client_id": "client-1", "certificate_id": "cert-1"}
CURRENCIES = [{"links": [], "id": "1", "symbol": "EUR"}, {"links": [], "id": "2", "symbol": "usd"}]


def pem(key: Any) -> str:
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.decode()


def items(found: list[dict[str, Any]], more: object = False) -> Answer:
    return said({"links": [], "count": len(found), "hasMore": more, "items": found, "offset": 0})


def error(status: int, code: str, detail: str) -> Answer:
    kind = "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.5.1"
    body = {"type": kind, "title": "Title", "status": status}
    return said(body | {"o:errorDetails": [{"detail": detail, "o:errorCode": code}]}, status)


class Account:
    """Gives tokens, and customers a page at a time; `script` answers queries of customers instead, if given."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.customers: dict[int, dict[str, Any]] = {}
        self.page_size = 1000
        self.ceiling = 100_000
        self.script: list[Answer] = []
        self.currencies = items(CURRENCIES)
        self.good_tokens: set[str] = set()
        self.between: Callable[[], None] = lambda: None
        server.at = {TOKEN: self.log_in, SUITEQL: self.answer}

    @property
    def asked(self) -> list[Asked]:
        """Every query, of customers or not."""
        return self.server.of(SUITEQL)

    @property
    def queries(self) -> list[str]:
        return [json.loads(asked.body)["q"] for asked in self.asked]

    @property
    def assertions(self) -> list[str]:
        return [asked.form["client_assertion"] for asked in self.server.of(TOKEN)]

    def put(self, number: int, at: str = "2020-01-01 00:00:00", **more: Any) -> None:
        self.customers[number] = {"id": str(number), "sync_updated": at} | more

    def log_in(self, asked: Asked) -> Answer:
        assert asked.method == "POST"
        token = f"token-{len(self.assertions)}"
        self.good_tokens = {token}
        return said({"access_token": token, "expires_in": "3600", "token_type": "bearer"})

    def answer(self, asked: Asked) -> Answer:
        assert asked.method == "POST"
        query, login = json.loads(asked.body)["q"], asked.headers["Authorization"]
        if login.startswith("Bearer") and login[7:] not in self.good_tokens:
            return error(401, "INVALID_LOGIN", "Invalid login attempt.")
        if "FROM currency" in query:
            return self.currencies
        if "COUNT(*)" in query:
            return items([{"links": [], "customers": str(len(self.customers))}])
        return next_of(self.script) if self.script else self._page(query, int(asked.query.get("offset", 0)))

    def _page(self, query: str, start: int) -> Answer:
        after = re.search(r"customer\.id > (-?\d+)", query)
        since = re.search(r"lastmodifieddate >= TO_DATE\('([^']+)'", query)
        found = [
            customer
            for number, customer in sorted(self.customers.items())
            if (not after or number > int(after[1])) and (not since or customer["sync_updated"] >= since[1])
        ]
        if start + self.page_size > self.ceiling:
            return error(400, "INVALID_PARAMETER", "Only so many results can be read.")
        answer = items(found[start : start + self.page_size], len(found) > start + self.page_size)
        self.between()
        return answer


def maker(account: Account, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes organizations that read the account, from real files in the folder."""

    def make(*, field: str = "custentity_sf_id", key: Any = KEY, tba: bool = False, **more: Any) -> Organization:
        monkeypatch.setenv("NS_KEY", key if isinstance(key, str) else pem(key))
        monkeypatch.setenv("NS_CONSUMER_SECRET", TBA["consumer_secret"])
        monkeypatch.setenv("NS_TOKEN_SECRET", TBA["token_secret"])
        hidden = {"consumer_secret": {"env": "NS_CONSUMER_SECRET"}, "token_secret": {"env": "NS_TOKEN_SECRET"}}
        login = {"method": "tba", **TBA, **hidden} if tba else CERTIFICATE | {"private_key": {"env": "NS_KEY"}}
        billing = {"system": "netsuite", "account": "1234567_SB1", "login": login, "url": account.server.url} | more
        billing = {name: value for name, value in billing.items() if value is not None}
        return make_organization(folder=folder, billing=billing, identifier__billing_field=field)

    return make
