"""What every endpoint shares: the organization behind a token, the API version, the shape of errors, usage."""

from __future__ import annotations

import hmac
import json
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from sqlite3 import Row
from time import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sync_pipeline.sandbox.salesforce.approvals import Approvals
from sync_pipeline.sandbox.salesforce.errors import ApiError, OAuthError, invalid_session
from sync_pipeline.sandbox.salesforce.faults import Faults, Visits
from sync_pipeline.sandbox.salesforce.limits import Usage, total_requests_exceeded
from sync_pipeline.sandbox.salesforce.objects import OBJECTS, Catalog
from sync_pipeline.sandbox.salesforce.permissions import Rights, changed, keep, objects_for, require_api, rights_of
from sync_pipeline.sandbox.salesforce.validation import ValidationRule
from sync_pipeline.sandbox.state import State

STAND_IN = "salesforce"
LISTED_VERSIONS = range(58, 69)
OLDEST_SERVED = 31
"""Salesforce retired 30.0 and older. 31.0 to 57.0 still answer: sf and jsforce ask for some of them."""

SESSION_SECONDS = 2 * 60 * 60.0
_VERSION = re.compile(r"v(\d{1,3})\.0")

Handler = Callable[["Call"], Awaitable[Response]]


class Api:
    """The stand-in behind all endpoints.

    Args:
        state: where everything lives. Only the event loop's thread touches `state.db`.
        page_rows: rows of a Bulk result page when the client does not say.
        api_limit: API calls a day of each organization.
        refresh_idle_days: how long a refresh token may lie unused; 0 for ever.
    """

    def __init__(self, state: State, page_rows: int, api_limit: int, refresh_idle_days: int) -> None:
        self.state = state
        self.page_rows = page_rows
        self.faults = Faults(state.seed(), state.orgs())
        self.visits = Visits()
        self.approvals = Approvals(state, refresh_idle_days * 86_400 or math.inf)
        self.usage = Usage(api_limit)
        self._overrides: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        self._catalogs: dict[str, Catalog] = {}
        self._rights: dict[str, Rights] = {}
        self._rules: dict[str, list[ValidationRule]] = {}

    def catalog(self, org: str) -> Catalog:
        """The objects and fields that the organization's connected user sees."""
        if org not in self._catalogs:
            self._catalogs[org] = Catalog(self._overrides.get(org), objects_for(self.rights(org)))
        return self._catalogs[org]

    def override(self, org: str, object_name: str, field_name: str, attributes: dict[str, Any]) -> None:
        """Let one organization show a field otherwise than the others; no attributes takes that back."""
        fields = self._overrides.setdefault(org, {})
        key = (object_name.lower(), field_name.lower())
        fields[key] = {**fields.get(key, {}), **attributes} if attributes else {}
        self._catalogs.pop(org, None)

    def rights(self, org: str) -> Rights:
        """What the organization's connected user may do."""
        if org not in self._rights:
            self._rights[org] = rights_of(self.state, org)
        return self._rights[org]

    def permit(self, org: str, given: dict[str, Any]) -> Rights:
        """Give the connected user other rights; ValueError says what is wrong with `given`."""
        rights = changed(self.rights(org), given)
        keep(self.state, org, rights)
        self._rights[org] = rights
        self._catalogs.pop(org, None)
        return rights

    def validation_rules(self, org: str, object_name: str) -> list[ValidationRule]:
        """The rules that saves of an object's records have to pass."""
        return [rule for rule in self._rules.get(org, ()) if rule.object == object_name]

    def add_validation_rule(self, org: str, rule: ValidationRule) -> None:
        """Put a rule in force."""
        self._rules.setdefault(org, []).append(rule)

    def clear_validation_rules(self) -> None:
        """Forget every rule of every organization."""
        self._rules.clear()

    @staticmethod
    def declares(object_name: str, field_name: str) -> bool:
        """Whether there is such a field at all, hidden ones included."""
        return any(o.name.lower() == object_name.lower() and field_name.lower() in o.fields for o in OBJECTS)

    def session_org(self, token: str) -> Row | None:
        """The organization that a living access token belongs to."""
        return self.state.row(
            "SELECT o.* FROM session s JOIN organizations o ON o.org = s.org "
            "WHERE s.access_token = ? AND s.revoked = 0 AND s.expires_at > ?",
            token,
            time(),
        )

    def app(self, client_id: str) -> Row:
        """The organization that an app belongs to; each has one."""
        found = self.state.row("SELECT * FROM organizations WHERE client_id = ?", client_id)
        if found is None:
            raise OAuthError("invalid_client_id", "client identifier invalid")
        return found

    def login(self, username: str, password: str) -> Row | None:
        """The organization of a user who shows the password with the security token behind it."""
        found = self.state.row("SELECT * FROM organizations WHERE username = ? COLLATE NOCASE", username)
        if found is None or not found["password"]:
            return None
        whole = (found["password"] + found["security_token"]).encode()
        return found if hmac.compare_digest(whole, password.encode("utf-8", "replace")) else None

    def revoke(self, token: str) -> bool:
        """End a session; whether there was one."""
        done = self.state.db.execute("UPDATE session SET revoked = 1 WHERE access_token = ? AND revoked = 0", (token,))
        return done.rowcount > 0


