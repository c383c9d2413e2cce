"""What differs between etcd's versions, in one table. Nowhere else in the code is there an ``if`` on a version.

Sources: etcd's CHANGELOG-3.5.md, CHANGELOG-3.6.md and CHANGELOG-3.7.md, the upgrade guides 3.5 to 3.7 on etcd.io, the
issues named with each note, and every rendered setting tried on etcd 3.5.35, 3.6.16 and 3.7.3 (they start, and log no
"unrecognized environment variable").
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.errors import InputError

DEFAULT_VERSION = "3.6.16"

#: The newest release known of each supported line.
NEWEST = {"3.5": "3.5.35", "3.6": "3.6.16", "3.7": "3.7.3"}

#: The three programs of a release since 3.5.
BINARIES = ("etcd", "etcdctl", "etcdutl")

Number = tuple[int, int, int]

_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(-[0-9A-Za-z.]+)?", re.ASCII)


@dataclass(frozen=True)
class Span:
    """Versions from ``since`` on, and before ``until`` if that is given."""

    since: Number
    until: Number | None = None

    def __contains__(self, number: Number) -> bool:
        return self.since <= number and (self.until is None or number < self.until)


@dataclass(frozen=True)
class Note:
    """What people should know about a version before they run it."""

    text: str
    source: str


@dataclass(frozen=True)
class Traits:
    """What one version of etcd can do and how it wants to be told.

    Args:
        version: Without the v: ``3.6.16``.
        line: ``3.6``.
        corruption_checks: Environment settings that turn on the check at start and the check of compacted hashes.
        tls_min_version: Whether ``--tls-min-version`` exists.
        feature_gates: Whether ``--feature-gates`` exists.
        experimental_flags: Whether ``--experimental-*`` flags are still accepted (3.7 refuses to start with one).
        v2_api: Whether ``--enable-v2`` is still accepted.
        bump_revision: Whether ``etcdutl snapshot restore`` has ``--bump-revision`` and ``--mark-compacted``.
        etcdutl_hashkv: Whether ``etcdutl hashkv`` exists.
        etcdctl_restore: Whether ``etcdctl snapshot restore`` still exists next to etcdutl's.
        etcdctl_api: Whether etcdctl still takes ``ETCDCTL_API``; later ones warn of it as unknown.
        readyz: Whether ``/livez`` and ``/readyz`` are served.
        downgrade: Whether a cluster of this version can be downgraded to the line before.
        notes: Known faults of this version, worst first; empty for a version without known ones.
    """

    version: str
    line: str
    corruption_checks: tuple[tuple[str, str], ...]
    tls_min_version: bool
    feature_gates: bool
    experimental_flags: bool
    v2_api: bool
    bump_revision: bool
    etcdutl_hashkv: bool
    etcdctl_restore: bool
    etcdctl_api: bool
    readyz: bool
    downgrade: bool
    notes: tuple[Note, ...]


_CORRUPTION_CHECKS: tuple[tuple[Span, str, str], ...] = (
    (Span((3, 5, 0), (3, 6, 0)), "ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK", "true"),
    (Span((3, 5, 5), (3, 6, 0)), "ETCD_EXPERIMENTAL_COMPACT_HASH_CHECK_ENABLED", "true"),
    (Span((3, 6, 0)), "ETCD_FEATURE_GATES", "InitialCorruptCheck=true,CompactHashCheck=true"),
)

_FEATURES: dict[str, Span] = {
    "tls_min_version": Span((3, 5, 8)),
    "feature_gates": Span((3, 6, 0)),
    "experimental_flags": Span((3, 5, 0), (3, 7, 0)),
    "v2_api": Span((3, 5, 0), (3, 6, 0)),
    "bump_revision": Span((3, 5, 10)),
    "etcdutl_hashkv": Span((3, 6, 0)),
    "etcdctl_restore": Span((3, 5, 0), (3, 6, 0)),
    "etcdctl_api": Span((3, 5, 0), (3, 6, 0)),
    "readyz": Span((3, 5, 11)),
    "downgrade": Span((3, 6, 0)),
}

_NOTES: tuple[tuple[Span, Note], ...] = (
    (
        Span((3, 5, 0), (3, 5, 3)),
        Note("data may become inconsistent between members after a crash under load", "etcd-io/etcd#13766"),
    ),
    (
        Span((3, 5, 0), (3, 5, 23)),
        Note(
            "data may be corrupted when a defragmentation and a snapshot from the leader coincide", "etcd-io/etcd#20650"
        ),
    ),
    (
        Span((3, 6, 0), (3, 6, 5)),
        Note(
            "data may be corrupted when a defragmentation and a snapshot from the leader coincide", "etcd-io/etcd#20650"
        ),
    ),
    (
        Span((3, 6, 0), (3, 6, 9)),
        Note("some calls can be made without the permission they need", "CVE-2026-33413, CVE-2026-33343"),
    ),
    (
        Span((3, 5, 0), (3, 5, 32)),
        Note("an upgrade to 3.6 has to pass through 3.5.32 or newer", "etcd.io/docs/v3.6/upgrades/upgrade_3_6"),
    ),
    (
        Span((3, 6, 0), (3, 6, 11)),
        Note("an upgrade to 3.7 has to pass through 3.6.11 or newer", "etcd.io/docs/v3.7/upgrades/upgrade_3_7"),
    ),
)


def parse_version(text: str) -> Number:
    """Take a version apart: ``3.6.16`` or ``v3.6.16`` is ``(3, 6, 16)``; a pre-release counts as its release.

    Raises:
        InputError: That is no version.
    """
    match = _VERSION.fullmatch(text)
    if match is None:
        raise InputError(
            f"{text!r} is not an etcd version", remedy=f'write it in full, in quotes: version: "{DEFAULT_VERSION}"'
        )
    return int(match[1]), int(match[2]), int(match[3])


def traits(version: str) -> Traits:
    """What this version can do.

    Raises:
        InputError: That is no version, or none of the supported lines 3.5, 3.6 and 3.7.
    """
    number = parse_version(version)
    line = f"{number[0]}.{number[1]}"
    if line not in NEWEST:
        raise InputError(
            f"etcd {version} is not supported; supported lines are {', '.join(NEWEST)}",
            remedy=f"choose one of {', '.join(NEWEST.values())}",
        )
    return Traits(
        version=version.removeprefix("v"),
        line=line,
        corruption_checks=tuple((name, value) for span, name, value in _CORRUPTION_CHECKS if number in span),
        notes=tuple(note for span, note in _NOTES if number in span),
        **{name: number in span for name, span in _FEATURES.items()},
    )
