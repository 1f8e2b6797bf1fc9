"""The web-server flow's first half: a page asks a person, and sends the browser back to the app with a code, or without.

Salesforce asks for a password first and skips the question where the same was allowed before. Here nobody has to log in
(everything is made up), and the question always comes.
"""

from __future__ import annotations

import re
from html import escape
from sqlite3 import Row
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sync_pipeline.sandbox.salesforce.api import STAND_IN, Api
from sync_pipeline.sandbox.salesforce.errors import OAuthError
from sync_pipeline.sandbox.salesforce.pages import page

PATH = "/services/oauth2/authorize"
ERROR_PATH = "/setup/secur/RemoteAccessErrorPage.apexp"
CALLBACK_PATH = "/OauthRedirect"
"""Path of the app's callback, the one that Salesforce's own command line uses."""

SCOPES = {
    "id": "know who you are",
    "profile": "know who you are",
    "email": "know your email address",
    "openid": "know who you are, in a signed token",
    "api": "read and write your data through the APIs",
    "web": "use your session in a browser",
    "full": "do everything that you can do",
    "refresh_token": "do this at any time, until you revoke it",
}
"""What the app may ask for, and what that means to a person."""

_SAME_SCOPE = {"offline_access": "refresh_token"}
_DEFAULT_SCOPE = "id api refresh_token"
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}=?")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PARAMETERS = (
    "response_type",
    "client_id",
    "redirect_uri",
    "state",
    "scope",
    "code_challenge",
    "code_challenge_method",
)


class _ToTheApp(Exception):
    """A refusal that the app learns of at its callback."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


async def authorize(api: Api, request: Request) -> Response:
    """GET shows the question; POST of its form (`decision`: allow or deny) answers it with a 302 to the callback."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
    asked = {**dict(request.query_params), **{name: values[0] for name, values in form.items()}}
    api.state.count_call(STAND_IN, "", request.method, PATH)
    try:
        organization = api.app(asked.get("client_id", ""))
        _check_callback(asked.get("redirect_uri", ""))
        scope = _scope(asked.get("scope", ""))
    except OAuthError as error:
        # No address that could be trusted to send the browser to. A scope that is not allowed was seen to end on this page,
        # too; † that an unknown app and a wrong callback do so.
        return RedirectResponse(f"{ERROR_PATH}?{_query(error.error, error.description)}", status_code=302)
    try:
        _check_request(asked)
        if request.method == "GET":
            return _question(organization, asked, scope)
        if asked.get("decision") != "allow":
            raise _ToTheApp("access_denied", "end-user denied authorization")
        code = api.approvals.new_code(organization["org"], asked["redirect_uri"], scope, asked["code_challenge"])
        return _back(asked, {"code": code})
    except _ToTheApp as refusal:
        return _back(asked, {"error": refusal.error, "error_description": refusal.description})


async def error_page(api: Api, request: Request) -> Response:
    """GET the page that a browser ends on when there is no app to send it back to."""
    api.state.count_call(STAND_IN, "", "GET", ERROR_PATH)
    shown = request.query_params
    text = f"<pre>{escape(_query(shown.get('error', ''), shown.get('error_description', '')))}</pre>"
    subtitle = "We can't authorize you because of an OAuth error. For more information, contact your administrator."
    return page("OAuth error", subtitle, text, status=400)


def _check_callback(redirect_uri: str) -> None:
    """A loopback address with the app's path.

    A real app lists whole addresses, and the port belongs to them. Any port will do here, so that tests can run side by
    side.
    """
    if not redirect_uri:
        raise OAuthError("invalid_request", "missing required parameter: redirect_uri")
    try:
        parts = urlsplit(redirect_uri)
        fits = (parts.scheme, parts.path) == ("http", CALLBACK_PATH) and parts.hostname in _LOOPBACK
        fits = fits and parts.port != 0 and not (parts.query or parts.fragment or parts.username)
    except ValueError:  # a port that is no number
        fits = False
    if not fits:
        raise OAuthError("redirect_uri_mismatch", "redirect_uri must match configuration")


def _scope(asked: str) -> str:
    words = [_SAME_SCOPE.get(word, word) for word in (asked or _DEFAULT_SCOPE).split()]
    if not set(words) <= SCOPES.keys():
        raise OAuthError("invalid_scope", "the requested scope is not allowed")
    return " ".join(dict.fromkeys(["id", *words]))  # every session may read the identity


def _check_request(asked: dict[str, str]) -> None:
    # † The words for the response type and for the method: the errors are RFC 6749's and RFC 7636's, no source has
    # Salesforce's descriptions. Those for a missing challenge were seen.
    if asked.get("response_type") != "code":
        raise _ToTheApp("unsupported_response_type", "response type not supported")
    if not asked.get("code_challenge"):
        raise _ToTheApp("invalid_request", "missing required code challenge")
    if asked.get("code_challenge_method", "S256") != "S256":
        raise _ToTheApp("invalid_request", "invalid code challenge method")
    if not _CHALLENGE.fullmatch(asked["code_challenge"]):
        raise _ToTheApp("invalid_request", "invalid code challenge")


def _question(organization: Row, asked: dict[str, str], scope: str) -> Response:
    wishes = "".join(f"<li>{text}</li>" for text in dict.fromkeys(SCOPES[word] for word in scope.split()))
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escape(asked[name])}">' for name in _PARAMETERS if name in asked
    )
    body = (
        f"<p>The app <b>{escape(asked['client_id'][:12])}…</b> asks to</p><ul>{wishes}</ul>"
        f"<p>in <b>{escape(organization['name'])}</b>, as <b>{escape(organization['username'])}</b>. "
        f"Then you go back to <code>{escape(asked['redirect_uri'])}</code>.</p>"
        f'<form method="post" action="{PATH}">{hidden}'
        '<button class="first" name="decision" value="allow">Allow</button>'
        '<button name="decision" value="deny">Deny</button></form>'
    )
    shown = page("Allow access?", f"{organization['name']} · {organization['username']}", body)
    # Nobody else's page may put this one in a frame and let people click on it unknowingly; Salesforce's can't be either.
    shown.headers["X-Frame-Options"] = "DENY"
    shown.headers["Cache-Control"] = "no-store"
    return shown


def _back(asked: dict[str, str], answer: dict[str, str]) -> Response:
    state = {"state": asked["state"]} if "state" in asked else {}
    return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({**answer, **state})}", status_code=302)


def _query(error: str, description: str) -> str:
    return urlencode({"error": error, "error_description": description})
