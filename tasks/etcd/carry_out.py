"""Carrying out the actions that :mod:`tasks.etcd.bootstrap` plans, each on one host, each idempotent."""

from __future__ import annotations

import json
import shlex

from tasks.cluster.spec import Host
from tasks.etcd.bootstrap import EnsureAccount, PassGate, RecordFormed, StartMember, WriteConfig
from tasks.etcd.gate import pass_gate
from tasks.etcd.identity import formed_path
from tasks.etcd.members import MemberStatus, member_status
from tasks.hosts.services import manager
from tasks.hosts.shell import FileWrite, Shell

GIVE_SECONDS = 300.0  # to stop a member and change the owner of its files, some dozens even of a large cluster


# useradd writes the list of users, then that of groups: a power cut in between leaves a user with no group
# (seen). A site may also have made one of the two itself.
_ACCOUNT = """
group() { getent group "$user" || grep "^$user:" /etc/group; } >/dev/null 2>&1
if ! id -u -- "$user" >/dev/null 2>&1; then
  group_of=--user-group
  if group; then group_of="--gid=$user"; fi
  useradd --system "$group_of" --no-create-home --home-dir "$home" --shell /usr/sbin/nologin -- "$user"
elif ! group; then
  if id -gn -- "$user" >/dev/null 2>&1; then set --; else set -- --gid "$(id -g -- "$user")"; fi
  groupadd --system "$@" -- "$user"
fi
"""


def ensure_account(shell: Shell, action: EnsureAccount) -> None:
    """Create the system user and group, whichever is missing.

    Raises:
        CommandFailed: useradd or groupadd refused.
    """
    words = f"user={shlex.quote(action.user)} home={shlex.quote(action.home)}\n"
    shell.run(words + _ACCOUNT, what=f"creating the user {action.user}")


def write_config(shell: Shell, action: WriteConfig) -> None:
    """Write the files, then make the data dir; never touches a data dir that holds anything."""
    dirs = "".join(_make_dir(item.path, item.mode, item.owner, item.group) for item in action.dirs)
    data_dir = _make_dir(action.data_dir, 0o700, action.user, action.user) if action.make_data_dir else ""
    files = [FileWrite(f.path, f.content, f.mode, f.owner, f.group) for f in action.files]
    shell.write_files(files, before=dirs, after=data_dir)


def _make_dir(path: str, mode: int, owner: str, group: str) -> str:
    words = ["install", "-d", "-m", f"{mode:04o}", *(["-o", owner, "-g", group] if owner else []), path]
    return shlex.join(words) + "\n"


def start_member(shell: Shell, host: Host, action: StartMember) -> None:
    """Tell the service manager to start (or restart) the member; waiting is the gate's part."""
    services = manager(host)
    if action.give_to:
        # Only while nothing runs on it. Cut off anywhere, the member is stopped and the next run starts it this way.
        change_hands = give_script(action.data_dir, action.give_to)
        script = services.reload() + services.stop() + change_hands + services.start_no_block()
        shell.run(script, timeout=GIVE_SECONDS, what="giving the data to another user")
        return
    shell.run(services.restart() if action.restart else services.start_no_block())


def give_script(data_dir: str, owner: str) -> str:
    """Give a data dir to its new owner: the directory itself last, so that its owner tells whether all is done."""
    owner = shlex.quote(owner)
    return f"""(
  cd -- {shlex.quote(data_dir)} || exit 1
  for entry in * .[!.]*; do
    if [ "$entry" = lost+found ] || [ ! -e "$entry" ]; then continue; fi
    chown -R -h -- {owner} "$entry" || exit 1
  done
  chmod 0700 . && chown -- {owner} .
) || exit 1
"""


def gate(shell: Shell, action: PassGate) -> MemberStatus:
    """Pass the gate.

    Raises:
        GateFailed: The member did not get healthy in time.
    """
    return pass_gate(shell, seconds=action.seconds)


def record_formed(shell: Shell, host: Host, action: RecordFormed) -> None:
    """Record that the cluster has formed, and which ids etcd gave it and the member.

    Raises:
        CommandFailed: The member does not answer any more.
    """
    status = member_status(shell)
    record = {"uuid": action.uuid, "cluster_id": status.cluster_id, "member_id": status.member_id}
    shell.write_files([FileWrite(formed_path(host), (json.dumps(record) + "\n").encode(), 0o644)])
