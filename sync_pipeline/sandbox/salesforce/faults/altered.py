"""Faults that alter Salesforce's answer and leave it a whole, correct HTTP answer."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from sync_pipeline.sandbox.salesforce.faults.hits import Hit

_VERSION_ROOT = re.compile(r"/services/data/v[\d.]+")

Change = Callable[[MutableHeaders, bytes], bytes]
"""Gets the headers, to be changed in place, and the body without gzip; returns the body to send."""


async def truncate(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """A page of CSV that ends early."""

    def shorten(headers: MutableHeaders, body: bytes) -> bytes:
        if not headers.get("content-type", "").startswith("text/csv"):
            return body
        if "bytes" in hit.settings:
            return body[: hit.settings["bytes"]]
        ends = _row_ends(body)
        rows = hit.settings.get("rows", (len(ends) - 1) // 2)
        return body[: ends[rows]] if rows < len(ends) else body

    await _altered(hit, scope, receive, send, shorten)


async def wrong_count(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """A number of records that does not fit the records."""
    by = hit.settings.get("by", 1)

    def miscount(headers: MutableHeaders, body: bytes) -> bytes:
        if "sforce-numberofrecords" in headers:
            headers["sforce-numberofrecords"] = str(int(headers["sforce-numberofrecords"]) + by)
        job = _json(headers, body)
        if not isinstance(job, dict) or "numberRecordsProcessed" not in job:
            return body
        return json.dumps({**job, "numberRecordsProcessed": job["numberRecordsProcessed"] + by}).encode()

    await _altered(hit, scope, receive, send, miscount)


async def result_chunks(hit: Hit, scope: Scope, receive: Receive, send: Send) -> None:
    """resultPages as one client reports them: other names, and addresses from the version's root on."""

    def respell(headers: MutableHeaders, body: bytes) -> bytes:
        pages = _json(headers, body)
        if not isinstance(pages, dict) or "resultPages" not in pages:
            return body
        root = _VERSION_ROOT.match(hit.visit.target)
        links = [page["resultUrl"].removeprefix(root[0] if root else "") for page in pages.pop("resultPages")]
        return json.dumps({"resultChunks": [{"resultLink": link} for link in links], **pages}).encode()

    await _altered(hit, scope, receive, send, respell)


def _row_ends(body: bytes) -> list[int]:
    """Where the header ends, and every row: after each line feed that is not between quotes."""
    ends, end, quoted = [], 0, False
    for line in BytesIO(body):
        end += len(line)
        quoted ^= line.count(b'"') % 2 == 1
        if not quoted:
            ends.append(end)
    return ends


def _json(headers: Headers, body: bytes) -> Any:
    return json.loads(body) if headers.get("content-type", "").startswith("application/json") else None


async def _altered(hit: Hit, scope: Scope, receive: Receive, send: Send, change: Change) -> None:
    """Let the work be done without gzip, change its answer, and send that, with gzip if the client takes it."""
    zipped = "gzip" in Headers(scope=scope).get("accept-encoding", "").lower()
    plain = [(name, value) for name, value in scope["headers"] if name.lower() != b"accept-encoding"]
    start: Message = {}
    body = bytearray()

    async def collect(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
        else:
            body.extend(message.get("body", b""))

    await hit.app({**scope, "headers": plain}, receive, collect)
    headers = MutableHeaders(raw=list(start["headers"]))
    content = change(headers, bytes(body))
    if zipped and headers.get("content-type", "").startswith("text/csv"):
        content = gzip.compress(content, 1)
        headers["content-encoding"] = "gzip"
    headers["content-length"] = str(len(content))
    await send({**start, "headers": headers.raw})
    await send({"type": "http.response.body", "body": content})
