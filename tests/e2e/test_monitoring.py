"""enable-monitoring on a real host: real Prometheus and Alertmanager, from the members' metrics to whoever is told.

The tests of this module share one site and follow one another, as an operator's week would.
"""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import monitored
from tests.e2e.conftest import MakeProduct
from tests.e2e.monitored import OWN_RULES, SLACK_KEY, TOKEN, WEB_PASSWORD, Site, eventually
from tests.e2e.product import etcdctl, leftovers, tree
from tests.lab.lab import Lab
from tests.monitoring import sinks
from tests.monitoring.sinks import Hook

CONFIG = ("/etc/prometheus", "/etc/alertmanager", "/etc/systemd/system", "/var/lib/etcd-flows/monitoring")


@pytest.fixture(scope="module")
def hook(lab: Lab) -> Iterator[Hook]:
    with sinks.hook(monitored.HERE) as running:
        yield running


@pytest.fixture(scope="module")
def site(lab: Lab, make_product: MakeProduct, hook: Hook) -> Iterator[Site]:
    with monitored.site(lab, make_product, hook) as made:
        yield made


def test_set_up_from_tarballs_and_proven(site: Site, hook: Hook) -> None:
    planned = site.product.must("enable-monitoring", "--plan").json["plan"]
    assert [phase["name"] for phase in planned["phases"]] == [
        "prepare the monitoring host",
        "configure",
        "run",
        "prove",
    ]
    assert site.watcher.exec("ls /etc/prometheus /opt/etcd-flows 2>/dev/null; true") == ""

    done = site.enable()
    assert {(target["state"], target["health"]) for target in done.json["targets"]} == {("up", "healthy")}
    assert [target["member"] for target in done.json["targets"]] == [host.name for host in site.hosts]
    assert hook.alerts("EtcdFlowsTest", "firing"), "the test alert"
    assert hook.tokens == {f"Bearer {TOKEN}"}
    (message,) = [one for one in hook.slack if "EtcdFlowsTest" in json.dumps(one)]
    assert message["channel"] == "#etcd"
    (mail,) = site.mail.got
    assert (mail.to, mail.sender, mail.encrypted) == (["oncall@example.com"], "etcd@example.com", True)
    assert "EtcdFlowsTest" in mail.subject
    assert "test alert of etcd-flows to mail; nothing is wrong with prod-a" in mail.text
    assert site.mail.refused == 0
    users = site.watcher.exec("ps -o user:20= -o comm= -e")
    for name in ("prometheus", "alertmanager"):
        assert f"{name} {name}" in " ".join(users.split()), users
    assert leftovers(site.watcher) == []


def test_each_secret_is_in_one_closed_file(site: Site) -> None:
    for secret in (TOKEN, SLACK_KEY, site.mail.password):
        words = f"grep -rl {secret} /etc /var/lib/etcd-flows /opt/etcd-flows 2>/dev/null; true"
        (found,) = site.watcher.exec(words).split()
        assert site.watcher.exec(f"stat -c '%a %U:%G' {found}").strip() == "640 root:alertmanager"
        said = site.watcher.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; journalctl -o cat --no-pager")
        assert secret not in said


def test_members_answer_the_monitoring_host_and_nobody_without_a_certificate(site: Site) -> None:
    """Over https, by the certificate that was issued for Prometheus."""
    folder = "/etc/prometheus/clusters/etcd-prod-a.tls"
    assert site.watcher.exec(f"stat -c '%a %U:%G' {folder}/client.key").strip() == "640 root:prometheus"
    curl = f"curl -s -m 20 --cacert {folder}/ca.crt"
    client = f"--cert {folder}/client.crt --key {folder}/client.key"
    for host in site.hosts:
        url = f"https://{host.address}:2381"
        said = {path: site.watcher.exec(f"{curl} -f {client} {url}/{path}") for path in ("livez", "readyz", "health")}
        assert said["livez"].strip() == said["readyz"].strip() == "ok"
        assert json.loads(said["health"])["health"] == "true"
        assert "etcd_server_has_leader 1" in site.watcher.exec(f"{curl} -f {client} {url}/metrics")
        assert site.watcher.exec_result(f"{curl} {url}/metrics").returncode != 0
    scraped = {row["metric"]["instance"] for row in site.query('up{job="etcd", cluster="prod-a"} == 1')}
    assert scraped == {f"{host.address}:2381" for host in site.hosts}


def test_a_rerun_has_nothing_to_do(site: Site) -> None:
    before, pids = tree(site.watcher, *CONFIG), site.pids()
    done = site.enable()
    assert done.json["plan"]["empty"] is True
    assert tree(site.watcher, *CONFIG) == before
    assert site.pids() == pids
    text = site.product.run("enable-monitoring", as_json=False)
    assert "nothing to do" in text.stdout


