"""The cluster file's keys for what is done to clients around a restore."""

from __future__ import annotations

from tasks.cluster.model_base import Section, entry, section
from tasks.cluster.model_hosts import SshSection
from tasks.cluster.values import Address, SecretReference
from tasks.cluster.values_restore import Command, HookName, VariableName


class HookSection(Section):
    """One command."""

    name: HookName = entry(..., "What it is called in plans and reports; unique in its list.", "stop-apiserver")
    machine: Address = entry(
        "local",
        "Where it runs: `local` (the machine that the flow runs on), the name of a host of this file, or the address "
        "of any other machine. local by default: kubectl and the like are there.",
        "10.0.0.21",
    )
    ssh: SshSection = section(
        SshSection, "Login settings of that machine, key by key over the top-level `ssh`.", {"user": "ubuntu"}
    )
    command: Command = entry(
        ...,
        "Shell text (sh, ends at the first error). It runs as root except on `local`, and may run more than once: "
        "write it so that this does no harm.",
        "systemctl stop kube-apiserver",
    )
    timeout: float = entry(60.0, "Seconds until it counts as failed; a minute is long at 3 a.m.", 300, gt=0, le=3600)
    secrets: dict[VariableName, SecretReference] = entry(
        {},
        "Environment variables that it gets, by reference; not on any command line, and hidden in its output. "
        "Default: none.",
        {"TOKEN": "env:DEPLOY_TOKEN"},
    )


class RestoreSection(Section):
    """Around a restore."""

    before_stop: tuple[HookSection, ...] = entry(
        (),
        "Run one after the other right before the members are stopped (stop kube-apiservers); one that fails stops "
        "the restore, and no member is stopped. Default: none.",
        [{"name": "stop-apiserver", "machine": "10.0.0.21", "command": "systemctl stop kube-apiserver"}],
        max_length=50,
    )
    after_proof: tuple[HookSection, ...] = entry(
        (),
        "Run one after the other when the restored cluster is proven (start them again, restart controllers); all are "
        "run, and one that fails makes the exit code 1 while the cluster serves. Default: none.",
        [{"name": "start-apiserver", "machine": "10.0.0.21", "command": "systemctl start kube-apiserver"}],
        max_length=50,
    )
