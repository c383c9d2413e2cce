"""The end of the demo's story: everything is lost, and comes back from the store."""

from __future__ import annotations

import shutil

from deployments.demo import cluster, processes
from deployments.demo.acts import count, expect, put
from deployments.demo.stage import Stage
from tasks.reporting import tables


def lose_everything(stage: Stage) -> str:
    """All members killed, all data removed; and some keys that no snapshot has."""
    kept = stage.keys
    put(stage, list(cluster.MEMBERS))
    lost = stage.keys - kept
    stage.keys = kept
    stage.screen.say(f"{lost} more keys are written: no snapshot has them. Then it happens.")
    for name in cluster.MEMBERS:
        processes.kill_member(stage.root / name)
        shutil.rmtree(stage.root / name / "var/lib/etcd")
    stage.screen.say("kill -9 of all members, and all their data is removed. Only the store and the operator are left.")
    expect(not processes.running(stage.root / next(iter(cluster.MEMBERS))), "a member still runs")
    return f"no member runs and no data is left; {lost} keys are gone for good, the other {kept} are in the snapshot"


def restore(stage: Stage) -> str:
    """disaster-restore: one command."""
    consent = ["no-bump"]  # the demo's etcd 3.5.1 can't raise revisions; every version since 3.5.10 can
    stage.screen.command(f"disaster-restore {stage.file} --confirm {cluster.NAME} --accept no-bump")
    result = stage.run("disaster_restore", confirm=cluster.NAME, accept=consent)
    stage.screen.raw()
    phases = [(name, f"{seconds:5.1f} s") for name, seconds in result.course.phases]
    stage.screen.raw(tables.as_text(tables.table(("phase", "took"), phases), indent="   "))
    expect(result.applied and not result.back, "the restore was not carried out")
    for name in cluster.MEMBERS:
        found = count(stage, name)
        stage.screen.say(f" + {name} has {found} of {stage.keys} keys (linearizable read)")
        expect(found == stage.keys, f"{name} does not have all keys of the snapshot")
    writable = result.course.since_stop(result.course.writable_at)
    proven = result.course.since_stop(result.course.proven_at)
    return f"all {stage.keys} keys are back on three members: clients could write after {writable:.1f} s, " + (
        f"proven after {proven:.1f} s"
    )
