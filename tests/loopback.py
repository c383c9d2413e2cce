"""Three members on this machine's loopback, as the demo has them: where neither systemd nor SSH is the point."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.demo import cluster, processes
from tasks.cluster.load import load_cluster
from tasks.cluster.spec import Cluster
from tasks.etcd.members import etcdctl
from tests.outputs import assert_as_published, name_of
from tests.starter import STARTER

ROOT = Path(__file__).parents[1]
CLI = (sys.executable, "-m", "deployments.cli")
NAMES = tuple(cluster.MEMBERS)
PORT = 12379


def _command(program: tuple[str, ...], words: tuple[str, ...]) -> str:
    """What the words run, of which the first may belong to the program: ``restores`` ``list``."""
    return name_of(*(program[len(CLI) :] if program[: len(CLI)] == CLI else ()), *words)


@dataclass
class Loopback:
    """A cluster file, its members' directories, and a store, all below one directory."""

    root: Path
    environ: dict[str, str]

    @property
    def file(self) -> Path:
        """The cluster file; the cluster is called ``demo``."""
        return self.root / "demo.yaml"

    @property
    def spec(self) -> Cluster:
        """The cluster as its file says."""
        return load_cluster(self.file).cluster

    def environment(self) -> dict[str, str]:
        """Of every run."""
        clean = {"HOME": str(self.root), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
        return clean | self.environ

    def argv(self, *words: str, program: tuple[str, ...] = CLI) -> list[str]:
        """A command line; the verb comes first."""
        return [*program, words[0], str(self.file), *words[1:], "--json"]

    def run(self, *words: str, code: int = 0, program: tuple[str, ...] = CLI) -> dict[str, Any]:
        """Run the command line; returns what it printed as JSON, with ``stderr`` in it."""
        done = STARTER.run(self.argv(*words, program=program), self.root, self.environment())
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        printed: dict[str, Any] = assert_as_published(_command(program, words), done.stdout) if done.stdout else {}
        return {**printed, "stderr": done.stderr}

    def ctl(self, member: str, command: str) -> str:
        """etcdctl on one member's own endpoint."""
        line = f"{etcdctl(self.spec.host(member))} {command}"
        return subprocess.run(["sh", "-c", line], check=True, capture_output=True, text=True, timeout=30).stdout

    def pids(self) -> dict[str, int]:
        """Which etcd serves each member."""
        found = {}
        for name in NAMES:
            for pid, program in processes.running(self.root / name).items():
                with contextlib.suppress(OSError):
                    # not one that only tells its version
                    if program == "etcd" and b"ETCD_DATA_DIR=" in Path(f"/proc/{pid}/environ").read_bytes():
                        found[name] = pid
        return found

    def records(self, member: str, path: str) -> Path:
        """A file in a member's record directory."""
        return Path(self.spec.host(member).paths.record_dir) / path


def _network() -> str:
    """Addresses of this process's own: while members are down, nobody else's can take their ports."""
    number = os.getpid() % (64 << 8)
    return f"127.{64 + (number >> 8)}.{number & 255}."


@contextmanager
def loopback(mirror: Path, version: str, environ: dict[str, str], more: str = "") -> Iterator[Loopback]:
    """A bootstrapped cluster with a directory store, gone at the end with all that runs.

    Args:
        more: Further lines of its cluster file.
    """
    root = Path(tempfile.mkdtemp(prefix="efl-loop-", dir="/tmp"))
    try:
        made = Loopback(root, environ)
        text = cluster.render(root, version, PORT).replace("127.0.0.", _network())
        made.file.write_text(text.replace("source: ./release", f"source: {shlex.quote(str(mirror))}") + more)
        made.run("bootstrap-cluster")
        yield made
    finally:
        processes.stop_all(root)
        shutil.rmtree(root, ignore_errors=True)
