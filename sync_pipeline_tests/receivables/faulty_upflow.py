"""A small Upflow that can be told to fail: lost answers, 5xx, 429, refused logins.

The sandbox shows that the client speaks the API; this shows what it does when the API does not answer as it should.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]
Fault = int | str | tuple[int, dict[str, str]]
"""A status instead of the answer (with headers, if any), or `lost`: carried out, but the connection breaks before the
answer.
"""


@dataclass
class FaultyUpflow:
    """State and behaviour. `faults(method, path)` is asked before each request; None lets it through."""

    customers: dict[str, Json] = field(default_factory=dict)
    contacts: dict[str, dict[str, Json]] = field(default_factory=dict)
    users: list[Json] = field(default_factory=list)
    fields: list[Json] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    faults: Callable[[str, str], Fault | None] = lambda method, path: None
    lock: threading.RLock = field(default_factory=threading.RLock)
    busy: set[str] = field(default_factory=set)
    clashes: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""
    ids: int = 0

    def add_customer(self, external_id: str, *emails: str, **more: Any) -> None:
        self.customers[external_id] = {
            "id": f"u-{external_id}",
            "externalId": external_id,
            "name": f"n {external_id}",
            **more,
        }
        self.contacts[external_id] = {}
        for email in emails:
            key = self._id()
            self.contacts[external_id][key] = {"id": key, "email": email, "isMain": email == emails[0]}

    def reset(self) -> None:
        """Forget everything but the address."""
        self.__dict__.update(FaultyUpflow(url=self.url).__dict__)

    def writes(self) -> int:
        """Requests that could have changed something."""
        return sum(count for call, count in self.calls.items() if not call.startswith("GET"))

    def handle(self, method: str, path: str, query: dict[str, list[str]], body: Json) -> tuple[int, Json]:
        parts = [unquote(part) for part in path.strip("/").split("/")][1:]
        match (method, *parts):
            case ("GET", ("users" | "custom_fields" | "customers") as what):
                items = {"users": self.users, "custom_fields": self.fields, "customers": [*self.customers.values()]}[
                    what
                ]
                start, size = int(query["offset"][0]), min(int(query["limit"][0]), 3)
                key = {"custom_fields": "customFields"}.get(what, what)
                listed = [
                    {"accountManagerId": None, "customFields": [], **item} if what == "customers" else item
                    for item in items
                ]
                return 200, {key: listed[start : start + size], "offset": start, "limit": size, "total": len(items)}
            case ("POST", "custom_fields"):
                self.fields.append({"id": self._id(), **body})
                return 201, self.fields[-1]
            case (_, "customers", customer, *rest):
                customer = customer.removeprefix("external:")
                if customer not in self.customers:
                    return 404, {"message": "Customer not found"}
                return self._customer(method, customer, rest, body)
        return 404, {"message": "no such route"}

    def _customer(  # noqa: C901 - one case per route
        self, method: str, customer: str, rest: list[str], body: Json
    ) -> tuple[int, Json]:
        contacts = self.contacts[customer]
        match (method, *rest):
            case ("GET",):
                return 200, self.customers[customer]
            case ("PUT",):
                self.customers[customer] = {"id": self.customers[customer]["id"], **body}
                return 200, self.customers[customer]
            case ("POST", "account-managers"):
                user = next((u for u in self.users if u["email"] == body["email"]), None)
                if user is None:
                    user = {"id": self._id(), **body}
                    self.users.append(user)
                self.customers[customer]["accountManagerId"] = user["id"]
                return 200, user
            case ("POST", "portal"):
                return 200, {"url": f"https://portal.example/{customer}/{self._id()}?for={body['expiresIn']}"}
            case ("GET", "contacts"):
                return 200, {"contacts": [*contacts.values()]}
            case ("POST", "contacts") | ("PUT", "contacts", _):
                key = rest[1] if method == "PUT" else self._id()
                if method == "PUT" and key not in contacts:
                    return 404, {"message": "Contact not found"}
                taken = {c["email"].lower() for own in self.contacts.values() for k, c in own.items() if k != key}
                if body["email"].lower() in taken:
                    return 400, {"message": f"{body['email']} is taken"}
                if body.get("isMain"):
                    for other in contacts.values():
                        other["isMain"] = False
                contacts[key] = {"isMain": False, **body, "id": key}
                return 200, contacts[key]
            case ("DELETE", "contacts", key):
                return (204, {}) if contacts.pop(key, None) else (404, {"message": "Contact not found"})
        return 404, {"message": "no such route"}

    def _id(self) -> str:
        self.ids += 1
        return f"id-{self.ids}"


def _handler(upflow: FaultyUpflow) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def _serve(self) -> None:
            split = urlsplit(self.path)
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
            customer = split.path.split("/")[3] if "/customers/" in split.path else ""
            with upflow.lock:
                upflow.calls[f"{self.command} {split.path}"] += 1
                if customer and self.command != "GET":
                    if customer in upflow.busy:
                        upflow.clashes.append(split.path)
                    upflow.busy.add(customer)
                upflow.at_once += 1
                upflow.most_at_once = max(upflow.at_once, upflow.most_at_once)
                fault = upflow.faults(self.command, split.path)
            time.sleep(0.001)  # others come in meanwhile
            with upflow.lock:
                status, answer = 0, {}
                if fault is None or fault == "lost":
                    status, answer = upflow.handle(self.command, split.path, parse_qs(split.query), body)
                upflow.busy.discard(customer)
                upflow.at_once -= 1
            if fault == "lost":
                self.close_connection = True
                return
            headers: dict[str, str] = {}
            if fault is not None:
                status, headers = fault if isinstance(fault, tuple) else (int(fault), {})
                answer = {"message": "told to fail"}
            content = b"" if status == 204 else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _serve

    return Handler


@contextmanager
def serving(upflow: FaultyUpflow) -> Iterator[FaultyUpflow]:
    """Serve on loopback while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(upflow))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    upflow.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield upflow
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
