"""The restore section: where hooks run, and what is refused."""

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
