"""Serves Salesforce's stand-in over TLS, as a process of its own: `python -m ... FOLDER`; prints its address.

The state is the test's to fill and to change: it lies in FOLDER, beside the certificate authority (ca.pem).
"""

from __future__ import annotations

import socket
import ssl
import sys
from pathlib import Path

import trustme
import uvicorn

from sync_pipeline.sandbox.salesforce import create_app
from sync_pipeline.sandbox.state import State


def serve(folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(State(folder / "state.sqlite"), page_rows=10), log_level="critical")
    config.load()
    config.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(config.ssl)
    sys.stdout.write(f"https://localhost:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
