"""What the stand-ins of Upflow and of billing systems share: dispatch on path segments, JSON answers, pages for people."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope

LARGEST_BODY = 10 * 1024 * 1024


@dataclass(frozen=True)
class Call:
    """One request, read to its end.

    Args:
        method: GET, POST, ...
        segments: the path's segments, each unquoted on its own, so that a %2F stays inside its segment.
        query: the query's pairs, in order.
        headers: the request's headers.
        body: the whole body.
        base: scheme, host and port as the caller addressed them.
    """

    method: str
    segments: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    headers: Headers
    body: bytes
    base: str


Handler = Callable[..., Response]


class Routes:
    """Handlers by method and path pattern; {name} stands for any one segment, handed on by position."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, tuple[str, ...], str, Handler]] = []

    def add(self, method: str, pattern: str, handler: Handler) -> None:
        """Register a handler: called with the organization, the call, and the segments that {names} stand for."""
        self._routes.append((method, tuple(pattern.strip("/").split("/")), pattern, handler))

    def find(self, method: str, segments: tuple[str, ...]) -> tuple[str, Handler | None, list[str]] | None:
        """Pattern, handler (None where the path has no such method) and matched segments; None if unknown."""
        known = None
        for route_method, parts, pattern, handler in self._routes:
            if len(parts) == len(segments) and all(p == s or p[0] == "{" for p, s in zip(parts, segments, strict=True)):
                known = pattern
                if route_method == method:
                    return pattern, handler, [s for p, s in zip(parts, segments, strict=True) if p[0] == "{"]
        return (known, None, []) if known else None


class BodyTooLarge(Exception):
    """The caller sent more than LARGEST_BODY."""


async def read_call(scope: Scope, receive: Receive) -> Call | None:
    """The whole request; None where the caller went away before its end."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise BodyTooLarge
        more = message.get("more_body", False)
    headers = Headers(scope=scope)
    host, port = scope["server"]
    path = scope.get("raw_path") or scope["path"].encode()
    return Call(
        method=scope["method"],
        segments=tuple(unquote(part) for part in path.decode("latin-1").strip("/").split("/")),
        query=tuple(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        headers=headers,
        body=bytes(body),
        base=f"{scope['scheme']}://{headers.get('host') or f'{host}:{port}'}",
    )


def json_answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON in UTF-8."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return Response(body, status, headers, "application/json")


def page(title: str, rows: list[tuple[str, object]], *, note: str = "", status: int = 200) -> Response:
    """A small page for a person: a title, a table of facts, and whose page it is."""
    lines = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>" for name, value in rows)
    text = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(title)}</title>"
        "<style>body{font:16px system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}"
        "th{text-align:left;padding:.3rem 2rem .3rem 0;vertical-align:top}td{white-space:pre-wrap}"
        "small{color:#666}</style>"
        f"<h1>{html.escape(title)}</h1><p>{html.escape(note)}</p><table>{lines}</table>"
        "<p><small>A page of the sandbox: nothing here is real.</small></p></html>"
    )
    return Response(text, status, media_type="text/html; charset=utf-8")
