"""`snapshot-backup` of a real member, by a run that was begun before on a worker that went away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tasks.snapshots.catalog import read_catalog
from tasks.snapshots.stores.directory import DirectoryStore
from tests.component.etcd.conftest import Member
from tests.component.snapshots.test_backup import files_of, run
from tests.component.snapshots.test_verify_snapshots import PEM, ROOT, TRUSTED

pytestmark = pytest.mark.component

#: All in one process, since Prefect's start is what takes the time. What a worker tells the run is told it here.
RUNS = """
import os, sys
from deployments.cli import main
for life in sys.argv[2:]:
    name, count = life.split()
    os.environ |= {"PREFECT__RUNTIME__FLOW_RUN__ID": name, "PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT": count}
    try:
        main(["snapshot-backup", sys.argv[1], "--json"])
    except SystemExit as end:
        print("=====", end.code)
"""


def ids(store: DirectoryStore) -> list[str]:
    return [entry.id for entry in read_catalog(store, "prod-a", TRUSTED).entries]


def test_a_snapshot_that_is_in_all_stores_is_not_made_again(
    make_members: Callable[..., list[Member]], etcd_release_dir: Path, tmp_path: Path
) -> None:
    stores = [DirectoryStore(name, tmp_path / name, "prod-a") for name in ("local", "offsite")]
    (member,) = make_members()
    member.start()
    (tmp_path / "state").mkdir(mode=0o700)
    files = files_of(member)
    for path, name in ((files.ca, "ca.crt"), (files.cert, "client.crt"), (files.key, "client.key")):
        (tmp_path / "state" / name).write_bytes(path.read_bytes())
        (tmp_path / "state" / name).chmod(0o600)
    host = member.host
    document = {
        "name": "prod-a",
        "hosts": [
            {
                "name": host.name,
                "address": host.address,
                "prefix": host.paths.prefix,
                "connection": "local",
                "service": "supervisor",
                "client_port": host.client_port,
                "peer_port": host.peer_port,
                "metrics_port": host.metrics_port,
            }
        ],
        "ssh": {"sudo": "none"},
        "etcd": {"release": {"source": str(etcd_release_dir), "cache": str(tmp_path / "cache")}},
        "pki": {"state_dir": str(tmp_path / "state")},
        "snapshots": {
            "stores": [{"name": store.name, "directory": str(tmp_path / store.name)} for store in stores],
            "signing": {"private_key": f"file:{tmp_path / 'signing.key'}"},
        },
    }
    (tmp_path / "prod-a.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "signing.key").write_bytes(PEM)
    (tmp_path / "signing.key").chmod(0o600)
    first = run([member], stores[0]).manifest
    assert first.run_id == "run-1"

    lives = ("run-1 2", "run-1 3", "run-2 2", "run-2 1")
    done = subprocess.run(
        [sys.executable, "-c", RUNS, str(tmp_path / "prod-a.yaml"), *lives],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.count("===== 0") == len(lives), done.stdout + done.stderr
    texts = [text.partition("\n")[2] if number else text for number, text in enumerate(done.stdout.split("====="))]
    half, whole, other, fresh = (json.loads(text) for text in texts[: len(lives)])
    assert not half["earlier"], "the second store had none"
    assert half["snapshot"] != first.id
    assert (whole["earlier"], whole["snapshot"]) == (True, half["snapshot"])
    assert set(whole["stores"]) == {"local", "offsite"}
    assert (other["earlier"], fresh["earlier"]) == (False, False)
    made = [fresh["snapshot"], other["snapshot"], half["snapshot"]]
    assert [set(ids(store)) for store in stores] == [{*made, first.id}, set(made)]
