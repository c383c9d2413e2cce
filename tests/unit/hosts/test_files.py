from __future__ import annotations

import pytest

from tasks.errors import InputError
from tasks.hosts.files import FileWrite, data_of, script_for


def test_content_is_neither_in_the_script_nor_in_the_repr() -> None:
    file = FileWrite("/etc/etcd/pki/server.key", b"canary", 0o640, "root", "etcd")
    assert "canary" not in repr(file)
    script = script_for([file])
    assert "canary" not in script
    assert "put /etc/etcd/pki server.key 6 0640 root:etcd\n" in script
    assert list(data_of([file])) == [b"canary"]


@pytest.mark.parametrize("path", ["relative", "/", "/a/", "/a/../b", "/a//b", "/a\nb", "", "/a/."])
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(InputError):
        script_for([FileWrite(path, b"", 0o600)])


def test_odd_names_are_quoted() -> None:
    assert "put '/a b' '$(x)' 0 0600 root:root\n" in script_for([FileWrite("/a b/$(x)", b"", 0o600)])
