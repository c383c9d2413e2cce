import pytest

from tasks.errors import InputError
from tasks.etcd.config import MANAGED, check_settings, config_files, parse_env, render_env, settings
from tests import etcd_specs as specs

ETCDADM_ORDER = [
    "ETCD_NAME",
    "ETCD_INITIAL_CLUSTER",
    "ETCD_INITIAL_CLUSTER_TOKEN",
    "ETCD_INITIAL_CLUSTER_STATE",
    "ETCD_INITIAL_ADVERTISE_PEER_URLS",
    "ETCD_LISTEN_PEER_URLS",
    "ETCD_CLIENT_CERT_AUTH",
    "ETCD_PEER_CERT_FILE",
    "ETCD_PEER_KEY_FILE",
    "ETCD_PEER_TRUSTED_CA_FILE",
    "ETCD_ADVERTISE_CLIENT_URLS",
    "ETCD_LISTEN_CLIENT_URLS",
    "ETCD_PEER_CLIENT_CERT_AUTH",
    "ETCD_CERT_FILE",
    "ETCD_KEY_FILE",
    "ETCD_TRUSTED_CA_FILE",
    "ETCD_DATA_DIR",
    "ETCD_STRICT_RECONFIG_CHECK",
]


def env(version: str = "3.6.16", member: object = None, **changes: object) -> dict[str, str]:
    one = member or specs.host()
    return parse_env(render_env(specs.cluster(one, version=version, **changes), one, "tok"))  # type: ignore[arg-type]


def test_etcdadms_settings_come_first_in_its_order() -> None:
    cluster = specs.cluster()
    names = [name for name, _ in settings(cluster, cluster.hosts[0], "tok")]
    assert names[: len(ETCDADM_ORDER)] == ETCDADM_ORDER


def test_a_member_of_three() -> None:
    cluster = specs.cluster()
    got = parse_env(render_env(cluster, cluster.hosts[1], "tok-1"))
    assert got["ETCD_NAME"] == "etcd-02"
    assert got["ETCD_INITIAL_CLUSTER"] == cluster.initial_cluster
    assert got["ETCD_INITIAL_CLUSTER_TOKEN"] == "tok-1"
    assert got["ETCD_LISTEN_CLIENT_URLS"] == "https://10.0.0.12:2379,https://127.0.0.1:2379"
    assert got["ETCD_LISTEN_PEER_URLS"] == "https://10.0.0.12:2380"
    assert got["ETCD_LISTEN_METRICS_URLS"] == "http://127.0.0.1:2381"
    assert got["ETCD_CLIENT_CERT_AUTH"] == got["ETCD_PEER_CLIENT_CERT_AUTH"] == "true"
    assert "ETCD_SNAPSHOT_COUNT" not in got
    assert "GOMAXPROCS" not in got


def test_two_networks() -> None:
    member = specs.host(peer_address="10.9.0.11", peer_listen_address="10.9.0.11", listen_address="0.0.0.0")
    got = env(member=member)
    assert got["ETCD_LISTEN_CLIENT_URLS"] == "https://0.0.0.0:2379"
    assert got["ETCD_LISTEN_PEER_URLS"] == "https://10.9.0.11:2380"
    assert got["ETCD_INITIAL_ADVERTISE_PEER_URLS"] == "https://10.9.0.11:2380"
    assert got["ETCD_ADVERTISE_CLIENT_URLS"] == "https://10.0.0.11:2379"


def test_ipv6_is_bracketed() -> None:
    got = env(member=specs.host(address="fd00::11"))
    assert got["ETCD_LISTEN_CLIENT_URLS"] == "https://[fd00::11]:2379,https://127.0.0.1:2379"
    assert got["ETCD_INITIAL_CLUSTER"] == "etcd-01=https://[fd00::11]:2380"
    assert (
        env(member=specs.host(address="fd00::1", listen_address="::"))["ETCD_LISTEN_CLIENT_URLS"] == "https://[::]:2379"
    )


def test_a_loopback_member_listens_once() -> None:
    got = env(member=specs.host(address="127.0.0.3"))
    assert got["ETCD_LISTEN_CLIENT_URLS"] == "https://127.0.0.3:2379"
    assert got["ETCD_LISTEN_METRICS_URLS"] == "http://127.0.0.3:2381"


def test_joining_after_restore() -> None:
    cluster = specs.cluster()
    text = render_env(
        cluster, cluster.hosts[0], "t", "existing", initial_cluster="a=https://a:2380", data_dir="/var/lib/etcd/r1"
    )
    got = parse_env(text)
    assert got["ETCD_INITIAL_CLUSTER_STATE"] == "existing"
    assert got["ETCD_INITIAL_CLUSTER"] == "a=https://a:2380"
    assert got["ETCD_DATA_DIR"] == "/var/lib/etcd/r1"


def test_old_versions_are_not_told_what_they_do_not_know() -> None:
    old = env("3.5.1")
    assert "ETCD_TLS_MIN_VERSION" not in old
    assert "ETCD_EXPERIMENTAL_COMPACT_HASH_CHECK_ENABLED" not in old
    assert not any(name.startswith("ETCD_EXPERIMENTAL") for name in env("3.7.3"))
    assert "ETCD_FEATURE_GATES" not in env("3.6.16", corruption_checks=False)


