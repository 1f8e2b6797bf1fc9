"""Vendors' contracts (OpenAPI), which lie beside the project and never in it: what answers and requests are held to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from openapi_core import OpenAPI
from openapi_core.contrib.requests import RequestsOpenAPIRequest, RequestsOpenAPIResponse
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.paths.finders import APICallPathFinder
from requests.adapters import HTTPAdapter

from sync_pipeline_tests.paths import PROJECT

SPECS = PROJECT.parent / "shared" / "specs"


def specification(file: str) -> dict[str, Any]:
    """A contract; the test is skipped where it isn't beside this checkout."""
    path = SPECS / file
    if not path.exists():
        pytest.skip(f"the vendor's contract is not beside this checkout (../shared/specs/{file})")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


class Contract:
    """One vendor's contract.

    Args:
        content: the OpenAPI document.
        server: where the stand-in serves its paths, e.g. http://127.0.0.1:4000/api/v2.
    """

    def __init__(self, content: dict[str, Any], server: str) -> None:
        for name, scheme in (schemes := content["components"].get("securitySchemes", {})).items():
            if scheme["type"] == "oauth2":  # which openapi-core can't check; what is sent is a bearer token
                schemes[name] = {"type": "http", "scheme": "bearer"}
        self._api = OpenAPI.from_dict(content | {"servers": [{"url": server}]})

    def hold_answer(self, answer: requests.Response) -> None:
        """Raises where the answer is not one the contract allows."""
        self._api.validate_response(RequestsOpenAPIRequest(answer.request), RequestsOpenAPIResponse(answer))

    def hold_request(self, request: requests.PreparedRequest) -> None:
        """Raises where the request is not one the contract allows, or has a query parameter that it does not know."""
        described = RequestsOpenAPIRequest(request)
        self._api.validate_request(described)
        found = APICallPathFinder(self._api.spec).find(described.method, f"{described.host_url}{described.path}")
        declared = [
            one for place in (found.path, found.operation) if "parameters" in place for one in place / "parameters"
        ]
        known = {str(one["name"]).partition("[")[0] for one in declared if one["in"] == "query"}
        sent = {name.partition("[")[0] for name, _ in parse_qsl(urlsplit(str(request.url)).query)}
        assert sent <= known, f"the contract does not know {sorted(sent - known)}"

    def refuse(self, answer: requests.Response, change: Callable[[Any], object]) -> None:
        """Make sure that the contract bites: with `change` done to its JSON the answer is refused."""
        self.hold_answer(answer)
        body = answer.json()
        change(body)
        answer._content = json.dumps(body).encode()
        with pytest.raises(OpenAPIError):
            self.hold_answer(answer)


@contextmanager
def recorded() -> Iterator[list[requests.Response]]:
    """Every answer that this process gets meanwhile, each with its request."""
    answers: list[requests.Response] = []
    send = HTTPAdapter.send

    def listening(self: HTTPAdapter, *args: Any, **kwargs: Any) -> requests.Response:
        answers.append(send(self, *args, **kwargs))
        return answers[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HTTPAdapter, "send", listening)
        yield answers
