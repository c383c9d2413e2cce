"""The cluster's lock, for a run that only reads the cluster: held wherever it can be.

A backup must work while a host is down, and even while no host can be reached by SSH. So the lock is taken on those
hosts that answer. Two captures, or a capture and a restore, that share one reachable host see each other.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.runtime import flow_run

from flows.locking import working_under
from tasks.cluster.spec import Cluster, Host
from tasks.hosts.lock_holder import new_owner
from tasks.hosts.locking import HeldLock, acquire, look
from tasks.reporting.human import plural
from tasks.reporting.progress import emit


@contextmanager
def capture_lock(cluster: Cluster, flow: str) -> Iterator[HeldLock | None]:
    """Hold the lock on the hosts that can be reached; released at the end, whatever happened.

    A flow that is called by one that holds the lock (a restore's safety snapshot) works under the caller's.

    Returns:
        The lock, or None if no host can be reached.

    Raises:
        LockHeld: A living run holds it; nothing was read or written.
    """
    outer = working_under(cluster)
    if outer is not None:
        yield outer
        return
    hosts = _reachable(cluster)
    if not hosts:
        emit("warning", "no host can be reached by SSH: the snapshot is taken without the cluster's lock")
        yield None
        return
    owner = new_owner(str(flow_run.id or uuid.uuid4()), flow, cluster.name, flow_run.ui_url or "")
    lock, _ = acquire(hosts, owner, tell=lambda text: emit("warning", text))
    try:
        emit("info", f"locked on {plural(len(hosts), 'host')}")
        yield lock
    finally:
        for error in lock.release():
            emit("warning", f"the lock stays on {error.host}: {error.message}; a later run takes it over")


def _reachable(cluster: Cluster) -> list[Host]:
    seen, errors = look(cluster.hosts)
    for error in errors:
        emit("warning", f"not locked there: {error.message}", host=error.host)
    return [host for host in cluster.hosts if host.name in seen]
