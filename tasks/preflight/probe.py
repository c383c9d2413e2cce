"""What facts do not have and a preflight wants to know of a host: one script, one round trip, nothing left behind."""

from __future__ import annotations

import importlib.resources
import ipaddress
import secrets
import shlex
from dataclasses import dataclass, field

from tasks.cluster.spec import Cluster, Host, bracket, is_ip
from tasks.hosts.facts import HostFacts
from tasks.hosts.lock import lock_dir
from tasks.hosts.shell import Shell
from tasks.preflight.lines import Lines
from tasks.preflight.seen import KINDS, UNIT_PREFIX, DiskSpeed, HostProbe, Kind, Lookup, PathProbe, Socket, WayStep

#: The disk is measured for this long, or for as long as the fewest samples take, in seconds (rules.md 26).
FSYNC_SECONDS, FSYNC_LONGEST = 0.5, 3.0
#: The query of a disk measured ahead, see :mod:`tasks.hosts.ahead`.
DISK = "disk speed"


@dataclass(frozen=True)
class ProbeQuery:
    """What is wanted of a host.

    Args:
        host: The host.
        paths: To be written to.
        names: To be resolved.
        measure: Whether to measure the disk: only where no etcd works and no data is.
        doors: Whether to listen on etcd's addresses, for the other members to connect to.
        big_endian: Byte order of the host's CPU.
        run: Tells the doors of this query from those of another run's.
    """

    host: Host
    paths: tuple[str, ...]
    names: tuple[str, ...]
    measure: bool
    doors: bool
    big_endian: bool
    run: str = field(default_factory=lambda: secrets.token_hex(4))

    @classmethod
    def of(cls, cluster: Cluster, host: Host, facts: HostFacts) -> ProbeQuery:
        """The query for a host; with a member at work on it, nothing that could disturb it."""
        names = {name for each in cluster.hosts for name in (each.address, each.peer_address) if not is_ip(name)}
        bare = not facts.service.running
        return cls(
            host,
            written_paths(host),
            tuple(sorted(names)),
            measure=bare and facts.data_dir.kind != "etcd",
            doors=bare and host.service == "systemd" and len(cluster.hosts) > 1,
            big_endian=facts.machine == "s390x",
        )

    @property
    def ports(self) -> tuple[int, ...]:
        """Ports that etcd listens on."""
        return (self.host.client_port, self.host.peer_port, self.host.metrics_port)


def written_paths(host: Host) -> tuple[str, ...]:
    """The directories that files are put into."""
    paths = host.paths
    files = (paths.env_file, paths.etcdctl_wrapper, *((paths.unit_file,) if host.service == "systemd" else ()))
    dirs = (paths.install_dir, paths.pki_dir, paths.data_dir, paths.record_dir)
    return tuple(dict.fromkeys((*dirs, *(file.rpartition("/")[0] or "/" for file in files))))


def listening_on(host: Host, kind: Kind) -> tuple[str, int]:
    """Address and port that etcd will bind."""
    if kind == "peer":
        return host.peer_listen_address, host.peer_port
    return host.listen_address, host.client_port


def unit_of(query: ProbeQuery, kind: Kind) -> str:
    """The transient unit that listens there."""
    return f"{_units_of_all_runs(query.host, kind)}{query.run}"


def _units_of_all_runs(host: Host, kind: Kind) -> str:
    return f"{UNIT_PREFIX}-{kind}-{listening_on(host, kind)[1]}-"


def script_for(query: ProbeQuery) -> str:
    """The script that answers the query."""
    calls = []
    units = [_units_of_all_runs(query.host, kind) for kind in KINDS]
    if query.doors:
        calls.append(f"close_doors {shlex.join(units)}")
    calls += [
        f"look_ports {' '.join(_hex(port) for port in query.ports)}",
        "look_addresses",
    ]
    way = f"look_way {shlex.quote(query.host.paths.data_dir)}"
    beside = [
        f"look_paths {shlex.join(query.paths)}",
        way,
        "look_rest",
        *(f"look_name {n} {shlex.quote(name)}" for n, name in enumerate(query.names)),
    ]
    if query.measure:
        beside.append(_measuring(query.host))
    if query.doors:
        lock = shlex.quote(lock_dir(query.host))
        for kind in KINDS:
            address, port = listening_on(query.host, kind)
            where = shlex.quote(f"{bracket(address)}:{port}")
            beside.append(f"open_door {unit_of(query, kind)} {kind} {_hex(port)} {where} {lock}")
    return "\n".join([_functions(), *calls, *(f"{call} &" for call in beside), "wait", "plain end yes", ""])


def closing_script(query: ProbeQuery, kinds: frozenset[Kind]) -> str:
    """Ends what listens for this preflight, and says which of its doors were gone."""
    calls = [f"close_own_door {kind} {unit_of(query, kind)}" for kind in KINDS if kind in kinds]
    return "\n".join([_functions(), *calls, ""])


def _functions() -> str:
    return importlib.resources.files("tasks.preflight").joinpath("probe.sh").read_text()


def _measuring(host: Host) -> str:
    return f"look_fsync {shlex.quote(host.paths.data_dir)} {FSYNC_SECONDS * 100:.0f} {FSYNC_LONGEST * 100:.0f}"


def _hex(port: int) -> str:
    return f"{port:04X}"


