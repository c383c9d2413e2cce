"""The sections restore and drill: where hooks run and drills restore, and what is refused."""

from __future__ import annotations

import pytest

from tests.unit.cluster.files import MINIMAL, cluster, problems

HOOKS = """\
ssh: {user: ops, port: 2222}
restore:
  before_stop:
    - {name: here, command: "true"}
    - {name: on-a-member, machine: etcd-02, command: "true", ssh: {user: root}}
    - name: elsewhere
      machine: fd00::21
      ssh: {port: 22}
      command: |
        set -x
        systemctl stop kube-apiserver
      timeout: 300
      secrets: {TOKEN: env:DEPLOY_TOKEN}
"""


def test_where_hooks_run() -> None:
    found = cluster(MINIMAL + HOOKS)
    here, member, other = found.restore.before_stop
    assert (here.host.name, here.host.connection, here.host.ssh.sudo, here.timeout) == ("local", "local", "none", 60.0)
    assert (member.host.name, member.host.ssh.address, member.host.ssh.user) == ("etcd-02", "10.0.0.12", "root")
    assert (other.host.ssh.address, other.host.ssh.user, other.host.ssh.port) == ("fd00::21", "ops", 22)
    assert (other.host.connection, other.timeout) == ("ssh", 300)
    assert other.command == "set -x\nsystemctl stop kube-apiserver"
    assert [(name, str(ref)) for name, ref in other.secrets] == [("TOKEN", "env:DEPLOY_TOKEN")]
    assert found.restore.after_proof == ()
    assert found.host("etcd-02").ssh.user == "ops", "the member's own login stays as it is"


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("{name: a, command: 'true'}, {name: a, command: 'true'}", "another hook is called a too"),
        ("{name: a, command: 'true', ssh: {user: x}}", "nobody logs in"),
        ("{name: a, command: ' '}", "a command has"),
        ("{name: A B, command: 'true'}", "a hook's name has"),
        ("{name: a, command: 'true', secrets: {TOKEN: abc}}", "secret"),
        ("{name: a, command: 'true', secrets: {token: env:A}}", "upper-case letters"),
        ("{name: a, command: 'true', timeout: 0}", "greater than 0"),
        ("{name: a}", "command"),
    ],
)
def test_what_is_refused(hook: str, said: str) -> None:
    found = problems(MINIMAL + f"restore: {{after_proof: [{hook}]}}\n")
    assert any(said in f"{problem.key} {problem.message}" for problem in found), found


def test_where_drills_restore() -> None:
    top = "ssh: {user: ops, port: 2222}\n"
    assert cluster(MINIMAL + top).drill_place is None
    found = cluster(MINIMAL + top + "drill: {machine: 10.0.0.31, ssh: {user: drill}, directory: /srv/drills}\n")
    place = found.drill_place
    assert place is not None
    assert (place.host.name, place.host.ssh.address, place.directory) == ("10.0.0.31", "10.0.0.31", "/srv/drills")
    assert (place.host.ssh.user, place.host.ssh.port, place.host.ssh.sudo) == ("drill", 2222, "none")
    assert found.hosts[0].ssh.sudo == "auto"


@pytest.mark.parametrize(
    ("drill", "said"),
    [
        ("{machine: etcd-02}", "that is etcd-02, a member's machine"),
        ("{machine: 10.0.0.12}", "that is etcd-02, a member's machine"),
        ("{machine: drill.example.com, ssh: {address: 10.0.0.12}}", "that is etcd-02, a member's machine"),
        ("{ssh: {user: x}}", "nobody logs in"),
        ("{machine: 10.0.0.31, directory: srv/drills}", "directory"),
    ],
)
def test_places_for_drills_that_are_refused(drill: str, said: str) -> None:
    found = problems(MINIMAL + f"drill: {drill}\n")
    assert any(said in f"{problem.key} {problem.message}" for problem in found), found
