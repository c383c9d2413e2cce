"""How far each host has come in a restore, from facts alone. Pure.

``old``: may run, or be started on, what was there before. ``held``: can't start, and its settings point to the restored
data. ``turned``: its hold was lifted, so it may have been running on the restored data; never on the old one any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tasks.cluster.spec import Cluster, Host
from tasks.etcd.envfile import parse_env
from tasks.etcd.restored import hold_path, record_path, unpacked_path
from tasks.hosts.facts import HostFacts
from tasks.restore.record import Record


@dataclass(frozen=True)
class Stand:
    """One host in one restore.

    Args:
        recorded: The record is there.
        unpacked: The new data dir is complete.
        switched: The settings point to it.
        held: The member can't be started.
        running: There is an etcd.
        place: See the module.
    """

    host: str
    recorded: bool
    unpacked: bool
    switched: bool
    held: bool
    running: bool
    place: Literal["old", "held", "turned"]


def stand(host: Host, facts: HostFacts, record: Record) -> Stand:
    """How far this host has come.

    What runs is judged by the settings that the process was started with, whatever the files say by now.
    """
    new = record.data_dir(host)
    env = parse_env((facts.file(host.paths.env_file).content or b"").decode(errors="replace"))
    switched = (
        env.get("ETCD_DATA_DIR") == new
        and env.get("ETCD_INITIAL_CLUSTER_TOKEN") == record.token
        and facts.data_dir.path == new
    )
    held = facts.file(hold_path(host)).present
    running = facts.service.running
    on_new = running and (facts.service.environ or {}).get("ETCD_DATA_DIR") == new
    unpacked = (facts.file(unpacked_path(host)).content or b"").decode(errors="replace").strip() == record.id
    place: Literal["old", "held", "turned"] = "old"
    if switched and (on_new or not running):
        place = "held" if held else "turned"
    recorded = facts.file(record_path(host)).present
    return Stand(host.name, recorded, unpacked, switched, held, running, place)


def stands(cluster: Cluster, facts: Mapping[str, HostFacts], record: Record) -> dict[str, Stand]:
    """How far each host of the restored cluster has come."""
    return {host.name: stand(host, facts[host.name], record) for host in cluster.hosts}


def may_have_served(record: Record, seen: Mapping[str, Stand]) -> bool:
    """Whether so many members may have run on the restored data that they may have accepted writes.

    Args:
        seen: Of the members that could be looked at; of the others the worst is assumed.
    """
    unseen = sum(name not in seen for name, _ in record.members)
    return unseen + sum(one.place == "turned" for one in seen.values()) >= record.quorum


def still_old(cluster: Cluster, facts: Mapping[str, HostFacts], record: Record) -> bool:
    """Whether a restore that was begun before has stopped no member yet, so that the old ones go on."""
    return all(one.place == "old" and not one.held for one in stands(cluster, facts, record).values())
