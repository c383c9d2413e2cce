"""The monitoring section: where metrics are shown, and what is refused."""

from __future__ import annotations

import pytest

from tests.unit.cluster.files import MINIMAL, cluster, parse, problems, with_hosts

MONITORED = "monitoring: {}\n"


def test_without_the_section_metrics_stay_on_loopback() -> None:
    assert [host.scrape_url for host in cluster(MINIMAL).hosts] == [None] * 3
    assert [host.scrape_url for host in cluster(MINIMAL + "monitoring:\n").hosts] == [None] * 3


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("address: 10.0.0.1", "http://10.0.0.1:2381"),
        ("address: 10.0.0.1, listen_address: 10.1.0.1", "http://10.1.0.1:2381"),
        ("address: 10.0.0.1, listen_address: 0.0.0.0", "http://10.0.0.1:2381"),
        ("address: a.example.com, listen_address: 10.1.0.1", "http://10.1.0.1:2381"),
        ("address: a.example.com, metrics_address: 10.9.0.1, metrics_port: 9000", "http://10.9.0.1:9000"),
        ("address: 'fd00::1'", "http://[fd00::1]:2381"),
    ],
)
def test_the_address_is_one_that_is_the_host_s(host: str, url: str) -> None:
    (member,) = cluster(with_hosts(f"name: a, {host}", rest=MONITORED)).hosts
    assert member.scrape_url == url


def test_https_and_detail_by_choice() -> None:
    found = cluster(MINIMAL + "monitoring: {metrics: {scheme: https, detail: extensive}}\n")
    assert found.hosts[0].scrape_url == "https://10.0.0.11:2381"
    assert found.hosts[0].metrics_url == "http://127.0.0.1:2381"
    assert found.etcd.metrics == "extensive"


@pytest.mark.parametrize(
    ("host", "rest", "words"),
    [
        ("address: a.example.com", MONITORED, "needed, since neither address nor listen_address"),
        ("address: 10.0.0.1, metrics_address: 0.0.0.0", MONITORED, "on all addresses"),
        ("address: 127.0.0.1", "monitoring: {metrics: {scheme: https}}\n", "another address for https"),
        ("address: 10.0.0.1, metrics_port: 2379", MONITORED, "used twice"),
    ],
)
def test_what_can_t_be_listened_on_is_refused(host: str, rest: str, words: str) -> None:
    found = problems(with_hosts(f"name: a, {host}", rest=rest))
    assert any(words in str(problem) and problem.key.startswith("hosts[0].metrics_") for problem in found), found


def test_an_address_without_the_section_is_told() -> None:
    (warning,) = parse(with_hosts("name: a, address: 10.0.0.1, metrics_address: 10.9.0.1")).warnings
    assert warning.key == "hosts[0].metrics_address"
    assert "monitoring" in warning.message


def test_a_broken_address_is_reported_once() -> None:
    found = problems(with_hosts("name: a, address: 10.0.0.300", rest=MONITORED))
    assert [problem.key for problem in found] == ["hosts[0].address"]
