"""Where the demo plays: its directory, its processes, and how both are cleared away again."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.demo import processes
from deployments.demo.prometheus import Prometheus
from deployments.demo.screen import Screen
from deployments.demo.server import PrefectServer
from tasks.cluster.load import load_cluster
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, InputError
from tasks.etcd.client import Client, connect
from tasks.pki.client import ClientFiles
from tasks.reporting.human import size
from tasks.reporting.progress import listening

_NEEDED = 600 << 20  # bytes: three installations, the release, three members' write-ahead logs (64 MB each, twice)
_LONGEST = 60  # characters of the directory; unix sockets below it may have about 100 in all


@dataclass
class Stage:
    """What the acts share.

    Args:
        root: The demo's directory.
        keep: Leave everything running at the end.
        temporary: Whether the directory was made for this run alone.
        operator: Client certificate of the person who runs the cluster; set once there is a CA.
        keys: How many keys have been written and acknowledged.
        lost: The member that was killed.
        snapshot: Id of the snapshot that was made.
        prometheus: One that watches, where this machine has one.
        watched_since: Unix time from which on it does.
        failed: Whether an act failed; then the logs are kept.
    """

    screen: Screen
    root: Path
    keep: bool
    temporary: bool
    server: PrefectServer
    prometheus: Prometheus | None = None
    operator: ClientFiles | None = None
    keys: int = 0
    lost: str = ""
    snapshot: str = ""
    watched_since: float = 0.0
    failed: bool = field(default=False)

    @property
    def file(self) -> Path:
        """The cluster file."""
        return self.root / "demo.yaml"

    @property
    def cluster(self) -> Cluster:
        """The cluster as its file says."""
        return load_cluster(self.file).cluster

    def run(self, flow: str, **parameters: Any) -> Any:
        """Run one of the product's flows in this process, its progress on the screen; returns the flow's result."""
        module = importlib.import_module(f"flows.{flow}")
        with listening(self.screen.event):
            return getattr(module, flow)(cluster=str(self.file), **parameters)

    def watch(self) -> None:
        """Have the members' metrics asked for from now on, if this machine has a Prometheus."""
        if self.prometheus is not None:
            self.prometheus.start(self.cluster)
            self.watched_since = time.time()
            self.screen.say(f"Prometheus asks for the members' metrics from here on: {self.prometheus.url}")

    def client(self, member: str, timeout: float = 5.0) -> Client:
        """The operator's client on one member's own endpoint."""
        if self.operator is None:
            raise EtcdFlowsError("there is no client certificate yet", remedy="start the demo again in a new directory")
        url = self.cluster.host(member).client_url
        return connect(url, self.operator.ca, self.operator.cert, self.operator.key, timeout, host=member)

    @property
    def logs(self) -> str:
        """Where to look when something failed."""
        return f"{self.root}/etcd-0*/var/log and {self.root}/*.log"


@contextmanager
def stage(screen: Screen, directory: Path | None, prometheus: Path | None, *, keep: bool) -> Iterator[Stage]:
    """Make the directory and start Prefect's server in the background; clear both away however the block ends.

    Args:
        prometheus: A program of that name, None if there is none.

    Raises:
        InputError: The directory can't be used.
    """
    before = Path.cwd()
    root = _given(directory) if directory else Path(tempfile.mkdtemp(prefix="etcd-demo-", dir=_short_temp()))
    server = PrefectServer(root / "prefect", root / "prefect.log")
    watching = Prometheus(prometheus, root / "prometheus", root / "prometheus.log") if prometheus else None
    made = Stage(screen, root, keep, directory is None, server, watching)
    try:
        _check(root)
        os.chdir(root)  # a prefect.toml or .env where the demo was called must not reach it
        server.start()
        yield made
    finally:
        with contextlib.suppress(OSError):
            os.chdir(before)
        if not keep:
            _clear(made)


def _short_temp() -> Path:
    usual = Path(tempfile.gettempdir())
    return usual if len(str(usual)) < _LONGEST - 20 else Path("/tmp")  # noqa: S108 - mkdtemp makes the name


def _given(directory: Path) -> Path:
    root = directory.resolve()
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        used = any(root.iterdir())
    except OSError as error:
        raise InputError(
            f"--dir {root} can't be used: {error.strerror or error}", remedy="give another directory with --dir"
        ) from error
    if used:
        raise InputError(f"--dir {root} is not empty", remedy="give an empty or a new directory")
    return root


def _check(root: Path) -> None:
    if len(str(root)) > _LONGEST:
        raise InputError(f"{root} is too long a path for unix sockets below it", remedy="give a shorter --dir")
    free = shutil.disk_usage(root).free
    if free < _NEEDED:
        raise InputError(
            f"{size(free)} are free in {root}, the demo needs {size(_NEEDED)} for a minute",
            remedy="make room, or give another place: etcd-flows demo --dir DIRECTORY",
        )


def _clear(made: Stage) -> None:
    with _undisturbed():
        processes.stop_all(made.root)
        made.server.stop()
        if made.prometheus is not None:
            made.prometheus.stop()
        processes.stop_all(made.root)  # what a step that was under way when Ctrl-C came has started since
        _remove(made)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not stop the clearing up."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    old = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _remove(made: Stage) -> None:
    if not made.temporary:
        return
    if not made.failed:
        shutil.rmtree(made.root, ignore_errors=True)
        return
    for directory, _, names in os.walk(made.root, topdown=False):
        here = Path(directory)
        for path in (here / name for name in names):
            if path.suffix != ".log" and path != made.file:
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            here.rmdir()  # those that hold no log
