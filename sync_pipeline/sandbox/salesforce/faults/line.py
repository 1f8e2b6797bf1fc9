"""What a line does to an answer on its way."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope, Send

from sync_pipeline.sandbox.salesforce.faults.hits import Hit

_PIECES_A_SECOND = 20
"""A slow line lets this many pieces a second through, rather than one large one now and then."""


class _Cut(Exception):
    """Ends a handler whose connection is cut."""


async def slow(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """Everything is done in time, and the first byte comes late."""

    async def send_late(message: Message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(hit.settings["seconds"])
        await send(message)

    await hit.app(scope, receive, send_late)


async def bandwidth(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """So many bytes of the body a second and no more, whatever the pieces."""
    rate = hit.settings["bytes_per_second"]
    piece = max(1, rate // _PIECES_A_SECOND)
    clock = asyncio.get_running_loop().time
    free_at = 0.0

    async def send_slowly(message: Message) -> None:
        nonlocal free_at
        body = message.get("body", b"")
        free_at = max(free_at, clock())
        for start in range(0, len(body), piece):
            some = body[start : start + piece]
            free_at += len(some) / rate
            await asyncio.sleep(free_at - clock())
            await send({"type": "http.response.body", "body": some, "more_body": True})
        if not body or not message.get("more_body", False):
            await send({**message, "body": b""} if body else message)

    await hit.app(scope, receive, send_slowly)


async def cut(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """Some bytes of a longer body come through, and the connection closes."""
    allowed = int(hit.settings.get("bytes", 0))

    async def send_some(message: Message) -> None:
        nonlocal allowed
        body = message.get("body", b"")
        if len(body) > allowed:
            await send({"type": "http.response.body", "body": body[:allowed], "more_body": True})
            raise _Cut
        allowed -= len(body)
        await send(message)

    try:
        await hit.app(scope, receive, send_some)
    except _Cut:
        return
