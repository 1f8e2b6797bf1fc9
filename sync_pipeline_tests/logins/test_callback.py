"""The loopback address that a browser comes back to."""

from __future__ import annotations

import socket
import threading

import pytest
import requests

from sync_pipeline.errors import ConfigurationError, TransientError
from sync_pipeline.logins import callback
from sync_pipeline.logins.callback import Callback, listening


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_browser_sees_what_came_of_it() -> None:
    waiting, port, shown = Callback(), free_port(), []

    def visit() -> None:
        shown.append(requests.get(f"{callback.address(port)}?code=c%2F1&state=s", timeout=20))

    with listening(waiting, port):
        browser = threading.Thread(target=visit)
        browser.start()
        assert waiting.wait() == {"code": "c/1", "state": "s"}
        waiting.tell("Connected", "acme is connected to <b>Acme & Co</b>.", good=True)
    browser.join()
    assert shown[0].status_code == 200
    assert "acme is connected to &lt;b&gt;Acme &amp; Co&lt;/b&gt;." in shown[0].text
    assert "default-src 'none'" in shown[0].headers["Content-Security-Policy"]
    assert shown[0].headers["Cache-Control"] == "no-store"
    assert "code" not in shown[0].text


def test_anything_else_is_nothing_here() -> None:
    waiting, port = Callback(), free_port()
    with listening(waiting, port):
        for path in ("/", "/favicon.ico", "/OauthRedirect", "/OauthRedirect?state=x", "/oauthredirect?code=x"):
            assert requests.get(f"http://127.0.0.1:{port}{path}", timeout=20).status_code == 404
        with pytest.raises(TransientError, match="Nobody allowed access"):
            waiting.wait(0.1)


def test_a_port_in_use_is_one_sentence() -> None:
    port = free_port()
    in_use = pytest.raises(ConfigurationError, match=rf"Port {port} .* another program uses it.*--port N")
    with listening(Callback(), port), in_use, listening(Callback(), port):
        pass


def test_a_pasted_address_is_as_good() -> None:
    waiting = Callback()
    for told in ("", "hello", "http://localhost:1717/", "http://localhost:1717/OauthRedirect?state=x", "x" * 20_000):
        assert not waiting.take(told)
    assert waiting.take("  http://localhost:1717/OauthRedirect?code=a%20b&state=s \n")
    assert waiting.wait() == {"code": "a b", "state": "s"}