@dataclass
class Call:
    """One request of a known organization."""

    api: Api
    request: Request
    organization: Row
    version: int

    @property
    def org(self) -> str:
        """Short name of the organization."""
        return str(self.organization["org"])

    @property
    def catalog(self) -> Catalog:
        """What the connected user sees."""
        return self.api.catalog(self.org)

    @property
    def base(self) -> str:
        """Path of the version, e.g. /services/data/v66.0."""
        return f"/services/data/v{self.version}.0"

    @cached_property
    def path(self) -> dict[str, str]:
        """The path's parameters."""
        return dict(self.request.path_params)

    def argument(self, name: str) -> str | None:
        """A parameter of the query string."""
        return self.request.query_params.get(name)

    async def json_object(self) -> dict[str, Any]:
        """The body as a JSON object; JSON_PARSER_ERROR for anything else."""
        try:
            found = json.loads(await self.request.body())
        except (ValueError, RecursionError):
            raise ApiError("JSON_PARSER_ERROR", "The HTTP entity body is required, and must be valid JSON.") from None
        if not isinstance(found, dict):
            raise ApiError("JSON_PARSER_ERROR", "The HTTP entity body must be a JSON object.")
        return found


class Json(JSONResponse):
    """JSON in ASCII: error messages quote what clients sent, and that may hold half a character."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def origin(request: Request) -> str:
    """The address under which the client reached this stand-in, without a slash at its end."""
    return f"{request.url.scheme}://{request.headers.get('host', request.url.netloc)}"


def bearer(request: Request) -> str:
    """The access token of a request, or an empty text."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() in {"bearer", "oauth"} else ""


def version_of(text: str) -> int:
    """The number of an API version such as v66.0; 410 for retired ones, 404 for those that never were."""
    found = _VERSION.fullmatch(text)
    number = int(found[1]) if found else 0
    if found and 0 < number < OLDEST_SERVED:
        raise ApiError("GONE", f"API version {number}.0 is retired. Use a supported version.", 410)
    if number < OLDEST_SERVED or number not in range(OLDEST_SERVED, LISTED_VERSIONS.stop):
        raise ApiError("NOT_FOUND", "The requested resource does not exist", 404)
    return number


def error_response(error: ApiError) -> Response:
    """An error in Salesforce's shape."""
    return Json(error.body(), status_code=error.status)


def endpoint(api: Api, path: str, **handlers: Handler) -> Route:
    """A route below /services/data/{version} for a living session.

    Args:
        api: the stand-in.
        path: below the version, with Starlette's parameters.
        handlers: one for each method, by its upper-case name.
    """

    async def answer(request: Request) -> Response:
        org, response = "", Response()
        try:
            version = version_of(request.path_params["version"])
            organization = api.session_org(bearer(request))
            if organization is None:
                raise invalid_session()
            org = str(organization["org"])
            if not api.usage.count(org):
                raise total_requests_exceeded()
            require_api(api.rights(org))
            handler = handlers[request.method if request.method != "HEAD" else "GET"]
            response = await handler(Call(api, request, organization, version))
        except ApiError as error:
            response = error_response(error)
        api.state.count_call(STAND_IN, org, request.method, path)
        if org:
            response.headers["Sforce-Limit-Info"] = f"api-usage={api.usage.used(org)}/{api.usage.limit}"
        return response

    return Route("/services/data/{version}" + path, answer, methods=list(handlers))
