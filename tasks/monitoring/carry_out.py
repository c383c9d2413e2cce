"""Carrying out steps on a monitoring host, each idempotent: cut off anywhere, it may be run again."""

from __future__ import annotations

import json
import posixpath
import shlex

from tasks.cluster.secrets import resolve
from tasks.cluster.spec import Host
from tasks.errors import CommandFailed, HostError, Refused, ReleaseError
from tasks.hosts.files import FileWrite
from tasks.hosts.shell import Shell
from tasks.monitoring.actions import ConfigFile, Configure, InstallProgram, RemovePrograms, RunProgram
from tasks.monitoring.look import STARTED_FROM
from tasks.monitoring.programs import ALERTMANAGER, GRAFANA, NODE_EXPORTER, PROMETHEUS, Program, program
from tasks.releases.fetch import LocalRelease

_SLACK = 64 << 20  # bytes that stay free
_REFUSED = 60  # exit code: the program's own tool does not accept its new configuration
_START_SECONDS = 90.0

# Made beside its place and renamed at once: what is there is whole. sync(1) with a file name is fsync(2).
_INSTALL = """
exec 2>&1
umask 022
mkdir -p -- "$top" || exit 41
rm -rf -- "$top"/.etcd-flows-??????????
stage=$(mktemp -d -- "$top/.etcd-flows-XXXXXXXXXX") || exit 41
trap 'c=$?; rm -rf -- "$stage"; exit "$c"' EXIT
trap 'exit 143' HUP INT TERM
free=$(df --output=avail -B1 -- "$stage" | tail -n 1)
if [ "$free" -lt "$need" ]; then echo "$free bytes are free, $need are needed"; exit 42; fi
%s
printf '%%s\\n' "$receipt" >release.json || exit 45
chmod 0644 release.json
%s || exit 45
rm -rf -- "$home"
mv -T -- "$stage" "$home"
sync -- "$top"
"""

_PROGRAMS = """head -c "$size" | tar -xzf - --no-same-owner -C "$stage" -- "$@" || exit 43
cd -- "$stage"
for member; do [ -f "${member##*/}" ] || mv -- "$member" .; done
for below in */; do rm -rf -- "$below"; done
printf '%s' "$sums" | sha256sum -c --quiet - || exit 44
chmod 0755 . *"""
# Of a whole tarball the sum is checked, as it has thousands of files.
_WHOLE = """cd -- "$stage"
head -c "$size" >.tarball || exit 43
printf '%s  .tarball\\n' "$sum" | sha256sum -c --quiet - || exit 44
tar -xzf .tarball --no-same-owner --strip-components=1 || exit 43
rm -f -- .tarball
chmod -R u=rwX,go=rX ."""
_UNPACKED = 6  # a whole release takes as many times the room of its tarball; upstream's Grafana takes about four


def install_program(shell: Shell, host: Host, action: InstallProgram, local: LocalRelease) -> None:
    """Install a release in a directory of its own.

    Raises:
        ReleaseError: It arrived damaged.
        HostError: The disk is full or read-only, or it failed otherwise.
    """
    one = program(action.name)
    size = local.tarball.stat().st_size
    sums = {name: info.sha256 for name, info in sorted(local.binaries.items())}
    whole = one.product.whole
    room = size * _UNPACKED if whole else sum(info.size for info in local.binaries.values())
    values = {
        "top": posixpath.dirname(one.home(action.version)),
        "home": one.home(action.version),
        "size": str(size),
        "need": str(room + _SLACK),
        "sum": local.sha256,
        "sums": "".join(f"{digest}  {name}\n" for name, digest in sums.items()),
        "receipt": json.dumps({"version": local.version, "tarball_sha256": local.sha256, "binaries": sums}),
    }
    members = " ".join(shlex.quote(info.member) for info in local.binaries.values())
    prologue = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()) + f"set -- {members}\n"
    what = f"installing {one.title} {action.version}"
    with local.tarball.open("rb") as tarball:
        script = _INSTALL % ((_WHOLE, 'sync -f -- "$stage"') if whole else (_PROGRAMS, "sync -- *"))
        output = shell.run(prologue + script, stdin=[tarball], timeout=600.0, check=False, what=what)
    if output.code:
        raise _not_installed(output.code, output.text or output.stderr, host, one, what)


