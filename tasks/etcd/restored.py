"""What a restore leaves on a host, as far as other flows have to know it. Pure.

While a restore is under way its record lies on every host, and no other flow starts or changes members. Afterwards the
data is in a directory inside the cluster file's data dir (rule: nothing is renamed, the data dir may be a mount point),
and a small file says in which.
"""

from __future__ import annotations

from collections.abc import Mapping

from tasks.cluster.spec import Cluster, Host
from tasks.errors import Refused
from tasks.hosts.facts import HostFacts

#: systemd does not start the unit while the hold is there: units in /etc can't be masked (systemctl(1)).
DROP_IN = "50-etcd-flows-hold.conf"


def restore_dir(host: Host) -> str:
    """Where everything about the restore that is under way is kept; gone when it has ended."""
    return f"{host.paths.record_dir}/restore"


def kept_restores(host: Host) -> str:
    """Where the records and former settings of restores that have ended are kept, a directory for each."""
    return f"{host.paths.record_dir}/restores"


def record_path(host: Host) -> str:
    """The record of the restore that is under way."""
    return f"{restore_dir(host)}/record.json"


def unpacked_path(host: Host) -> str:
    """Says for which restore the new data dir is complete."""
    return f"{restore_dir(host)}/unpacked"


def back_path(host: Host) -> str:
    """Says which restore is being taken back."""
    return f"{restore_dir(host)}/back"


def former_paths(host: Host) -> tuple[str, str, str]:
    """Copies from before the restore: env file, identity, and where the data was."""
    directory = restore_dir(host)
    return f"{directory}/former.env", f"{directory}/former-identity.json", f"{directory}/former-data-dir"


def hold_path(host: Host) -> str:
    """As long as it is there, the member can't be started, not even by a reboot."""
    return f"{host.paths.record_dir}/hold"


def drop_in_path(host: Host) -> str:
    """What makes systemd mind the hold."""
    return f"{host.paths.unit_file}.d/{DROP_IN}"


def last_path(host: Host) -> str:
    """The record of the last restore that has ended."""
    return f"{host.paths.record_dir}/restored.json"


def ended_path(host: Host) -> str:
    """When that was, Unix time."""
    return f"{host.paths.record_dir}/restored-at"


def replace_dir(host: Host) -> str:
    """Where everything about the member's replacement that is under way is kept; gone when it has ended."""
    return f"{host.paths.record_dir}/replace"


def replacement_path(host: Host) -> str:
    """The record of the replacement of this host's member that is under way."""
    return f"{replace_dir(host)}/record.json"


def joined_path(host: Host) -> str:
    """Says for which replacement the new member has been started."""
    return f"{replace_dir(host)}/joined"


def hooks_path(host: Host) -> str:
    """Which hooks after the last restore have failed and are still to be run: its id and their names, in one line."""
    return f"{host.paths.record_dir}/restored-hooks"


def fact_paths(host: Host) -> frozenset[str]:
    """Files whose content planners want to know."""
    return frozenset(
        {
            replacement_path(host),
            joined_path(host),
            record_path(host),
            unpacked_path(host),
            back_path(host),
            hold_path(host),
            last_path(host),
            ended_path(host),
            hooks_path(host),
            host.paths.data_pointer,
            *former_paths(host),
            *({drop_in_path(host)} if host.service == "systemd" else ()),
        }
    )


def current_data_dir(host: Host, facts: HostFacts) -> str:
    """Where the member's data is now."""
    return facts.data_dir.path or host.paths.data_dir


def under_way(cluster: Cluster, facts: Mapping[str, HostFacts]) -> tuple[Refused, ...]:
    """Why nothing else may be done to the members: a restore, or a replacement, has been begun and has not ended."""
    replaced = [host.name for host in cluster.hosts if facts[host.name].file(replacement_path(host)).present]
    names = [host.name for host in cluster.hosts if host.name not in replaced and _at_work(host, facts[host.name])]
    return (*(_replacing(cluster, name) for name in replaced), *([_restoring(names)] if names else []))


def replace_command(cluster: Cluster, name: str) -> str:
    """The command that rebuilds one member, as remedies say it."""
    return f"etcd-flows replace-member {cluster.source or cluster.name} {name} --confirm {cluster.name}"


def _replacing(cluster: Cluster, name: str) -> Refused:
    return Refused(
        "this member is being replaced",
        host=name,
        state="nothing was changed",
        remedy="let that end, or, if it was cut off, run it again: it goes on from there "
        f"({replace_command(cluster, name)})",
    )


def _restoring(names: list[str]) -> Refused:
    return Refused(
        f"a restore of this cluster is under way (on {', '.join(names)})",
        state="nothing was changed",
        remedy="let it end, or, if it was cut off, run disaster-restore again (or bootstrap-cluster --from-snapshot, "
        "if that began it): it goes on from there; disaster-restore --go-back takes it back",
    )


def _at_work(host: Host, facts: HostFacts) -> bool:
    return facts.file(record_path(host)).present or facts.file(hold_path(host)).present
