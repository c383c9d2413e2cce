"""Logging in to a real sshd: keys, host keys, jump hosts, addresses."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.cluster.spec import Host, SecretRef
from tasks.errors import AccessDenied, EtcdFlowsError, HostUnreachable, InputError
from tasks.hosts.classify import is_transient
from tasks.hosts.shell import open_shell
from tests.component.hosts.sshd import Sshd, free_port, keygen

pytestmark = pytest.mark.component


def say(host: Host) -> str:
    with open_shell(host) as shell:
        return shell.run("echo hello").text


def refused(host: Host, kind: type[EtcdFlowsError], *words: str) -> EtcdFlowsError:
    with pytest.raises(kind) as caught:
        say(host)
    text = str(caught.value)
    for word in words:
        assert word in text
    assert text.startswith("etcd-01")
    assert caught.value.remedy
    assert not is_transient(caught.value) or issubclass(kind, HostUnreachable)
    return caught.value


def test_key(sshd: Sshd) -> None:
    assert say(sshd.host()) == "hello"


def test_wrong_key_names_what_was_tried(sshd: Sshd, tmp_path: Path) -> None:
    other = keygen(tmp_path / "other")
    refused(sshd.host(key=other), AccessDenied, "login as", str(other), "authorized_keys", f"127.0.0.1:{sshd.port}")


def test_no_way_to_log_in(sshd: Sshd) -> None:
    refused(sshd.host(key=None), AccessDenied, "no key, agent or password")


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_passphrase_key(sshd: Sshd, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = keygen(tmp_path / "locked", kind, "open sesame")
    (sshd.directory / "authorized").write_text(Path(f"{key}.pub").read_text())
    monkeypatch.setenv("KEY_PASSPHRASE", "open sesame")
    assert say(sshd.host(key=key, key_passphrase=SecretRef("env", "KEY_PASSPHRASE"))) == "hello"
    refused(sshd.host(key=key), InputError, "protected by a passphrase", "key_passphrase")
    monkeypatch.setenv("KEY_PASSPHRASE", "wrong-secret")
    # Another Ssh than before, or the pool would hand out the connection that is open.
    wrong = sshd.host(key=key, key_passphrase=SecretRef("env", "KEY_PASSPHRASE"), connect_timeout=4.0)
    error = refused(wrong, InputError, "does not open")
    assert "wrong-secret" not in str(error)


def test_key_files_that_cannot_be_used(sshd: Sshd, tmp_path: Path) -> None:
    refused(sshd.host(key=tmp_path / "none"), InputError, "does not exist")
    (tmp_path / "junk").write_text("not a key")
    refused(sshd.host(key=tmp_path / "junk"), InputError, "not a usable private key")
    refused(sshd.host(key=tmp_path), InputError, "cannot be read")


def test_unknown_host_key_is_refused_with_its_fingerprint(make_sshd: Callable[..., Sshd]) -> None:
    sshd = make_sshd()
    error = refused(sshd.host(), AccessDenied, "SHA256:", "ssh-keyscan", "host_key", "accept-new", sshd.public())
    assert error.state == "nothing was sent to the host"
    assert not (sshd.directory / "known_hosts").exists()


def test_changed_host_key_is_refused(make_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    sshd = make_sshd()
    other = keygen(tmp_path / "impostor")
    known = sshd.directory / "known_hosts"
    known.write_text(f"{sshd.entry} {Path(f'{other}.pub').read_text()}")
    for policy in ("known_hosts", "accept-new"):
        error = refused(sshd.host(host_keys=policy), AccessDenied, "received", "expected", "ssh-keygen -R")
        assert str(error).count("SHA256:") == 2
    assert len(known.read_text().splitlines()) == 1


def test_pinned_key(make_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    sshd = make_sshd()
    assert say(sshd.host(host_key=sshd.public())) == "hello"
    assert say(sshd.host(host_key=sshd.public("rsa") + " a comment")) == "hello"
    other = keygen(tmp_path / "impostor")
    refused(sshd.host(host_key=Path(f"{other}.pub").read_text()), AccessDenied, "ssh.host_key", "expected")
    refused(sshd.host(host_key="ssh-ed25519 AAAA!"), InputError, "host_key")


@pytest.mark.parametrize("kinds", [("ed25519",), ("rsa",), ("ecdsa",), ("rsa", "ecdsa"), ("ecdsa", "ed25519")])
def test_the_host_is_asked_for_a_key_that_is_known(make_sshd: Callable[..., Sshd], kinds: tuple[str, ...]) -> None:
    sshd = make_sshd(key_types=("ed25519", "rsa", "ecdsa"))
    sshd.trust(*kinds)
    assert say(sshd.host()) == "hello"


def test_a_known_type_that_the_host_lacks_does_not_hide_the_one_it_has(make_sshd: Callable[..., Sshd]) -> None:
    sshd = make_sshd(key_types=("ed25519", "ecdsa"))
    extra = keygen(sshd.directory / "gone", "rsa")
    known = sshd.trust("ecdsa")
    known.write_text(f"{sshd.entry} {Path(f'{extra}.pub').read_text()}{known.read_text()}")
    assert say(sshd.host()) == "hello"


def test_first_use_is_remembered_once(make_sshd: Callable[..., Sshd]) -> None:
    sshd = make_sshd()
    known = sshd.directory / "new" / "known_hosts"
    hosts = [sshd.host(host_keys="accept-new", known_hosts=known, connect_timeout=5.0 + n) for n in range(4)]
    threads = [threading.Thread(target=say, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert known.read_text() == f"{sshd.entry} {sshd.public()}\n"
    assert stat.S_IMODE(known.stat().st_mode) == 0o600
    assert say(sshd.host(known_hosts=known)) == "hello"


def test_ipv6(make_sshd: Callable[..., Sshd]) -> None:
    try:
        port = free_port("::1")
    except OSError:
        pytest.skip("no IPv6 loopback")
    sshd = make_sshd(address="::1", port=port)
    sshd.trust()
    assert say(sshd.host()) == "hello"
    refused(sshd.host(known_hosts=Path("/nonexistent")), AccessDenied, f"[::1]:{port}")


def test_jump_host(make_sshd: Callable[..., Sshd]) -> None:
    inner, outer, first = make_sshd("inner"), make_sshd("outer"), make_sshd("first")
    inner.trust()
    jump = outer.jump()
    assert say(inner.host(jump=jump)) == "hello"
    assert say(inner.host(jump=replace(jump, jump=first.jump()))) == "hello"
    assert "Accepted publickey" in (first.directory / "log").read_text()


def test_jump_host_is_verified_too(make_sshd: Callable[..., Sshd]) -> None:
    inner, outer = make_sshd("inner"), make_sshd("outer")
    inner.trust()
    error = refused(inner.host(jump=outer.jump(host_key=inner.public())), AccessDenied, "not the expected one")
    assert "jump host" in str(error)
    refused(inner.host(jump=outer.jump(host_key=None)), AccessDenied, "not known")


def test_jump_host_that_does_not_forward(make_sshd: Callable[..., Sshd]) -> None:
    inner, outer = make_sshd("inner"), make_sshd("outer", options=("AllowTcpForwarding no",))
    inner.trust()
    refused(inner.host(jump=outer.jump()), AccessDenied, "AllowTcpForwarding")


def test_host_behind_the_jump_host_is_down(make_sshd: Callable[..., Sshd]) -> None:
    inner, outer = make_sshd("inner"), make_sshd("outer")
    inner.trust()
    inner.stop()
    refused(inner.host(jump=outer.jump()), HostUnreachable, "jump host")


def test_nothing_listens(sshd: Sshd) -> None:
    sshd.stop()
    refused(sshd.host(), HostUnreachable, "connection refused", str(sshd.port))


def test_name_that_does_not_resolve(sshd: Sshd) -> None:
    refused(sshd.host(address="no-such-host.invalid"), HostUnreachable, "no-such-host.invalid", "resolved")


def test_something_that_is_no_sshd(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        refused(sshd.host(port=silent.getsockname()[1], connect_timeout=1.0), HostUnreachable, "does not greet as sshd")


def test_no_common_algorithm(make_sshd: Callable[..., Sshd]) -> None:
    sshd = make_sshd(options=("Ciphers chacha20-poly1305@openssh.com",))
    sshd.trust()
    refused(sshd.host(), AccessDenied, "no common algorithm", "sshd_config")


def test_settings_of_the_user_are_not_read(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text("Host *\n  Port 1\n  Hostname 192.0.2.1\n  ProxyCommand false\n")
    (tmp_path / ".fabric.yaml").write_text("port: 1\nrun: {dry: true}\n")
    (tmp_path / ".invoke.yaml").write_text("run: {dry: true}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert os.environ["HOME"] == str(tmp_path)
    assert say(sshd.host()) == "hello"
