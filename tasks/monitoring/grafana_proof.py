"""Proving Grafana by its HTTP API, through SSH: no program is needed on its host, and no secret is in a command line.

Endpoints: grafana.com/docs/grafana/latest/developers/http_api (other, user, data_source, folder_dashboard_search).
"""

from __future__ import annotations

import contextlib
import shlex
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx

from tasks.cluster.spec import Cluster, Host
from tasks.errors import CommandFailed, HostUnreachable
from tasks.hosts.shell import Shell
from tasks.hosts.tunnel import tunnel
from tasks.monitoring.actions import ProveGrafana
from tasks.monitoring.grafana_host import USER
from tasks.monitoring.grafana_password import kept_password, password_file

_PAUSE = 2.0  # seconds between two looks
_TIMEOUT = 30.0

#: Asks for a path, logged in or not; gives the status and what came as JSON.
Get = Callable[[str, bool], tuple[int, Any]]


class WrongPasswordError(Exception):
    """Grafana does not take it. Not to be tried again: some failures lock the login for minutes."""


def missing(get: Get, action: ProveGrafana) -> tuple[str, ...]:
    """What is not proven yet, in words.

    Raises:
        WrongPasswordError: See there.
    """
    status, health = get("/api/health", False)
    if status != 200 or not isinstance(health, dict) or health.get("database") != "ok":
        return (f"it is not ready ({_said(status, health)})",)
    found = []
    status, _ = get("/api/org", False)
    if status != 401:
        found.append(f"it lets in whoever has no login (status {status})")
    status, user = get("/api/user", True)
    if status == 401:
        raise WrongPasswordError
    if status != 200 or not user.get("isGrafanaAdmin"):
        found.append(f"{USER} is not its administrator ({_said(status, user)})")
    status, source = get(f"/api/datasources/uid/{action.datasource}/health", True)
    if status != 200 or source.get("status") != "OK":
        found.append(f"it gets no answer of Prometheus ({_said(status, source)})")
    status, listed = get("/api/search?type=dash-db&limit=5000", True)
    there = {one.get("uid") for one in listed} if status == 200 and isinstance(listed, list) else set()
    absent = [uid for uid in action.dashboards if uid not in there]
    return (*found, *([f"it does not have the dashboards {', '.join(absent)}"] if absent else []))


def _said(status: int, body: Any) -> str:
    message = body.get("message") if isinstance(body, dict) else None
    return f"status {status}, {str(message)[:200]}" if message else f"status {status}"


def prove_grafana(shell: Shell, action: ProveGrafana, cluster: Cluster) -> None:
    """Wait until all is proven, then take the note away.

    Raises:
        CommandFailed: Something is not, in time.
        AccessDenied: The host's sshd does not forward.
    """
    password, end = kept_password(cluster).decode(), time.monotonic() + action.seconds
    left: tuple[str, ...] = ("it does not answer",)
    while left:
        try:
            with _reached(shell.host, action) as client:
                left = missing(_get(client, password, action.name), action)
        except WrongPasswordError:
            raise _changed(shell, action, cluster) from None
        except (HostUnreachable, httpx.TransportError) as error:
            left = (f"it does not answer: {type(error).__name__}",)
        if left and time.monotonic() >= end:
            raise CommandFailed(
                f"not proven of Grafana: {'; '.join(left)}",
                host=shell.host.name,
                state="Prometheus and Alertmanager are as they are to be; Grafana has its new configuration",
                remedy="`journalctl -u grafana` there says more; then run again",
            )
        if left:
            time.sleep(_PAUSE)
    shell.run(f"rm -f -- {shlex.quote(action.note)}\n", what="noting that all is proven")


def _changed(shell: Shell, action: ProveGrafana, cluster: Cluster) -> CommandFailed:
    return CommandFailed(
        f"Grafana does not take the password of {USER} that was made for it: somebody has set another one",
        host=shell.host.name,
        state="Grafana runs and is configured; data source and dashboards were not looked at",
        remedy=f"`{action.reset}` there sets the one that is kept in {password_file(cluster)} again; then run again",
    )


@contextlib.contextmanager
def _reached(host: Host, action: ProveGrafana) -> Iterator[httpx.Client]:
    parts = urlsplit(action.url)
    address, port = parts.hostname or "", parts.port or 0
    with contextlib.ExitStack() as stack:
        where = f"{address}:{port}" if ":" not in address else f"[{address}]:{port}"
        if host.connection != "local":
            where = f"127.0.0.1:{stack.enter_context(tunnel(host, address, port))}"
        verify = _trust(action.certificate) if action.certificate else True
        base = f"{parts.scheme}://{where}"
        yield stack.enter_context(httpx.Client(base_url=base, verify=verify, timeout=_TIMEOUT, trust_env=False))


def _trust(certificate: bytes) -> ssl.SSLContext:
    """The certificate that was given is what is trusted, as by Prometheus and the tools."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=certificate.decode())
    return context


def _get(client: httpx.Client, password: str, name: str) -> Get:
    # The certificate is for that name, whatever the address is here.
    extensions = {"sni_hostname": name} if name else {}

    def get(path: str, logged_in: bool) -> tuple[int, Any]:
        answer = client.get(path, auth=(USER, password) if logged_in else None, extensions=extensions)
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, {}

    return get
