"""Asking an API behind TLS and a login, as a proxy before Prefect's server has them."""

from __future__ import annotations

import base64
import http.server
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployments.api_asking import Way

LOGIN = "alice:opensesame"


@dataclass
class Proxy:
    url: str
    ca: Path


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=proxy -addext"
    made = ["openssl", *words.split(), "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True, timeout=60)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = "Basic " + base64.b64encode(LOGIN.encode()).decode()
            known = self.path == "/api/health" and self.headers["authorization"] == wanted
            self.send_response(200 if known else 401)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Proxy(f"https://127.0.0.1:{server.server_address[1]}/api", certificate)
    server.shutdown()
    server.server_close()


def test_only_who_is_trusted_and_let_in_gets_an_answer(proxy: Proxy) -> None:
    assert Way(LOGIN, str(proxy.ca)).answers(proxy.url, 60)
    assert Way(LOGIN, unverified=True).answers(proxy.url, 60)
    assert not Way(LOGIN).answers(proxy.url, 60)
    assert not Way("alice:wrong", str(proxy.ca)).answers(proxy.url, 60)
    assert Way(LOGIN, str(proxy.ca)).answers(proxy.url.replace("https://", "https://bob:other@"), 60)
    assert not Way().answers("http://127.0.0.1:9/api", 60)


def test_the_command_line_asks_as_prefect_is_configured(proxy: Proxy, tmp_path: Path) -> None:
    settings = {"PREFECT_API_URL": proxy.url, "PREFECT_API_SSL_CERT_FILE": str(proxy.ca), "PREFECT_HOME": str(tmp_path)}
    script = "import os; from deployments.runner import _answers; print(_answers(os.environ['PREFECT_API_URL']))"

    def said(login: str) -> str:
        environ = {**os.environ, **settings, "PREFECT_API_AUTH_STRING": login}
        words = [sys.executable, "-c", script]
        done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout.strip()

    assert said(LOGIN) == "True"
    assert said("alice:wrong") == "False"
