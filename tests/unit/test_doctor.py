"""``etcd-flows doctor``: what it says of machines, files, keys and APIs in all kinds of condition."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest

from deployments.doctor import keys, machine, places, prefect_api
from deployments.doctor.asking import Question, answers
from deployments.doctor.cluster_files import check_secrets, read_clusters
from deployments.doctor.logins import check_key_files, check_logins
from deployments.doctor.run import exit_code
from tasks.cluster.load import parse_cluster
from tasks.cluster.references import secret_references
from tasks.cluster.spec import Cluster
from tasks.errors import StoreError
from tasks.etcd.worker_tools import ARCHS
from tasks.findings import Finding

ROOT = Path(__file__).parents[2]

FILE = """\
name: prod-a
hosts:
  - {name: etcd-01, address: 192.0.2.11}
  - {name: etcd-02, address: 192.0.2.12}
  - {name: etcd-03, address: 192.0.2.13}
"""
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDtEpErAyEFzCoXrEqNCBQB0rGRL0BLtDQfBqTEw3WUi"
API = prefect_api.Api("https://prefect.example.com/api", "admin:Canary", "PREFECT_API_URL")


def cluster(tmp_path: Path, more: str = "") -> Cluster:
    return parse_cluster((FILE + more).encode(), tmp_path / "prod-a.yaml", {"HOME": str(tmp_path)}).cluster


def levels(findings: list[Finding]) -> list[str]:
    return [f"{each.level} {each.check}" for each in findings]


def test_packages_that_do_not_fit_are_named_and_extras_are_none_of_its_business() -> None:
    versions = {"prefect": "3.8.8", "fastapi": "0.165.0"}
    wanted = ["prefect>=3.8.8,<4", "fastapi<0.151", "etcd3>=0.12", "pytest; extra == 'dev'"]
    found = machine.packages(wanted, versions.get)
    assert [each.text for each in found] == ["fastapi is 0.165.0, but <0.151 works", "etcd3 is not installed"]
    assert machine.packages(wanted[:1], versions.get) == [Finding("ok", "packages", "prefect 3.8.8")]


def test_what_cannot_be_loaded_is_told() -> None:
    assert machine.loadable(machine.COMPILED) == []
    (found,) = machine.loadable(["no_such_module_of_anybody"])
    assert found.level == "error"
    assert "no_such_module_of_anybody" in found.text


def test_packages_of_our_names_in_the_current_directory(tmp_path: Path) -> None:
    assert machine.shadowed(tmp_path, ROOT).level == "ok"
    (tmp_path / "tasks").mkdir()
    assert machine.shadowed(tmp_path, ROOT).level == "ok", "without __init__.py ours are found first"
    (tmp_path / "tasks/__init__.py").touch()
    assert machine.shadowed(tmp_path, ROOT).level == "warning"
    assert machine.shadowed(ROOT, ROOT).level == "ok"


def test_python_clock_and_terminal() -> None:
    assert machine.python((3, 10, 4), "/venv").level == "error"
    assert machine.python((3, 12, 0), "/venv").level == "ok"
    assert [each.level for state in (0, 5, None) for each in machine.clock(state)] == ["ok", "warning"]
    assert machine.terminal({"LC_ALL": "C"}, "ascii").level == "warning"
    assert machine.terminal({"NO_COLOR": "1"}, "utf8").text == "UTF-8, no colours (NO_COLOR)"


def test_room_and_rights(tmp_path: Path) -> None:
    assert machine.room(tmp_path / "not/there/yet", 1, "x").level == "ok"
    assert machine.room(tmp_path, 1 << 60, "x").level == "warning"
    if os.geteuid():
        tmp_path.chmod(0o500)
        assert machine.room(tmp_path / "new", 1, "x").level == "error"


def test_cluster_files_are_found_and_judged(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(FILE)
    (tmp_path / "bad.yaml").write_text("name: prod-a\nhost: []\n")
    open_file = tmp_path / "open.yaml"
    open_file.write_text(FILE)
    open_file.chmod(0o646)
    environ = {"ETCD_FLOWS_CLUSTERS": f"{tmp_path}:{tmp_path / 'none'}", "HOME": str(tmp_path)}
    clusters, found = read_clusters(None, environ)
    assert set(clusters) == {"good", "open"}
    wrong = {(each.host, each.level) for each in found if each.level != "ok"}
    assert wrong == {(None, "error"), ("bad", "error"), ("open", "error")}
    assert any(f"{tmp_path / 'bad.yaml'}:2: host: " in each.text for each in found)


def test_no_cluster_file_is_no_error(tmp_path: Path) -> None:
    _, found = read_clusters(None, {"ETCD_FLOWS_CLUSTERS": str(tmp_path)})
    assert levels(found) == ["warning cluster file"]


def test_secrets_are_looked_up_and_not_shown(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("Canary")
    secret.chmod(0o640)
    spec = cluster(
        tmp_path, f"ssh: {{user: ops, password: file:{secret}, sudo_password: env:SUDO, key_passphrase: env:K}}\n"
    )
    found = check_secrets("prod-a", spec, {"SUDO": "Canary"})
    assert levels(found) == ["error secrets", "warning secrets"] or levels(found) == [
        "warning secrets",
        "error secrets",
    ]
    assert "K" in " ".join(each.text for each in found if each.level == "error")
    assert "Canary" not in str(found)
    secret.chmod(0o600)
    (found_now,) = check_secrets("prod-a", spec, {"SUDO": "Canary", "K": "Canary"})
    assert found_now.text == "3 references, all can be looked up"
    assert len(list(secret_references(spec))) == 3, "what all hosts share is told once"


def test_a_login_needs_a_key_and_a_known_host(tmp_path: Path) -> None:
    found = check_logins("prod-a", cluster(tmp_path), tmp_path)
    assert levels(found) == ["error host keys", "error logins"] * 3
    assert "ssh-keyscan -p 22 192.0.2.11" in found[0].remedy
    pinned = cluster(tmp_path, f"ssh: {{password: env:PW, host_key: {HOST_KEY}}}\n")
    assert levels(check_logins("prod-a", pinned, tmp_path)) == ["ok logins"]
    trusting = cluster(tmp_path, "ssh: {password: env:PW, host_keys: accept-new}\n")
    assert levels(check_logins("prod-a", trusting, tmp_path)) == ["ok logins"]
    more = "drill: {machine: 192.0.2.31}\nmonitoring: {host: {machine: 192.0.2.21}}\n"
    more += "restore: {before_stop: [{name: a, machine: 192.0.2.41, command: b}, {name: c, command: d}]}\n"
    hosts = [each.host for each in check_logins("prod-a", cluster(tmp_path, more), tmp_path) if "keys" in each.check]
    assert hosts[3:] == ["prod-a 192.0.2.21", "prod-a 192.0.2.31", "prod-a 192.0.2.41"], "flows log in there, too"
    jump = cluster(tmp_path, f"ssh: {{password: env:PW, host_key: {HOST_KEY}, jump: {{address: bastion}}}}\n")
    found = check_logins("prod-a", jump, tmp_path)
    assert all("the jump host bastion:22" in each.text for each in found)
    assert levels(found) == ["error host keys", "error logins"] * 3
    (tmp_path / ".ssh").mkdir(mode=0o700)
    (tmp_path / ".ssh/id_ed25519").touch(mode=0o600)
    (tmp_path / ".ssh/known_hosts").write_text(f"192.0.2.* {HOST_KEY}\n")
    assert levels(check_logins("prod-a", cluster(tmp_path), tmp_path)) == ["ok logins"]


def test_key_files_that_others_can_read(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    key = tmp_path / ".ssh/id_ed25519"
    key.touch()
    key.chmod(0o640)
    (tmp_path / ".ssh").chmod(0o770)
    assert levels(check_key_files(tmp_path)) == ["warning ssh keys", "error ssh keys"]
    key.chmod(0o600)
    (tmp_path / ".ssh").chmod(0o755)
    assert check_key_files(tmp_path) == []


def test_an_identity_has_to_open_what_is_encrypted(tmp_path: Path) -> None:
    mine, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    file = tmp_path / "age.key"
    file.write_text(f"{mine}\n")
    file.chmod(0o600)
    stores = f"snapshots:\n  stores: [{{name: local, directory: {tmp_path}}}]\n"

    def finding(encryption: str) -> Finding:
        return keys.age_finding("prod-a", cluster(tmp_path, stores + encryption))

    assert "in clear" in finding("").text
    both = "  encryption: {{recipients: [{}], identity: 'file:{}'}}\n"
    assert finding(both.format(mine.to_public(), file)).level == "ok"
    wrong = finding(both.format(other.to_public(), file))
    assert (wrong.level, str(other.to_public()) in wrong.remedy) == ("error", True)
    assert finding(f"  encryption: {{recipients: [{mine.to_public()}]}}\n").level == "warning"
    file.chmod(0o644)
    assert finding(both.format(mine.to_public(), file)).level == "warning"
    assert str(mine) not in str(finding(both.format(mine.to_public(), file)))


def test_the_keys_of_a_cluster_that_has_none_yet_and_of_one_whose_are_open(tmp_path: Path) -> None:
    state = tmp_path / "state"
    spec = cluster(
        tmp_path, f"pki: {{state_dir: {state}}}\nsnapshots: {{stores: [{{name: a, directory: {tmp_path}}}]}}\n"
    )
    assert levels(list(keys.check_keys("prod-a", spec))) == [
        "ok state directory",
        "warning signing key",
        "warning encryption",
    ]
    state.mkdir(mode=0o755)
    state.chmod(0o755)
    found = list(keys.check_keys("prod-a", spec))
    assert levels(found)[0] == "error state directory"
    assert "chmod 0700" in found[0].remedy


def test_stores_and_releases(tmp_path: Path) -> None:
    now = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)
    found = places.store_finding("a", "local", ["20261124T155418Z-c616b6f6", "20261123T155418Z-c616b6f6"], now)
    assert found.text == "local: 2 snapshots, the newest 2 h 5 min old"
    release = replace(cluster(tmp_path).release, source=str(tmp_path), cache=tmp_path / "cache")
    assert levels(places.check_release("prod-a", release)) == ["error release"]
    arch = ARCHS.get(os.uname().machine, os.uname().machine)
    tarball = tmp_path / f"etcd-v{release.version}-linux-{arch}.tar.gz"
    tarball.touch()
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  another.tar.gz\n")
    assert levels(places.check_release("prod-a", release)) == ["warning release"]
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  {tarball.name}\n")
    assert levels(places.check_release("prod-a", release)) == ["ok release"]


@pytest.mark.parametrize(
    ("api", "answer", "seen"),
    [
        (API, prefect_api.Answer(200, '"3.8.8"', skew=0.2), ["ok prefect api"]),
        (API, prefect_api.Answer(200, '"3.7.1"'), ["warning prefect api"]),
        (API, prefect_api.Answer(200, "<html>"), ["warning prefect api"]),
        (API, prefect_api.Answer(401), ["error prefect api"]),
        (API, prefect_api.Answer(0, why="connection refused"), ["warning prefect api"]),
        (API, prefect_api.Answer(200, '"3.8.8"', skew=-90), ["ok prefect api", "warning clock"]),
        (replace(API, auth=""), prefect_api.Answer(200, '"3.8.8"'), ["ok prefect api", "warning prefect api"]),
        (
            replace(API, url="http://u:Canary@prefect.example.com/api"),
            prefect_api.Answer(200, '"3.8.8"'),
            ["ok prefect api", "warning prefect api"],
        ),
        (replace(API, url="http://127.0.0.1:4200/api"), prefect_api.Answer(200, '"3.8.8"'), ["ok prefect api"]),
    ],
)
def test_what_an_api_answers(api: prefect_api.Api, answer: prefect_api.Answer, seen: list[str]) -> None:
    found = prefect_api.api_findings(api, answer, installed="3.8.8")
    assert levels(found) == seen
    assert "Canary" not in f"{found} {api!r}".replace(api.url, "")


def test_which_api_is_meant(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert prefect_api.configured(home, tmp_path) is None
    served = tmp_path / ".local/state/etcd-flows.server"
    served.mkdir(parents=True)
    (served / "url").write_text("http://127.0.0.1:4200/api\n")
    (served / "auth").write_text("admin:Canary\n")
    (served / "auth").chmod(0o644)
    found = prefect_api.configured(home, tmp_path)
    assert found
    assert (found.url, found.auth) == ("http://127.0.0.1:4200/api", "admin:Canary")
    assert levels(prefect_api.served_findings(home)) == ["error prefect api"]
    told = prefect_api.configured({**home, "PREFECT_API_URL": "https://elsewhere/api"}, tmp_path)
    assert told
    assert told.url == "https://elsewhere/api"


def test_nobody_waits_without_end_and_errors_are_findings() -> None:
    never = threading.Event()

    def silent() -> list[Finding]:
        never.wait(300)
        return []

    def failing() -> list[Finding]:
        raise StoreError("it burns", remedy="put it out")

    found = answers([Question("a", None, silent, "warning"), Question("b", "prod-a", failing)], seconds=1.0)
    never.set()
    assert levels(found) == ["warning a", "error b"]
    assert (found[1].text, found[1].remedy) == ("it burns", "put it out")


def test_exit_codes() -> None:
    bad_file = Finding("error", "cluster file", "x", "prod-a")
    assert exit_code(None, [Finding("warning", "clock", "x")]) == 0
    assert exit_code(None, [bad_file]) == 1
    assert exit_code("prod-a", [bad_file]) == 2
    assert exit_code("prod-a", [Finding("error", "store", "x", "prod-a")]) == 1


def test_the_command_changes_nothing_and_does_without_prefect(tmp_path: Path) -> None:
    (tmp_path / "clusters").mkdir()
    file = tmp_path / "clusters/prod-a.yaml"
    stores = f"snapshots: {{stores: [{{name: local, directory: {tmp_path / 'backups'}}}]}}\n"
    file.write_text(FILE + f"etcd: {{release: {{source: {tmp_path}}}}}\nssh: {{password: env:PASSWORD}}\n" + stores)
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PASSWORD": "Canary"}
    before = sorted(tmp_path.rglob("*"))
    words = [sys.executable, "-X", "importtime", "-m", "deployments.cli", "doctor", str(file), "--json"]
    done = subprocess.run(words, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    answer = json.loads(done.stdout)
    assert done.returncode == 1, "no host key is known, no release is there"
    assert {each["check"] for each in answer["findings"] if each["level"] == "error"} == {"host keys", "release"}
    assert all(each["remedy"] for each in answer["findings"] if each["level"] == "error")
    assert "Canary" not in done.stdout
    assert sorted(tmp_path.rglob("*")) == before
    assert not any(line.rpartition("|")[2].strip() == "prefect" for line in done.stderr.splitlines())
