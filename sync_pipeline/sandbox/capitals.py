"""Headers with capitals, as Salesforce sends them: uvicorn prints every name in small letters.

To HTTP it is all the same; to a client that copies the headers into a plain dictionary it is not. Airbyte's source is one: it
fails on a `content-type` that it would not have found as `Content-Type`.
"""

from __future__ import annotations

import re
from asyncio import Transport
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_NAME = re.compile(rb"^[a-z0-9-]+(?=: )", re.MULTILINE)


class CapitalizedHeaders(HttpToolsProtocol):
    """uvicorn's protocol, whose answers go out with Names-Like-This."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Take a connection."""
        super().connection_made(cast("Transport", _Capitals(transport)))


class _Capitals:
    """A transport that changes the head of an answer, which uvicorn writes in one piece, and nothing else."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 "):
            head, end, rest = data.partition(b"\r\n\r\n")
            data = _NAME.sub(lambda found: found[0].title(), head) + end + rest
        self._transport.write(data)
