"""Carrying out the actions of a restore, each on one host, each idempotent."""

from __future__ import annotations

from pathlib import Path

from tasks.cluster.spec import Host
from tasks.errors import CommandFailed, GateFailed
from tasks.etcd.carry_out import write_config
from tasks.etcd.gate import reason_from_log
from tasks.etcd.members import last_line
from tasks.etcd.restored import back_path, drop_in_path, hold_path, record_path
from tasks.hosts.services import STOP_SECONDS, where_it_logs
from tasks.hosts.shell import FileWrite, Output, Shell
from tasks.hosts.transfer import push_file
from tasks.restore import scripts, scripts_start
from tasks.restore.actions import (
    Finish,
    FinishBack,
    Hold,
    LiftAndStart,
    PushSnapshot,
    StayUp,
    Switch,
    SwitchBack,
    TurnBack,
    Unpack,
    WriteRecord,
)
from tasks.restore.record import to_json

SLOWEST = 4 << 20  # bytes a second at which etcdutl is given up


def write_record(shell: Shell, host: Host, action: WriteRecord) -> None:
    """Write the record to the host."""
    shell.write_files([_record(host, to_json(action.record))])


def _record(host: Host, content: bytes) -> FileWrite:
    return FileWrite(record_path(host), content, 0o600)


def push_snapshot(shell: Shell, host: Host, action: PushSnapshot) -> None:
    """Bring the bytes to the host, in resumable ranges; their SHA-256 is compared there.

    Raises:
        CommandFailed: There is no room.
        HostError: What arrived is not what was sent.
    """
    shell.run(scripts.make_base(host, action.user), what=f"making {host.paths.data_dir}")
    push_file(shell, Path(action.local), action.remote, sha256=action.sha256, pack=host.connection == "ssh")


def unpack(shell: Shell, host: Host, action: Unpack) -> None:
    """Make the new data dir.

    Raises:
        CommandFailed: etcdutl refused, or the disk is full; nothing of it is left.
    """
    script = scripts.unpack(host, action.record, action.user)
    timeout = 300.0 + action.record.bytes / SLOWEST
    shell.run(script, timeout=timeout, what="unpacking the snapshot")


def hold(shell: Shell, host: Host, action: Hold) -> None:
    """Stop the member, and hold it. The hold comes first, so that nothing starts it in between.

    Raises:
        CommandFailed: It does not stop.
    """
    files = [FileWrite(hold_path(host), f"{action.restore}\n".encode(), 0o644)]
    if host.service == "systemd":
        files.insert(0, FileWrite(drop_in_path(host), scripts.drop_in(host), 0o644))
    shell.write_files(files)
    shell.run(scripts.stop_held(host), timeout=STOP_SECONDS + 60, what="stopping etcd")


def switch(shell: Shell, host: Host, action: Switch) -> None:
    """Keep the former settings, then write the new ones; the env file comes last."""
    shell.run(scripts.before_switch(host, action.record), what="keeping the former settings")
    write_config(shell, action.config)


def lift_and_start(shell: Shell, host: Host, action: LiftAndStart) -> None:
    """Lift the hold and start the member.

    Raises:
        CommandFailed: Its settings do not point to the data that is wanted, or there is none.
    """
    shell.run(scripts_start.lift_and_start(host, action.data_dir), what="starting etcd")


def stay_up(shell: Shell, host: Host, action: StayUp) -> None:
    """Wait until the member stays up.

    Raises:
        GateFailed: It does not.
    """
    out = shell.run(scripts_start.stay_up(host, action.seconds), timeout=action.seconds + 20, check=False)
    if out.code == 0:
        return
    if out.code not in (71, 72):
        raise CommandFailed(f"the check could not be run: {last_line(out.stderr)}", host=host.name, remedy="run again")
    raise _not_up(host, out, action.seconds)


def _not_up(host: Host, out: Output, seconds: float) -> GateFailed:
    said, _, log = out.stderr.partition(scripts_start.MARK)
    what = "does not stay up" if out.code == 71 else f"does not serve its peers within {seconds:.0f} s"
    return GateFailed(
        f"etcd {what}: {reason_from_log(log) or last_line(said)}",
        host=host.name,
        remedy=f"{where_it_logs(host)} show the rest",
    )


def finish(shell: Shell, host: Host, action: Finish) -> None:
    """Put the record away."""
    shell.run(scripts.finish(host, action.record), what="putting the record away")


def turn_back(shell: Shell, host: Host, action: TurnBack) -> None:
    """Note that the restore is being taken back."""
    record = action.record
    files = [_record(host, to_json(record)), FileWrite(back_path(host), f"{record.id}\n".encode(), 0o644)]
    shell.write_files(files, before=scripts.reopen(host, record))


def switch_back(shell: Shell, host: Host, action: SwitchBack) -> None:
    """Put the former settings back.

    Raises:
        CommandFailed: There are none, or the data from before is gone.
    """
    shell.run(scripts.switch_back(host), what="putting the former settings back")


def finish_back(shell: Shell, host: Host, action: FinishBack) -> None:
    """Put the record away; the restored data stays until somebody removes it."""
    shell.run(scripts.finish(host, action.record, back=True), what="putting the record away")
