"""Runs in the environment of Airbyte's source: the source itself, whose one fixed address leads to the stand-in.

The first argument is the stand-in's address; the others are the source's own.
"""

import sys
from typing import Any

import requests

LOGIN = "https://login.salesforce.com"

STAND_IN = sys.argv.pop(1)
_send = requests.Session.send


def send(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
    """Send a request, and one to Salesforce's login host to the stand-in."""
    if str(request.url).startswith(f"{LOGIN}/"):
        request.url = STAND_IN + str(request.url).removeprefix(LOGIN)
    return _send(session, request, **options)


if __name__ == "__main__":
    requests.Session.send = send  # type: ignore[method-assign]
    from source_salesforce.run import run

    run()
