"""Where the data is after a restore: the real script follows the file that says so, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.errors import CommandFailed
from tasks.hosts.facts import DataDirFact
from tasks.hosts.observe import observe
from tasks.hosts.query import FactQuery
from tasks.hosts.shell import open_shell
from tests.component.hosts.sshd import local_host

pytestmark = pytest.mark.component


def look(tmp_path: Path) -> DataDirFact:
    host = local_host()
    query = FactQuery.for_host(host, user="daemon", stat=(), contents=())
    query = replace(query, data_dir=f"{tmp_path}/data", data_pointer=f"{tmp_path}/records/data-dir")
    with open_shell(host) as shell:
        return observe(shell, query).data_dir


def test_the_pointer_is_followed(tmp_path: Path) -> None:
    old, new = tmp_path / "data/member", tmp_path / "data/restored-01234567/member"
    old.mkdir(parents=True)
    plain = look(tmp_path)
    assert (plain.kind, plain.path) == ("etcd", "")
    new.mkdir(parents=True)
    (tmp_path / "records").mkdir()
    pointer = tmp_path / "records/data-dir"
    pointer.write_text(f"{new.parent}\n")
    moved = look(tmp_path)
    assert (moved.kind, moved.path, moved.entries) == ("etcd", str(new.parent), ("member",))
    new.rmdir()
    new.parent.rmdir()
    gone = look(tmp_path)
    assert (gone.kind, gone.path) == ("absent", str(new.parent)), "the old data is never taken for the new"


def test_a_pointer_to_somewhere_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records/data-dir").write_text("/var/lib/other\n")
    with pytest.raises(CommandFailed, match="which is not in"):
        look(tmp_path)
