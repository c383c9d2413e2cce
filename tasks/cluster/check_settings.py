"""Settings that do not fit together, and releases with known damage."""

from __future__ import annotations

import re

from tasks.cluster.checked import Checked
from tasks.cluster.problems import KeyPath
from tasks.cluster.spec import Host


def check_settings(checked: Checked) -> None:
    """Note what is wrong with paths, timing, version and certificates."""
    for index, host in checked.hosts:
        _data_dir(checked, index, host)
    _settings(checked)
    _version(checked)
    _pki(checked)


def _inside(path: str, parent: str) -> bool:
    return path == parent or path.startswith(parent + "/")


# Given to etcd's user and mode 0700, these would break the host; data belongs in a directory of its own.
_SYSTEM_DIRS = frozenset(
    f"/{name}"
    for names in (
        "bin boot dev etc home lib lib64 media mnt opt proc root run sbin srv sys tmp usr var",
        "usr/lib usr/local var/cache var/lib var/log var/run var/tmp",
    )
    for name in names.split()
)


def _data_dir(checked: Checked, index: int, host: Host) -> None:
    own = checked.model.hosts[index].data_dir
    key: KeyPath = ("hosts", index, "data_dir") if own else ("etcd", "data_dir")
    paths, data = host.paths, host.paths.data_dir
    if data.removeprefix(paths.prefix) in _SYSTEM_DIRS:
        checked.note(
            key, "a directory of the system cannot be etcd's data directory", "use one below it: /var/lib/etcd"
        )
    others = {
        "etcd.pki_dir": paths.pki_dir,
        "etcd.config_dir": paths.env_file.rpartition("/")[0],
        "etcd.install_dir": paths.install_dir,
        "the record directory /var/lib/etcd-flows": paths.record_dir,
    }
    for name, other in others.items():
        if _inside(data, other) or (_inside(other, data) and data.removeprefix(paths.prefix) not in _SYSTEM_DIRS):
            checked.note(key, f"the data directory and {name} must not lie in each other", None)


def _settings(checked: Checked) -> None:
    etcd = checked.cluster.etcd
    if etcd.election_ms < 5 * etcd.heartbeat_ms:
        checked.note(
            ("etcd", "election_ms"),
            f"{etcd.election_ms} ms is less than five heartbeats of {etcd.heartbeat_ms} ms; etcd would not start",
            f"{10 * etcd.heartbeat_ms} or more (ten heartbeats)",
        )
    elif etcd.election_ms < 10 * etcd.heartbeat_ms:
        checked.note(
            ("etcd", "election_ms"),
            f"less than ten heartbeats of {etcd.heartbeat_ms} ms: a short delay already causes elections",
            f"{10 * etcd.heartbeat_ms} or more",
            "warning",
        )
    if etcd.quota_bytes > 8 * 2**30:
        checked.note(
            ("etcd", "quota"),
            "more than the 8GiB that etcd suggests: starts, snapshots and restores take longer",
            None,
            "warning",
        )
    path: KeyPath = ("etcd", "auto_compaction", "retention")
    bare = re.fullmatch(r"\d+", etcd.auto_compaction_retention) is not None
    if etcd.auto_compaction_mode == "revision" and not bare:
        checked.note(path, "mode revision keeps a number of revisions", "1000, or mode: periodic")
    if etcd.auto_compaction_mode == "periodic" and bare and int(etcd.auto_compaction_retention) != 0:
        checked.note(path, "a duration needs a unit", f"{etcd.auto_compaction_retention}h, or mode: revision")


def _version(checked: Checked) -> None:
    """Releases with known damage (etcd docs, upgrade and security notes; etcd #20650, CVE-2026-33413)."""
    release, path = checked.cluster.release, ("etcd", "version")
    numbers, _, pre_release = release.version.partition("-")
    _, minor, patch = (int(part) for part in numbers.split("."))
    if pre_release:
        checked.note(path, "a pre-release, not meant for production", None, "warning")
    safe = {5: 23, 6: 5}.get(minor, 0)
    if patch < safe:
        checked.note(
            path,
            f"releases before 3.{minor}.{safe} can corrupt data while defragmenting",
            f"use the newest 3.{minor}",
            "warning",
        )
    elif minor == 6 and patch < 9:
        checked.note(path, "releases before 3.6.9 let requests bypass authentication", "use the newest 3.6", "warning")
    for name, _ in checked.cluster.etcd.extra:
        if minor >= 7 and name.startswith("ETCD_EXPERIMENTAL_"):
            checked.note(
                ("etcd", "extra", name),
                "etcd 3.7 has no experimental settings and would not start",
                "see its upgrade notes",
            )
    if release.source.startswith("http://") and release.sha256 is None:
        checked.note(
            ("etcd", "release", "source"),
            "over plain http the checksums can be forged together with the release",
            "use https, or pin etcd.release.sha256",
            "warning",
        )


def _pki(checked: Checked) -> None:
    pki = checked.cluster.pki
    if pki.leaf_days > pki.ca_days:
        checked.note(("pki", "leaf_days"), f"longer than the CA's {pki.ca_days} days", "at most pki.ca_days")
