"""A cluster of one on loopback with data like that of Kubernetes, its cluster file, and a store of snapshots."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from deployments.cli import main
from tasks.etcd.client import Client
from tasks.snapshots.stores.directory import DirectoryStore
from tests.component.etcd.conftest import Member, build
from tests.component.snapshots.test_backup import files_of, run
from tests.outputs import assert_as_published
from tests.unit.keys.keys import json_object, protobuf_object
from tests.unit.snapshots.shelf import KEY

WEB = ("ReplicaSet", "web-5d", "rs-uid-1")
PODS = [b"/registry/pods/shop/web-%d" % number for number in range(3)]

DATA: dict[bytes, bytes] = {
    b"/registry/namespaces/shop": protobuf_object("shop", "ns-uid"),
    b"/registry/replicasets/shop/web-5d": protobuf_object("web-5d", "rs-uid-1"),
    **{key: protobuf_object(key.decode()[-5:], f"pod-uid-{key.decode()[-1]}", WEB) for key in PODS},
    b"/registry/configmaps/shop/settings": protobuf_object("settings", "cm-uid"),
    b"/registry/configmaps/kube-system/dns": protobuf_object("dns", "cm-uid-2"),
    b"/registry/secrets/shop/token": b"k8s:enc:aescbc:v1:key1:" + bytes(range(200, 256)) * 100,
    b"/registry/example.com/widgets/shop/w1": json_object("w1", "w-uid", ("Gadget", "g1", "gone-uid")),
    b"/registry/services/specs/shop/web": protobuf_object("web", "svc-uid"),
    b"compact_rev_key": b"17",
    b"/plain/\xff\x00binary": b"x" * 50,
}
LEASED = b"/registry/events/shop/web-1.17a"


@dataclass
class House:
    """The member, the operator's directory, and what the command line says."""

    root: Path
    member: Member

    @property
    def file(self) -> Path:
        return self.root / "prod-a.yaml"

    @property
    def store(self) -> DirectoryStore:
        return DirectoryStore("local", self.root / "backups", "prod-a")

    def client(self) -> Client:
        return self.member.client()

    def back_up(self) -> str:
        return run([self.member], self.store).manifest.id

    def keep_leased(self, key: bytes, value: str, seconds: int = 600) -> None:
        said = self.member.etcdctl("lease", "grant", str(seconds), "-w", "json")
        lease = json.loads(said.stdout)["ID"]
        put = self.member.etcdctl("put", key.decode(), value, f"--lease={lease:x}")
        assert put.returncode == 0, put.stderr

    def snapshots(self, *words: str) -> Result:
        done = CliRunner().invoke(main, ["snapshots", words[0], str(self.file), *words[1:]])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return done

    def json(self, *words: str) -> Any:
        done = self.snapshots(*words, "--json")
        assert done.exit_code == 0, done.output
        return assert_as_published(f"snapshots-{words[0]}", done.stdout)


def furnish(root: Path, releases: Path) -> House:
    """Everything there and running, with :data:`DATA` and a key that has a lease."""
    (member,) = build(root, "3.6.16")
    member.start()
    state = root / "state"
    state.mkdir(mode=0o700)
    files = files_of(member)
    for source, name in ((files.ca, "ca.crt"), (files.cert, "client.crt"), (files.key, "client.key")):
        shutil.copy(source, state / name)
        (state / name).chmod(0o600)
    key = state / "snapshot-signing.key"
    key.write_bytes(KEY.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    host = member.host
    described = {
        "name": "prod-a",
        "hosts": [
            {
                "name": host.name,
                "address": host.address,
                "prefix": host.paths.prefix,
                "client_port": host.client_port,
                "peer_port": host.peer_port,
                "metrics_port": host.metrics_port,
                "connection": "local",
                "service": "supervisor",
            }
        ],
        "ssh": {"sudo": "none"},
        "etcd": {"version": "3.6.16", "release": {"source": str(releases), "cache": str(root / "cache")}},
        "pki": {"state_dir": str(state)},
        "snapshots": {"stores": [{"name": "local", "directory": str(root / "backups")}]},
    }
    house = House(root, member)
    house.file.write_text(yaml.safe_dump(described, sort_keys=False))
    with house.client() as client:
        for written, value in DATA.items():
            client.put(written, value)
    house.keep_leased(LEASED, "happened")
    return house
