"""The monitoring host and its receivers in the cluster file."""

from __future__ import annotations

import pytest

from tasks.cluster.spec import SecretRef
from tasks.cluster.spec_monitoring import Email, Slack, Watch, Webhook
from tests.unit.cluster.files import MINIMAL, cluster, parse, problems


def watch(text: str) -> Watch:
    """What the file makes of ``monitoring: {TEXT}``."""
    found = cluster(f"{MINIMAL}ssh: {{user: ops, port: 2222}}\nmonitoring: {{{text}}}\n").monitoring
    assert found is not None
    assert found.watch is not None
    assert found.host is found.watch.host
    return found.watch


def test_without_a_host_nothing_of_ours_watches() -> None:
    found = cluster(MINIMAL + "monitoring: {}\n").monitoring
    assert found is not None
    assert found.host is None


def test_any_machine_is_logged_in_to_like_a_member_but_for_what_it_says_itself() -> None:
    host = watch("host: {machine: 10.0.0.21, ssh: {user: mon}}").host
    assert (host.name, host.connection, host.ssh.address) == ("10.0.0.21", "ssh", "10.0.0.21")
    assert (host.ssh.user, host.ssh.port) == ("mon", 2222)


def test_a_member_and_this_machine() -> None:
    assert watch("host: {machine: etcd-02}").host.address == "10.0.0.12"
    here = watch("host: {machine: local}").host
    assert (here.connection, here.name) == ("local", "local")


def test_the_lock_is_looked_for_on_the_monitoring_host_too() -> None:
    names = {}
    for machine in ("etcd-02", "10.0.0.21"):
        found = cluster(f"{MINIMAL}monitoring: {{host: {{machine: {machine}}}}}\n")
        names[machine] = [host.name for host in found.all_hosts]
    assert names["etcd-02"] == ["etcd-01", "etcd-02", "etcd-03"]
    assert names["10.0.0.21"] == ["etcd-01", "etcd-02", "etcd-03", "10.0.0.21"]


def test_all_ways_to_tell() -> None:
    text = (
        "host: {machine: local}, receivers: ["
        "{name: a, webhook: {secret_url: env:HOOK, token: file:/t}}, {name: b, slack: {url: env:S, channel: '#x'}},"
        "{name: c, severity: critical, email: {to: a@b.c, sender: d@e.f, server: 'm:25', user: u, password: env:P}}]"
    )
    hook, slack, mail = watch(text).receivers
    assert hook.way == Webhook(None, SecretRef("env", "HOOK"), SecretRef("file", "/t"))
    assert slack.way == Slack(SecretRef("env", "S"), "#x")
    assert mail.way == Email("a@b.c", "d@e.f", "m:25", "u", SecretRef("env", "P"), True)
    assert [one.severity for one in (hook, slack, mail)] == ["warning", "warning", "critical"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("receivers: [{name: a}]", "one of webhook, slack and email; none is given"),
        ("receivers: [{name: a, webhook: {}}]", "one of url and secret_url"),
        ("receivers: [{name: a, webhook: {url: 'http://x/', secret_url: env:X}}]", "one of url and secret_url"),
        ("receivers: [{name: a, webhook: {url: 'http://u:p@x/'}}]", "without a login"),
        ("receivers: [{name: a, slack: {url: 'https://hooks.example.com/T0/B0', channel: x}}]", "secret"),
        (
            "receivers: [{name: a, webhook: {url: 'http://x/'}}, {name: a, webhook: {url: 'http://y/'}}]",
            "another receiver is called a",
        ),
        ("prometheus: {port: 9093}", "9093 is used twice"),
        ("prometheus: {retention_time: forever}", "not a duration"),
        ("alertmanager: {version: '0.33'}", "three numbers"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, words: str) -> None:
    found = problems(f"{MINIMAL}monitoring: {{host: {{machine: 10.0.0.21}}, {text}}}\n")
    assert any(words in str(problem) for problem in found), found


def test_on_a_member_its_ports_are_taken() -> None:
    found = problems(MINIMAL + "monitoring: {host: {machine: etcd-01}, prometheus: {port: 2379}}\n")
    assert any("2379 is used twice" in str(problem) for problem in found)
    assert problems(
        MINIMAL.replace("10.0.0.11}", "10.0.0.11, service: supervisor, prefix: /srv/x}")
        + "monitoring: {host: {machine: etcd-01}}\n"
    )


def test_an_open_door_is_told() -> None:
    text = MINIMAL + "monitoring: {host: {machine: local, listen_address: 10.0.0.1%s}}\n"
    (warning,) = parse(text % "").warnings
    assert "can silence alerts" in warning.message
    assert parse(text % ", web: {user: a, password: env:P}").warnings == ()
    assert problems(text % ", web: {user: a}")
    assert problems(text % ", web: {certificate: a.crt}")


def test_receivers_without_a_host_tell_nobody() -> None:
    text = MINIMAL + "monitoring: {receivers: [{name: a, webhook: {url: 'http://x/'}}]}\n"
    (warning,) = parse(text).warnings
    assert "nobody is told" in warning.message
