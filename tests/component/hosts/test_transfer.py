"""Large files over a real sshd: checked, resumed, refused."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.errors import CommandFailed, HostError, HostUnreachable, InputError, TransientHostError
from tasks.hosts import patience, pool, transfer
from tasks.hosts.packing import Packer, packed
from tasks.hosts.shell import Shell, open_shell
from tasks.hosts.transfer import pull_file, push_file
from tests.component.hosts.sshd import Sshd, local_host

pytestmark = pytest.mark.component
MIB = 1 << 20
SIZE = 3 * MIB + 77


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of a size for tests."""
    monkeypatch.setattr(transfer, "PUSH_RANGE", MIB)
    monkeypatch.setattr(transfer, "PULL_RANGE", MIB)
    monkeypatch.setattr(patience, "PAUSES", (0.01,) * 5)


@pytest.fixture
def content() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture
def source(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "source"
    path.write_bytes(content)
    return path


@pytest.fixture(params=["ssh", "local"])
def shell(request: pytest.FixtureRequest) -> Iterator[Shell]:
    host = request.getfixturevalue("sshd").host() if request.param == "ssh" else local_host()
    with open_shell(host) as opened:
        yield opened


def owner() -> str:
    return f"{os.getuid()}:{os.getgid()}"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def part_of(target: Path, content: bytes) -> Path:
    """The growing file beside a destination."""
    return target.with_name(f".{target.name}.etcd-flows-{hashlib.sha256(content).hexdigest()[:8]}")


def test_push_and_pull(shell: Shell, source: Path, content: bytes, tmp_path: Path) -> None:
    target = tmp_path / "new dir" / "it's here"
    told: list[int] = []
    moved = push_file(shell, source, str(target), owner=owner(), mode=0o640, progress=lambda done, _: told.append(done))
    assert (moved.bytes, moved.sent, moved.cuts) == (SIZE, SIZE, 0)
    assert told == [0, *range(MIB, SIZE, MIB), SIZE, SIZE]
    assert target.read_bytes() == content
    assert target.stat().st_mode & 0o7777 == 0o640
    assert names(target.parent) == ["it's here"]
    assert push_file(shell, source, str(target), owner=owner()).sent == 0
    assert target.stat().st_mode & 0o7777 == 0o600
    pieces = list(pull_file(shell, str(target)))
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= MIB


def lines(size: int) -> bytes:
    """What packs well."""
    return b"".join(b"%d: the same again, and again\n" % number for number in range(size // 20))[:size]


@pytest.mark.parametrize("packer", ["zstd", "gzip"])
def test_what_packs_well_is_packed_on_its_way_and_still_resumed_anywhere(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packer: str
) -> None:
    monkeypatch.setattr(transfer, "PACKERS", (packer,))
    travelled: list[int] = []

    def counted(source: transfer._Part, packer: Packer) -> Iterator[bytes]:
        for piece in packed(source, packer):
            travelled.append(len(piece))
            yield piece

    monkeypatch.setattr(transfer, "packed", counted)
    source, target, content = tmp_path / "source", tmp_path / "there", lines(SIZE)
    source.write_bytes(content)
    part_of(target, content).write_bytes(content[: MIB + 5])
    assert push_file(shell, source, str(target), owner=owner(), pack=True).sent == SIZE - MIB - 5
    assert target.read_bytes() == content
    assert 0 < sum(travelled) < SIZE / 5


def test_what_does_not_pack_well_goes_as_it_is(
    shell: Shell, source: Path, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "packed", lambda *_: pytest.fail("it was packed"))
    push_file(shell, source, str(tmp_path / "there"), owner=owner(), pack=True)
    source.write_bytes(lines(SIZE))
    push_file(shell, source, str(tmp_path / "there"), owner=owner())


@pytest.mark.parametrize("size", [0, 2 * MIB])
def test_sizes_at_the_edges(shell: Shell, tmp_path: Path, size: int) -> None:
    source, target = tmp_path / "source", tmp_path / "there"
    source.write_bytes(os.urandom(size))
    assert push_file(shell, source, str(target), owner=owner()).sent == size
    assert target.read_bytes() == b"".join(pull_file(shell, str(target))) == source.read_bytes()


def test_a_later_call_goes_on_and_clears_what_is_of_no_use(
    shell: Shell, source: Path, content: bytes, tmp_path: Path
) -> None:
    target = tmp_path / "there"
    part_of(target, content).write_bytes(content[: 2 * MIB + 5])
    part_of(target, b"other").write_bytes(b"older content")
    assert push_file(shell, source, str(target), owner=owner()).sent == SIZE - 2 * MIB - 5
    assert target.read_bytes() == content
    assert not [name for name in names(tmp_path) if "etcd-flows" in name]


def test_a_damaged_beginning_is_sent_again(shell: Shell, source: Path, content: bytes, tmp_path: Path) -> None:
    target = tmp_path / "there"
    part_of(target, content).write_bytes(bytes(2 * MIB))
    assert push_file(shell, source, str(target), owner=owner()).sent == 2 * SIZE - 2 * MIB
    assert target.read_bytes() == content


def test_what_can_not_become_right_is_refused(shell: Shell, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    with pytest.raises(HostError, match="another SHA-256") as caught:
        push_file(shell, source, str(target), sha256="0" * 64, owner=owner())
    assert "thrown away" in str(caught.value.state)
    assert not [name for name in names(tmp_path) if "there" in name]


def test_wrong_paths(shell: Shell, source: Path, tmp_path: Path) -> None:
    for remote in ("there", "/there/"):
        with pytest.raises(InputError):
            push_file(shell, source, remote)
    with pytest.raises(InputError, match="can't be read"):
        push_file(shell, tmp_path / "none", "/there")
    with pytest.raises(CommandFailed, match="No such file"):
        list(pull_file(shell, str(tmp_path / "none")))


def test_a_file_that_changes_while_it_is_pulled(shell: Shell, source: Path) -> None:
    pieces = pull_file(shell, str(source))
    next(pieces)
    with source.open("r+b") as file:
        file.write(b"changed")
    with pytest.raises(HostError, match="another than here"):
        list(pieces)
    pieces = pull_file(shell, str(source))
    next(pieces)
    os.truncate(source, MIB + 9)
    with pytest.raises(HostError, match="shorter"):
        list(pieces)


def cut_when(sshd: Sshd, *moments: Callable[[], bool]) -> threading.Thread:
    """Cut all connections once at each moment."""

    def watch() -> None:
        for moment in moments:
            while not moment():
                threading.Event().wait(0.002)
            sshd.cut()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_cut_connection_is_resumed_in_both_directions(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PUSH_RANGE", 8 * MIB)
    monkeypatch.setattr(transfer, "PULL_RANGE", 8 * MIB)
    content = os.urandom(24 * MIB)
    source, target = tmp_path / "source", tmp_path / "there"
    source.write_bytes(content)
    growing = part_of(target, content)

    def reached(size: int) -> Callable[[], bool]:
        return lambda: growing.exists() and growing.stat().st_size >= size

    with open_shell(sshd.host()) as shell:
        cutter = cut_when(sshd, reached(3 * MIB), reached(11 * MIB))
        moved = push_file(shell, source, str(target), owner=owner())
        cutter.join()
        assert target.read_bytes() == content
        assert moved.cuts >= 1
        assert moved.sent <= len(content)

        got = bytearray()
        cutter = cut_when(sshd, lambda: len(got) >= 3 * MIB, lambda: len(got) >= 11 * MIB)
        for piece in pull_file(shell, str(target)):
            got += piece
        cutter.join()
        assert bytes(got) == content


def test_connections_are_renewed_before_they_have_moved_much(
    sshd: Sshd, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "RENEW_AFTER", MIB + MIB // 2)
    with open_shell(sshd.host()) as shell:
        push_file(shell, source, str(tmp_path / "there"), owner=owner())
    assert (sshd.directory / "log").read_text().count("Accepted publickey") == 2  # after two of four


def test_a_host_that_stays_away_is_given_up(sshd: Sshd, source: Path, tmp_path: Path) -> None:
    with open_shell(sshd.host()) as shell:
        pieces = pull_file(shell, str(source))
        next(pieces)
        sshd.stop()
        with pytest.raises(TransientHostError):
            list(pieces)
        with pytest.raises(HostUnreachable):
            push_file(shell, source, str(tmp_path / "there"))
