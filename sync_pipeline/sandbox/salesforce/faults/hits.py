"""What an action needs to know when it strikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sync_pipeline.sandbox.salesforce.api import Api
from sync_pipeline.sandbox.salesforce.faults.visits import Visit


@dataclass(frozen=True)
class Hit:
    """A rule that strikes a call.

    Args:
        settings: the action's own keys, as far as they were given.
        app: what would serve the call.
        api: the stand-in behind it.
        visit: the call.
    """

    settings: dict[str, Any]
    app: ASGIApp
    api: Api
    visit: Visit

    async def do_and_drop(self, scope: Scope, receive: Receive) -> None:
        """Let the work be done, and drop its answer."""

        async def drop(message: Message) -> None:
            pass

        await self.app(scope, receive, drop)


async def answer(send: Send, status: int, headers: dict[str, str], content: bytes) -> None:
    """Send a whole answer."""
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    raw.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": content})
