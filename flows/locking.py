"""The lock of a cluster, for flows that change its hosts (see :mod:`tasks.hosts.lock`).

    with cluster_lock(spec, flow="bootstrap-cluster") as locked:
        plan = plan_again(locked.facts)
        run_plan(plan, Materials(spec, releases, authority, locked.lock))

Order: observe and plan without the lock; if there is anything to do, take it, and plan again from what was observed
under it (that comes with the same round trip): only that plan is carried out.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from prefect.runtime import flow_run

from flows.first_look import fact_query
from flows.observe import observe_all
from flows.report import publish_plan
from tasks.cluster.spec import Cluster, Host
from tasks.hosts.facts import HostFacts
from tasks.hosts.lock_holder import new_owner
from tasks.hosts.locking import HeldLock, acquire
from tasks.hosts.observe import parse
from tasks.hosts.query import script_for
from tasks.hosts.shell import Output
from tasks.plan import Plan
from tasks.reporting.human import plural
from tasks.reporting.progress import emit


@dataclass(frozen=True)
class Locked:
    """What a flow has inside the lock.

    Args:
        lock: To be given to whoever changes hosts.
        facts: Of all hosts, observed after it was taken.
    """

    lock: HeldLock
    facts: dict[str, HostFacts]


_held: ContextVar[HeldLock | None] = ContextVar("held_lock", default=None)


@contextmanager
def cluster_lock(cluster: Cluster, flow: str) -> Iterator[Locked]:
    """Hold the lock on all hosts of the cluster; released at the end, whatever happened.

    A flow that is called by one that holds it works under the caller's lock.

    Args:
        flow: Name of the flow, for those who find the cluster locked.

    Raises:
        LockHeld: A living run holds it; nothing was changed.
        EtcdFlowsError: It could not be made on all hosts; nothing was changed.
    """
    outer = _held.get()
    if outer is not None and set(cluster.hosts) <= set(outer.hosts):
        yield Locked(outer, observe_all(cluster))
        return
    queries = {host.name: fact_query(cluster, host) for host in cluster.hosts}
    then = {name: script_for(query) for name, query in queries.items()}
    with host_lock(cluster.hosts, cluster.name, flow, then) as (lock, outputs):
        yield Locked(lock, {name: parse(queries[name], output.stdout) for name, output in outputs.items()})


@contextmanager
def host_lock(
    hosts: Sequence[Host], cluster: str, flow: str, then: Mapping[str, str]
) -> Iterator[tuple[HeldLock, dict[str, Output]]]:
    """Hold the lock on these hosts, whichever cluster they belong to; released at the end, whatever happened.

    Args:
        cluster: Name of the cluster that the run is about, for those who find the hosts locked.
        then: By host, a script to be run in the same round trip once the lock is held; its outputs come with the lock.

    Raises:
        LockHeld: A living run holds it; nothing was changed.
        EtcdFlowsError: It could not be made on all hosts; nothing was changed.
    """
    owner = new_owner(str(flow_run.id or uuid.uuid4()), flow, cluster, flow_run.ui_url or "")
    lock, outputs = acquire(hosts, owner, then=then, tell=lambda text: emit("warning", text))
    token = _held.set(lock)
    try:
        emit("info", f"locked on {plural(len(lock.hosts), 'host')}")
        yield lock, outputs
    finally:
        _held.reset(token)
        for error in lock.release():
            emit("warning", f"the lock stays on {error.host}: {error.message}; a later run takes it over")


def working_under(cluster: Cluster) -> HeldLock | None:
    """The lock that a calling flow holds on hosts of this cluster, if one does."""
    outer = _held.get()
    return outer if outer is not None and set(cluster.hosts) & set(outer.hosts) else None


def settle(shown: Plan, now: Plan) -> None:
    """Publish the plan made under the lock if it is another than the one that was shown, and say so."""
    if now.digest != shown.digest:
        emit("warning", "the hosts have changed since they were looked at: the plan is made anew")
        publish_plan(now)
