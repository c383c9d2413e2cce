import configparser
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.errors import InputError
from tasks.etcd.unit import render_etcdctl, render_etcdctl_env, render_supervisor, render_unit
from tests import etcd_specs as specs


def unit(**changes: str) -> dict[str, str]:
    member = specs.host(paths=replace(specs.paths(), **changes))
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(render_unit(specs.cluster(member), member))
    return {**parser["Unit"], **parser["Service"]}


def test_readiness_may_take_for_ever_and_priority_is_high() -> None:
    got = unit()
    assert got["TimeoutStartSec"] == "infinity"
    assert got["Type"] == "notify"
    assert got["User"] == got["Group"] == "etcd"
    assert (got["Nice"], got["IOSchedulingClass"], got["IOSchedulingPriority"]) == ("-10", "best-effort", "0")
    assert {"network-online.target", "time-sync.target"} <= set(got["After"].split())
    assert got["Conflicts"] == "etcd-member.service etcd2.service"


def test_only_the_data_dir_is_writable() -> None:
    got = unit(data_dir="/srv/etcd data")
    assert got["ProtectSystem"] == "strict"
    assert got["ReadWritePaths"] == got["RequiresMountsFor"] == '"/srv/etcd data"'


@pytest.mark.parametrize(
    ("data_dir", "tmp", "home"),
    [("/var/lib/etcd", "yes", "yes"), ("/var/tmp/etcd", "no", "yes"), ("/home/etcd/data", "yes", "no")],
)
def test_protection_makes_way_for_unusual_places(data_dir: str, tmp: str, home: str) -> None:
    got = unit(data_dir=data_dir)
    assert (got["PrivateTmp"], got["ProtectHome"]) == (tmp, home)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="NOT RUN: there is no systemd-analyze here")
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    member = specs.host(paths=replace(specs.paths(), install_dir="/bin", data_dir="/var/lib/etcd"))
    text = render_unit(specs.cluster(member, user="root"), member).replace("ExecStart=/bin/etcd", "ExecStart=/bin/true")
    file = tmp_path / "etcd.service"
    file.write_text(text)
    out = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True, check=False
    )
    assert [line for line in out.stderr.splitlines() if "etcd.service" in line] == []


def test_supervisor_command_survives_odd_paths() -> None:
    member = specs.host(service="supervisor", paths=specs.paths("/tmp/it's 100% ours"))
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    parser.read_string(render_supervisor(specs.cluster(member), member))
    words = shlex.split(parser["program:etcd"]["command"].replace("%%", "%"))
    assert words[:5] == ["/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "/bin/sh", "-c"]
    assert shlex.split(words[5].rpartition("exec ")[2]) == ["/tmp/it's 100% ours/opt/bin/etcd"]


def test_supervisor_refuses_a_prefix_too_long_for_a_socket() -> None:
    member = specs.host(service="supervisor", paths=specs.paths("/tmp/" + "x" * 100))
    with pytest.raises(InputError, match="too long"):
        render_supervisor(specs.cluster(member), member)


def test_etcdctl_env_exports_what_etcdadm_exports() -> None:
    member = specs.host()
    assert "export ETCDCTL_API=3\n" in render_etcdctl_env(specs.cluster(member, version="3.5.35"), member)
    assert "ETCDCTL_API" not in render_etcdctl_env(specs.cluster(member), member)


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., list[str]]:
    """Runs the wrapper around a program that prints its arguments."""
    places = replace(specs.paths(str(tmp_path)), install_dir=str(tmp_path / "bin dir"))
    member = specs.host(paths=places)
    wrapper = tmp_path / "etcdctl"
    wrapper.write_text(render_etcdctl(specs.cluster(member), member))
    real = tmp_path / "bin dir" / "etcdctl"
    real.parent.mkdir()
    real.write_text('#!/bin/sh\nfor a; do echo "$a"; done; echo "api=${ETCDCTL_API-}"\n')
    real.chmod(0o755)
    Path(places.pki_dir).mkdir(parents=True)
    (Path(places.pki_dir) / "etcdctl-etcd-client.key").touch()

    def run(*args: str, **env: str) -> list[str]:
        out = subprocess.run(
            ["sh", str(wrapper), *args],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": "/usr/bin:/bin", **env},
        )
        return [line.replace(places.pki_dir, "PKI") for line in out.stdout.splitlines()]

    return run


TLS = ["--cacert=PKI/ca.crt", "--cert=PKI/etcdctl-etcd-client.crt", "--key=PKI/etcdctl-etcd-client.key"]
HERE = "--endpoints=https://127.0.0.1:2379"


def test_wrapper_adds_what_is_missing_and_nothing_else(call: Callable[..., list[str]]) -> None:
    assert call("get", "a b", "") == [*TLS, HERE, "get", "a b", "", "api="]
    assert call("--endpoints", "https://x:1", "get", "a") == [*TLS, "--endpoints", "https://x:1", "get", "a", "api="]
    assert call("--cacert=x", "get", "a") == [HERE, "--cacert=x", "get", "a", "api="]
    assert call("get", "a", ETCDCTL_ENDPOINTS="https://x:1") == [*TLS, "get", "a", "api="]
    assert call("get", "a", ETCDCTL_CERT="x", ETCDCTL_ENDPOINTS="y") == ["get", "a", "api="]
    assert call("put", "--", "--key", "v") == [*TLS, HERE, "put", "--", "--key", "v", "api="]
    assert call("version", ETCDCTL_API="3")[-1] == "api="
    assert call("version", ETCDCTL_API="2")[-1] == "api=2"