def test_what_the_flows_know_reaches_prometheus(site: Site) -> None:
    """check-cluster writes it on the monitoring host over SSH, where node_exporter reads it."""
    site.product.must("snapshot-backup")
    checked = site.product.must("check-cluster").json
    assert "Prometheus is not told" not in json.dumps(checked)
    ends = 'etcd_flows_certificate_not_after_timestamp_seconds{cluster="prod-a"}'
    names = {host.name for host in site.hosts}
    eventually(lambda: {row["metric"].get("member") for row in site.query(ends)} == names, "the certificates' ends")
    for host in site.hosts:
        openssl = "openssl x509 -enddate -noout -in /etc/etcd/pki/server.crt | cut -d= -f2"
        until = int(host.exec(f'date -d "$({openssl})" +%s'))
        of_host = [row for row in site.query(ends) if row["metric"]["member"] == host.name]
        assert until in {int(float(row["value"][1])) for row in of_host}
    assert leftovers(site.watcher) == []


def test_a_member_that_dies_is_told_and_so_is_its_return(site: Site, hook: Hook) -> None:
    """And while a second one takes the quorum away, that is told, and no longer who else is down."""
    first, second = site.hosts[1:]
    first.power_cut()
    eventually(lambda: site.told("EtcdMemberDown", "firing", member=first.name), "that a member is down")
    eventually(lambda: hook.alerts("TeamMemberGone", "firing"), "the team's own alert")
    done = site.enable(code=1)
    assert done.json["plan"]["empty"] is True, "a member that is down is no reason to change anything"
    seen = {target["member"]: (target["state"], target["health"]) for target in done.json["targets"]}
    assert seen[first.name] == ("down", "no answer (HostUnreachable)")
    assert {seen[host.name] for host in site.hosts if host is not first} == {("up", "healthy")}
    pending = "/var/lib/etcd-flows/monitoring/prometheus.pending"
    site.watcher.exec(f"touch {pending}")
    planned = site.product.must("enable-monitoring", "--plan").output
    assert [host.name for host in site.hosts if f"{host.name} gives no answer" in planned] == [first.name], planned
    site.watcher.exec(f"rm {pending}")

    second.exec("systemctl stop etcd")
    eventually(lambda: site.told("EtcdQuorumLost", "firing"), "that the quorum is lost")
    silent = {first.name: "suppressed", second.name: "suppressed"}
    eventually(lambda: site.known("EtcdMemberDown") == silent, "that it silences what follows from it")
    time.sleep(4)  # four times as long as more alerts of a group wait
    assert not any(one["labels"]["member"] == second.name for one in hook.alerts("EtcdMemberDown", "firing"))

    second.exec("systemctl start --no-block etcd")
    first.boot()
    for alert in ("EtcdQuorumLost", "EtcdMemberDown"):
        eventually(lambda alert=alert: site.told(alert, "resolved"), f"that {alert} is over")  # type: ignore[misc]
    eventually(lambda: hook.alerts("TeamMemberGone", "resolved"), "that the team's alert is over")


def test_a_full_database_is_told_and_so_is_the_cure(site: Site, hook: Hook) -> None:
    host = site.hosts[0]
    host.exec("head -c 1000000 /dev/zero | tr '\\0' x >/tmp/value")

    def refused() -> bool:
        done = host.exec_result("for n in $(seq 20); do etcdctl put fill/$n </tmp/value || exit 1; done")
        return "database space exceeded" in done.stderr

    eventually(lambda: refused() and site.told("EtcdNoSpace", "firing", member=host.name), "that it is full")
    eventually(lambda: site.told("EtcdQuotaNearlyUsed", "firing"), "that the quota is used")
    (status,) = json.loads(etcdctl(host, "endpoint status -w json"))
    etcdctl(host, "del --prefix fill/")
    etcdctl(host, f"compact {status['Status']['header']['revision']}")
    for member in site.hosts:
        etcdctl(member, "defrag")
    etcdctl(host, "alarm disarm")
    eventually(lambda: site.told("EtcdNoSpace", "resolved"), "that there is room again")
    etcdctl(host, "put room yes")


def test_an_old_backup_is_told_until_there_is_a_new_one(site: Site) -> None:
    """The last one was made some tests ago, and may be half a minute old."""
    eventually(lambda: site.told("EtcdBackupTooOld", "firing", store="local"), "that the backup is old")
    site.product.must("snapshot-backup")
    eventually(lambda: site.told("EtcdBackupTooOld", "resolved", store="local"), "that there is a new one")


def test_changed_configuration_reloads_and_a_broken_rule_never_goes_live(site: Site) -> None:
    pids = site.pids()
    rules = site.product.directory / "team.rules.yml"
    rules.write_text(OWN_RULES.replace("TeamMemberGone", "TeamMemberAway"))
    assert [step["name"] for phase in site.enable().json["plan"]["phases"] for step in phase["steps"]] == [
        "prometheus-config",
        "prometheus-run",
        "targets",
    ]
    assert site.pids() == pids, "reloaded, not restarted"

    before = tree(site.watcher, *CONFIG)
    rules.write_text(OWN_RULES.replace("== 0", "=== 0"))
    refused = site.enable(code=3)
    assert "parse error" in refused.errors[0]["message"], refused.output
    assert "former configuration" in refused.errors[0]["state"]
    assert tree(site.watcher, *CONFIG) == before
    assert site.pids() == pids
    rules.write_text(OWN_RULES.replace("TeamMemberGone", "TeamMemberAway"))
    assert site.enable().json["plan"]["empty"] is True


