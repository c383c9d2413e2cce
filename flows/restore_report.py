"""What disaster-restore tells: how things stand when it fails, and how it went when it is done."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from prefect.artifacts import create_markdown_artifact

from flows.report import artifact_key
from flows.restore_results import RestoreResult
from flows.restoring import Course
from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError
from tasks.etcd.restored import current_data_dir
from tasks.hosts.facts import HostFacts
from tasks.hosts.shell import open_shell
from tasks.reporting.human import size
from tasks.reporting.progress import emit
from tasks.restore.record import BOOTSTRAP, Record
from tasks.restore.scripts_start import old_dirs


def command_of(cluster: Cluster, *options: str, accept: Iterable[str] = ()) -> str:
    """The command that goes on with a restore of this cluster, to be pasted where this run was begun.

    Args:
        options: What it needs beside what is in the restore's record.
        accept: What was consented to.
    """
    consents = [word for what in accept for word in ("--accept", what)]
    file = str(cluster.source or cluster.name)
    return shlex.join(["etcd-flows", "disaster-restore", file, "--confirm", cluster.name, *options, *consents])


def ended_badly(error: EtcdFlowsError, course: Course, record: Record, command: str = "") -> None:
    """Say in the error how things stand, and the one command to go on.

    Args:
        command: If it needs more than what is in the record.
    """
    if course.stopped_at is None:
        stands = "no member was stopped: they go on as before, and their data is as it was"
    elif course.writable_at is None:
        stands = (
            "members that were stopped are held and start with nothing but this restore; nothing is lost: the former "
            "data and the restored data are on the hosts"
        )
    else:
        stands = "members run on the restored data; the former data is on the hosts"
    if record.flow == BOOTSTRAP:
        served = course.writable_at is not None
        stands = "members serve the snapshot's data" if served else "no client can have written yet; nothing is lost"
    if course.hooks_run and course.stopped_at is None:
        stands += f"; the hooks {', '.join(course.hooks_run)} have run before"
    error.state = stands
    error.remedy = (
        f"{error.remedy + '; then ' if error.remedy else ''}run `{command or record.again}` again: it goes on from the "
        f"record of restore {record.id[:8]}"
        + ("; or take it back: the same with --go-back" if record.had_quorum else "")
    )


def back_ended_badly(error: EtcdFlowsError, course: Course, record: Record, command: str) -> None:
    """Say in the error of a way back how things stand, and the one command to go on."""
    error.state = (
        "members that were stopped are held; nothing is lost: the former data and the restored data are on the hosts"
        if course.writable_at is None
        else "members run on their former data"
    )
    first = f"{error.remedy}; then " if error.remedy else ""
    error.remedy = f"{first}run `{command}` again: it goes on with taking restore {record.id[:8]} back"


def look_beside(cluster: Cluster, facts: Mapping[str, HostFacts]) -> tuple[str, ...]:
    """Data dirs that are not in use: the former ones, and those of earlier restores."""
    found = []
    for host in cluster.hosts:
        try:
            found += _beside(host, current_data_dir(host, facts[host.name]))
        except EtcdFlowsError as error:
            emit("warning", f"what lies beside the present data is not known: {error.message}", host=host.name)
    return tuple(found)


def _beside(host: Host, current: str) -> list[str]:
    with open_shell(host) as shell:
        lines = shell.run(old_dirs(host, current), what="looking for former data").text.splitlines()
    pairs = [line.split("\t", 1) for line in lines if "\t" in line]
    return [f"{host.name}: {path} ({size(int(kib) * 1024)})" for kib, path in pairs]


def publish_restore(result: RestoreResult) -> None:
    """Keep the report as an artifact of the run."""
    key = artifact_key("restore", result.plan.cluster)
    create_markdown_artifact(result.as_markdown(), key=key, description=f"Restore of {result.plan.cluster}")
