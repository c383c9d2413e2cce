"""What is in snapshots of a real member, and what changed between them; no value is ever shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.keys.house import DATA, LEASED, PODS, House, furnish

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, etcd_release_dir: Path) -> Iterator[House]:
    made = furnish(tmp_path_factory.mktemp("keys"), etcd_release_dir)
    yield made
    made.member.stop()


@pytest.fixture(scope="module")
def first(house: House) -> str:
    return house.back_up()


def test_the_tree_counts_every_key(house: House, first: str) -> None:
    found = house.json("browse", first)
    assert found["keys"] == len(DATA) + 1
    assert found["bytes"] == sum(len(key) + len(value) for key, value in {**DATA, LEASED: b"happened"}.items())
    assert found["leased"] == 1
    tree = {node["prefix"]: node["keys"] for node in found["tree"]}
    assert tree[""] == len(DATA) + 1
    assert (tree["/plain/"], tree["/registry/"], tree["/registry/pods/"]) == (1, len(DATA) - 1, 3)
    assert found["resources"]["pods"]["keys"] == 3
    assert found["resources"]["widgets.example.com"]["keys"] == 1
    assert found["resources"]["services"]["keys"] == 1
    assert {name: weight["keys"] for name, weight in found["namespaces"].items()} == {"kube-system": 1, "shop": 9}
    assert found["largest"][0]["key"] == "/registry/secrets/shop/token"
    assert [entry for entry in found["largest"] if "key_base64" in entry], "a key that is no text can be told exactly"
    pods = house.json("browse", first, "--resource", "po", "--namespace", "shop", "--keys", "2")
    assert (pods["keys"], [one["key"] for one in pods["listed"]]) == (3, [key.decode() for key in PODS[:2]])
    assert pods["listed"][0]["object"] == {"resource": "pods", "namespace": "shop", "name": "web-0"}
    shop = house.json("browse", "latest", "/registry/configmaps/", "--depth", "1", "--largest", "1")
    assert [(node["prefix"], node["keys"]) for node in shop["tree"]] == [
        ("/registry/configmaps/", 2),
        ("/registry/configmaps/kube-system/", 1),
        ("/registry/configmaps/shop/", 1),
    ]


def test_for_people(house: House, first: str) -> None:
    said = house.snapshots("browse", first).stdout
    for expected in ("13 keys", "1 of them bound to a lease", "/registry/pods/", "widgets.example.com", "kube-system"):
        assert expected in said
    assert "spec of" not in said
    assert "happened" not in said
    assert house.snapshots("browse", first, "/nothing/there").stdout.count("\n") == 1
    named = house.snapshots("browse", first, "--resource", "pods", "--namespace", "shop", "--keys", "1").stdout
    assert f"{PODS[0].decode()}  " in named
    assert "... and 2 more" in named
    assert house.snapshots("browse", first, "/registry/", "--namespace", "shop").exit_code == 2
    assert house.snapshots("browse", "2020").exit_code == 2


def test_one_value_on_demand_into_a_private_file(house: House, first: str, tmp_path: Path) -> None:
    key, out = PODS[0].decode(), tmp_path / "value"
    shown = house.snapshots("browse", first, "--value", key)
    assert shown.exit_code == 0
    assert "mod_revision" in shown.stdout
    assert "spec of" not in shown.stdout
    told = house.json("browse", first, "--value", key, "--out", str(out))
    assert out.read_bytes() == DATA[PODS[0]]
    assert out.stat().st_mode & 0o777 == 0o600
    assert told["bytes"] == len(DATA[PODS[0]])
    again = house.snapshots("browse", first, "--value", key, "--out", str(out))
    assert (again.exit_code, "can't be written" in again.stderr) == (2, True)
    secret = house.json("browse", first, "--value", "/registry/secrets/shop/token")
    assert secret["encrypted"] == "aescbc key1"
    assert house.snapshots("browse", first, "--value", "/no/such/key").exit_code == 2
    assert house.snapshots("browse", first, "--out", str(out)).exit_code == 2


def test_two_snapshots_and_now(house: House, first: str) -> None:
    assert house.json("diff", first, "now")["unchanged"] == len(DATA) + 1
    with house.client() as client:
        client.delete(PODS[0])
        client.delete(PODS[1])
        client.put(PODS[1], b"another")
        client.put(b"/registry/configmaps/shop/settings", b"new settings")
        client.put(PODS[2], DATA[PODS[2]])
        client.put(b"/registry/pods/shop/web-9", b"new")
    second = house.back_up()
    with house.client() as client:
        client.put(b"/later", b"")
    between = house.json("diff", first, second)
    counts = {what: between[what] for what in ("added", "changed", "removed", "unchanged")}
    assert counts == {"added": 1, "changed": 2, "removed": 1, "unchanged": len(DATA) - 2}
    assert [(change["key"][-5:], change["what"], change["recreated"]) for change in between["keys"]] == [
        ("tings", "changed", False),
        ("web-0", "removed", False),
        ("web-1", "changed", True),
        ("web-9", "added", False),
    ]
    pods = next(node for node in between["prefixes"] if node["prefix"] == "/registry/pods/")
    assert pods == {"prefix": "/registry/pods/", "added": 1, "changed": 1, "removed": 1}
    assert house.json("diff", first, second, "--prefix", "/registry/pods/", "--keys", "1")["keys_left_out"] == 2
    now = house.json("diff", second, "now")
    assert [(change["key"], change["what"]) for change in now["keys"]] == [("/later", "added")]
    back = house.json("diff", "now", first)
    assert (back["added"], back["removed"]) == (1, 2)
    said = house.snapshots("diff", first, "now").stdout
    assert "2 added, 2 changed, 1 removed" in said
    assert "deleted and made again" in said
    assert "another" not in said
    nothing = house.snapshots("diff", second, second).stdout
    assert "0 added, 0 changed, 0 removed" in nothing


def test_a_cluster_that_does_not_answer_is_said(house: House, first: str) -> None:
    house.member.stop()
    done = house.snapshots("diff", first, "now", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["errors"][0]["remedy"]
    assert house.json("browse", first)["keys"] == len(DATA) + 1, "a snapshot can be read without the cluster"
