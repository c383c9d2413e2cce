"""The command line and what standard input carries, run by real shells without any host."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import InputError
from tasks.hosts import wire


def joined(pieces: Iterable[bytes]) -> bytes:
    return b"".join(piece for piece in pieces if not isinstance(piece, wire.Hold))


def test_nothing_of_the_script_is_in_the_command_line() -> None:
    one = wire.command_line("m", 60, sudo=True, sudo_password=True)
    assert one == wire.command_line("m", 60, sudo=True, sudo_password=True)
    assert "sudo -k -S -p '' -- timeout -k 5 60.000 " in one
    assert "sudo -n -- " in wire.command_line("m", 60, sudo=True, sudo_password=False)
    assert "sudo" not in wire.command_line("m", 60, sudo=False, sudo_password=False)
    assert "\\" not in one, "fish and csh treat it differently inside quotes"


@pytest.mark.parametrize("login_shell", ["sh", "bash", "dash", "csh", "tcsh", "fish", "zsh"])
def test_any_login_shell_passes_it_on(login_shell: str) -> None:
    shell = shutil.which(login_shell)
    if shell is None:
        pytest.skip(f"no {login_shell} here")
    command = wire.command_line("mark", 10, sudo=False, sudo_password=False)
    data = joined(wire.payload("mark", "cat; exit 4", [b"x\0y"], {"A": "b"}, b"not needed"))
    done = subprocess.run([shell, "-c", command], input=data, capture_output=True, check=False)
    assert (done.returncode, wire.split_output("mark", done.stdout)) == (4, b"x\0y")


def test_what_a_profile_exports_changes_nothing(tmp_path: Path) -> None:
    """Options after operands, sizes in blocks, and variables that etcdctl does not take beside flags."""
    (tmp_path / "one").write_text("x" * 5000)
    exported = {"POSIXLY_CORRECT": "1", "BLOCK_SIZE": "1M", "ETCDCTL_ENDPOINTS": "https://other:2379", "KEPT": "kept"}
    script = 'ls one -s --block-size=1 >/dev/null; ls -s one; env | grep -c "^ETCDCTL_" || :; echo "$KEPT"'
    payload = joined(wire.payload("mark", script, [], {}, None))
    command = wire.command_line("mark", 10, sudo=False, sudo_password=False)
    environ = {"PATH": os.environ["PATH"], **exported}
    done = subprocess.run(["sh", "-c", command], input=payload, capture_output=True, env=environ, cwd=tmp_path)
    found = wire.split_output("mark", done.stdout)
    assert found is not None
    assert done.returncode == 0, done.stderr
    blocks, *rest = found.split()
    assert int(blocks) >= 4, "KiB"
    assert rest == [b"one", b"0", b"kept"]


@settings(max_examples=40)
@given(
    st.binary(max_size=300), st.text(alphabet=st.characters(exclude_characters="\0\n\r", codec="utf-8"), max_size=40)
)
def test_data_and_text_survive(data: bytes, text: str) -> None:
    command = wire.command_line("mark", 10, sudo=False, sudo_password=False)
    payload = joined(wire.payload("mark", 'printf "%s|" "$T"; cat', [data], {"T": text}, None))
    done = subprocess.run(["sh", "-c", command], input=payload, capture_output=True, check=True)
    assert wire.split_output("mark", done.stdout) == text.encode() + b"|" + data


@settings(max_examples=25)
@given(st.data())
def test_a_script_that_was_cut_does_not_run(data: st.DataObject) -> None:
    whole = joined(wire.payload("mark", "echo ran\n", [], {}, None))
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    command = wire.command_line("mark", 10, sudo=False, sudo_password=False)
    done = subprocess.run(["sh", "-c", command], input=part, capture_output=True, check=False)
    assert done.returncode == wire.INCOMPLETE
    assert wire.split_output("mark", done.stdout) is None


def test_data_may_come_from_files_and_is_cut_in_pieces() -> None:
    big = bytes(3 * wire.CHUNK + 1)
    pieces = list(wire.payload("m", "", [io.BytesIO(big), big, bytearray(b"z")], {}, None))
    assert max(map(len, pieces)) <= wire.CHUNK
    assert b"".join(pieces).endswith(big + big + b"z")


def test_the_password_comes_first_and_only_there() -> None:
    data = joined(wire.payload("m", "true", [], {}, b"pa ss"))
    assert data.startswith(b"pa ss\nm\n")
    assert data.count(b"pa ss") == 1
    pieces = list(wire.payload("m", "true", [], {}, b"pa ss"))
    assert isinstance(pieces[1], wire.Hold), "nothing follows a password before it was taken"
    assert not any(isinstance(piece, wire.Hold) for piece in wire.payload("m", "true", [], {}, None))


def test_noise_before_the_mark_is_dropped() -> None:
    assert wire.split_output("m", b"Welcome\nm\nm\nout\nm\n") == b"out\nm\n"
    assert wire.split_output("m", b"Welcome\nm\n") is None
    assert wire.split_output("m", b"Welcome\n") is None


def test_what_cannot_be_sent() -> None:
    with pytest.raises(InputError):
        wire.payload("m", "a\0b", [], {}, None)
    with pytest.raises(InputError):
        wire.payload("m", "", [], {"A B": "x"}, None)
