"""``etcd-flows serve``: everything on one machine: a Prefect server if none is configured, all deployments, a worker.

The server and the worker are children of this process. When one of them ends, all of it ends with exit code 1: what
started it (systemd, say) starts it again, and nothing is lost, since the database lies on disk. When this process is
killed they end too; what they had begun is settled at the next start.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import click

from deployments.api import ApiError, Served, api_errors
from deployments.api_asking import Way
from deployments.declared import declared
from deployments.errors import show_error
from deployments.meter import Meter
from deployments.prefect_server import CHEAPER, SERVER, SERVER_SETTINGS
from deployments.served_clusters import cluster_directories, served_clusters
from deployments.tied import tied
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError
from tasks.reporting.human import plural

#: Seconds until a fresh database is migrated and the server answers: 20 on two cores.
START_SECONDS = 180.0
#: Seconds that the worker gets to end: a run of a flow is told first, and has 30 seconds (Prefect's own grace).
STOP_SECONDS = 45.0
#: Python's text of ``prefect worker start``.
_WORKER = "from prefect.cli import app; app()"
#: Seconds between two looks for due runs; a run by the API starts that much later at most.
POLL_SECONDS = 3


@dataclass(frozen=True)
class Wanted:
    """What to serve.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        limit: Runs at the same time.
        pool: Name of the work pool.
        state: Directory of the database and the credentials.
        notify: Notification block of the automations, ``type/name``; empty: they only leave an event.
    """

    host: str
    port: int
    limit: int
    pool: str
    state: Path | None
    notify: str = ""


@dataclass
class _Family:
    """The processes of this one, in the order in which they were started."""

    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, program: str, words: list[str], log: Path) -> None:
        with log.open("ab") as output:
            self.processes[name] = subprocess.Popen(  # noqa: S603 - our own Python
                [*tied(program), *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ended(self) -> str | None:
        """One that is not there any more."""
        return next((name for name, process in self.processes.items() if process.poll() is not None), None)

    def stop(self) -> None:
        """The worker first, so that it can still tell the server."""
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def run_serve(wanted: Wanted) -> int:
    """Serve until told to stop (SIGTERM, Ctrl-C); returns the exit code."""
    stop = threading.Event()

    def told(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    family = _Family()
    try:
        return _serve(wanted, family, stop)
    except EtcdFlowsError as error:
        return show_error(error, as_json=False)
    finally:
        family.stop()


def _serve(wanted: Wanted, family: _Family, stop: threading.Event) -> int:
    clusters = served_clusters(os.environ)  # problems of the files are told before anything is started
    os.environ["ETCD_FLOWS_CLUSTERS"] = os.pathsep.join(str(place) for place in cluster_directories(os.environ))
    served = Served.of(os.environ, wanted.state)
    auth, made = served.credentials()
    if os.environ.get("PREFECT_API_URL"):
        url = os.environ["PREFECT_API_URL"]
    else:
        url = _start_server(wanted, served, auth, family)
        _until(lambda: Way().answers(url, 5), family, served, stop)
        served.announce(url)
        _tell_server(url, served, auth if made else "")
    if stop.is_set():
        return 0
    _register(clusters, url, wanted, alone="server" in family.processes)
    os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", str(POLL_SECONDS))
    words = ["worker", "start", "--pool", wanted.pool, "--type", "process", "--limit", str(wanted.limit)]
    family.start("worker", _WORKER, words, served.directory / "worker.log")
    click.echo(
        f"serving {plural(len(clusters), 'cluster')}; a worker runs up to {wanted.limit} flows at once; Ctrl-C stops"
    )
    _tell_systemd("READY=1")
    while not stop.wait(1.0):
        if gone := family.ended():
            raise ApiError(
                f"the {gone} ended by itself: {_last_line(served.directory / f'{gone}.log')}",
                state="all is stopped; runs that were going on are marked as crashed at the next start",
                remedy=f"see {served.directory / f'{gone}.log'}, then start again",
            )
    click.echo("stopping: running flows are told to end")
    return 0


def _start_server(wanted: Wanted, served: Served, auth: str, family: _Family) -> str:
    url = f"http://{wanted.host}:{wanted.port}/api"
    os.environ |= {
        **{name: os.environ.get(name, value) for name, value in (SERVER_SETTINGS | CHEAPER).items()},
        "PREFECT_HOME": str(served.directory / "prefect"),
        "PREFECT_API_URL": url,
        "PREFECT_API_AUTH_STRING": auth,
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(served.directory / "ui"),
        "DO_NOT_TRACK": "1",
    }
    click.echo(f"starting a Prefect server at {url} (its database is in {served.directory}) ...")
    words = ["server", "start", "--host", wanted.host, "--port", str(wanted.port)]
    family.start("server", SERVER, words, served.directory / "server.log")
    return url


def _tell_server(url: str, served: Served, new_auth: str) -> None:
    click.echo(f"UI: {url.removesuffix('/api')}")
    if new_auth and not _read_by_others():
        click.echo(f"its user and password, made just now and shown only this once: {new_auth}")
    elif new_auth:
        click.echo(f"its user and password, made just now: in {served.auth_file}")
    click.echo(f"for other programs: PREFECT_API_URL={url} PREFECT_API_AUTH_STRING=$(cat {served.auth_file})")


def _tell_systemd(what: str) -> None:
    """If it is that started us and waits for it; see sd_notify(3)."""
    if place := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire, contextlib.suppress(OSError):
            wire.sendto(what.encode(), f"\0{place[1:]}" if place.startswith("@") else place)


def _read_by_others() -> bool:
    """Whether what we print goes to systemd's journal: see JOURNAL_STREAM in systemd.exec(5)."""
    out = os.fstat(1)
    return os.environ.get("JOURNAL_STREAM") == f"{out.st_dev}:{out.st_ino}"


def _register(clusters: dict[str, Cluster], url: str, wanted: Wanted, *, alone: bool) -> None:
    from prefect.client.orchestration import get_client

    from deployments import automations
    from deployments.registry import have_told, plan_registration, register, reporter, settle_orphans

    meter = Meter("registering", amount="{:.0f}".format)
    with api_errors(url), get_client(sync_client=True) as client:
        settled = settle_orphans(client) if alone else []
        plan = plan_registration(client, declared(clusters), wanted.pool)
        click.echo(plan.as_text())
        register(client, plan, meter)
        meter.end()
        automations.register_automations(client, automations.declared(clusters, reporter(client)), wanted.notify)
        have_told(client, settled)
        if settled:
            click.echo(f"{plural(len(settled), 'run')} cut off when it was last stopped: marked as crashed; run again")


def _until(true: Callable[[], bool], family: _Family, served: Served, stop: threading.Event) -> None:
    until = time.monotonic() + START_SECONDS
    while not true() and not stop.is_set():
        if family.ended() or time.monotonic() > until:
            log = served.directory / "server.log"
            raise ApiError(f"Prefect's server did not start: {_last_line(log)}", remedy=f"see {log}")
        stop.wait(0.2)


def _last_line(log: Path) -> str:
    said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return said[-1] if said else "it said nothing"
