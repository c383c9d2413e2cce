"""Where a restore gets its data from when there is no quorum: from what the members still hold.

The survivors are compared by the term and index of their logs; the one that is furthest is read. One that answers is
read as for any backup, which needs no quorum. If none answers, copies of their data directories are started, each alone
in a scratch place, compared in the same way, and the furthest is read there. What comes of it is stored as a snapshot
like any other, marked as made for safety, and the ordinary restore goes on with that.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from prefect.runtime import flow_run

from flows.backup_report import ProgressReport
from flows.prepare import operator_files
from flows.restore_source import Obtained, Wanted, obtain
from flows.snapshot_backup import capture
from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError, InputError, Refused, SnapshotError
from tasks.etcd.members import MemberStatus
from tasks.etcd.restored import current_data_dir
from tasks.etcd.worker_tools import WorkerTools, worker_tools
from tasks.hosts.facts import HostFacts
from tasks.hosts.shell import Shell, open_shell
from tasks.reporting.human import size
from tasks.reporting.progress import emit
from tasks.restore.source import Source
from tasks.snapshots import raw_data
from tasks.snapshots.age_keys import locks_of
from tasks.snapshots.importing import Plain, import_plain
from tasks.snapshots.keep import Into, Order, keep
from tasks.snapshots.manifest import Kind, new_id
from tasks.snapshots.opened import open_snapshot
from tasks.snapshots.raw_data import RawCapture, RawData
from tasks.snapshots.signing import ensure_signing_key
from tasks.snapshots.source import Sources, choose_source
from tasks.snapshots.spool import spool_of
from tasks.snapshots.stores.base import Store
from tasks.snapshots.stores.open import open_stores
from tasks.snapshots.tasks import ask_sources


@dataclass(frozen=True)
class Means:
    """What is at hand.

    Args:
        cluster: Without its dead members.
        facts: Of its hosts.
        uuid: Our own identity of the cluster, empty if unknown.
        members: How many there were, dead ones too.
        scratch: Private directory on the worker.
        accept: What the operator consents to.
        plan_only: Nothing is stored.
    """

    cluster: Cluster
    facts: Mapping[str, HostFacts]
    uuid: str
    members: int
    scratch: Path
    accept: tuple[str, ...]
    plan_only: bool


def obtain_from_members(wanted: Wanted, means: Means) -> Obtained:
    """The data of the survivor that is furthest, or of the data directory that was named, as a stored snapshot.

    Raises:
        InputError: There is no store to keep it in, or no such data directory.
        Refused: The cluster has quorum, so an ordinary backup is the better source.
        SnapshotError: Nothing can be made of what is there.
    """
    if not means.cluster.snapshots.stores:
        raise InputError(
            "what the members hold is stored as a snapshot before it is restored, and the cluster file names no store",
            state="nothing was changed",
            remedy="add snapshots.stores; a directory on this machine will do",
        )
    if wanted.data_dir:
        return _from_named(wanted, means)
    sources = _answering(means)
    if sources is not None:
        return _from_living(sources, wanted, means)
    return _from_copies(wanted, means)


# --- members that answer ----------------------------------------------------------------------------------------------


def _answering(means: Means) -> Sources | None:
    try:
        sources = ask_sources(means.cluster, operator_files(means.cluster))
    except SnapshotError as error:
        emit("info", f"no member answers, so their data directories are looked at: {error.message}")
        return None
    leading = sum(status.leader_id not in ("", "0") for status in sources.statuses)
    if leading > means.members // 2:
        raise Refused(
            "the members have a leader and can decide, so nothing is lost that only one of them holds",
            state="nothing was changed",
            remedy="take a snapshot (snapshot-backup) and restore that; check-cluster tells what is wrong",
        )
    # Who still believes in a leader that is gone is not therefore ahead: only the logs count.
    alone = [replace(status, leader_id="0") for status in sources.statuses]
    return replace(sources, choices=choose_source(alone))


def _from_living(sources: Sources, wanted: Wanted, means: Means) -> Obtained:
    first = sources.choices[0]
    (best,) = (status for status in sources.statuses if status.name == first.name)
    notes = _said(best.name, best, [s for s in sources.statuses if s.name != best.name], means)
    if means.plan_only:
        return Obtained(_expected(f"what {best.name} holds", best, best.db_bytes), notes=notes)
    stores = open_stores(means.cluster)
    try:
        backup = capture(_order(means, "safety"), stores, operator_files(means.cluster), sources)
    finally:
        _close(stores)
    return _obtained(backup.manifest.id, wanted, means, notes)


# --- members that don't -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tried:
    host: Host
    data: RawData
    copy: Path
    status: MemberStatus


def _from_copies(wanted: Wanted, means: Means) -> Obtained:
    """Of all data directories on the hosts, the one that is furthest."""
    tools, tried, failed = worker_tools(means.cluster.release), list[_Tried](), list[EtcdFlowsError]()
    for host in means.cluster.hosts:
        if means.facts[host.name].data_dir.kind not in ("etcd", "foreign"):
            continue
        try:
            with open_shell(host) as shell:
                data = raw_data.look(shell, current_data_dir(host, means.facts[host.name]))
                tried.append(_try(host, data, shell, means, tools))
        except EtcdFlowsError as error:
            failed.append(error)
            emit("warning", f"nothing can be made of it: {error.message}", host=host.name)
    if not tried:
        raise SnapshotError(
            "no member answers, and nothing can be made of any data directory"
            + (f"; the last: {failed[-1].message}" if failed else ": there is none"),
            state="nothing was changed",
            remedy="restore from a snapshot; of a database alone: --from-data-dir HOST:PATH/member/snap/db",
        )
    order = [choice.name for choice in choose_source([replace(one.status, leader_id="0") for one in tried])]
    best = min(tried, key=lambda one: order.index(one.host.name))
    return _from_copy(best, [one.status for one in tried if one is not best], wanted, means, tools)


def _try(host: Host, data: RawData, shell: Shell | None, means: Means, tools: WorkerTools) -> _Tried:
    emit("start", f"copy {data.where} ({size(data.bytes)})", host=data.host or None)
    copy = raw_data.copy(data, means.scratch / f"copy-{host.name}", shell)
    try:
        status = raw_data.status_of(host, copy, tools)
    except SnapshotError as error:
        raise raw_data.refuse_unreadable(data, error) from error
    emit("info", f"{data.where}: term {status.raft_term}, index {status.raft_index}, revision {status.revision}")
    return _Tried(host, data, copy, status)


def _from_copy(best: _Tried, others: list[MemberStatus], wanted: Wanted, means: Means, tools: WorkerTools) -> Obtained:
    notes = (
        *_said(best.data.where, best.status, others, means),
        "read from a copy of the data directory: what that member had not noted as agreed upon is lost, be it the "
        "last writes of all, although clients were told that they are done",
    )
    if means.plan_only:
        return Obtained(_expected(best.data.where, best.status, best.status.db_bytes), notes=notes)
    with _into(means.cluster) as into, raw_data.forced(best.copy, tools) as client:
        began = datetime.now(UTC)
        taken = RawCapture(client, means.cluster, best.host, best.data)
        kept = keep(_order(means, "safety"), into, taken, new_id(began), began)
    return _obtained(next(iter(kept.manifests.values())).id, wanted, means, notes)


# --- what was named ---------------------------------------------------------------------------------------------------


def _from_named(wanted: Wanted, means: Means) -> Obtained:
    """``HOST:PATH`` or a path on this machine: a data directory, or a database alone."""
    name, found, path = wanted.data_dir.partition(":")
    host = next((host for host in means.cluster.hosts if found and host.name == name), None)
    if host is None:
        return _named(means.cluster.hosts[0], Path(wanted.data_dir), None, wanted, means)
    with open_shell(host) as shell:
        return _named(host, Path(path), shell, wanted, means)


def _named(host: Host, path: Path, shell: Shell | None, wanted: Wanted, means: Means) -> Obtained:
    tools = worker_tools(means.cluster.release)
    alone = path.name == "db"
    directory = path.parent if alone else path
    data = raw_data.look(shell, str(directory)) if shell else raw_data.look_here(directory)
    if alone or not data.has_log:
        only = tuple(file for file in data.files if file.path == data.database)
        return _from_database(replace(data, files=only), shell, wanted, means, tools)
    return _from_copy(_try(host, data, shell, means, tools), [], wanted, means, tools)


def _from_database(data: RawData, shell: Shell | None, wanted: Wanted, means: Means, tools: WorkerTools) -> Obtained:
    """A database without its log: taken in as a copy of ``member/snap/db`` is."""
    copied = raw_data.copy(data, means.scratch / "copy-database", shell) / "member" / data.database
    opened = open_snapshot(copied, tools, means.scratch, skip_hash_check=True)
    notes = (
        f"{data.where} is a database without its log and without a checksum: what only the log had is lost, and "
        f"damage may not be seen; it is at revision {opened.revision}",
    )
    if means.plan_only:
        source = Source(f"{data.where}", None, data.bytes, "", False, opened.revision, opened.keys, _written(data))
        return Obtained(source, notes=notes)
    with _into(means.cluster) as into:
        plain = Plain(copied, data.where, "raw", ("imported: a member's database without its log, for a restore",))
        manifest = import_plain(_order(means, "imported"), into, plain, lambda _plain: opened).manifest
    return _obtained(manifest.id, wanted, means, notes)


def _written(data: RawData) -> float:
    return max(float(file.stamp) for file in data.files)


# --- for all ----------------------------------------------------------------------------------------------------------


def _said(where: str, best: MemberStatus, others: list[MemberStatus], means: Means) -> tuple[str, ...]:
    """Which survivor, why that one, and what may be lost."""
    rest = "; ".join(f"{s.name} term {s.raft_term}, index {s.raft_index}, revision {s.revision}" for s in others)
    gone = means.members - len(others) - 1
    return (
        f"restored is what {where} holds: term {best.raft_term}, index {best.raft_index}, revision {best.revision}"
        + (f" (the others: {rest})" if rest else " (nobody else can be asked)"),
        f"writes that had only reached the {gone} other members are lost, although clients were told that they are done"
        if gone
        else "no other member is ahead of it",
    )


def _expected(name: str, status: MemberStatus, count: int) -> Source:
    """For a plan, before anything is stored."""
    now = datetime.now(UTC).timestamp()
    return Source(name, None, count, "", True, status.revision, None, now, version=status.version)


def _order(means: Means, kind: Kind) -> Order:
    return Order(means.cluster, means.uuid, kind, str(flow_run.id or uuid.uuid4()), "", "for a restore from survivors")


def _obtained(snapshot: str, wanted: Wanted, means: Means, notes: tuple[str, ...]) -> Obtained:
    known = replace(wanted, snapshot=snapshot, survivors=False, data_dir="")
    return replace(obtain(means.cluster, known, means.accept, means.scratch), notes=notes)


@contextlib.contextmanager
def _into(cluster: Cluster) -> Iterator[Into]:
    stores = open_stores(cluster)
    progress = ProgressReport(cluster.name)
    try:
        yield Into(
            stores, locks_of(cluster.snapshots), ensure_signing_key(cluster), spool_of(cluster.snapshots), progress
        )
        progress.done()
    finally:
        _close(stores)


def _close(stores: Mapping[str, Store]) -> None:
    for store in stores.values():
        store.close()
