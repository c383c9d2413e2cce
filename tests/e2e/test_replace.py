"""One member is broken while the others go on: it alone is rebuilt. Each test takes the cluster as the last left it."""

from __future__ import annotations

import pytest
import yaml

from tests.e2e.conftest import MakeProduct
from tests.e2e.product import etcdctl, tree
from tests.e2e.replacing import Trio, assert_rebuilt, form, lose_data
from tests.lab.lab import Lab
from tests.lab.system import wait_until


@pytest.fixture(scope="module")
def trio(lab: Lab, make_product: MakeProduct) -> Trio:
    return form(make_product(), lab.fresh(3), ssh={"connect_timeout": 3})


def test_a_healthy_member_is_left_alone(trio: Trio) -> None:
    before = [tree(host, "/etc", "/opt", "/var/lib/etcd-flows") for host in trio.hosts]
    answer = trio.replace(trio.hosts[1]).json
    assert answer["plan"]["empty"] is True
    assert "healthy member" in answer["plan"]["notes"][0]
    assert trio.product.run("replace-member", "etcd-02", "--confirm", "prod-b").code == 3
    assert trio.product.run("replace-member", "etcd-09", "--confirm", "prod-a").code == 2
    assert [tree(host, "/etc", "/opt", "/var/lib/etcd-flows") for host in trio.hosts] == before


def test_a_follower_has_lost_its_data(trio: Trio) -> None:
    """Everybody points the same way; the others serve all the time."""
    leader = trio.leader()
    host = trio.others(leader)[0]
    before = trio.ids()
    lose_data(host)
    found = [one for one in trio.product.run("check-cluster").json["findings"] if one["check"] == "broken"]
    assert [(one["host"], one["level"]) for one in found] == [(host.name, "error")]
    assert f"replace-member {trio.product.file} {host.name}" in found[0]["remedy"]
    refused = trio.product.run("bootstrap-cluster")
    assert refused.code == 3
    assert "replace-member" in refused.output
    restore = trio.product.run("disaster-restore", "--confirm", "prod-a")
    assert restore.code == 3, restore.output
    assert "has a quorum" in restore.output
    assert f"replace-member {trio.product.file} {host.name}" in restore.output
    planned = trio.product.must("replace-member", host.name, "--plan").json["plan"]
    writer = leader.exec(
        "rm -f /root/stop; (while [ ! -e /root/stop ]; do etcdctl put stream x >/dev/null || echo failed;"
        " sleep 0.05; done) </dev/null >/root/writer.log 2>&1 & echo started"
    )
    assert writer.strip() == "started"
    done = trio.replace(host).json
    leader.exec("touch /root/stop")
    assert "failed" not in leader.read("/root/writer.log")
    steps = [(s["host"], s["name"]) for phase in planned["phases"] for s in phase["steps"]]
    assert [(s["host"], s["name"]) for phase in done["plan"]["phases"] for s in phase["steps"]] == steps
    assert_rebuilt(trio, host, before)
    etcdctl(leader, "del stream")
    assert trio.product.must("check-cluster").json["verdict"] == "ok"


def test_the_leaders_machine_is_swapped_for_a_bare_one(trio: Trio) -> None:
    """Same name, same address, nothing on it: user, programs and certificates come first."""
    host = trio.leader()
    before = trio.ids()
    host.reset()
    host.boot()
    trio.product.describe(trio.hosts, ssh={"connect_timeout": 3})  # with the new machine's host key
    planned = trio.product.must("replace-member", host.name, "--plan").json["plan"]["phases"]
    assert [step["name"] for step in planned[0]["steps"]] == ["account", "release", "pki"]
    trio.replace(host)
    assert_rebuilt(trio, host, before)


#: One point in each kind of step; each run is killed there, and the next one goes on and is killed a step later.
POINTS = [
    "done/TARGET/record",
    "done/TARGET/hold",
    "done/VIA/remove-TARGET",
    "done/VIA/add-TARGET",
    "done/TARGET/switch",
    "done/TARGET/start",
    "done/TARGET/catch-up",
    "done/VIA/promote-TARGET",
    "done/TARGET/gate",
    "done/TARGET/settle",
]


def test_killed_in_every_kind_of_step(trio: Trio) -> None:
    """One replacement in many runs, its host booted in between: one new member, and no second one."""
    host, via = trio.hosts[2], trio.hosts[0]
    before = trio.ids()
    lose_data(host)
    ids = set()
    for point in POINTS:
        trio.killed(host, point.replace("TARGET", host.name).replace("VIA", via.name))
        ids |= set(trio.ids().values())
        if point.endswith("/hold"):
            host.power_cycle()
            assert host.exec("systemctl is-active etcd; pidof etcd; true").strip() == "inactive"
    trio.replace(host)
    assert_rebuilt(trio, host, before)
    assert len(ids | set(trio.ids().values())) == 4, "one id more than members, that of the new one"


def test_damaged_data_and_the_alarm(trio: Trio) -> None:
    """A value is changed in a follower's file; etcd's periodic check finds it, and serves nobody until it is cured."""
    content = yaml.safe_load(trio.product.file.read_text())
    content["etcd"] |= {"corruption_checks": False, "extra": {"ETCD_CORRUPT_CHECK_TIME": "2s"}}
    trio.product.write(content)
    trio.product.bootstrap()
    leader = trio.leader()
    etcdctl(leader, "put precious good-value")
    host = trio.others(leader)[0]
    before = trio.ids()
    host.exec(
        "systemctl stop etcd; d=$(cat /var/lib/etcd-flows/data-dir 2>/dev/null || echo /var/lib/etcd);"
        " LC_ALL=C sed -i s/good-value/evil-value/g $d/member/snap/db;"
        " chown etcd:etcd $d/member/snap/db; systemctl start etcd"
    )
    assert etcdctl(host, "get precious --consistency=s --print-value-only").strip() == "evil-value"

    def alarmed() -> bool:
        return "CORRUPT" in leader.exec("etcdctl alarm list")

    wait_until("etcd raises the alarm", alarmed, 30)
    assert leader.exec_result("etcdctl put anything 1").returncode != 0
    found = [one for one in trio.product.run("check-cluster").json["findings"] if one["check"] == "broken"]
    assert [one["host"] for one in found] == [host.name]
    wrong = trio.replace(trio.others(leader)[1], check=False)
    assert wrong.code == 3, wrong.output
    assert f"about {host.name}" in wrong.output
    trio.replace(host)
    assert leader.exec("etcdctl alarm list") == ""
    assert etcdctl(host, "get precious --print-value-only").strip() == "good-value"
    old = host.exec("grep -c evil-value /var/lib/etcd/*/member/snap/db /var/lib/etcd/member/snap/db 2>/dev/null; true")
    assert any(not line.endswith(":0") for line in old.split()), "the damaged data is kept aside"
    assert_rebuilt(trio, host, before)