def test_a_receiver_that_refuses_is_named(site: Site, hook: Hook) -> None:
    receivers = site.content["monitoring"]["receivers"]
    site.change(receivers=[*receivers, {"name": "deaf", "webhook": {"url": f"{hook.url}/refuse"}}])
    failed = site.enable(code=1)
    assert "receiver deaf did not take" in failed.errors[0]["message"]
    assert "oncall" not in failed.errors[0]["message"]
    site.change(receivers=receivers)
    assert site.enable().json["plan"]["empty"] is False
    assert site.enable().json["plan"]["empty"] is True


def test_a_second_cluster_leaves_the_first_alone(
    site: Site, make_product: MakeProduct, hook: Hook, tmp_path: Path
) -> None:
    """Its one member runs on the monitoring host itself, by whose name it is called."""
    mine = "/etc/prometheus/clusters/etcd-prod-a* /etc/alertmanager/clusters/etcd-prod-a*"
    before = tree(site.watcher, mine)
    other = make_product()
    keys = {name: site.content["monitoring"][name] for name in ("prometheus", "alertmanager", "node_exporter")}
    receivers = [{"name": "oncall", "webhook": {"url": f"{hook.url}/other"}}]
    monitoring = {"host": {"machine": site.watcher.name}, "receivers": receivers, **keys}
    other.describe([site.watcher], name="prod-b", monitoring=monitoring)
    other.bootstrap()
    done = other.must("enable-monitoring").json
    assert [target["state"] for target in done["targets"]] == ["up"]
    assert "prometheus-release" not in json.dumps(done["plan"])
    assert tree(site.watcher, mine) == before
    assert {row["metric"]["cluster"] for row in site.query('up{job="etcd"} == 1')} == {"prod-a", "prod-b"}
    assert site.enable().json["plan"]["empty"] is True
    assert other.must("enable-monitoring").json["plan"]["empty"] is True


def test_a_run_that_is_cut_off_is_carried_on(site: Site) -> None:
    """New configuration is in place, and the program was not told: the note makes the next run do it."""
    site.watcher.exec("touch /var/lib/etcd-flows/monitoring/prometheus.pending; systemctl kill -s KILL alertmanager")
    plan = site.enable().json["plan"]
    names = [step["name"] for phase in plan["phases"] for step in phase["steps"]]
    assert "prometheus-run" in names
    assert "targets" in names
    assert site.enable().json["plan"]["empty"] is True
    site.watcher.power_cycle()
    eventually(lambda: "active" in site.watcher.exec("systemctl is-active prometheus; true"), "it starts at boot")
    assert site.enable().json["plan"]["empty"] is True


def test_a_host_without_room_says_so_and_goes_on(site: Site) -> None:
    site.watcher.exec("mount -t tmpfs -o size=150M tmpfs /opt/etcd-flows")
    failed = site.enable(code=1)
    assert "there is no room for Prometheus" in failed.errors[0]["message"]
    site.watcher.exec("umount /opt/etcd-flows")
    assert site.enable().json["plan"]["empty"] is True


def test_tls_and_a_login_on_an_address_of_the_network(site: Site) -> None:
    monitored.certificate(site.product, "mon", site.watcher.address)
    web = {"certificate": "./mon.crt", "key": "file:./mon.key", "user": "ops", "password": "env:WEB_PASSWORD"}
    host = site.content["monitoring"]["host"]
    site.change(host={**host, "listen_address": site.watcher.address, "web": web})
    assert {target["state"] for target in site.enable().json["targets"]} == {"up"}
    assert site.enable().json["plan"]["empty"] is True

    context = ssl.create_default_context(cafile=str(site.product.state / "ca.crt"))
    login = base64.b64encode(f"ops:{WEB_PASSWORD}".encode()).decode()
    for port in (9090, 9093):
        url = f"https://{site.watcher.address}:{port}/-/healthy"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, timeout=10, context=context)
        assert refused.value.code == 401
        asked = urllib.request.Request(url, headers={"authorization": f"Basic {login}"})
        with urllib.request.urlopen(asked, timeout=10, context=context) as answer:  # noqa: S310 - our own URL
            assert answer.status == 200
    found = site.watcher.exec(f"grep -rl {WEB_PASSWORD} /etc /var/lib/etcd-flows 2>/dev/null; true").split()
    assert found == ["/etc/prometheus/web.password"]
    site.change(host=host)
    site.enable()
    assert site.watcher.exec("ls /etc/prometheus /etc/alertmanager | grep web; true") == ""


def test_somebody_elses_prometheus_is_not_touched(site: Site, lab: Lab, make_product: MakeProduct) -> None:
    host = site.hosts[0]
    host.write("/etc/systemd/system/prometheus.service", "[Service]\nExecStart=/bin/sleep 1000\n")
    host.exec("systemctl daemon-reload")
    site.change(host={"machine": host.name})
    refused = site.enable(code=3)
    assert "prometheus.service that etcd-flows did not make" in refused.errors[0]["message"]
    assert "sleep" in host.read("/etc/systemd/system/prometheus.service")
