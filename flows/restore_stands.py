"""How things stand after a restore that was interrupted: asked of the hosts, told to people. No Prefect.

A run that is cancelled (in Prefect, by Ctrl-C, by SIGTERM) starts nothing and undoes nothing: members stay as they are,
those that were stopped are held. The record on the hosts is what goes on, or back, from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from flows.first_look import fact_query
from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError
from tasks.etcd.restored import back_path, record_path
from tasks.hosts.facts import HostFacts
from tasks.hosts.observe import observe
from tasks.hosts.shell import close_all, open_shell
from tasks.restore.record import Record, find_record
from tasks.restore.stand import Stand, may_have_served, stands


def how_it_stands(cluster: Cluster, called: str) -> list[str]:
    """Ask the hosts, and say what stands how, and how to go on or back, in lines.

    Args:
        called: How the cluster is given to the command line.
    """
    facts, errors = _look(cluster)
    here = replace(cluster, hosts=tuple(host for host in cluster.hosts if host.name in facts))
    unseen = [f"  {name}: could not be asked: {error.message}" for name, error in errors.items()]
    try:
        record = find_record(here, facts)
    except EtcdFlowsError as error:
        return [f"how the restore stands can't be told: {error.message}", *unseen]
    if record is None:
        return ["no restore is under way on the hosts that could be asked: nothing was stopped", *unseen]
    members = replace(here, hosts=tuple(host for host in here.hosts if host.name in dict(record.members)))
    seen = stands(members, facts, record)
    turning = any(facts[host.name].file(back_path(host)).present for host in members.hosts)
    left = [host.name for host in members.hosts if not facts[host.name].file(record_path(host)).present]
    return [
        f"restore {record.id[:8]} of {record.snapshot} is not ended; nothing more is started, nothing was undone:",
        *(f"  {name}: {_in_words(one)}{'; without the record' if name in left else ''}" for name, one in seen.items()),
        *unseen,
        *_ways(record, seen, called, cluster.name, turning=turning),
    ]


def _look(cluster: Cluster) -> tuple[dict[str, HostFacts], dict[str, EtcdFlowsError]]:
    def one(host: Host) -> HostFacts | EtcdFlowsError:
        try:
            with open_shell(host) as shell:
                return observe(shell, fact_query(cluster, host))
        except EtcdFlowsError as error:
            return error

    try:
        with ThreadPoolExecutor(len(cluster.hosts)) as pool:
            found = dict(zip((host.name for host in cluster.hosts), pool.map(one, cluster.hosts), strict=True))
    finally:
        close_all()
    facts = {name: answer for name, answer in found.items() if isinstance(answer, HostFacts)}
    return facts, {name: answer for name, answer in found.items() if isinstance(answer, EtcdFlowsError)}


def _in_words(one: Stand) -> str:
    if one.place == "turned":
        return "runs on the restored data" if one.running else "set to the restored data, free to start, not running"
    data = "set to the restored data" if one.place == "held" else "set to its former data"
    ready = "; the restored data lies ready" if one.unpacked and one.place == "old" else ""
    if one.held:
        return f"{'held, and still running' if one.running else 'stopped and held'}, {data}{ready}"
    return f"{'runs on its former data' if one.running else 'does not run'}, nothing holds it{ready}"


def _ways(record: Record, seen: Mapping[str, Stand], called: str, name: str, *, turning: bool) -> list[str]:
    command = f"etcd-flows disaster-restore {called} --confirm {name}"
    if turning:
        return [f"it is being taken back; to end that: {command} --go-back"]
    if not record.had_quorum:
        return [f"to go on: {command}", "there is no way back: the old members could not decide any more"]
    stored = " (what was written since is stored first)" if may_have_served(record, seen) else ""
    return [f"to go on: {command}", f"to go back{stored}: {command} --go-back"]
