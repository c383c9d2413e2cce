from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import AccessDenied, InputError
from tasks.hosts.hostkeys import PublicKey, Trust, check, find, known, parse_key, preferred


def key(number: int, kind: str = "ssh-ed25519") -> PublicKey:
    name = kind.encode()
    return PublicKey(kind, len(name).to_bytes(4, "big") + name + bytes([number]) * 36)


A, B, C = key(1), key(2), key(3)


def trust(path: Path, *, port: int = 22, first_use: bool = False, pinned: str | None = None) -> Trust:
    return Trust("h", "10.0.0.1", port, pinned, path, first_use)


def test_fingerprint_is_ssh_keygens(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k"], check=True)
    shown = subprocess.run(["ssh-keygen", "-lf", tmp_path / "k.pub"], capture_output=True, text=True, check=True).stdout
    assert parse_key((tmp_path / "k.pub").read_text()).fingerprint.split()[1] == shown.split()[1]


@pytest.mark.parametrize(
    ("names", "entry", "matches"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.10", "10.0.0.1", False),
        ("a,10.0.0.1,b", "10.0.0.1", True),
        ("10.0.0.*", "10.0.0.7", True),
        ("10.0.0.?", "10.0.0.77", False),
        ("10.0.0.*,!10.0.0.7", "10.0.0.7", False),
        ("!10.0.0.7,10.0.0.*", "10.0.0.7", False),
        ("[10.0.0.1]:2222", "[10.0.0.1]:2222", True),
        ("[10.0.0.1]:2222", "10.0.0.1", False),
        ("10.0.0.1", "[10.0.0.1]:2222", False),
        ("[10.0.0.*]:2222", "[10.0.0.9]:2222", True),
        ("[::1]:2222", "[::1]:2222", True),
        ("2001:db8::1", "2001:db8::1", True),
        ("Host.Example", "host.example", True),
        ("|1|bad", "10.0.0.1", False),
        ("|1|", "10.0.0.1", False),
    ],
)
def test_names(names: str, entry: str, matches: bool) -> None:
    assert bool(find(f"{names} {A.line}\n", entry).trusted) is matches


def test_hashed_names() -> None:
    salt = b"s" * 20
    digest = hmac.new(salt, b"10.0.0.1", hashlib.sha1).digest()
    name = f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
    assert find(f"{name} {A.line}", "10.0.0.1").trusted == (A,)
    assert find(f"{name} {A.line}", "10.0.0.2").trusted == ()


def test_markers_comments_and_damaged_lines() -> None:
    text = f"""# comment
10.0.0.1 {A.line} with comment
@revoked * {B.line}
@cert-authority * {C.line}
10.0.0.1 ssh-ed25519 not-base64
10.0.0.1 ssh-rsa {A.line.split()[1]}
10.0.0.1
"""
    assert find(text, "10.0.0.1").trusted == (A,)
    assert find(text, "10.0.0.1").revoked == (B,)


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    find(text, "10.0.0.1")


def test_several_keys_of_one_type_are_all_trusted(tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.write_text(f"10.0.0.1 {A.line}\n10.0.0.1 {B.line}\n")
    check(trust(path), A)
    check(trust(path), B)
    with pytest.raises(AccessDenied, match="not the expected one"):
        check(trust(path), C)


def test_revoked_beats_trusted(tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.write_text(f"10.0.0.1 {A.line}\n@revoked * {A.line}\n")
    with pytest.raises(AccessDenied, match="revoked"):
        check(trust(path, first_use=True), A)


def test_first_use_appends_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.write_text(f"other {B.line}")
    check(trust(path, port=2222, first_use=True), A)
    assert path.read_text() == f"other {B.line}\n[10.0.0.1]:2222 {A.line}\n"
    with pytest.raises(AccessDenied):
        check(trust(path, port=2222, first_use=True), C)
    with pytest.raises(AccessDenied, match="not known"):
        check(trust(path), A)


def test_first_use_that_cannot_be_remembered(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be (written|read)"):
        check(trust(tmp_path / "file" / "known", first_use=True), A)


def test_a_pinned_key_is_the_only_one(tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.write_text(f"10.0.0.1 {B.line}\n")
    assert known(trust(path, pinned=A.line)).trusted == (A,)
    with pytest.raises(AccessDenied, match=r"ssh\.host_key"):
        check(trust(path, pinned=A.line, first_use=True), B)
    for broken in ("ssh-ed25519", "ssh-ed25519 %%%", f"ssh-rsa {A.line.split()[1]}", ""):
        with pytest.raises(InputError):
            known(trust(path, pinned=broken))


def test_known_types_are_asked_for_first() -> None:
    offered = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256")
    assert preferred(offered, []) == list(offered)
    assert preferred(offered, [key(1, "ssh-rsa")])[:2] == ["rsa-sha2-512", "rsa-sha2-256"]
    both = [key(1, "ssh-rsa"), key(1, "ecdsa-sha2-nistp256")]
    assert preferred(offered, both) == ["ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]


def test_the_command_that_makes_a_key_known_works_for_who_never_used_ssh(tmp_path: Path) -> None:
    file = tmp_path / "home/.ssh/known_hosts"
    with pytest.raises(AccessDenied) as caught:
        check(trust(file), A)
    command = (caught.value.remedy or "").split("`")[3]
    assert command.endswith(f"ssh-keyscan -p 22 10.0.0.1 >> {file}")
    subprocess.run(["sh", "-euc", command.replace("ssh-keyscan -p 22", "echo")], check=True)
    assert file.read_text() == "10.0.0.1\n"
    with pytest.raises(AccessDenied) as caught:
        check(trust(file), A)
    assert "mkdir" not in (caught.value.remedy or "")
