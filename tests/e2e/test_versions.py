"""Every supported minor of etcd, with settings that this minor knows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.product import Product, assert_healthy
from tests.lab.hosts import LabHost


@pytest.mark.parametrize(("version", "members"), [("3.5.35", 3), ("3.6.16", 1), ("3.7.3", 1)])
def test_bootstrap(fresh_hosts: Callable[[int], list[LabHost]], product: Product, version: str, members: int) -> None:
    hosts = fresh_hosts(members)
    product.describe(hosts, version=version, etcd={"etc_hosts": True})
    answer = product.bootstrap().json
    assert {member["version"] for member in answer["members"]} == {version}
    assert_healthy(hosts)
    for host in hosts:
        for program, words in (("etcd", "--version"), ("etcdctl", "version"), ("etcdutl", "version")):
            assert version in host.exec(f"/opt/bin/{program} {words}").splitlines()[0]
        log = host.exec("journalctl -u etcd -o cat --no-pager")
        for complaint in ("unrecognized environment variable", "deprecated", '"level":"error"', '"level":"fatal"'):
            assert complaint not in log, [line for line in log.splitlines() if complaint in line]
        assert f"{hosts[-1].address} {hosts[-1].name}" in " ".join(host.read("/etc/hosts").split())
    assert product.bootstrap().json["plan"]["empty"] is True
