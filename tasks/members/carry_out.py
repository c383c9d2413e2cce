"""Carrying out the actions of a replacement, each on one host, each idempotent."""

from __future__ import annotations

from tasks.cluster.spec import Host
from tasks.etcd.carry_out import write_config
from tasks.etcd.restored import replacement_path
from tasks.hosts.shell import FileWrite, Shell
from tasks.members import scripts
from tasks.members.actions import (
    EndReplacement,
    StartJoined,
    StartRejoined,
    SwitchToJoin,
    SwitchToRejoin,
    WriteReplacement,
)
from tasks.members.record import to_json
from tasks.restore.scripts import before_switch, make_base
from tasks.restore.scripts_start import lift_and_start


def write_replacement(shell: Shell, host: Host, action: WriteReplacement) -> None:
    """Write the record to the host."""
    shell.write_files([FileWrite(replacement_path(host), to_json(action.record), 0o600)])


def switch_to_join(shell: Shell, host: Host, action: SwitchToJoin) -> None:
    """Keep the former settings, then write the new ones; the env file comes last.

    Raises:
        CommandFailed: The member runs or is not held, or the new data dir holds data.
    """
    shell.run(scripts.before_switch(host, action), what="keeping the former settings")
    write_config(shell, action.config)


def start_joined(shell: Shell, host: Host, action: StartJoined) -> None:
    """Lift the hold and start the member.

    Raises:
        CommandFailed: Its settings do not point to the new data dir, or that is gone.
    """
    shell.run(scripts.start_joined(host, action), what="starting etcd")


def switch_to_rejoin(shell: Shell, host: Host, action: SwitchToRejoin) -> None:
    """Keep the former settings, then write those with which it joins; the env file comes last.

    Raises:
        CommandFailed: The member runs or is not held, or the new data dir holds data.
    """
    script = make_base(host, action.config.user) + before_switch(host, action.record)
    shell.run(script, what="keeping the former settings")
    write_config(shell, action.config)


def start_rejoined(shell: Shell, host: Host, action: StartRejoined) -> None:
    """Lift the hold and start the member.

    Raises:
        CommandFailed: Its settings do not point to the new data dir, or that is gone.
    """
    shell.run(lift_and_start(host, action.data_dir, joins=True), what="starting etcd")


def end_replacement(shell: Shell, host: Host, action: EndReplacement) -> None:
    """Put the record away."""
    shell.run(scripts.end(host, action.record), what="putting the record away")
