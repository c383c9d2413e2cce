"""A lab to play with: ``python -m tests.lab up [N] | status | down [ID...]`` (``make lab-up`` and so on)."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import yaml

from tests.lab import releases
from tests.lab.lab import LABS, PREFIX, Lab, abandoned, labs, remove, sweep
from tests.lab.system import LabError, processes_in

KEPT = "lab"


def _etcd_section() -> dict[str, object]:
    """Where the lab's etcd comes from: inside there is no way out to the release page."""
    version = releases.VERSIONS[0]
    try:
        return {"version": version, "release": {"source": str(releases.mirror([version]))}}
    except releases.ReleaseUnavailable as error:
        print(f"warning: {error}\nwarning: put a release source into the cluster file yourself", file=sys.stderr)
        return {"version": version}


def up(count: int) -> None:
    """Boot hosts that stay, write a cluster file for them, say how to use it."""
    sweep()
    if KEPT in labs():
        sys.exit("there is a lab already; make lab-status shows it, make lab-down removes it")
    begin = time.monotonic()
    lab = Lab(KEPT, keep=True)
    try:
        hosts = lab.fresh(count)
    except BaseException:
        lab.close()
        raise
    known = lab.write_known_hosts(lab.directory / "known_hosts")
    content = {
        "name": "lab",
        "hosts": [{"name": host.name, "address": host.address} for host in hosts],
        "ssh": {"user": "root", "key": str(lab.client_key), "known_hosts": str(known)},
        "etcd": _etcd_section(),
    }
    (lab.directory / "cluster.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    print(f"{count} hosts are up in {time.monotonic() - begin:.1f} s")
    _explain(lab.directory, lab.namespace)


def _explain(directory: Path, namespace: str) -> None:
    inside = f"ip netns exec {namespace}"
    program = Path(sys.executable).with_name("etcd-flows")
    print(
        f"""
Their network is the namespace {namespace}; everything that talks to them runs in there:

  {inside} ssh -i {directory}/id_ed25519 -o UserKnownHostsFile={directory}/known_hosts root@198.18.0.11
  {inside} {program} bootstrap-cluster {directory}/cluster.yaml --plan
  {inside} {program} bootstrap-cluster {directory}/cluster.yaml

make lab-down removes them."""
    )


def status() -> None:
    """Say which labs there are and what runs in them."""
    found = labs()
    for lab_id in found:
        spaces = sorted(Path("/run/netns").glob(f"{PREFIX}{lab_id}-etcd-*"))
        running = [space.name.rpartition("-etcd-")[2] for space in spaces if processes_in(space.name)]
        state = "left behind by a killed run" if abandoned(lab_id) else "kept" if lab_id == KEPT else "of a test run"
        print(f"{lab_id}: {state}; hosts up: {', '.join(f'etcd-{number}' for number in running) or 'none'}")
    if KEPT in found:
        _explain(LABS / KEPT, PREFIX + KEPT)
    elif not found:
        print("no lab")


def down(ids: list[str]) -> None:
    """Remove the kept lab and all that was left behind, or the labs named."""
    gone = sweep() if not ids else []
    for lab_id in ids or [name for name in labs() if name == KEPT]:
        remove(lab_id, lodgers=False)
        gone.append(lab_id)
    print(f"removed: {', '.join(gone)}" if gone else "nothing to remove")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up").add_argument("count", type=int, nargs="?", default=3)
    verbs.add_parser("status")
    verbs.add_parser("down").add_argument("ids", nargs="*")
    told = parser.parse_args()
    try:
        if told.verb == "up":
            up(told.count)
        elif told.verb == "down":
            down(told.ids)
        else:
            status()
    except LabError as error:
        sys.exit(f"lab: {error}")


if __name__ == "__main__":
    main()
