"""Alertmanager's configuration on a monitoring host. Pure.

Alertmanager reads one file. Each cluster therefore has a part of its own on the host, as JSON, and the file is put
together from all of them: another cluster's part is read and never changed. Secrets are in files of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tasks.cluster.spec import Cluster, SecretRef
from tasks.cluster.spec_monitoring import Email, Receiver, Slack, Watch, Webhook
from tasks.etcd.unit import HEAD
from tasks.monitoring.programs import ALERTMANAGER
from tasks.monitoring.sharing import read_part, wishes

#: Label of test alerts: which receiver it is for.
TEST_LABEL = "etcd_flows_test"
TEST_ALERT = "EtcdFlowsTest"

_SEVERITIES = ("info", "warning", "critical")
#: Without a quorum these follow from it, and say nothing that helps.
_FOLLOWS = (
    *("EtcdMemberDown", "EtcdNoLeader", "EtcdLeaderChangesOften", "EtcdProposalsFail", "EtcdProposalsPending"),
    *("EtcdRequestsFail", "EtcdRequestsSlow", "EtcdPeersSlow"),
)


@dataclass(frozen=True)
class SecretFile:
    """A secret of a receiver in a file of its own."""

    path: str
    ref: SecretRef


def part_path(cluster: str) -> str:
    """Where a cluster's part is on the monitoring host."""
    return f"{ALERTMANAGER.clusters}/etcd-{cluster}.json"


def receiver_name(cluster: str, receiver: Receiver) -> str:
    """Its name in Alertmanager, where names of all clusters meet."""
    return f"etcd-{cluster}-{receiver.name}"


def secret_files(cluster: Cluster, watch: Watch) -> tuple[SecretFile, ...]:
    """The secrets of a cluster's receivers, and where on the host they are kept."""
    found = []
    for receiver in watch.receivers:
        way = receiver.way
        if isinstance(way, Webhook):
            refs = {"url": way.secret_url, "token": way.token}
        else:
            refs = {"url": way.url} if isinstance(way, Slack) else {"password": way.password}
        found += [SecretFile(_secret(cluster.name, receiver, what), ref) for what, ref in refs.items() if ref]
    return tuple(found)


def _secret(cluster: str, receiver: Receiver, what: str) -> str:
    return f"{ALERTMANAGER.clusters}/etcd-{cluster}.{receiver.name}.{what}"


def part(cluster: Cluster, watch: Watch) -> str:
    """A cluster's part: routes and receivers, and what it wants of the host, so that others see what they change."""
    data = {
        "cluster": cluster.name,
        "routes": _routes(cluster.name, watch),
        "receivers": receivers(cluster, watch),
        "settings": wishes(watch),
    }
    return json.dumps(data, indent=1, sort_keys=True) + "\n"


def receivers(cluster: Cluster, watch: Watch) -> list[dict[str, Any]]:
    """The receivers of a cluster, as Alertmanager has them."""
    return [_receiver(cluster.name, receiver) for receiver in watch.receivers]


def _routes(cluster: str, watch: Watch) -> list[dict[str, Any]]:
    ours, settings = f'cluster="{cluster}"', watch.alertmanager
    tests = [
        {
            "receiver": receiver_name(cluster, receiver),
            "matchers": [ours, f'{TEST_LABEL}="{receiver.name}"'],
            "group_by": ["..."],
            "group_wait": "0s",
            "group_interval": "10s",
            "repeat_interval": "1h",
        }
        for receiver in watch.receivers
    ]
    told = [
        {
            "receiver": receiver_name(cluster, receiver),
            "matchers": [ours, f'{TEST_LABEL}=""', f'severity=~"{_from(receiver.severity)}"'],
            "group_by": ["cluster", "alertname"],
            "group_wait": settings.group_wait,
            "group_interval": settings.group_interval,
            "repeat_interval": settings.repeat_interval,
            "continue": True,
        }
        for receiver in watch.receivers
    ]
    return [*tests, *told]


def _from(severity: str) -> str:
    return "|".join(_SEVERITIES[_SEVERITIES.index(severity) :])


def _receiver(cluster: str, receiver: Receiver) -> dict[str, Any]:
    way, told = receiver.way, {"send_resolved": True}
    if isinstance(way, Webhook):
        hook: dict[str, Any] = {**told}
        hook |= {"url": way.url} if way.url else {"url_file": _secret(cluster, receiver, "url")}
        if way.token:
            hook["http_config"] = {"authorization": {"credentials_file": _secret(cluster, receiver, "token")}}
        configs: dict[str, Any] = {"webhook_configs": [hook]}
    elif isinstance(way, Slack):
        url = {"api_url_file": _secret(cluster, receiver, "url")}
        configs = {"slack_configs": [{**told, **url, "channel": way.channel}]}
    else:
        configs = {"email_configs": [{**told, **_mail(cluster, receiver, way)}]}
    return {"name": receiver_name(cluster, receiver), **configs}


def _mail(cluster: str, receiver: Receiver, mail: Email) -> dict[str, Any]:
    config = {"to": mail.to, "from": mail.sender, "smarthost": mail.server, "require_tls": mail.tls}
    if mail.user:
        login = {"auth_username": mail.user, "auth_password_file": _secret(cluster, receiver, "password")}
        config |= login
    return config


def main_file(parts: Mapping[str, str]) -> str:
    """``alertmanager.yml``, put together from the parts of all clusters.

    Args:
        parts: By path on the host.

    Raises:
        Refused: A part can't be read.
    """
    routes: list[Any] = []
    told: list[Any] = [{"name": "nobody"}]
    for path in sorted(parts):
        read = read_part(path, parts[path])
        routes += read["routes"]
        told += read["receivers"]
    data = {
        "route": {"receiver": "nobody", "routes": routes},
        "receivers": told,
        "inhibit_rules": [
            {
                "source_matchers": ['alertname="EtcdQuorumLost"'],
                "target_matchers": [f'alertname=~"{"|".join(_FOLLOWS)}"'],
                "equal": ["cluster"],
            },
            {
                "source_matchers": ['severity="critical"'],
                "target_matchers": ['severity=~"warning|info"'],
                "equal": ["cluster", "member", "alertname"],
            },
        ],
    }
    return f"# {HEAD}\n" + yaml.safe_dump(data, sort_keys=False, width=10_000, allow_unicode=True)