def test_extra_overrides_and_joins_gates() -> None:
    got = env(
        extra=(
            ("ETCD_MAX_REQUEST_BYTES", "3000000"),
            ("ETCD_LOG_LEVEL", "debug"),
            ("ETCD_FEATURE_GATES", "InitialCorruptCheck=false,StopGRPCServiceOnDefrag=true"),
        )
    )
    assert got["ETCD_MAX_REQUEST_BYTES"] == "3000000"
    assert got["ETCD_LOG_LEVEL"] == "debug"
    assert got["ETCD_FEATURE_GATES"] == "InitialCorruptCheck=false,CompactHashCheck=true,StopGRPCServiceOnDefrag=true"


@pytest.mark.parametrize("name", sorted(MANAGED))
def test_identity_addresses_and_keys_cannot_be_overridden(name: str) -> None:
    with pytest.raises(InputError, match=name):
        env(extra=((name, "x"),))


@pytest.mark.parametrize(
    ("version", "name", "sentence"),
    [
        ("3.7.3", "ETCD_EXPERIMENTAL_CORRUPT_CHECK_TIME", "removed in etcd 3.7"),
        ("3.5.35", "ETCD_FEATURE_GATES", "from etcd 3.6 on"),
        ("3.6.16", "ETCD_ENABLE_V2", "removed in etcd 3.6"),
        ("3.6.16", "PATH", "not an etcd setting"),
    ],
)
def test_settings_that_would_stop_etcd_are_reported(version: str, name: str, sentence: str) -> None:
    problems = check_settings(specs.cluster(version=version, extra=((name, "x"), ("ETCD_CORS", "*"))))
    assert len(problems) == 1
    assert sentence in problems[0]


def test_tls13_cannot_be_had_before_3_5_8() -> None:
    assert check_settings(specs.cluster(version="3.5.7", tls_min_version="TLS1.3"))
    assert not check_settings(specs.cluster(version="3.5.8", tls_min_version="TLS1.3"))


def test_files_owners_and_modes() -> None:
    cluster = specs.cluster()
    files = {file.path: file for file in config_files(cluster, cluster.hosts[0], "tok", etc_hosts=b"127.0.0.1 x\n")}
    assert {path: (f"{f.mode:04o}", f.owner, f.group) for path, f in files.items()} == {
        "/etc/etcd/etcd.env": ("0640", "root", "etcd"),
        "/etc/etcd/etcdctl.env": ("0600", "root", "root"),
        "/usr/local/bin/etcdctl": ("0755", "root", "root"),
        "/etc/systemd/system/etcd.service": ("0644", "root", "root"),
        "/etc/hosts": ("0644", "root", "root"),
    }
    assert files["/etc/hosts"].content.startswith(b"127.0.0.1 x\n# BEGIN etcd-flows prod-a\n")


def test_etc_hosts_only_when_wanted_and_known() -> None:
    cluster = specs.cluster()
    assert "/etc/hosts" not in {f.path for f in config_files(cluster, cluster.hosts[0], "tok")}
    off = specs.cluster(etc_hosts=False)
    assert "/etc/hosts" not in {f.path for f in config_files(off, off.hosts[0], "tok", etc_hosts=b"")}


def test_etc_hosts_keeps_bytes_that_are_no_utf8() -> None:
    cluster = specs.cluster()
    files = config_files(cluster, cluster.hosts[0], "tok", etc_hosts=b"# caf\xe9\n")
    assert next(f for f in files if f.path == "/etc/hosts").content.startswith(b"# caf\xe9\n")


def test_supervised_members_get_no_unit_and_no_owner() -> None:
    member = specs.host(service="supervisor", paths=specs.paths("/tmp/demo"))
    files = {f.path: f for f in config_files(specs.cluster(member), member, "tok", etc_hosts=b"")}
    assert set(files) == {
        "/tmp/demo/etc/etcd/etcd.env",
        "/tmp/demo/etc/etcd/etcdctl.env",
        "/tmp/demo/usr/local/bin/etcdctl",
        "/tmp/demo/etc/supervisord.conf",
    }
    assert {(f.owner, f.group) for f in files.values()} == {("", "")}


def test_the_wrapper_never_overwrites_the_program() -> None:
    from dataclasses import replace

    member = specs.host(paths=replace(specs.paths(), install_dir="/usr/local/bin"))
    with pytest.raises(InputError, match="overwrite"):
        config_files(specs.cluster(member), member, "tok")


def test_same_input_same_bytes() -> None:
    cluster = specs.cluster()
    assert config_files(cluster, cluster.hosts[0], "tok") == config_files(cluster, cluster.hosts[0], "tok")


def test_metrics_are_shown_on_loopback_and_where_told() -> None:
    told = specs.host(metrics_address="10.9.0.11", metrics_scheme="https")
    got = env(member=told, metrics="extensive")
    assert got["ETCD_LISTEN_METRICS_URLS"] == "http://127.0.0.1:2381,https://10.9.0.11:2381"
    assert got["ETCD_METRICS"] == "extensive"
    loopback = specs.host(address="127.0.0.3", metrics_address="127.0.0.3")
    assert env(member=loopback)["ETCD_LISTEN_METRICS_URLS"] == "http://127.0.0.3:2381"
    assert "ETCD_METRICS" not in env()
