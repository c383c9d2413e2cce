"""Carries out a plan and is killed by itself before a certain batch; for test_restore_keys.py."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tasks.cluster.load import load_cluster
from tasks.keys.apply import Applied, apply
from tasks.keys.batches import Limits
from tasks.keys.live import live
from tasks.keys.opening import opened
from tasks.keys.plan_file import find_plan, plans_dir
from tasks.snapshots.find import find
from tasks.snapshots.library import open_library


def main(file: str, digest: str, operations: int, keys: int) -> None:
    """Be killed when so many keys have had their turn; print what was done otherwise."""

    def maybe(applied: Applied) -> None:
        if applied.turned == keys:
            os.kill(os.getpid(), signal.SIGKILL)

    spec = load_cluster(file).cluster
    plan = find_plan(plans_dir(spec.pki), digest)
    with open_library(spec) as library:
        entry = find(library.catalogs, plan.header.snapshot)
        store = library.stores[entry.store]
        with opened(spec, entry, store, Path(file).parent) as snapshot, live(spec) as cluster:
            applied = apply(plan, snapshot, cluster, Limits(operations=operations), before_each=maybe)
    print(sum(applied.done.values()), applied.already, applied.left)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