def probe(shell: Shell, query: ProbeQuery, *, timeout: float = 45.0) -> HostProbe:
    """Look at a host.

    Raises:
        HostError: The host could not be asked, or did not answer in time.
    """
    output = shell.run(script_for(query), timeout=timeout, what="the preflight")
    return parse(query, output.stdout)


def measure_disk(shell: Shell) -> DiskSpeed:
    """Measure the disk alone, which takes longer than all else of a :func:`probe`.

    Raises:
        HostError: The host could not be asked, or did not answer in time.
    """
    output = shell.run(f"{_functions()}\n{_measuring(shell.host)}\n", timeout=45.0, what="measuring the disk")
    return _disk(Lines(shell.host.name, output.stdout))


def close_doors(shell: Shell, query: ProbeQuery, kinds: frozenset[Kind]) -> frozenset[Kind]:
    """End what :func:`probe` left listening for the other members.

    Args:
        shell: To the host.
        query: The query that opened them.
        kinds: Those that were opened, as far as is known.

    Returns:
        Those that another run had ended before: a connection that was refused there says nothing.

    Raises:
        HostError: The host could not be asked, or did not answer in time.
    """
    output = shell.run(closing_script(query, kinds), timeout=20.0, what="closing the preflight's ports")
    return _kinds(Lines(shell.host.name, output.stdout), "door_gone")


def parse(query: ProbeQuery, stdout: bytes) -> HostProbe:
    """Read what the script printed.

    Raises:
        CommandFailed: It is damaged.
    """
    lines = Lines(query.host.name, stdout)
    if lines.first("end") is None:
        raise lines.damaged()
    disk = _disk(lines)
    synced = lines.first("timesync")
    total, _, used = (lines.first("swap") or "0 0").partition(" ")
    try:
        return HostProbe(
            host=query.host.name,
            root=lines.first("uid") == "0",
            sockets=_sockets(lines, query.big_endian) if lines.first("sockets") else None,
            addresses=_addresses(lines) if lines.first("addresses") else None,
            paths=_paths(lines, query.paths),
            way=_way(lines),
            names=_names(lines, query.names),
            fsync_ms=disk.ms,
            fsync_failed=disk.failed,
            doors=_kinds(lines, "door_open"),
            timesync=None if synced is None else bool(synced),
            container=lines.first("container") == "yes",
            swap=(lines.number(total) * 1024, lines.number(used) * 1024),
            selinux={"1": "enforcing", "0": "permissive"}.get(lines.first("selinux") or "", "off"),  # type: ignore[arg-type]
        )
    except (ValueError, LookupError) as error:
        raise lines.damaged() from error


def _disk(lines: Lines) -> DiskSpeed:
    times = lines.first("fsync")
    try:
        ms = None if times is None else tuple(float(word) * 1000 for word in times.split())
    except ValueError as error:
        raise lines.damaged() from error
    return DiskSpeed(ms, lines.first("fsync_failed") or "")


def _kinds(lines: Lines, key: str) -> frozenset[Kind]:
    found = {row[0] for row in lines.rows(key, 1)}
    return frozenset(kind for kind in KINDS if kind in found)


def _sockets(lines: Lines, big_endian: bool) -> tuple[Socket, ...]:
    holders = {row[0]: row[1:] for row in lines.rows("holder", 4)}
    found = []
    for address, port, inode in lines.rows("socket", 3):
        pid, program, unit = holders.get(inode, ["0", "", ""])
        where = kernel_address(address, big_endian)
        found.append(Socket(where, int(port, 16), lines.number(pid), lines.text(program), lines.text(unit)))
    return tuple(found)


def kernel_address(text: str, big_endian: bool) -> str:
    """An address of /proc/net/tcp or tcp6: words of 32 bits, each in the byte order of the CPU."""
    raw = bytes.fromhex(text)
    if not big_endian:
        raw = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    address = ipaddress.ip_address(raw)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _addresses(lines: Lines) -> frozenset[str]:
    six = (str(ipaddress.ip_address(bytes.fromhex(row[0]))) for row in lines.rows("address6", 1))
    return frozenset([*(row[0] for row in lines.rows("address", 1)), *six])


def _paths(lines: Lines, paths: tuple[str, ...]) -> dict[str, PathProbe]:
    near = lines.text(lines.first("near") or "").splitlines()
    disks = [line.split(None, 1) for line in lines.text(lines.first("disks") or "").splitlines()[1:]]
    options = {point: frozenset(text.split(",")) for point, text in lines.rows("mount", 2)}
    found = {}
    for number, kind, write in lines.rows("path", 3):
        free, mount = disks[int(number)] if len(disks) == len(paths) else ("", "")
        found[paths[int(number)]] = PathProbe(
            near[int(number)],
            kind == "dir",
            write == "yes",
            mount,
            options.get(mount, frozenset()),
            int(free) if free.isdigit() else None,
        )
    if len(found) != len(paths):
        raise lines.damaged()
    return found


def _way(lines: Lines) -> tuple[WayStep, ...]:
    steps = []
    for line in lines.text(lines.first("way") or "").splitlines():
        mode, owner, group, path = line.split(" ", 3)
        steps.append(WayStep(path, int(mode, 8), owner, group))
    return tuple(steps)


def _names(lines: Lines, names: tuple[str, ...]) -> dict[str, Lookup]:
    found = {}
    for number, code, text in lines.rows("name", 3):
        addresses = dict.fromkeys(line.split()[0] for line in lines.text(text).splitlines() if line.strip())
        found[names[int(number)]] = Lookup(tuple(addresses), int(code))
    return found