def _not_installed(code: int, said: str, host: Host, one: Program, what: str) -> HostError | ReleaseError:
    detail = (said.strip().splitlines() or ["it said nothing"])[0][:300]
    state = "what was installed before is in place"
    if code in (43, 44) and "No space left" not in said:
        return ReleaseError(
            f"{what} failed: it did not arrive as it was sent: {detail}",
            host=host.name,
            state=state,
            remedy="run it again; if it fails again, check that host's disk and memory",
        )
    full = code == 42 or "No space left" in said
    return CommandFailed(
        f"there is no room for {one.title}: {detail}" if full else f"{what} failed: {detail}",
        host=host.name,
        state=state,
        remedy="make room in /opt there, then run again" if full else "run it again",
    )


def configure(shell: Shell, host: Host, action: Configure) -> None:
    """Put the new files beside the old ones, have the program's tool check them there, then have them change places.

    Raises:
        Refused: The tool does not accept them; the program goes on with its former configuration.
        InputError: A secret can't be had; nothing was changed.
        HostError: The host could not be reached or refused.
    """
    one = program(action.name)
    stage = f"{one.etc}.etcd-flows-new"
    places = [(_staged(stage, one, file.path), file) for file in action.files]
    writes = [FileWrite(at, _content(file), file.mode, "root", file.group) for at, file in places]
    begin = (
        f"rm -rf -- {stage}\numask 077\nmkdir -p -- {stage}/clusters\n"
        f"if [ -d {one.etc} ]; then cp -a -- {one.etc}/. {stage}/; fi\n"
    )
    gone = [_staged(stage, one, path) for path in action.remove]
    # node_exporter has its arguments alone, and Grafana nothing of one cluster.
    ours = [] if one is NODE_EXPORTER else [one.etc] if one is GRAFANA else [one.etc, one.clusters]
    begin += f"rm -rf -- {shlex.join(gone)}\n" if gone else ""
    end = [
        *_check(one, stage, action),
        "umask 022",
        *(f"install -d -m 0755 -o {owner} -g {owner} -- {shlex.quote(path)}" for path, owner in action.dirs),
        f"install -d -m 0755 -- {shlex.join([*ours, posixpath.dirname(action.note)])}",
        f": >{shlex.quote(action.note)}",
        f"sync -- {shlex.quote(action.note)}",
        *(line for at, file in places for line in _move(at, file.path)),
        *([f"rm -rf -- {shlex.join(action.remove)}"] if action.remove else []),
        *([f"sync -- {shlex.join(ours)}"] if ours else []),
        f"rm -rf -- {stage}",
    ]
    script = "\n".join(["", *end, ""])
    try:
        shell.write_files(writes, before=begin, after=script)
    except CommandFailed as error:
        if f"exit code {_REFUSED}" not in error.message:
            raise
        raise _not_accepted(shell, host, one, stage, action) from error


def _staged(stage: str, one: Program, path: str) -> str:
    inside = path.removeprefix(f"{one.etc}/")
    return f"{stage}/{inside}" if inside != path else f"{stage}/.outside/{path.rpartition('/')[2]}"


def _content(file: ConfigFile) -> bytes:
    if file.content is not None:
        return file.content
    if file.secret is None:
        raise AssertionError(f"{file.path} has neither content nor secret")
    return resolve(file.secret).reveal().encode()


def _tool(one: Program, stage: str, action: Configure) -> str:
    """The command by which the program's tool checks a configuration; empty if it has none."""
    tool, main = action.tool, _staged(stage, one, action.main)
    if one is PROMETHEUS:
        web = f"[ ! -f {stage}/web.yml ] || {tool} check web-config {stage}/web.yml"
        return f"{tool} check config {main} && {{ {web}; }}"
    if one is ALERTMANAGER:
        return shlex.join([tool, "check-config", main])
    return ""


def _check(one: Program, stage: str, action: Configure) -> list[str]:
    command = _tool(one, stage, action)
    return [f"{{ {command}; }} >/dev/null 2>&1 </dev/null || exit {_REFUSED}"] if command else []


