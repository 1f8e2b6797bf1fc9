"""SOAP, as far as clients use it to get in and out: login() with a password, and logout()."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import Response

from sync_pipeline.sandbox.salesforce.api import LISTED_VERSIONS, OLDEST_SERVED, SESSION_SECONDS, STAND_IN, Api, origin
from sync_pipeline.sandbox.salesforce.oauth import new_session

LAST_WITH_LOGIN = 64
"""The newest API version that has login()."""

_NAMESPACES = {"u": "urn:partner.soap.sforce.com", "c": "urn:enterprise.soap.sforce.com"}
_FAULTS = {"u": "urn:fault.partner.soap.sforce.com", "c": "urn:fault.enterprise.soap.sforce.com"}
_VERSION = re.compile(r"(\d{1,3})\.0")


class _Fault(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


async def login_or_logout(api: Api, request: Request) -> Response:
    """POST /services/Soap/{u or c}/{version}, u for the partner API, c for the enterprise one."""
    kind = request.path_params["kind"]
    api.state.count_call(STAND_IN, "", "POST", "/services/Soap/{kind}/{version}")
    if kind not in _NAMESPACES:
        kind, problem = "u", _Fault("UNSUPPORTED_API_VERSION", "Invalid Api version specified on URL")
        return _fault(kind, problem)
    try:
        version = _version(request.path_params["version"])
        document = _parsed(await request.body())
        call = _child(document, "Body")
        called = call[0] if call is not None and len(call) else None
        name = _local(called.tag) if called is not None else ""
        if name == "login":
            return _answer(kind, _login(api, request, kind, version, called))
        if name == "logout":
            return _answer(kind, _logout(api, document))
        raise _Fault("INVALID_OPERATION", f"No operation available for request {name or 'without a body'}")
    except _Fault as problem:
        return _fault(kind, problem)


def _version(text: str) -> int:
    found = _VERSION.fullmatch(text)
    number = int(found[1]) if found else 0
    if number not in range(OLDEST_SERVED, LISTED_VERSIONS.stop):
        raise _Fault("UNSUPPORTED_API_VERSION", "Invalid Api version specified on URL")
    return number


def _login(api: Api, request: Request, kind: str, version: int, called: Any) -> str:
    if version > LAST_WITH_LOGIN:
        raise _Fault(
            "INVALID_OPERATION",
            f"The SOAP Login operation is not available in the API version specified ({version}.0). "
            "Refer to the documentation for supported versions.",
        )
    found = api.login(_text(called, "username"), _text(called, "password"))
    if found is None:
        raise _Fault("INVALID_LOGIN", "Invalid username, password, security token; or user locked out.")
    user, organization = found["user_id"], found["organization_id"]
    address = f"{origin(request)}/services/Soap/{kind}/{version}.0/{organization[:15]}"
    session = new_session(api, found)
    return (
        f"<loginResponse><result><metadataServerUrl>{escape(address.replace(f'/{kind}/', '/m/'))}</metadataServerUrl>"
        f"<passwordExpired>false</passwordExpired><sandbox>{str(bool(found['is_sandbox'])).lower()}</sandbox>"
        f"<serverUrl>{escape(address)}</serverUrl><sessionId>{escape(session)}</sessionId><userId>{user}</userId>"
        f"<userInfo><organizationId>{organization}</organizationId>"
        f"<organizationName>{escape(found['name'])}</organizationName>"
        f"<sessionSecondsValid>{int(SESSION_SECONDS)}</sessionSecondsValid><userId>{user}</userId>"
        f"<userName>{escape(found['username'])}</userName></userInfo></result></loginResponse>"
    )


def _logout(api: Api, document: Any) -> str:
    header = _child(document, "Header")
    session = _child(header, "SessionHeader") if header is not None else None
    if session is None or not api.revoke(_text(session, "sessionId")):
        raise _Fault("INVALID_SESSION_ID", "Invalid Session ID found in SessionHeader: Illegal Session")
    return "<logoutResponse/>"


def _parsed(body: bytes) -> Any:
    if b"<!DOCTYPE" in body or b"\0" in body:  # the second is UTF-16, where a DTD would look otherwise
        raise _Fault("INVALID_OPERATION", "DTDs are not allowed")
    try:
        return ElementTree.fromstring(body.strip())  # noqa: S314 (no DTD, so no entities)
    except ElementTree.ParseError as error:
        raise _Fault("INVALID_OPERATION", f"The request is no well-formed XML: {error}") from None


def _child(element: Any, name: str) -> Any:
    return next((child for child in element if _local(child.tag) == name), None)


def _text(element: Any, name: str) -> str:
    found = _child(element, name)
    return (found.text or "") if found is not None else ""


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _answer(kind: str, content: str) -> Response:
    return _envelope(f'xmlns="{_NAMESPACES[kind]}"', content, 200)


def _fault(kind: str, problem: _Fault) -> Response:
    return _envelope(
        f'xmlns:sf="{_FAULTS[kind]}"',
        f"<soapenv:Fault><faultcode>sf:{problem.code}</faultcode>"
        f"<faultstring>{problem.code}: {escape(problem.message)}</faultstring>"
        f"<detail><sf:ApiFault><sf:exceptionCode>{problem.code}</sf:exceptionCode>"
        f"<sf:exceptionMessage>{escape(problem.message)}</sf:exceptionMessage></sf:ApiFault></detail></soapenv:Fault>",
        500,
    )


def _envelope(namespace: str, content: str, status: int) -> Response:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" {namespace}>'
        f"<soapenv:Body>{content}</soapenv:Body></soapenv:Envelope>"
    )
    return Response(text, status, media_type="text/xml;charset=UTF-8")
