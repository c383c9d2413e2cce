"""Where alerts arrive: a server for webhooks and Slack, and a mail server with STARTTLS and a login."""

from __future__ import annotations

import email
import email.policy
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

#: Path of the address that stands for Slack's.
SLACK = "/services/T0/B0/"


@dataclass
class Hook:
    """A server that alerts are posted to; it keeps them, and refuses those to ``/refuse``."""

    url: str
    got: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    slack: list[dict[str, Any]] = field(default_factory=list)

    def alerts(self, name: str, status: str) -> list[dict[str, Any]]:
        """What has come of one alert."""
        every = [alert for post in list(self.got) for alert in post["alerts"]]
        return [alert for alert in every if alert["labels"]["alertname"] == name and alert["status"] == status]

    def titles(self) -> list[str]:
        """Of what came for Slack."""
        return [attachment["title"] for post in list(self.slack) for attachment in post["attachments"]]


@contextmanager
def hook(address: str) -> Iterator[Hook]:
    """A server on any free port of an address."""
    found = Hook("")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            refused = self.path == "/refuse"
            if self.path.startswith(SLACK):
                found.slack.append(body)
            elif not refused:
                found.tokens.add(self.headers.get("authorization"))
                found.got.append(body)
            self.send_response(403 if refused else 200)
            self.end_headers()
            self.wfile.write(b"ok")  # by which Slack says that it took it

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((address, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.url = f"http://{address}:{server.server_address[1]}"
        yield found
        server.shutdown()


@dataclass
class Mail:
    """A message.

    Args:
        encrypted: Whether it came over TLS.
    """

    to: list[str]
    sender: str
    subject: str
    text: str
    encrypted: bool


@dataclass
class Mailbox:
    """What a mail server took: nothing without TLS and the right login."""

    server: str
    user: str
    password: str
    got: list[Mail] = field(default_factory=list)
    refused: int = 0

    def subjects(self) -> list[str]:
        """Of all messages."""
        return [mail.subject for mail in list(self.got)]

    def login(self, _server: object, _session: object, _envelope: object, _how: str, data: LoginPassword) -> AuthResult:
        """Whether that is the user."""
        good = (data.login.decode(), data.password.decode()) == (self.user, self.password)
        self.refused += not good
        return AuthResult(success=good)

    async def handle_DATA(self, _server: object, session: Session, envelope: Envelope) -> str:
        """Take a message."""
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=email.policy.default)
        body = message.get_body(("plain", "html"))
        text = body.get_content() if body else ""
        subject, sender = str(message["subject"]), str(envelope.mail_from)
        self.got.append(Mail(list(envelope.rcpt_tos), sender, subject, text, session.ssl is not None))
        return "250 taken"


@contextmanager
def mailbox(address: str, port: int, certificate: str, key: str) -> Iterator[Mailbox]:
    """A mail server.

    Args:
        certificate: Path of what it shows after STARTTLS.
        key: Path of that certificate's key.
    """
    found = Mailbox(f"{address}:{port}", "etcd", "m4il-secret")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    running = Controller(
        found,
        hostname=address,
        port=port,
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=found.login,
        auth_exclude_mechanism=["LOGIN"],  # aiosmtpd asks for it in words that no other mail server uses
    )
    running.start()
    try:
        yield found
    finally:
        running.stop()
