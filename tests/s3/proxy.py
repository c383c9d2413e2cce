"""A proxy in front of an S3 server that spoils chosen requests: for faults that a real server can't be made to show.

It speaks plain HTTP on loopback and passes on what it does not spoil, byte for byte; signatures stay good because the
Host header is the one that the client signed. What it saw is in :attr:`FaultProxy.seen`.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.s3.server import REGION, User

_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}


@dataclass(frozen=True)
class Request:
    """What the client asked for.

    Args:
        target: Path and query.
        headers: Names in lower case.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = field(repr=False)


@dataclass
class Fault:
    """What is done to requests that fit.

    Args:
        method: Of the requests.
        contains: What their path and query have in them.
        times: How many of them; the rest passes.
        status: Answer with this status instead of asking the server (503 is SlowDown), after the body was read.
        code: S3's code in that answer.
        extra: Further elements of that answer.
        reset: Reset the connection when so many bytes of the answer's body were sent; 0: before its head.
        lose: Let the server do its work, and reset the connection instead of answering.
        corrupt: Change a byte of the answer's body.
        corrupt_request: Change a byte of the request's body.
        drop: Headers of the request that the server never sees.
        headers: Headers of the answer that are put in the place of the server's; None takes one away.
        delay: Seconds to wait before anything else.
    """

    method: str = ""
    contains: str = ""
    times: int = 1_000_000
    status: int = 0
    code: str = "SlowDown"
    extra: str = ""
    reset: int | None = None
    lose: bool = False
    corrupt: bool = False
    corrupt_request: bool = False
    drop: tuple[str, ...] = ()
    headers: dict[str, str | None] = field(default_factory=dict)
    delay: float = 0.0
    when: Callable[[Request], bool] | None = None

    def fits(self, request: Request) -> bool:
        """Whether this request is one of them."""
        chosen = self.method in ("", request.method) and self.contains in request.target
        return self.times > 0 and chosen and (self.when is None or self.when(request))


class FaultProxy:
    """Started on a free port; :meth:`add` faults at any time.

    Args:
        upstream: Endpoint of the server.
        user: To sign requests anew with, once headers are dropped.
    """

    def __init__(self, upstream: str, user: User) -> None:
        self.seen: list[Request] = []
        self._user = user
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._upstream = urlsplit(upstream).netloc
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

            def handle(self) -> None:
                with suppress(OSError):  # a client that went away
                    super().handle()

            def do_any(self) -> None:
                proxy._serve(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_any

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """For clients."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, **fault: Any) -> Fault:
        """Spoil requests from now on; see :class:`Fault`. Of several that fit, the first in order of addition does."""
        made = Fault(**fault)
        with self._lock:
            self._faults.append(made)
        return made

    def clear(self) -> None:
        """Spoil nothing any more, and forget what was seen."""
        with self._lock:
            self._faults.clear()
            self.seen.clear()

    def asked(self, method: str, contains: str = "") -> list[Request]:
        """The requests seen so far that fit."""
        return [found for found in self.seen if found.method == method and contains in found.target]

    def stop(self) -> None:
        """Close it."""
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length") or 0)
        body = handler.rfile.read(length)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Request(handler.command, handler.path, headers, body)
        with self._lock:
            self.seen.append(request)
            fault = next((found for found in self._faults if found.fits(request)), None)
            if fault is not None:
                fault.times -= 1
        fault = fault or Fault()
        time.sleep(fault.delay)
        if fault.status:
            _answer(handler, fault)
        elif fault.reset == 0:
            _cut(handler)
        else:
            self._relay(handler, request, fault)

    def _relay(self, handler: BaseHTTPRequestHandler, request: Request, fault: Fault) -> None:
        status, found, content = self._ask(request, fault)
        if fault.lose:
            _cut(handler)
            return
        if fault.corrupt and content:
            content = _spoiled(content)
        handler.send_response_only(status)
        for name, value in (found | fault.headers).items():
            if value is not None:
                handler.send_header(name, value)
        body = b"" if request.method == "HEAD" else content
        if request.method != "HEAD":
            handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: fault.reset])
        if fault.reset is not None:
            _cut(handler)

    def _ask(self, request: Request, fault: Fault) -> tuple[int, dict[str, str], bytes]:
        body = _spoiled(request.body) if fault.corrupt_request and request.body else request.body
        sent = {name: value for name, value in request.headers.items() if name not in (*fault.drop, *_HOP)}
        if fault.drop:
            sent = _signed(self._user, request, sent)
        connection = http.client.HTTPConnection(self._upstream, timeout=60)
        try:
            connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            kept = {name.lower(): value for name, value in answer.getheaders() if name.lower() not in _HOP}
            if request.method != "HEAD":
                kept.pop("content-length", None)
            return answer.status, kept, answer.read()
        finally:
            connection.close()


def _answer(handler: BaseHTTPRequestHandler, fault: Fault) -> None:
    text = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>no</Message>{fault.extra}</Error>".encode()
    handler.send_response_only(fault.status)
    handler.send_header("content-type", "application/xml")
    for name, value in fault.headers.items():
        handler.send_header(name, str(value))
    handler.send_header("content-length", str(len(text)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(text)


def _cut(handler: BaseHTTPRequestHandler) -> None:
    """End the connection with a reset."""
    with suppress(OSError):
        handler.wfile.flush()
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        handler.rfile.close()  # which holds the socket open, too
        handler.connection.close()
    handler.close_connection = True


def _spoiled(data: bytes) -> bytes:
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _signed(user: User, request: Request, headers: dict[str, str]) -> dict[str, str]:
    """The headers with a new signature, which those that were dropped are no part of."""
    plain = {name: value for name, value in headers.items() if name not in ("authorization", "x-amz-date")}
    again = AWSRequest(request.method, f"http://{headers['host']}{request.target}", plain, request.body)
    S3SigV4Auth(Credentials(user.access_key, user.secret_key), "s3", REGION).add_auth(again)
    return {name.lower(): value for name, value in again.headers.items()}


@contextmanager
def fault_proxy(upstream: str, user: User) -> Iterator[FaultProxy]:
    """A proxy in front of a server, as long as the block runs."""
    proxy = FaultProxy(upstream, user)
    try:
        yield proxy
    finally:
        proxy.stop()
