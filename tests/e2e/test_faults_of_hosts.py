"""Hosts with a fault each, told all at once; waived, they fail where they must; mended, the same command ends well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.conftest import MakeProduct
from tests.e2e.product import Done, Product, assert_healthy, footprint, leftovers
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import wait_until

WAIVERS = ("disk-space", "ports", "clock", "paths", "disk-speed")


@dataclass
class Troubled:
    """Hosts: with a full disk; with a clock that is off and a port taken; with /opt read-only and a slow disk.

    Args:
        refused: The first run.
        before: What was on the hosts before it.
        after: And after it.
        stopped: The second run, with everything waived.
        unwell: The third, with /opt writable and the disk fast.
        done: The last, with room made and the port free; the clock still is off.
    """

    hosts: list[LabHost]
    before: list[str]
    after: list[str]
    refused: Done
    stopped: Done
    unwell: Done
    done: Done

    def refusal(self, check: str, host: str) -> dict[str, Any]:
        """The error of the first run about one check."""
        found = [e for e in self.refused.errors if e["host"] == host and e["message"].startswith(f"{check}:")]
        assert len(found) == 1, self.refused.errors
        assert found[0]["remedy"]
        return found[0]


@pytest.fixture(scope="module")
def troubled(lab: Lab, make_product: MakeProduct) -> Troubled:
    product, hosts = make_product(), lab.fresh(3)
    full, busy, locked = hosts
    product.describe(hosts, etcd={"start_timeout": 20, "quota": "100MiB", **release(product)})
    full.small_disk(700)
    full.exec("fallocate -l 650M /var/lib/etcd/lost+found/ballast")
    busy.exec("systemd-run -q --unit=squatter systemd-socket-activate --accept -l 0.0.0.0:2380 /bin/true")
    busy.write("/usr/local/bin/date", '#!/bin/sh\nexec /usr/bin/date -d "40 seconds" "$@"\n', 0o755)
    locked.exec("mount --bind /opt /opt && mount -o remount,bind,ro /opt")
    locked.small_disk(700)
    locked.slow_disk(900)
    wait_until("it listens", lambda: "2380" in busy.exec("ss -Hltn"), 5)
    waived = [word for check in WAIVERS for word in ("--waive", check)]

    before = [footprint(host) for host in hosts]
    refused = product.run("bootstrap-cluster")
    after = [footprint(host) for host in hosts]
    stopped = product.run("bootstrap-cluster", *waived)
    locked.fast_disk()
    locked.exec("mount -o remount,bind,rw /opt")
    unwell = product.run("bootstrap-cluster", *waived)
    full.exec("rm /var/lib/etcd/lost+found/ballast")
    busy.exec("systemctl stop squatter")
    done = product.run("bootstrap-cluster", "--waive", "clock")
    return Troubled(hosts, before, after, refused, stopped, unwell, done)


def release(product: Product) -> dict[str, Any]:
    return {"release": {"source": str(product.mirror), "cache": str(product.cache)}}


def failure(done: Done, host: str) -> dict[str, Any]:
    """The one error about a host."""
    (found,) = [error for error in done.errors if error["host"] == host]
    assert found["remedy"]
    assert found["state"]
    return dict(found)


def test_all_are_told_at_once_and_nothing_is_changed(troubled: Troubled) -> None:
    assert troubled.refused.code == 3, troubled.refused.output
    assert len(troubled.refused.errors) == len(WAIVERS)
    assert all(error["state"] == "nothing was changed on any host" for error in troubled.refused.errors)
    assert troubled.after == troubled.before


def test_a_full_disk(troubled: Troubled) -> None:
    error = troubled.refusal("disk-space", "etcd-01")
    assert "MiB free for /var/lib/etcd" in error["message"]
    error = failure(troubled.unwell, "etcd-01")
    assert "no space left on device" in error["message"]


def test_a_taken_port(troubled: Troubled) -> None:
    error = troubled.refusal("ports", "etcd-02")
    assert "0.0.0.0:2380 is taken by systemd-socket-" in error["message"]
    assert "squatter.service" in error["message"]
    error = failure(troubled.unwell, "etcd-02")
    assert "address already in use" in error["message"]
    assert ":2380" in error["message"]


def test_a_clock_that_is_off(troubled: Troubled) -> None:
    error = troubled.refusal("clock", "etcd-02")
    assert "40.0 s ahead of the others" in error["message"]
    assert "time servers" in error["remedy"]


def test_a_read_only_directory_for_programs(troubled: Troubled) -> None:
    error = troubled.refusal("paths", "etcd-03")
    assert "/opt is mounted read-only" in error["message"]
    error = failure(troubled.stopped, "etcd-03")
    assert troubled.stopped.code == 1
    assert "/opt/bin can't be written" in error["message"]
    assert len(troubled.stopped.errors) == 1, "the other hosts are prepared"


def test_a_slow_disk(troubled: Troubled) -> None:
    error = troubled.refusal("disk-speed", "etcd-03")
    assert "above half of etcd.election_ms (1000)" in error["message"]
    assert "local SSD" in error["remedy"]


def test_members_that_can_not_be_healthy_without_the_others_say_so(troubled: Troubled) -> None:
    assert troubled.unwell.code == 1
    assert failure(troubled.unwell, "etcd-03")["message"]


def test_mended_it_ends_well(troubled: Troubled) -> None:
    assert troubled.done.code == 0, troubled.done.output
    assert_healthy(troubled.hosts)
    assert [leftovers(host) for host in troubled.hosts] == [[], [], []]
    (waived,) = [f for f in troubled.done.json["preflight"] if f["level"] == "waived"]
    assert (waived["check"], waived["host"]) == ("clock", "etcd-02")
