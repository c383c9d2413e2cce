"""What flows need on the worker before they touch a host: the cluster file, the release, the CA."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from flows.secret_blocks import read_block
from tasks.cluster.load import load_cluster
from tasks.cluster.secrets import set_block_reader
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, InputError
from tasks.etcd.config import check_settings
from tasks.etcd.install import InstallRelease
from tasks.etcd.release import LocalRelease
from tasks.etcd.tasks import fetch_release
from tasks.pki.authority import Authority, adopt_authority, create_authority, load_authority
from tasks.pki.client import ClientFiles, client_files, ensure_client
from tasks.pki.plan import PkiPlan, WritePki
from tasks.plan import Plan
from tasks.reporting.human import size
from tasks.reporting.progress import emit
from tasks.restore.inspect import worker_arch


def load(cluster: str) -> Cluster:
    """Read and check the cluster file; its warnings are said.

    Raises:
        InputError: With every problem of the file.
    """
    set_block_reader(read_block)
    loaded = load_cluster(cluster)
    problems = check_settings(loaded.cluster)
    if problems:
        raise InputError("; ".join(problems), state="nothing was touched", remedy="correct the cluster file")
    for warning in loaded.warnings:
        emit("warning", str(warning))
    return loaded.cluster


def known_authority(cluster: Cluster) -> Authority | None:
    """The operator's CA certificate, or None if there is none yet. Its key is not read: planning needs none."""
    return load_authority(cluster.pki, with_key=False)


def ready_authority(cluster: Cluster, plan: PkiPlan) -> Authority | None:
    """The CA as the plan's steps need it: made, taken over from the hosts, or read with its key.

    Returns:
        None if no step issues or copies anything.
    """
    now = datetime.now(UTC)
    if plan.create_authority:
        emit("info", f"a new CA is made in {cluster.pki.state_dir}: keep that directory safe and backed up")
        return create_authority(cluster.pki, cluster.name, now)
    if plan.adopt_authority is not None:
        adopt_authority(cluster.pki, plan.adopt_authority, now)
    if not plan.steps:
        return None
    needs_key = any(isinstance(step.action, WritePki) and step.action.needs_ca_key for step in plan.steps)
    return load_authority(cluster.pki, with_key=needs_key)


def operators_authority(cluster: Cluster) -> Authority | None:
    """The operator's CA with its key, as issuing needs it; None if there is none."""
    return load_authority(cluster.pki)


def keep_operator_client(cluster: Cluster, authority: Authority | None) -> None:
    """See to it that the operator has a client certificate of the cluster, where the CA's key is at hand."""
    if authority is None or authority.key is None:
        return
    files = ensure_client(cluster.pki, authority, datetime.now(UTC))
    emit("info", f"the operator's client certificate: {files.cert} (with {files.key.name} and {files.ca.name})")


def operator_files(cluster: Cluster) -> ClientFiles:
    """The operator's client certificate; issued or renewed where that is due and the CA's key is at hand.

    Where it can't be, the files are given as they are: members may be asked over SSH instead.
    """
    try:
        authority = load_authority(cluster.pki)
        if authority is not None and authority.can_issue:
            return ensure_client(cluster.pki, authority, datetime.now(UTC))
    except EtcdFlowsError as error:
        emit("warning", f"the operator's client certificate could not be looked after: {error.message}")
    return client_files(cluster.pki)


def downloading(what: str, version: str, arch: str) -> Callable[[int, int | None], None]:
    """Says now and then how far a download is."""
    shown = 0

    def progress(done: int, total: int | None) -> None:
        nonlocal shown
        if done - shown >= 8 << 20:
            shown = done
            of = f" of {size(total)}" if total else ""
            emit("info", f"fetching {what} {version} {arch}: {size(done)}{of}")

    return progress


def fetch_releases(cluster: Cluster, plan: Plan) -> dict[str, LocalRelease]:
    """The releases that the plan's hosts need, by architecture.

    Raises:
        ReleaseError: Not to be had, or not what its checksum says; no host was changed.
    """
    arches = sorted({step.action.arch for step in plan.steps if isinstance(step.action, InstallRelease)})
    version = cluster.release.version
    return {arch: fetch_release(cluster, arch, downloading("etcd", version, arch)) for arch in arches}


def fetch_release_here(cluster: Cluster) -> LocalRelease:
    """The release for this machine, whose etcdutl looks into snapshots.

    Raises:
        ReleaseError: Not to be had, or not what its checksum says.
    """
    arch = worker_arch()
    return fetch_release(cluster, arch, downloading("etcd", cluster.release.version, arch))
