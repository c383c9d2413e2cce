"""The hunt for secrets where `etcd-flows serve` runs: its API, its files, its processes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage

from tests.e2e.canaries import Canaries, Leak
from tests.processes import family

#: What Prefect's API tells of runs, deployments, blocks and whatever people have made there.
LISTS = (
    "/flow_runs/filter",
    "/task_runs/filter",
    "/logs/filter",
    "/artifacts/filter",
    "/deployments/filter",
    "/block_documents/filter",
    "/automations/filter",
    "/work_pools/filter",
    "/variables/filter",
)
_PAGE = 200


class Secrets:
    """What the cluster files refer to; and one put where it does not belong, so that the hunt finds something."""

    def __init__(self) -> None:
        self.canaries = Canaries()
        self.block = self.canaries.new("CA's passphrase, in a block")
        self.planted = self.canaries.new("planted")
        identity = pyrage.x25519.Identity.generate()
        self.identity, self.recipient = str(identity), str(identity.to_public())
        self.known("key that opens snapshots, in the environment", self.identity)

    def known(self, name: str, value: str) -> None:
        """Hunt for one that somebody else has made, too."""
        self.canaries.add(name, value.encode())


def told_by(secrets: Secrets, ask: Callable[..., Any]) -> set[str]:
    """Names of secrets in what the API tells."""
    found: set[str] = set()
    for path in LISTS:
        offset = 0
        while page := ask("POST", path, {"limit": _PAGE, "offset": offset}):
            offset += len(page)
            found |= secrets.canaries.seen_in(json.dumps(page).encode())
    events = {"limit": 50, "filter": {"event": {"prefix": ["etcd-flows", "prefect"]}}}
    return found | secrets.canaries.seen_in(json.dumps(ask("POST", "/events/filter", events)).encode())


def readable_by_others(pid: int) -> set[str]:
    """Environments of a process's family that a user without rights can read."""
    files = [f"/proc/{each}/environ" for each in family(pid)]
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    if not words:
        return {file for file in files if Path(file).stat().st_mode & 0o077}
    done = subprocess.run([*words, "head", "-c1", "-q", *files], capture_output=True, check=False)
    return {"some"} if done.stdout else set()


def unexpected(leaks: set[Leak], homes: set[str]) -> set[Leak]:
    """Those in files that others can read, or that are not where such a secret belongs.

    Args:
        homes: Names of files in which secrets are kept, for their owner alone.
    """
    return {leak for leak in leaks if leak.mode & 0o077 or Path(leak.where).name not in homes}
