"""What a cluster file becomes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.cluster.load import ClusterFileError, find_cluster_file, load_cluster
from tasks.cluster.spec import SecretRef
from tasks.errors import InputError
from tests.unit.cluster.files import EXAMPLES, MINIMAL, cluster, parse, problems, with_hosts


def test_three_lines_of_hosts_are_enough() -> None:
    loaded = parse(MINIMAL)
    assert loaded.warnings == ()
    assert loaded.cluster.initial_cluster == (
        "etcd-01=https://10.0.0.11:2380,etcd-02=https://10.0.0.12:2380,etcd-03=https://10.0.0.13:2380"
    )
    host = loaded.cluster.hosts[0]
    assert (host.listen_address, host.peer_listen_address, host.peer_address) == ("10.0.0.11",) * 3
    assert (host.ssh.address, host.ssh.user, host.ssh.port) == ("10.0.0.11", "root", 22)
    assert host.ssh.known_hosts == Path("/home/ops/.ssh/known_hosts")
    assert host.paths.env_file == "/etc/etcd/etcd.env"
    assert loaded.cluster.pki.state_dir == Path("/home/ops/.local/state/etcd-flows/prod-a")
    assert loaded.cluster.etcd.quota_bytes == 8 * 1024**3
    assert loaded.cluster.release.version == "3.6.16"


@pytest.mark.parametrize("name", ["example.yaml", "full.yaml"])
def test_examples_load_without_a_warning(name: str) -> None:
    assert load_cluster(EXAMPLES / name).warnings == ()


def test_the_full_example_says_what_it_means() -> None:
    loaded = load_cluster(EXAMPLES / "full.yaml", {"HOME": "/home/ops"}).cluster
    first, second, third = loaded.hosts
    assert first.ssh.address == "192.0.2.11"
    assert first.ssh.user == "ubuntu"
    assert first.paths.data_dir == "/mnt/nvme/etcd"
    assert second.ssh.host_key is not None
    assert second.ssh.sudo_password == SecretRef("block", "secret/etcd-sudo")
    assert (third.listen_address, third.peer_listen_address) == ("0.0.0.0", "0.0.0.0")
    assert third.paths.data_dir == "/srv/member-3/var/lib/etcd"
    assert third.ssh.jump is not None
    assert third.ssh.jump.jump is not None
    assert third.ssh.jump.jump.user == "ops"
    assert loaded.pki.state_dir == EXAMPLES.parent / "state" / "full"
    assert loaded.etcd.extra == (("ETCD_MAX_REQUEST_BYTES", "10485760"),)


@pytest.mark.parametrize(
    ("host", "listen", "peer_listen"),
    [
        ("name: a, address: 10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("name: a, address: 10.0.0.1, peer_address: 172.16.0.1", "10.0.0.1", "172.16.0.1"),
        ("name: a, address: a.example.com", "0.0.0.0", "0.0.0.0"),
        ("name: a, address: a.example.com, peer_address: 'fd00::1'", "::", "fd00::1"),
        ("name: a, address: a.example.com, peer_address: 10.0.0.1", "0.0.0.0", "10.0.0.1"),
        ("name: a, address: 192.0.2.1, listen_address: 10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("name: a, address: 'FD00:0::11'", "fd00::11", "fd00::11"),
    ],
)
def test_listen_addresses_follow_from_the_others(host: str, listen: str, peer_listen: str) -> None:
    built = cluster(with_hosts(host)).hosts[0]
    assert (built.listen_address, built.peer_listen_address) == (listen, peer_listen)


@pytest.mark.parametrize("name", ["a", "Etcd_01", "etcd-01.ams.example.com", "_x", "0-1", "A.b-C_d.9"])
def test_odd_but_legal_member_names(name: str) -> None:
    assert cluster(with_hosts(f"name: '{name}', address: 10.0.0.1")).hosts[0].name == name


def test_ssh_is_merged_key_by_key() -> None:
    text = with_hosts(
        "name: a, address: 10.0.0.1, ssh: {port: 2222, user: }",
        rest="ssh: {user: ops, port: 22, key: keys/id, jump: {address: bastion}}\n",
    )
    ssh = cluster(text).hosts[0].ssh
    assert (ssh.user, ssh.port, ssh.key) == ("ops", 2222, Path("/srv/clusters/keys/id"))
    assert ssh.jump is not None
    assert (ssh.jump.address, ssh.jump.user, ssh.jump.port) == ("bastion", "ops", 22)


def test_paths_are_absolute_and_secrets_stay_references() -> None:
    text = MINIMAL + (
        "ssh: {password: 'file:../pw', sudo_password: env:SUDO, known_hosts: ~/kh}\n"
        "pki: {passphrase: block:secret/ca}\netcd: {release: {source: ./mirror}}\n"
    )
    built = cluster(text)
    assert built.hosts[0].ssh.password == SecretRef("file", "/srv/pw")
    assert built.hosts[0].ssh.sudo_password == SecretRef("env", "SUDO")
    assert built.hosts[0].ssh.known_hosts == Path("/home/ops/kh")
    assert built.pki.passphrase == SecretRef("block", "secret/ca")
    assert built.release.source == "/srv/clusters/mirror"


def test_xdg_state_home_counts_if_absolute() -> None:
    assert cluster(MINIMAL, {"XDG_STATE_HOME": "/s"}).pki.state_dir == Path("/s/etcd-flows/prod-a")
    assert cluster(MINIMAL, {"XDG_STATE_HOME": "s"}).pki.state_dir == Path("/home/ops/.local/state/etcd-flows/prod-a")


def test_environment_fits_text_numbers_and_booleans_quoted_or_not() -> None:
    text = with_hosts(
        'name: "${N}", address: "10.0.0.${LAST:-11}", client_port: "${PORT}", labels: {rack: "$${x}"}',
        rest="ssh:\n  port: ${PORT}\n  agent: ${AGENT:-no}\n  user: ${EMPTY:-ops}\n  key: id\n",
    )
    host = cluster(text, {"N": "123", "PORT": "2222", "EMPTY": ""}).hosts[0]
    assert (host.name, host.address, host.client_port, host.ssh.port) == ("123", "10.0.0.11", 2222, 2222)
    assert (host.ssh.agent, host.ssh.user) == (False, "ops")
    assert host.labels == (("rack", "${x}"),)


def test_labels_and_settings_are_taken_as_written() -> None:
    text = with_hosts(
        "name: a, address: 10.0.0.1, labels: {rack: 012, site: no, rev: 1.10}",
        rest="etcd: {version: v3.5.33, extra: {ETCD_ENABLE_PPROF: true, ETCD_MAX_SNAPSHOTS: 5}}\n",
    )
    built = cluster(text)
    assert built.hosts[0].labels == (("rack", "012"), ("rev", "1.10"), ("site", "no"))
    assert built.etcd.extra == (("ETCD_ENABLE_PPROF", "true"), ("ETCD_MAX_SNAPSHOTS", "5"))
    assert built.release.version == "3.5.33"


def test_anchors_and_merge_keys() -> None:
    text = with_hosts(
        "name: a, address: 10.0.0.1, ssh: &own {port: 2222, user: ops}",
        "name: b, address: 10.0.0.2, ssh: {<<: *own, user: root}",
        "name: c, address: 10.0.0.3, ssh: *own",
    )
    assert [(host.ssh.user, host.ssh.port) for host in cluster(text).hosts] == [
        ("ops", 2222),
        ("root", 2222),
        ("ops", 2222),
    ]


def test_members_on_one_machine() -> None:
    text = with_hosts(
        *(
            f"name: m{i}, address: 127.0.0.{i}, connection: local, service: supervisor, prefix: /srv/m{i}"
            for i in (1, 2, 3)
        )
    )
    loaded = parse(text)
    assert loaded.warnings == ()
    assert loaded.cluster.hosts[2].metrics_url == "http://127.0.0.3:2381"


@pytest.mark.parametrize(
    ("text", "size"), [("1GiB", 1024**3), ("512 MiB", 512 * 1024**2), ("10GB", 10**10), ("2147483648", 2**31)]
)
def test_sizes(text: str, size: int) -> None:
    assert cluster(f"{MINIMAL}etcd: {{quota: {text}}}\n").etcd.quota_bytes == size


def test_names_are_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here, there = tmp_path / "deployments" / "clusters", tmp_path / "there"
    here.mkdir(parents=True)
    there.mkdir()
    (here / "prod-a.yaml").write_text(MINIMAL)
    (there / "prod-b.yml").write_text(MINIMAL)
    environ = {"ETCD_FLOWS_CLUSTERS": str(there), "HOME": "/home/ops"}
    assert find_cluster_file("prod-a", environ) == Path("deployments/clusters/prod-a.yaml")
    assert load_cluster("prod-b", environ).cluster.source == there / "prod-b.yml"
    with pytest.raises(ClusterFileError, match="did you mean prod-b"):
        load_cluster("prod-bb", environ)
    (there / "prod-a.yml").write_text(MINIMAL)
    with pytest.raises(ClusterFileError, match="several files"):
        load_cluster("prod-a", environ)
    with pytest.raises(ClusterFileError, match="no cluster file of that name"):
        load_cluster("", environ)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dir.yaml").mkdir()
    (tmp_path / "big.yaml").write_bytes(b"#" * (1 << 20) + b"\n")
    (tmp_path / "latin.yaml").write_bytes(MINIMAL.encode() + b"# \xe9\n")
    subprocess.run(["mkfifo", str(tmp_path / "pipe.yaml")], check=True)
    for name, message in {
        "dir.yaml": "directory",
        "big.yaml": "larger than 1 MiB",
        "latin.yaml": r"latin.yaml:6: error: not UTF-8",
        "pipe.yaml": "not a file",
        "none.yaml": "no such file",
        "a\0b.yaml": "not a path",
        "x" * 300 + ".yaml": "cannot be read",
    }.items():
        with pytest.raises(ClusterFileError, match=message):
            load_cluster(tmp_path / name)


def test_the_error_is_an_input_error_and_survives_pickling() -> None:
    with pytest.raises(ClusterFileError) as caught:
        parse("name: x\n")
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
    assert isinstance(copy, ClusterFileError)
    assert isinstance(copy, InputError)
    assert copy.problems == caught.value.problems
    assert copy.exit_code == 2
    assert str(copy) == str(caught.value)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm() -> None:
    text = "\ufeff" + MINIMAL.replace("\n", "\r\n")
    assert len(parse(text).cluster.hosts) == 3
    found = problems(text + "nonsense: 1\r\n")
    assert [(problem.line, problem.column) for problem in found] == [(6, 1)]


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys, tasks.cluster.load, tasks.cluster.schema; "
        "print([m for m in ('prefect', 'fabric', 'paramiko', 'cryptography', 'etcd3') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"
