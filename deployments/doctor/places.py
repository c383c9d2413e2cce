"""Places that a cluster file names besides the hosts: stores of snapshots, and where etcd's releases come from."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from pathlib import Path

from tasks.cluster.spec import Cluster, Release, StoreSettings
from tasks.etcd.release import ETCD
from tasks.etcd.worker_tools import ARCHS
from tasks.findings import Finding
from tasks.releases.sources import candidates, read_sums
from tasks.reporting.human import age, plural
from tasks.snapshots.manifest import is_id
from tasks.snapshots.stores.open import open_store


def check_store(name: str, cluster: Cluster, settings: StoreSettings) -> list[Finding]:
    """Whether a store can be listed, and what is in it.

    Raises:
        StoreError: It can't.
        InputError: A secret can't be had.
    """
    store = open_store(settings, cluster.name, cluster.pki.state_dir)
    try:
        keys = [entry.key.removeprefix("manifests/").removesuffix(".json") for entry in store.list("manifests/")]
    finally:
        store.close()
    return [store_finding(name, f"{settings.name} ({store.where})", [key for key in keys if is_id(key)])]


def store_finding(name: str, where: str, ids: list[str], now: datetime | None = None) -> Finding:
    """What a store lists. Pure.

    Args:
        where: The store, for people.
        ids: Of snapshots; each begins with the time when it was made.
        now: The present, if not given.
    """
    if not ids:
        return Finding("ok", "store", f"{where}: can be read; no snapshot of this cluster yet", name)
    newest = datetime.strptime(max(ids).partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    seconds = ((now or datetime.now(UTC)) - newest).total_seconds()
    old = "from the future" if seconds < 0 else f"{age(seconds)} old"
    return Finding("ok", "store", f"{where}: {plural(len(ids), 'snapshot')}, the newest {old}", name)


def check_release(name: str, release: Release) -> list[Finding]:
    """Whether etcd's release is at hand, or can be had; nothing but a list of sums is fetched.

    Raises:
        ReleaseError: Its source can't be read.
    """
    what = f"etcd {release.version}"
    cached = sorted(path.name for path in release.cache.glob(f"*/etcd-v{release.version}-linux-*.tar.gz"))
    if cached:
        return [Finding("ok", "release", f"{what}: {', '.join(cached)} is in {release.cache}", name)]
    machine = platform.machine()
    places = candidates(ETCD, release.source, release.version, ARCHS.get(machine, machine))
    for place in places:
        if place.local and not Path(place.tarball).is_file():
            continue
        if release.sha256 and place.local:
            return [Finding("ok", "release", f"{what}: {place.shown_tarball}, its sum is pinned", name)]
        if sums := read_sums(place):
            if place.name in sums:
                return [Finding("ok", "release", f"{what}: {place.shown_tarball}", name)]
            text = f"{what}: {place.shown_sums} has no line for {place.name}"
            return [Finding("warning", "release", text, name, "add it, or pin etcd.release.sha256")]
    looked = " nor ".join(place.shown_sums for place in places)
    remedy = "correct etcd.release.source: official, a mirror's URL, a directory, or a tarball"
    return [Finding("error", "release", f"{what}: neither the tarball with {looked} can be found", name, remedy)]
