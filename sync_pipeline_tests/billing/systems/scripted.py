"""A billing system over real HTTP that says what a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

Answer = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    form: dict[str, str]
    pairs: tuple[tuple[str, str], ...] = ()
    """The query as it came, for names that come several times."""
    body: str = ""


class Server:
    """Answers by path; a path has a function, or answers of which the last one stays."""

    def __init__(self) -> None:
        self.url = ""
        self.at: dict[str, Callable[[Asked], Answer] | list[Answer]] = {}
        self.asked: list[Asked] = []

    def reply(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        found = self.at.get(asked.path, [(404, {}, b"nothing here")])
        return found(asked) if callable(found) else next_of(found)

    def of(self, path: str) -> list[Asked]:
        return [one for one in self.asked if one.path == path]


def next_of(answers: list[Answer]) -> Answer:
    """Take the first; the last one stays."""
    return answers.pop(0) if len(answers) > 1 else answers[0]


def said(content: Any, status: int = 200, **headers: str) -> Answer:
    return status, headers, json.dumps(content).encode()


def _single(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or a body waits 40 ms for the client to acknowledge its headers

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            parts = urlsplit(self.path)
            body = self.rfile.read(length).decode()
            pairs = tuple(parse_qsl(parts.query, keep_blank_values=True))
            query, form = _single(parts.query), _single(body)
            asked = Asked(self.command, parts.path, query, dict(self.headers), form, pairs, body)
            status, headers, answer = server.reply(asked)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(answer))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)
            self.close_connection = int(headers.get("Content-Length", len(answer))) != len(answer)

        do_POST = do_GET

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
