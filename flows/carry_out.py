"""Carrying out a plan: phases in order, hosts of a phase side by side, steps of a host in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from prefect import task
from prefect.futures import PrefectFuture

from flows.fan_out import on_all
from tasks.cluster.spec import Cluster, Host
from tasks.errors import EtcdFlowsError, LockLost, PkiError, TransientHostError
from tasks.etcd import bootstrap, carry_out, install, removal
from tasks.etcd.release import LocalRelease
from tasks.hosts.locking import HeldLock
from tasks.hosts.retrying import HOST_TASK
from tasks.hosts.shell import Shell, open_shell
from tasks.members import actions as member_actions
from tasks.members import carry_out as members
from tasks.members import catching_up, membership
from tasks.monitoring import actions as watch_actions
from tasks.monitoring import carry_out as watch
from tasks.monitoring import client as watch_client
from tasks.monitoring import grafana_password as watch_password
from tasks.monitoring import grafana_proof
from tasks.monitoring import packages as watch_packages
from tasks.monitoring import proof as watch_proof
from tasks.pki import plan as pki
from tasks.pki.apply import write_pki
from tasks.pki.authority import Authority
from tasks.plan import Phase, Plan, Step
from tasks.reporting.progress import emit
from tasks.restore import actions as restore_actions
from tasks.restore import carry_out as restore
from tasks.restore import old_dirs


class Materials:
    """What steps need beside their plan. Not a dataclass on purpose: Prefect looks into those, and this holds the CA
    key.

    Args:
        cluster: The cluster.
        releases: Checked release by architecture; on a monitoring host, by the product's name.
        authority: The CA, None when nothing has to be issued.
        lock: The cluster's lock; without it nothing is carried out.
    """

    __slots__ = ("authority", "cluster", "lock", "releases")

    def __init__(
        self, cluster: Cluster, releases: Mapping[str, LocalRelease], authority: Authority | None, lock: HeldLock
    ) -> None:
        self.cluster = cluster
        self.lock = lock
        self.releases = releases
        self.authority = authority

    @property
    def authority_at_hand(self) -> Authority:
        """The CA.

        Raises:
            PkiError: There is none, although a step of the plan needs it.
        """
        if self.authority is None:
            raise PkiError(f"there is no CA in {self.cluster.pki.state_dir} any more", remedy="run again")
        return self.authority

    def __repr__(self) -> str:
        return f"<materials for {self.cluster.name}>"


Carry = Callable[[Shell, Host, Any, Materials], Any]

#: How each kind of action is carried out.
CARRIERS: dict[type[Any], Carry] = {
    bootstrap.EnsureAccount: lambda shell, _host, action, _m: carry_out.ensure_account(shell, action),
    install.InstallRelease: lambda shell, host, action, m: install.apply_install(
        shell, action, host, m.releases[action.arch]
    ),
    pki.WritePki: lambda shell, _host, action, m: write_pki(shell, action, m.authority_at_hand, now=datetime.now(UTC)),
    bootstrap.WriteConfig: lambda shell, _host, action, _m: carry_out.write_config(shell, action),
    bootstrap.StartMember: lambda shell, host, action, _m: carry_out.start_member(shell, host, action),
    removal.StopMember: lambda shell, host, action, _m: removal.stop_member(shell, host, action),
    removal.RemoveFiles: lambda shell, host, action, _m: removal.remove_files(shell, host, action),
    bootstrap.PassGate: lambda shell, _host, action, _m: carry_out.gate(shell, action),
    bootstrap.RecordFormed: lambda shell, host, action, _m: carry_out.record_formed(shell, host, action),
    restore_actions.WriteRecord: lambda shell, host, action, _m: restore.write_record(shell, host, action),
    restore_actions.PushSnapshot: lambda shell, host, action, _m: restore.push_snapshot(shell, host, action),
    restore_actions.Unpack: lambda shell, host, action, _m: restore.unpack(shell, host, action),
    restore_actions.Hold: lambda shell, host, action, _m: restore.hold(shell, host, action),
    restore_actions.Switch: lambda shell, host, action, _m: restore.switch(shell, host, action),
    restore_actions.LiftAndStart: lambda shell, host, action, _m: restore.lift_and_start(shell, host, action),
    restore_actions.StayUp: lambda shell, host, action, _m: restore.stay_up(shell, host, action),
    restore_actions.Finish: lambda shell, host, action, _m: restore.finish(shell, host, action),
    restore_actions.TurnBack: lambda shell, host, action, _m: restore.turn_back(shell, host, action),
    restore_actions.SwitchBack: lambda shell, host, action, _m: restore.switch_back(shell, host, action),
    restore_actions.FinishBack: lambda shell, host, action, _m: restore.finish_back(shell, host, action),
    member_actions.WriteReplacement: lambda shell, host, action, _m: members.write_replacement(shell, host, action),
    member_actions.RemoveMember: lambda shell, _host, action, _m: membership.remove_member(shell, action),
    member_actions.AddLearner: lambda shell, _host, action, _m: membership.add_learner(shell, action),
    member_actions.SwitchToJoin: lambda shell, host, action, _m: members.switch_to_join(shell, host, action),
    member_actions.StartJoined: lambda shell, host, action, _m: members.start_joined(shell, host, action),
    member_actions.SwitchToRejoin: lambda shell, host, action, _m: members.switch_to_rejoin(shell, host, action),
    member_actions.StartRejoined: lambda shell, host, action, _m: members.start_rejoined(shell, host, action),
    member_actions.CatchUp: lambda shell, _host, action, m: catching_up.catch_up(
        shell, action, lambda: catching_up.ask(m.cluster.host(action.via))
    ),
    member_actions.Promote: lambda shell, _host, action, _m: membership.promote(shell, action),
    member_actions.Disarm: lambda shell, _host, action, _m: membership.disarm(shell, action),
    member_actions.EndReplacement: lambda shell, host, action, _m: members.end_replacement(shell, host, action),
    watch_actions.InstallProgram: lambda shell, host, action, m: watch.install_program(
        shell, host, action, m.releases[action.name]
    ),
    watch_actions.InstallPackages: lambda shell, host, action, _m: watch_packages.install_packages(shell, host, action),
    watch_actions.IssueClient: lambda shell, _host, action, m: watch_client.issue_client(
        shell, action, m.cluster, m.authority_at_hand, datetime.now(UTC)
    ),
    watch_actions.Configure: lambda shell, host, action, _m: watch.configure(shell, host, action),
    watch_actions.RunProgram: lambda shell, host, action, _m: watch.run_program(shell, host, action),
    watch_actions.ProveTargets: lambda shell, _host, action, _m: watch_proof.prove_targets(shell, action),
    watch_actions.ProveReceivers: lambda shell, _host, action, _m: watch_proof.prove_receivers(shell, action),
    watch_actions.RemovePrograms: lambda shell, _host, action, _m: watch.remove_programs(shell, action),
    watch_actions.KeepPassword: lambda shell, _host, action, m: watch_password.keep_password(shell, action, m.cluster),
    watch_actions.ProveGrafana: lambda shell, _host, action, m: grafana_proof.prove_grafana(shell, action, m.cluster),
    old_dirs.RemoveOldDirs: lambda shell, host, action, _m: old_dirs.remove_old_dirs(shell, host, action),
}


@task(name="carry-out", task_run_name="{phase}-{host.name}", **HOST_TASK)
def carry_out_steps(phase: str, host: Host, steps: tuple[Step, ...], materials: Materials) -> None:
    """Carry out the steps of one host in one phase, in order, over one connection.

    A retry begins again with the first step: every step is idempotent.
    """
    for step in steps:
        began = time.monotonic()
        emit("start", step.summary, host=host.name, step=step.name)
        try:
            with open_shell(host, materials.lock.guard(host)) as shell:
                CARRIERS[type(step.action)](shell, host, step.action, materials)
        except EtcdFlowsError:
            emit("failed", step.summary, host=host.name, step=step.name, seconds=time.monotonic() - began)
            raise
        emit("done", step.summary, host=host.name, step=step.name, seconds=time.monotonic() - began)


def run_plan(plan: Plan, materials: Materials) -> None:
    """Carry out a whole plan. A phase begins only when the one before has succeeded on all its hosts.

    Raises:
        LockLost: The cluster's lock was taken away; nothing is changed any more, not even taken back.
        EtcdFlowsError: What failed, and where; later phases were not begun.
    """
    for phase in plan.phases:
        materials.lock.check()
        emit("phase", phase.name)
        try:
            _run_steps(phase, materials)
        except LockLost:
            raise
        except EtcdFlowsError as error:
            materials.lock.check()
            if phase.undo:
                _take_back(phase, materials, error)
            raise


def _take_back(phase: Phase, materials: Materials, error: EtcdFlowsError) -> None:
    """Carry out a failed phase's way back, and say in the error how things stand now."""
    host = phase.undo[0].host
    emit("phase", f"take back: {phase.name}")
    try:
        _run_steps(Phase(f"take back {host}", phase.undo), materials)
    except EtcdFlowsError as second:
        error.state = (
            f"putting {host}'s former settings back failed as well ({second.message}); no later member was changed"
        )
        if isinstance(second, TransientHostError):
            error.remedy = f"bring {host} back, then run again: it goes on from what it finds there"
        else:
            error.remedy = f"`journalctl -u etcd` on {host}; correct the cluster file and run again"
        return
    error.state = f"{host} has its former settings again and is healthy; no later member was changed"
    error.remedy = "correct the setting in the cluster file and run again"


def _run_steps(phase: Phase, materials: Materials) -> None:
    def submit(name: str) -> PrefectFuture[None]:
        host = materials.lock.host(name)
        return carry_out_steps.submit(phase.name, host, phase.of(name), materials)

    on_all(phase.hosts, submit, phase.name)
