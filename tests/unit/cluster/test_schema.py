"""The schema tells editors the truth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from tasks.cluster.schema import json_schema, reference_rows
from tests.unit.cluster.files import EXAMPLES, MINIMAL, parse

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def properties() -> Iterator[tuple[str, str, dict[str, Any], bool]]:
    for group_name, group in (("", SCHEMA), *SCHEMA["$defs"].items()):
        for name, value in group["properties"].items():
            yield group_name, name, value, name in group.get("required", ())


def test_it_is_a_schema_itself() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].endswith("2020-12/schema")
    assert SCHEMA["title"]
    assert SCHEMA["$id"]


@pytest.mark.parametrize(("group", "name", "value", "required"), list(properties()))
def test_every_key_is_described(group: str, name: str, value: dict[str, Any], required: bool) -> None:
    assert len(value["description"]) > 20
    assert required != ("default" in value)
    assert value["examples"]
    validator = jsonschema.Draft202012Validator({**value, "$defs": SCHEMA["$defs"]})
    for example in value["examples"]:
        validator.validate(example)
    if not required:
        validator.validate(value["default"])


def _all_groups_are_closed() -> Iterator[bool]:
    for group in (SCHEMA, *SCHEMA["$defs"].values()):
        yield group["additionalProperties"] is False


def test_unknown_keys_are_marked() -> None:
    assert all(_all_groups_are_closed())


@pytest.mark.parametrize("name", ["example.yaml", "full.yaml"])
def test_examples_fit(name: str) -> None:
    VALIDATOR.validate(yaml.safe_load((EXAMPLES / name).read_text()))


def test_the_full_example_has_every_key() -> None:
    data = yaml.safe_load((EXAMPLES / "full.yaml").read_text())
    groups = {
        "": [data],
        "HostSection": data["hosts"],
        "SshSection": [data["ssh"], *(host.get("ssh", {}) for host in data["hosts"])],
        "JumpSection": [data["ssh"]["jump"]],
        "EtcdSection": [data["etcd"]],
        "ReleaseSection": [data["etcd"]["release"]],
        "CompactionSection": [data["etcd"]["auto_compaction"]],
        "PkiSection": [data["pki"]],
        "SnapshotsSection": [data["snapshots"]],
        "StoreSection": data["snapshots"]["stores"],
        "S3Section": [store["s3"] for store in data["snapshots"]["stores"] if "s3" in store],
        "EncryptionSection": [data["snapshots"]["encryption"], {"passphrase": "a choice instead of recipients"}],
        "SigningSection": [data["snapshots"]["signing"]],
        "RetentionSection": [data["snapshots"]["retention"]],
        "DrillSection": [data["drill"]],
        "RestoreSection": [data["restore"]],
        "HookSection": data["restore"]["before_stop"],
        "MonitoringSection": [data["monitoring"]],
        "MetricsSection": [data["monitoring"]["metrics"]],
        "MonitoringHostSection": [data["monitoring"]["host"]],
        "WebSection": [data["monitoring"]["host"]["web"]],
        "PrometheusSection": [data["monitoring"]["prometheus"]],
        "AlertmanagerSection": [data["monitoring"]["alertmanager"]],
        "NodeExporterSection": [data["monitoring"]["node_exporter"]],
        "GrafanaSection": [data["monitoring"]["grafana"]],
        "ReceiverSection": data["monitoring"]["receivers"],
        "WebhookSection": [one.get("webhook", {}) for one in data["monitoring"]["receivers"]],
        "SlackSection": [one.get("slack", {}) for one in data["monitoring"]["receivers"]],
        "EmailSection": [one.get("email", {}) for one in data["monitoring"]["receivers"]],
        "AlertsSection": [data["monitoring"]["alerts"]],
    }
    missing = [
        f"{group}.{name}" for group, name, _, _ in properties() if not any(name in given for given in groups[group])
    ]
    assert missing == []


@pytest.mark.parametrize(
    "rest",
    [
        "sssh: {}",
        "ssh: {prot: 22}",
        "ssh: {port: twenty-two}",
        "ssh: {port: 70000}",
        "ssh: {sudo: maybe}",
        "ssh: {password: hunter2hunter2}",
        "etcd: {extra: [a]}",
        "hosts: []",
    ],
)
def test_it_refuses_what_the_loader_refuses(rest: str) -> None:
    data = {**yaml.safe_load(MINIMAL), **yaml.safe_load(rest)}
    assert not VALIDATOR.is_valid(data)


def test_it_accepts_values_from_the_environment() -> None:
    text = MINIMAL + 'ssh: {port: "${PORT:-22}", agent: "${AGENT:-true}", sudo: "${SUDO:-auto}"}\n'
    parse(text)
    VALIDATOR.validate(yaml.safe_load(text))


def test_the_reference_lists_every_key_once() -> None:
    rows = list(reference_rows(json_schema()))
    keys = [row[0].strip("`") for row in rows]
    assert len(keys) == len(set(keys))
    names = {key.rpartition(".")[2].removesuffix("[]") for key in keys}
    assert names == {name for _, name, _, _ in properties()}
    assert {"ssh.jump.address", "etcd.release.source", "etcd.auto_compaction.mode", "hosts[].peer_address"} <= set(keys)
    assert all("|" not in cell.replace("\\|", "") for row in rows for cell in row)
