"""Every rendered setting, on real etcd of every supported line."""

import json
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.etcd.versions import NEWEST
from tests.component.etcd.conftest import Member

pytestmark = pytest.mark.component
Make = Callable[..., list[Member]]


@pytest.mark.parametrize("version", NEWEST.values())
def test_etcd_starts_and_knows_every_setting(version: str, make_members: Make) -> None:
    where = {"metrics_address": "127.0.0.2", "metrics_scheme": "https"}
    (member,) = make_members(version, where=where, tls_min_version="TLS1.3", snapshot_count=20000, metrics="extensive")
    member.start()
    lines = [json.loads(line) for line in member.log.splitlines() if line.startswith("{")]
    assert [line for line in lines if "unrecognized" in line["msg"]] == []
    assert [line for line in lines if "deprecat" in line["msg"].lower()] == []
    config = next(line for line in lines if line["msg"] == "starting an etcd server")
    assert config["quota-backend-bytes"] == member.cluster.etcd.quota_bytes
    assert config["snapshot-count"] == 20000
    assert config["auto-compaction-retention"] == "8h0m0s"
    checks = "InitialCorruptCheck=true" in config.get("feature-gates", "") or config["initial-corrupt-check"]
    assert checks
    with urllib.request.urlopen(f"{member.host.metrics_url}/readyz", timeout=5) as answer:  # noqa: S310
        assert answer.status == 200
    _metrics_over_tls_want_a_certificate(member)


def _metrics_over_tls_want_a_certificate(member: Member) -> None:
    folder = Path(member.host.paths.pki_dir)
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    with pytest.raises(OSError, match=r"certificate required|handshake failure|reset|EOF|closed"):
        urllib.request.urlopen(f"{member.host.scrape_url}/metrics", timeout=5, context=context).read()  # noqa: S310
    context.load_cert_chain(folder / "etcdctl-etcd-client.crt", folder / "etcdctl-etcd-client.key")
    for path, words in (("metrics", b"grpc_server_handling_seconds_bucket"), ("health", b'"true"'), ("livez", b"ok")):
        url = f"{member.host.scrape_url}/{path}"
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:  # noqa: S310
            assert words in answer.read()


@pytest.mark.parametrize("version", NEWEST.values())
def test_etcdctl_just_works(version: str, make_members: Make) -> None:
    (member,) = make_members(version)
    member.start()
    here, folder = member.host.client_url, member.host.paths.pki_dir
    pair = f"{folder}/etcdctl-etcd-client"
    flags = [f"--cacert={folder}/ca.crt", f"--cert={pair}.crt", f"--key={pair}.key"]
    env = {"ETCDCTL_CACERT": f"{folder}/ca.crt", "ETCDCTL_CERT": f"{pair}.crt", "ETCDCTL_KEY": f"{pair}.key"}
    for args, given in (
        ([], {}),
        (["--endpoints", here], {}),
        ([f"--endpoints={here}", *flags], {}),
        (flags, {}),
        ([], env),
        ([], {**env, "ETCDCTL_ENDPOINTS": here}),
        ([], {"ETCDCTL_ENDPOINTS": here, "ETCDCTL_API": "3"}),
    ):
        done = member.etcdctl(*args, "endpoint", "health", **given)
        assert done.returncode == 0, (args, given, done.stderr)
        assert "unrecognized" not in done.stderr
    assert member.etcdctl("put", "--", "--cacert", "x").returncode == 0
    assert member.etcdctl("get", "", "--prefix").stdout == "--cacert\nx\n"


def test_old_tls_is_refused(make_members: Make) -> None:
    (member,) = make_members(tls_min_version="TLS1.3")
    member.start()
    address = f"127.0.0.1:{member.host.client_port}"
    old = subprocess.run(
        ["openssl", "s_client", "-connect", address, "-tls1_2"], input=b"", capture_output=True, check=False
    )
    assert b"protocol version" in old.stderr


def test_supervisor_keeps_a_member_running(make_members: Make) -> None:
    supervisord = pytest.importorskip("supervisor.supervisord", reason="NOT RUN: supervisor is not installed")
    assert supervisord
    (member,) = make_members()
    import sys

    for name in ("run", "var/log", "etc"):
        (member.root / name).mkdir(parents=True, exist_ok=True)
    conf = str(member.root / "etc/supervisord.conf")
    env = {"PATH": "/usr/bin:/bin", "ETCD_QUOTA_BACKEND_BYTES": "nonsense from outside"}
    daemon = subprocess.Popen([sys.executable, "-m", "supervisor.supervisord", "-n", "-c", conf], env=env)
    try:
        member.wait()
        first = _pid(conf)
        subprocess.run(["kill", "-9", str(first)], check=True)
        end = time.monotonic() + 20
        while (again := _pid(conf)) in (0, first) and time.monotonic() < end:
            time.sleep(0.1)
        assert again not in (0, first)
        member.wait()
        assert (member.root / "run/supervisor.sock").stat().st_mode & 0o077 == 0
        assert "ready to serve" in (member.root / "var/log/etcd.log").read_text()
    finally:
        daemon.terminate()
        daemon.wait(30)
    assert not Path(f"/proc/{again}").exists()


def _pid(conf: str) -> int:
    import sys

    words = [sys.executable, "-m", "supervisor.supervisorctl", "-c", conf, "pid", "etcd"]
    out = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    return int(out) if out.isdigit() else 0