def _move(at: str, path: str) -> list[str]:
    directory = shlex.quote(posixpath.dirname(path))
    return [
        f"[ -d {directory} ] || mkdir -p -- {directory}",
        f"mv -fT -- {shlex.quote(at)} {shlex.quote(path)}",
        f"sync -- {shlex.quote(path)}",
    ]


def _not_accepted(shell: Shell, host: Host, one: Program, stage: str, action: Configure) -> Refused:
    """What the tool says about the files that are still beside the old ones; they are removed."""
    said = shell.run(
        f"{{ {_tool(one, stage, action)}; }} 2>&1 </dev/null || true\nrm -rf -- {stage}\n", what="asking what is wrong"
    ).text.replace(f"{stage}/", f"{one.etc}/")
    lines = [line.strip() for line in said.splitlines() if line.strip() and "SUCCESS" not in line]
    wrong = [line for line in lines if not line.startswith("Checking ") and line != "FAILED:"]
    return Refused(
        f"{one.title}'s new configuration is not accepted: {' | '.join(wrong)[:1500]}",
        host=host.name,
        state=f"{one.title} goes on with its former configuration",
        remedy="correct the rule file or setting that it names, then run again",
    )


def remove_programs(shell: Shell, action: RemovePrograms) -> None:
    """Stop the programs, then remove what is ours of them; what is not there is no matter.

    Raises:
        CommandFailed: A program does not stop, or a file can't be removed.
    """
    units = shlex.join(action.units)
    stop = (
        f"""
for unit in {units}; do
  systemctl -q disable --now "$unit" 2>/dev/null || ! systemctl -q is-active "$unit"
done
"""
        if units
        else ""
    )
    mask = "".join(f"ln -sf /dev/null /etc/systemd/system/{unit}\n" for unit in action.mask)
    script = f"""{stop}rm -rf -- {shlex.join(action.paths)} {" ".join(action.homes)}
{mask}systemctl daemon-reload
rmdir --ignore-fail-on-non-empty -- {shlex.join(action.folders)} 2>/dev/null || true
"""
    shell.run(script, timeout=_START_SECONDS, what="removing what watched the cluster")


def run_program(shell: Shell, host: Host, action: RunProgram) -> None:
    """Start, restart or reload the program, and wait until it serves. The note stays for the proof to take away.

    Raises:
        CommandFailed: It does not stay up.
    """
    one = program(action.name)
    ready = f"{shlex.join(action.ready)} >/dev/null 2>&1 </dev/null" if action.ready else ":"
    script = f"""{STARTED_FROM}
mkdir -p -- {shlex.quote(posixpath.dirname(action.note))}
: >{shlex.quote(action.note)}
systemctl daemon-reload
systemctl -q enable {one.unit}
pid=$(systemctl show -p MainPID {one.unit})
pid=${{pid#MainPID=}}
case $(readlink "/proc/$pid/exe" 2>/dev/null) in *' (deleted)') pid=0 ;; esac
if [ "$(started_from "$pid")" = {shlex.quote(action.marker)} ]; then
  systemctl reload-or-restart {one.unit}
else
  systemctl reset-failed {one.unit} 2>/dev/null || true
  systemctl restart {one.unit}
fi
end=$(($(date +%s) + {int(_START_SECONDS) - 20}))
until {ready} && systemctl -q is-active {one.unit}; do
  if [ "$(date +%s)" -ge "$end" ]; then
    echo "it does not get ready; it says:" >&2
    journalctl -u {one.unit} -n 3 -o cat --no-pager 2>/dev/null | cut -c 1-300 >&2
    exit 1
  fi
  sleep 0.5
done
for old in {one.home("*")}; do [ "$old" = {shlex.quote(action.home)} ] || rm -rf -- "$old"; done
"""
    output = shell.run(script, timeout=_START_SECONDS, check=False, what=f"starting {one.title}")
    if output.code:
        detail = " | ".join(line for line in output.stderr.splitlines() if line.strip())[:900]
        raise CommandFailed(
            f"{one.title} does not start: {detail or f'exit code {output.code}'}",
            host=host.name,
            state="its configuration is in place and was accepted by its own check",
            remedy=f"`journalctl -u {one.service}` there; is one of its ports taken? Then run again",
        )
