"""Logins with a password: OAuth's username-password flow, and SOAP."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import SalesforceLogin
from simple_salesforce.exceptions import SalesforceAuthenticationFailed

from sync_pipeline_tests.sandbox.salesforce import browser, world
from sync_pipeline_tests.sandbox.salesforce.conftest import Served
from sync_pipeline_tests.sandbox.salesforce.test_oauth import SECRET, refused

USERNAME, WHOLE = f"admin@{world.ORG}.example", world.PASSWORD + world.SECURITY_TOKEN
FORM = {"grant_type": "password", "username": USERNAME, "password": WHOLE, "client_secret": SECRET}


def soap(served: Served, body: str, header: str = "", path: str = "u/50.0") -> requests.Response:
    text = (
        '<se:Envelope xmlns:se="http://schemas.xmlsoap.org/soap/envelope/">'
        f"<se:Header>{header}</se:Header><se:Body>{body}</se:Body></se:Envelope>"
    )
    headers = {"Content-Type": "text/xml", "SOAPAction": '""'}
    return requests_post(served, f"{served.url}/services/Soap/{path}", text, headers)


def requests_post(served: Served, url: str, text: str, headers: dict[str, str]) -> requests.Response:
    return browser.requests_session(served).post(url, data=text.encode(), headers=headers)


def login(username: str = USERNAME, password: str = WHOLE) -> str:
    return (
        f'<login xmlns="urn:partner.soap.sforce.com"><username>{escape(username)}</username>'
        f"<password>{escape(password)}</password></login>"
    )


def fault(answer: requests.Response) -> str:
    assert answer.status_code == 500
    return str(ElementTree.fromstring(answer.content).findtext(".//faultstring"))


def found(answer: requests.Response, name: str) -> str:
    assert answer.status_code == 200, answer.text
    return str(ElementTree.fromstring(answer.content).findtext(f".//{{urn:partner.soap.sforce.com}}{name}"))


def test_the_username_password_flow(served: Served) -> None:
    held = browser.token(served, **FORM).json()
    assert "refresh_token" not in held
    assert browser.lives(served, held["access_token"])
    assert browser.token(served, **FORM | {"username": USERNAME.upper()}).status_code == 200


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"password": world.PASSWORD}, ("invalid_grant", "authentication failure")),
        ({"username": f"admin@{world.OTHER}.example"}, ("invalid_grant", "authentication failure")),
        ({"username": "nobody@else.example"}, ("invalid_grant", "authentication failure")),
        ({"client_secret": ""}, ("invalid_client", "invalid client credentials")),
        ({"client_secret": "wrong"}, ("invalid_client", "invalid client credentials")),
    ],
)
def test_passwords_that_are_refused(served: Served, changed: dict[str, str], error: tuple[str, str]) -> None:
    assert refused(browser.token(served, **FORM | changed)) == error


def test_an_organization_without_a_password_lets_nobody_in(served: Served) -> None:
    served.state.db.execute("UPDATE organizations SET password = '', security_token = ''")
    assert refused(browser.token(served, **FORM | {"password": ""})) == ("invalid_grant", "authentication failure")
    assert fault(soap(served, login(password=""))).startswith("INVALID_LOGIN")


def test_soap_login_and_logout(served: Served) -> None:
    answer = soap(served, login())
    assert found(answer, "userId") == world.USER
    assert found(answer, "organizationId") == world.ORGANIZATION_ID
    assert found(answer, "serverUrl").startswith(f"{served.url}/services/Soap/u/50.0/00D")
    session = found(answer, "sessionId")
    assert browser.lives(served, session)
    header = f'<SessionHeader xmlns="urn:partner.soap.sforce.com"><sessionId>{session}</sessionId></SessionHeader>'
    logout = '<logout xmlns="urn:partner.soap.sforce.com"/>'
    assert soap(served, logout, header).status_code == 200
    assert not browser.lives(served, session)
    assert fault(soap(served, logout, header)).startswith("INVALID_SESSION_ID")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"body": login(password=world.PASSWORD)},
            "INVALID_LOGIN: Invalid username, password, security token; or user locked out.",
        ),
        ({"body": login(username="nobody")}, "INVALID_LOGIN: Invalid username, password, security token;"),
        (
            {"body": login(), "path": "u/65.0"},
            "INVALID_OPERATION: The SOAP Login operation is not available in the API version specified (65.0). "
            "Refer to the documentation for supported versions.",
        ),
        ({"body": login(), "path": "u/30.0"}, "UNSUPPORTED_API_VERSION"),
        ({"body": login(), "path": "u/next"}, "UNSUPPORTED_API_VERSION"),
        ({"body": login(), "path": "x/50.0"}, "UNSUPPORTED_API_VERSION"),
        ({"body": "<query/>"}, "INVALID_OPERATION: No operation available for request query"),
        ({"body": ""}, "INVALID_OPERATION"),
        ({"body": "<unfinished"}, "INVALID_OPERATION"),
    ],
)
def test_soap_faults(served: Served, asked: dict[str, Any], said: str) -> None:
    assert fault(soap(served, **asked)).startswith(said)


def test_no_dtd_is_read(served: Served) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'
    for text in (bomb, bomb.encode("utf-16").decode("latin-1")):
        answer = requests_post(served, f"{served.url}/services/Soap/u/50.0", text, {"Content-Type": "text/xml"})
        assert fault(answer) == "INVALID_OPERATION: DTDs are not allowed"


class Redirected(HTTPAdapter):
    """Leads what is sent to Salesforce's login host to the stand-in."""

    def __init__(self, to: str) -> None:
        super().__init__()
        self._to = to

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        request.url = str(request.url).replace("https://login.salesforce.com", self._to)
        return super().send(request, *arguments, **options)


def test_simple_salesforce_logs_in_by_soap(served: Served) -> None:
    http = browser.requests_session(served)
    http.mount("https://login.salesforce.com", Redirected(served.url))

    def sign_in(password: str) -> tuple[str, str]:
        found = SalesforceLogin(
            username=USERNAME,
            password=password,
            security_token=world.SECURITY_TOKEN,
            session=http,
            sf_version="59.0",
        )
        return found[0], found[1]

    session, instance = sign_in(world.PASSWORD)
    assert (browser.lives(served, session), instance) == (True, served.host)
    with pytest.raises(SalesforceAuthenticationFailed, match="INVALID_LOGIN"):
        sign_in("wrong")
