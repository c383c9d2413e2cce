"""Asking members for their health from the monitoring host, through SSH: what probes and load balancers there get.

``/health`` of etcd says no where the member has no leader, can't read consistently, or an alarm is up; ``/livez`` and
``/readyz`` are there in versions that know them (etcd.io/docs, operations guide, monitoring).
"""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Iterator, Mapping

import httpx

from tasks.cluster.spec import Cluster, Host
from tasks.errors import AccessDenied, HostUnreachable
from tasks.etcd.versions import traits
from tasks.hosts.tunnel import tunnel
from tasks.pki.client import ClientFiles

HEALTHY = "healthy"
SILENT = "no answer"
_TIMEOUT = 10.0


def judged(answers: Mapping[str, tuple[int, str]]) -> str:
    """What a member's answers come to: :data:`HEALTHY`, or which did not and why. Pure.

    Args:
        answers: Status and text, by path.
    """
    bad = [f"/{path}: {_reason(text) or status}" for path, (status, text) in answers.items() if status != 200]
    return "; ".join(bad) or HEALTHY


def _reason(text: str) -> str:
    try:
        return str(json.loads(text)["reason"])
    except (ValueError, LookupError, TypeError):
        return " ".join(text.split())[:200]


def healths(cluster: Cluster, watcher: Host, files: ClientFiles) -> dict[str, str | None]:
    """How each member is, by name; None where it could not be asked, as the host's sshd does not forward.

    Args:
        watcher: The monitoring host.
        files: The operator's client certificate, for members that want one.
    """
    return {host.name: _health(cluster, host, watcher, files) for host in cluster.hosts}


def _health(cluster: Cluster, host: Host, watcher: Host, files: ClientFiles) -> str | None:
    paths = ("health", "livez", "readyz") if traits(cluster.release.version).readyz else ("health",)
    try:
        with _reached(host, watcher, files) as client:
            answers = {path: client.get(f"/{path}") for path in paths}
    except AccessDenied:
        return None
    except (HostUnreachable, httpx.TransportError, OSError) as error:
        return f"{SILENT} ({type(error).__name__})"
    return judged({path: (answer.status_code, answer.text) for path, answer in answers.items()})


@contextlib.contextmanager
def _reached(host: Host, watcher: Host, files: ClientFiles) -> Iterator[httpx.Client]:
    url = httpx.URL(host.scrape_url or host.metrics_url)
    with contextlib.ExitStack() as stack:
        verify = _trust(files) if url.scheme == "https" else False
        if watcher.connection != "local":  # a member's certificate is for loopback, too
            url = url.copy_with(host="127.0.0.1", port=stack.enter_context(tunnel(watcher, url.host, url.port or 0)))
        yield stack.enter_context(httpx.Client(base_url=url, verify=verify, timeout=_TIMEOUT, trust_env=False))


def _trust(files: ClientFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files.ca))
    context.load_cert_chain(files.cert, files.key)
    return context
