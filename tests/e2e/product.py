"""The product as its users have it: a cluster file, a command line in a process of its own, an exit code.

What it did is looked at through the hosts' side door (:meth:`tests.lab.machine.Machine.exec`), never through the
product itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.outputs import assert_as_published, name_of
from tests.starter import STARTER, Run

ROOT = Path(__file__).parents[2]
CLI = (sys.executable, "-m", "deployments.cli")
#: Runs the same command line, and kills it at one event: see that module.
KILLED = (sys.executable, "-m", "tests.e2e.killed_run")
TIMEOUT = 300.0


@dataclass(frozen=True)
class Done:
    """A run of the command line."""

    code: int
    stdout: str
    stderr: str

    @classmethod
    def of(cls, run: Run) -> Done:
        """Wait for the end of a run."""
        out, err = run.communicate(TIMEOUT)
        assert run.returncode is not None
        return cls(run.returncode, out, err)

    @property
    def output(self) -> str:
        """All that was printed."""
        return self.stdout + self.stderr

    @property
    def json(self) -> dict[str, Any]:
        """What ``--json`` printed."""
        try:
            read: dict[str, Any] = json.loads(self.stdout)
        except ValueError:
            raise AssertionError(f"no JSON on stdout: {self}") from None
        return read

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The errors in it."""
        found: list[dict[str, Any]] = self.json["errors"]
        return found


@dataclass
class Product:
    """One cluster file, and an operator's home directory of its own.

    Args:
        directory: The operator's home.
        environ: Further environment of every run.
        forked: Whether most runs may be forked, as :mod:`tests.starter` does. What others then see of such a
            process in ``/proc`` is the command line and environment of the one that forked it.
    """

    lab: Lab
    directory: Path
    mirror: Path
    cache: Path
    environ: dict[str, str] = field(default_factory=dict)
    forked: bool = True

    @property
    def file(self) -> Path:
        """The cluster file."""
        return self.directory / "cluster.yaml"

    @property
    def state(self) -> Path:
        """Where the CA is kept."""
        return self.directory / "state"

    @property
    def known_hosts(self) -> Path:
        """The operator's file of host keys."""
        return self.directory / "known_hosts"

    def describe(self, hosts: list[LabHost], *, name: str = "prod-a", version: str = "", **keys: Any) -> dict[str, Any]:
        """Write a cluster file for these hosts; more top-level keys as arguments."""
        etcd = {"release": {"source": str(self.mirror), "cache": str(self.cache)}} | keys.pop("etcd", {})
        if version:
            etcd["version"] = version
        content = self.lab.cluster(name, hosts, etcd=etcd, pki={"state_dir": str(self.state)}, **keys)
        self.write(content)
        return content

    def write(self, content: Mapping[str, Any]) -> None:
        """Write the cluster file."""
        self.file.write_text(yaml.safe_dump(dict(content), sort_keys=False))

    def environment(self, **more: str) -> dict[str, str]:
        """What a run has in its environment: nothing of ours but the way to the code."""
        clean = {"HOME": str(self.directory), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
        return clean | self.environ | more

    def run(self, *words: str, program: tuple[str, ...] = CLI, as_json: bool = True, **environ: str) -> Done:
        """``etcd-flows WORD CLUSTER WORD...``; the verb comes first."""
        verb, *rest = words
        process = self.start(*program, verb, str(self.file), *rest, *(["--json"] if as_json else []), **environ)
        try:
            done = Done.of(process)
        finally:
            process.kill()
        if as_json and done.stdout.strip():
            group = program[len(CLI) :] if program[: len(CLI)] == CLI else ()
            assert_as_published(name_of(*group, verb), done.stdout)
        return done

    def start(self, *argv: str, **environ: str) -> Run:
        """A process of its own, in the operator's home."""
        return STARTER.start(argv, self.directory, self.environment(**environ), fresh=not self.forked)

    def must(self, *words: str, **options: Any) -> Done:
        """A run that has to succeed."""
        done = self.run(*words, **options)
        assert done.code == 0, done.output
        return done

    def bootstrap(self, *words: str, **options: Any) -> Done:
        """``bootstrap-cluster``, which has to succeed."""
        return self.must("bootstrap-cluster", *words, **options)


# --- what is true on a host, seen through the side door ---------------------------------------------------------------


def etcdctl(host: LabHost, command: str, check: bool = True) -> str:
    """Root's etcdctl as root finds it, without any option of ours."""
    return host.exec(f"etcdctl {command}", check=check)


def assert_healthy(hosts: list[LabHost]) -> None:
    """Every member answers, all are one cluster, and what is written on one is read on all."""
    lines = json.loads(etcdctl(hosts[0], "endpoint health --cluster -w json"))
    assert sorted(entry["endpoint"] for entry in lines) == sorted(f"https://{h.address}:2379" for h in hosts)
    assert all(entry["health"] for entry in lines), lines
    value = os.urandom(8).hex()
    assert etcdctl(hosts[0], f"put probe {value}") == "OK\n"
    assert {etcdctl(host, "get probe --print-value-only").strip() for host in hosts} == {value}
    assert len({cluster_id(host) for host in hosts}) == 1


def cluster_id(host: LabHost) -> str:
    """etcd's own id of the cluster that the member is in."""
    (status,) = json.loads(etcdctl(host, "endpoint status -w json"))
    return f"{status['Status']['header']['cluster_id']:x}"


def token(host: LabHost) -> str:
    """The token that the member was told to start with."""
    return host.exec("sed -n s/^ETCD_INITIAL_CLUSTER_TOKEN=//p /etc/etcd/etcd.env").strip()


def main_pid(host: LabHost) -> tuple[str, str]:
    """Which process serves, and how often systemd had to restart it."""
    pid, restarts = host.exec("systemctl show etcd -p MainPID -p NRestarts --value").split()
    assert pid != "0", f"etcd does not run on {host.name}"
    return pid, restarts


def tree(host: LabHost, *paths: str) -> str:
    """Everything about the files below some paths except when they were read: type, mode, owner, time, content."""
    where = " ".join(paths)
    return host.exec(
        f"for p in {where}; do [ -e $p ] || continue; find $p -printf '%p %y %m %u:%g %s %T@ %l\\n';"
        f" find $p -type f -exec sha256sum {{}} +; done | LC_ALL=C sort",
        timeout=120,
    )


#: Where the product writes on a host; and where it must not leave anything lying about.
OURS = ("/etc", "/opt", "/usr/local", "/var/lib/etcd", "/var/lib/etcd-flows")


def footprint(host: LabHost) -> str:
    """Names, modes, owners and times of all files that a run could have touched, and the accounts."""
    return host.exec(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log -o -path /var/cache"
        " -o -path /var/lib/systemd -o -path /var/lib/private -o -path /dev \\) -prune -o"
        " -printf '%p %y %m %u:%g %s %T@\\n' | LC_ALL=C sort; cat /etc/passwd /etc/group"
    )


def leftovers(host: LabHost) -> list[str]:
    """Half-written files and processes that a run left on the host."""
    files = host.exec("find / -xdev -name '.*.etcd-flows-*' -not -path '/proc/*'").split()
    # The fixed command line of every remote script carries this mark.
    processes = host.exec(
        "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep -q 'etcd-flows [e]tcd-flows-' &&"
        " echo $p; done; true"
    ).split()
    return files + processes
