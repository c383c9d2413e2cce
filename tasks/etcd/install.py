"""Bringing a release onto a host: decided purely from facts, carried out in one round trip."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from tasks.cluster.spec import Cluster, Host
from tasks.errors import CommandFailed, HostError, ReleaseError
from tasks.etcd.release import LocalRelease
from tasks.etcd.versions import BINARIES, traits
from tasks.hosts.facts import HostFacts
from tasks.hosts.shell import Shell
from tasks.plan import Step

_SLACK = 16 << 20  # bytes left free on the disk with the programs
_TIMEOUT = 600.0  # seconds for 25 MB, so for lines down to 0.4 Mbit/s


@dataclass(frozen=True)
class InstallRelease:
    """Put etcd, etcdctl and etcdutl of one version on a host."""

    version: str
    arch: str

    def fingerprint(self) -> str:
        """See :class:`tasks.plan.Action`."""
        return f"install etcd {self.version} {self.arch}"


@dataclass(frozen=True)
class OtherVersion:
    """The host has data, and programs of another version: that is an upgrade or downgrade, never an install."""

    host: str
    installed: str
    wanted: str

    @property
    def reason(self) -> str:
        """One sentence."""
        return f"etcd {self.installed} is installed here and there is data; the cluster file wants {self.wanted}"

    @property
    def remedy(self) -> str:
        """What to do."""
        return (
            f'say `version: "{self.installed}"` below `etcd` in the cluster file; a change of version is done by '
            "upgrade-cluster, member by member with its checks"
        )


def receipt_path(host: Host) -> str:
    """The file on a host that says what was installed there."""
    return f"{host.paths.record_dir}/release.json"


def binary_paths(host: Host) -> tuple[str, ...]:
    """Where the three programs are on a host."""
    return tuple(f"{host.paths.install_dir}/{name}" for name in BINARIES)


def install_paths(host: Host) -> tuple[frozenset[str], frozenset[str]]:
    """Paths that :func:`plan_install` looks at: (existence and checksum, content too)."""
    return frozenset(binary_paths(host)), frozenset({receipt_path(host)})


def plan_install(cluster: Cluster, host: Host, facts: HostFacts) -> Step | OtherVersion | None:
    """What has to be installed: a step, nothing, or the finding that this would be an upgrade.

    Args:
        cluster: The whole cluster.
        host: The host.
        facts: Of the host, with the paths of :func:`install_paths` looked at.

    Returns:
        A step exactly if a program is missing, another version is installed, or a program is not what was installed.
    """
    wanted = traits(cluster.release.version).version
    receipt = _receipt(host, facts)
    installed = facts.etcd_version or (receipt or {}).get("version")
    if facts.data_dir.kind == "etcd" and isinstance(installed, str) and installed != wanted:
        return OtherVersion(host.name, installed, wanted)
    why = _why(host, facts, wanted, receipt)
    if why is None:
        return None
    return Step(
        host.name,
        "release",
        f"install etcd {wanted} in {host.paths.install_dir}",
        InstallRelease(wanted, facts.arch),
        why=why,
    )


def _receipt(host: Host, facts: HostFacts) -> dict[str, object] | None:
    content = facts.file(receipt_path(host)).content
    if content is None:
        return None
    try:
        record = json.loads(content)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _why(host: Host, facts: HostFacts, wanted: str, receipt: dict[str, object] | None) -> str | None:
    missing = [path for path in binary_paths(host) if facts.file(path).kind == "absent"]
    if len(missing) == len(BINARIES):
        return "etcd is not installed"
    if missing:
        return f"{', '.join(missing)} is missing" if len(missing) == 1 else f"{', '.join(missing)} are missing"
    if facts.etcd_version is None:
        return f"{host.paths.install_dir}/etcd does not run"
    if facts.etcd_version != wanted:
        return f"etcd {facts.etcd_version} is installed, {wanted} is wanted"
    sums = (receipt or {}).get("binaries")
    if not isinstance(sums, dict):
        return None
    for name, path in zip(BINARIES, binary_paths(host), strict=True):
        seen = facts.file(path).sha256  # None is unknown, which is no difference
        if seen is not None and sums.get(name, seen) != seen:
            return f"{path} is not what was installed"
    return None


# The new programs are made beside their destination, so that each takes its place by one rename; a running etcd keeps
# the file that it was started from. sync(1) with a file name is fsync(2).
_SCRIPT = """
exec 2>&1
umask 022
[ ! -L "$dir" ] || dir=$(readlink -f -- "$dir")
mkdir -p -- "$dir" "$records" || exit 41
rm -rf -- "$dir"/.etcd-flows-??????????
stage=$(mktemp -d -- "$dir/.etcd-flows-XXXXXXXXXX") || exit 41
trap 'c=$?; rm -rf -- "$stage"; exit "$c"' EXIT
trap 'exit 143' HUP INT TERM
free=$(df --output=avail -B1 -- "$stage" | tail -n 1)
if [ "$free" -lt "$need" ]; then echo "$free bytes are free, $need are needed"; exit 42; fi
head -c "$size" | tar -xzf - --no-same-owner -C "$stage" -- "$@" || exit 43
cd -- "$stage"
for member; do [ -f "${member##*/}" ] || mv -- "$member" .; done
printf '%s' "$sums" | sha256sum -c --quiet - || exit 44
chmod 0755 etcd etcdctl etcdutl
[ "$(id -u)" -ne 0 ] || chown 0:0 etcd etcdctl etcdutl
sync -- etcd etcdctl etcdutl || exit 45
runs=$(./etcd --version | head -n 1) || true
[ "$runs" = "etcd Version: $version" ] || { echo "it says: $runs"; exit 46; }
for name in etcdutl etcdctl etcd; do mv -fT -- "$name" "$dir/$name"; done
sync -- "$dir" || exit 45
printf '%s\\n' "$receipt" >"$records/.release.json" || exit 45
chmod 0644 "$records/.release.json"
sync -- "$records/.release.json"
mv -fT -- "$records/.release.json" "$records/release.json"
sync -- "$records"
"""


def apply_install(shell: Shell, action: InstallRelease, host: Host, local: LocalRelease) -> None:
    """Carry out an :class:`InstallRelease`. Cut off anywhere, it leaves the old or the new programs, each whole.

    Args:
        shell: On that host.
        action: From the plan.
        host: The host.
        local: From :func:`tasks.etcd.release.fetch`, for the host's architecture.

    Raises:
        ReleaseError: That is another release than the plan's, or it arrived damaged, or it does not run there.
        HostError: The disk is full or read-only, or it failed otherwise.
        TransientHostError: Cut off; may be done again.
    """
    if (local.version, local.arch) != (action.version, action.arch):
        raise ReleaseError(
            f"the plan wants etcd {action.version} {action.arch}, at hand is {local.version} {local.arch}",
            host=host.name,
            state="the host was not touched",
            remedy="run it again: the plan is made anew",
        )
    with local.tarball.open("rb") as tarball:
        output = shell.run(
            _prologue(host, local) + _SCRIPT,
            stdin=[tarball],
            timeout=_TIMEOUT,
            check=False,
            what=f"installing etcd {local.version}",
        )
    if output.code:
        raise _explain(output.code, output.text or output.stderr, host, local)


def receipt(local: LocalRelease) -> str:
    """What is written on the host about an installed release."""
    record = {
        "version": local.version,
        "arch": local.arch,
        "tarball_sha256": local.sha256,
        "binaries": {name: info.sha256 for name, info in sorted(local.binaries.items())},
    }
    return json.dumps(record, sort_keys=True)


def _prologue(host: Host, local: LocalRelease) -> str:
    size = local.tarball.stat().st_size
    values = {
        "dir": host.paths.install_dir,
        "records": host.paths.record_dir,
        "version": local.version,
        "size": str(size),
        "need": str(sum(info.size for info in local.binaries.values()) + _SLACK),
        "sums": "".join(f"{info.sha256}  {name}\n" for name, info in local.binaries.items()),
        "receipt": receipt(local),
    }
    members = " ".join(shlex.quote(info.member) for info in local.binaries.values())
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()) + f"set -- {members}\n"


def _explain(code: int, said: str, host: Host, local: LocalRelease) -> HostError | ReleaseError:
    """The error that an exit code of the script stands for."""
    detail = (said.strip().splitlines() or ["it said nothing"])[0][:300]
    where = host.paths.install_dir
    full = "No space left" in said or "Disk quota exceeded" in said
    state = "the programs that were there before are in place"
    if code == 42 or full:
        return CommandFailed(
            f"there is no room for etcd in {where}: {detail}",
            host=host.name,
            state=state,
            remedy="make room there, or choose another install_dir",
        )
    if code == 41 or (code != 46 and ("Read-only file system" in said or "Permission denied" in said)):
        return CommandFailed(
            f"{where} can't be written: {detail}",
            host=host.name,
            state=state,
            remedy="choose an install_dir on a writable filesystem, or allow sudo there",
        )
    if code in (43, 44):
        return ReleaseError(
            f"etcd {local.version} did not arrive as it was sent: {detail}",
            host=host.name,
            state=state,
            remedy="run it again; if it fails again, check that host's disk and memory",
        )
    if code == 46:
        return ReleaseError(
            f"etcd {local.version} ({local.arch}) does not run in {where}: {detail}",
            host=host.name,
            state=state,
            remedy="check that the filesystem is not mounted noexec, and that the tarball holds what its name says",
        )
    return CommandFailed(
        f"installing etcd {local.version} failed (exit code {code}): {detail}",
        host=host.name,
        state="each program is either the old or the new one, whole",
        remedy="run it again",
    )
