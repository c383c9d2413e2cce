"""Running scripts and writing files through a real sshd and on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.cluster.spec import Host, SecretRef
from tasks.errors import AccessDenied, CommandFailed, InputError, TransientHostError
from tasks.hosts import pool
from tasks.hosts.shell import FileWrite, Shell, close_all, open_shell
from tests.component.hosts.sshd import Sshd, local_host

pytestmark = pytest.mark.component

EVERY_BYTE = bytes(range(256)) * 20_000


@pytest.fixture(params=["ssh", "local"])
def shell(request: pytest.FixtureRequest) -> Iterator[Shell]:
    host = request.getfixturevalue("sshd").host() if request.param == "ssh" else local_host()
    with open_shell(host) as opened:
        yield opened


def names_in(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def processes(words: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and words.encode() in (entry / "cmdline").read_bytes().replace(b"\0", b" "):
                found.append(int(entry.name))
    return found


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.02)


def test_output_is_what_was_written(shell: Shell) -> None:
    output = shell.run("echo complaint >&2; cat; exit 7", stdin=[EVERY_BYTE], check=False)
    assert (output.code, output.stdout, output.stderr) == (7, EVERY_BYTE, "complaint\n")


def test_data_follows_the_script_exactly(shell: Shell) -> None:
    output = shell.run('a=$(head -c 3); b=$(head -c 4); echo "$b$a"; cat', stdin=[b"abc", b"defg", b"rest"])
    assert output.stdout == b"defgabc\nrest"


def test_scripts_stop_at_the_first_failure_and_at_unset_variables(shell: Shell) -> None:
    with pytest.raises(CommandFailed, match="trying it ended with exit code 1"):
        shell.run("false; echo not reached", what="trying it")
    with pytest.raises(CommandFailed):
        shell.run('echo "$no_such_variable"')


def test_environment_and_umask(shell: Shell) -> None:
    output = shell.run('printf %s "$VALUE"; umask', env={"VALUE": "it's $(not) run\n"})
    assert output.text == "it's $(not) run\n0077"
    with pytest.raises(InputError):
        shell.run("true", env={"A=1; touch /x;": ""})


def test_text_of_the_script_may_be_anything(shell: Shell) -> None:
    text = "größe 'quoted' \"twice\" \\ back $dollar `tick` !bang"
    assert shell.run(f"cat <<'EOF'\n{text}\nEOF\n\n\n").text == text


def test_a_command_that_ends_early_does_not_hang(shell: Shell) -> None:
    started = time.monotonic()
    assert shell.run("exit 0", stdin=(bytes(1 << 20) for _ in range(64))).ok
    assert time.monotonic() - started < 10


def test_a_source_that_fails_stops_the_command(shell: Shell) -> None:
    def broken() -> Iterator[bytes]:
        yield b"some"
        raise InputError("the source broke")

    with pytest.raises(InputError, match="the source broke"):
        shell.run("cat >/dev/null; sleep 30", stdin=broken())
    assert shell.run("echo on").text == "on"


def test_timeout_leaves_no_orphan(shell: Shell) -> None:
    started = time.monotonic()
    with pytest.raises(TransientHostError, match="within 1 s"):
        shell.run("sleep 31.4159 & sleep 31.4159; true", timeout=1)
    assert time.monotonic() - started < 5
    wait_for(lambda: not processes("31.4159"))


def test_write_files(shell: Shell, tmp_path: Path) -> None:
    names = ["plain", "it's $(odd) 'name'", "-dash", "new/dir/file"]
    files = [FileWrite(f"{tmp_path}/d/{name}", EVERY_BYTE + name.encode(), 0o640) for name in names]
    shell.write_files([*files, FileWrite(f"{tmp_path}/d/empty", b"", 0o600)])
    for file in files:
        assert Path(file.path).read_bytes() == file.content
        assert stat.S_IMODE(Path(file.path).stat().st_mode) == 0o640
    assert names_in(tmp_path / "d") == sorted(["plain", "it's $(odd) 'name'", "-dash", "new", "empty"])
    assert stat.S_IMODE((tmp_path / "d/new/dir").stat().st_mode) == 0o755


def test_write_replaces_links_and_old_temporaries_but_no_directory(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dirlink").symlink_to(tmp_path / "dir")
    (tmp_path / ".link.etcd-flows-abcdefgh").write_text("left by a killed run")
    shell.write_files([FileWrite(f"{tmp_path}/{name}", b"new", 0o644) for name in ("link", "dirlink")])
    assert (tmp_path / "victim").read_text() == "untouched"
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "dirlink").is_file()
    with pytest.raises(CommandFailed, match="is a directory"):
        shell.write_files([FileWrite(f"{tmp_path}/dir", b"new", 0o644)])
    assert names_in(tmp_path) == sorted(
        {"victim", "link", "dir", "dirlink"} | ({"sshd"} if (tmp_path / "sshd").exists() else set())
    )


def test_owner_that_does_not_exist_leaves_nothing(shell: Shell, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root changes owners")
    target = tmp_path / "d" / "file"
    with pytest.raises(CommandFailed, match="no-such-user"):
        shell.write_files([FileWrite(str(target), b"x", 0o600, "no-such-user", "root")])
    assert names_in(target.parent) == []
    shell.write_files([FileWrite(str(target), b"x", 0o640, "root", "nogroup")])
    assert target.group() == "nogroup"


def test_content_and_script_are_never_in_a_command_line(shell: Shell, tmp_path: Path) -> None:
    canary = "canary-4711"
    seen: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            seen.extend(processes(canary))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for number in range(5):
            shell.write_files([FileWrite(f"{tmp_path}/secret{number}", canary.encode() * 1000, 0o600)])
        shell.run(f"x={canary}; sleep 0.3", env={"TOKEN": canary})
    finally:
        stop.set()
        watcher.join()
    assert seen == []


def test_connection_cut_in_the_middle_of_a_file(sshd: Sshd, tmp_path: Path) -> None:
    target = tmp_path / "d" / "file"
    target.parent.mkdir()
    target.write_text("old")
    staged = threading.Event()

    def cut_when_staged() -> None:
        wait_for(lambda: len(names_in(target.parent)) > 1)
        staged.set()
        sshd.cut()

    cutter = threading.Thread(target=cut_when_staged)
    cutter.start()
    with open_shell(sshd.host()) as shell, pytest.raises(TransientHostError) as caught:
        shell.write_files([FileWrite(str(target), bytes(400 << 20), 0o600)])
    cutter.join()
    assert staged.is_set()
    assert "may have been carried out" in str(caught.value.state)
    wait_for(lambda: names_in(target.parent) == ["file"])
    assert target.read_text() == "old"


def test_half_a_script_is_not_run(shell: Shell, tmp_path: Path) -> None:
    from tasks.hosts import wire

    evidence = tmp_path / "ran"
    real = wire.payload("m", f"touch {evidence}\n" + "# filler\n" * 10, [], {}, None)
    whole = b"".join(real)
    for length in (0, 5, len(whole) // 2, len(whole) - 1):

        def cut(mark: str, *_: object, part: bytes = whole[:length]) -> Iterator[bytes]:
            return iter([part.replace(b"m\n", mark.encode() + b"\n", 1)])

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(wire, "payload", cut)
            with pytest.raises(TransientHostError, match="did not arrive whole"):
                shell.run("unused")
    assert not evidence.exists()


def test_connection_cut_between_commands_is_opened_again(sshd: Sshd) -> None:
    with open_shell(sshd.host()) as shell:
        first = shell.run("echo $PPID").text
        sshd.cut()
        assert shell.run("echo $PPID").text != first


def test_connection_cut_during_a_command(sshd: Sshd) -> None:
    with open_shell(sshd.host()) as shell:
        threading.Timer(0.8, sshd.cut).start()
        started = time.monotonic()
        with pytest.raises(TransientHostError) as caught:
            shell.run("sleep 20.002")
        assert time.monotonic() - started < 5
        assert "may have been carried out" in str(caught.value.state)
        assert shell.run("echo back").text == "back"
    for pid in processes("20.002"):
        os.kill(pid, signal.SIGKILL)


def test_what_a_cut_connection_leaves_ends_at_its_deadline(sshd: Sshd) -> None:
    with open_shell(sshd.host()) as shell:
        threading.Timer(0.8, sshd.cut).start()
        with pytest.raises(TransientHostError):
            shell.run("sleep 21.003", timeout=2)
    wait_for(lambda: not processes("21.003"), 6)


def test_server_that_hangs_between_commands(sshd: Sshd) -> None:
    with open_shell(sshd.host(connect_timeout=2.0)) as shell:
        shell.run("true")
        sshd.cut(signal.SIGSTOP)
        started = time.monotonic()
        assert shell.run("echo back").text == "back"
        assert time.monotonic() - started < 8


def test_server_that_hangs_during_a_command(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.hosts.shell.GRACE", 1.0)
    with open_shell(sshd.host()) as shell:
        shell.run("true")
        threading.Timer(0.7, sshd.cut, (signal.SIGSTOP,)).start()
        started = time.monotonic()
        with pytest.raises(TransientHostError, match="no end of the command"):
            shell.run("sleep 1.501; echo done", timeout=3)
        assert time.monotonic() - started < 7
        assert shell.run("echo back").text == "back"


def test_everything_can_be_closed_and_used_again(sshd: Sshd) -> None:
    with open_shell(sshd.host()) as shell:
        shell.run("true")
        close_all()
        wait_for(lambda: "sshd" not in {Path(f"/proc/{pid}/comm").read_text().strip() for pid in sshd.children()})
        assert shell.run("echo back").text == "back"


def test_one_connection_one_session_shared_by_threads(make_sshd: Callable[..., Sshd]) -> None:
    sshd = make_sshd(options=("MaxSessions 1",))
    sshd.trust()
    said: list[str] = []

    def work(number: int) -> None:
        with open_shell(sshd.host()) as shell:
            said.extend(shell.run(f"echo {number}.{turn}").text for turn in range(5))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(said) == sorted(f"{number}.{turn}" for number in range(8) for turn in range(5))
    assert (sshd.directory / "log").read_text().count("Accepted publickey") == 1


def test_a_connection_that_moved_much_is_renewed(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "RENEW_AFTER", 1 << 20)
    with open_shell(sshd.host()) as shell:
        shell.run("cat >/dev/null", stdin=[bytes(2 << 20)])
        shell.run("true")
        shell.run("true")
    assert (sshd.directory / "log").read_text().count("Accepted publickey") == 2


def test_noise_of_the_login_shell_is_not_output(sshd: Sshd, tmp_path: Path) -> None:
    noisy = sshd.directory / "authorized"
    noisy.write_text(f'command="echo Welcome; exec /bin/sh -c \\"$SSH_ORIGINAL_COMMAND\\"" {noisy.read_text()}')
    with open_shell(sshd.host()) as shell:
        assert shell.run("echo only this").stdout == b"only this\n"


def test_login_that_cannot_run_commands(sshd: Sshd) -> None:
    authorized = sshd.directory / "authorized"
    authorized.write_text(f'command="echo This account is not available." {authorized.read_text()}')
    with open_shell(sshd.host()) as shell, pytest.raises(CommandFailed, match="could not start a script"):
        shell.run("true")


FAKE_SUDO = """#!/bin/sh
# Reads the password one character at a time, as sudo -S does, unless it is not needed.
echo "$@" >>{log}
case " $* " in
  *" -S "*) [ -e {nopasswd} ] || { IFS= read -r given; [ "$given" = "s3cret pass" ] || {
      echo "Sorry, try again." >&2
      IFS= read -r given && echo "second try: $given" >>{log}
      echo "sudo: 1 incorrect password attempt" >&2; exit 1; }; } ;;
  *" -n "*) [ -e {nopasswd} ] || { echo "sudo: a password is required" >&2; exit 1; } ;;
esac
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


@pytest.fixture(params=["ssh", "local"])
def sudo_host(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host whose sudo is ours; the login must not look like root's."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    script = FAKE_SUDO.replace("{log}", str(tmp_path / "log")).replace("{nopasswd}", str(tmp_path / "nopasswd"))
    (bin_dir / "sudo").write_text(script)
    (bin_dir / "sudo").chmod(0o755)
    monkeypatch.setenv("SUDO_SECRET", "s3cret pass")
    monkeypatch.setattr(Shell, "_needs_sudo", lambda self: True)
    if request.param == "local":
        monkeypatch.setenv("PATH", f"{bin_dir}:{os.environ['PATH']}")
        host = local_host()
    else:
        path = f"PATH={bin_dir}:/usr/bin:/bin"
        server: Sshd = request.getfixturevalue("make_sshd")(options=(f"SetEnv {path}",))
        server.trust()
        host = server.host()
    return replace(host, ssh=replace(host.ssh, sudo="auto"))


def with_password(host: Host) -> Host:
    return replace(host, ssh=replace(host.ssh, sudo_password=SecretRef("env", "SUDO_SECRET")))


@pytest.mark.parametrize("nopasswd", [False, True])
def test_sudo_password_is_taken_or_thrown_away(sudo_host: Host, tmp_path: Path, nopasswd: bool) -> None:
    if nopasswd:
        (tmp_path / "nopasswd").touch()
    with open_shell(with_password(sudo_host)) as shell:
        assert shell.run("cat", stdin=[EVERY_BYTE]).stdout == EVERY_BYTE
        assert shell.run("cat").stdout == b""
    log = (tmp_path / "log").read_text()
    assert "-S" in log
    assert "s3cret" not in log


def test_sudo_without_a_password(sudo_host: Host, tmp_path: Path) -> None:
    with open_shell(sudo_host) as shell:
        with pytest.raises(AccessDenied, match="none is configured") as caught:
            shell.run("true")
        assert "sudo_password" in str(caught.value.remedy)
        (tmp_path / "nopasswd").touch()
        assert shell.run("echo yes").text == "yes"


def test_wrong_sudo_password(sudo_host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_SECRET", "guess")
    with open_shell(with_password(sudo_host)) as shell, pytest.raises(AccessDenied) as caught:
        shell.run("true", stdin=[bytes(8 << 20)])
    assert "refused the password" in str(caught.value)
    assert "second try" not in (tmp_path / "log").read_text(), "more failures than one lock accounts (pam_faillock)"
    assert "guess" not in str(caught.value)
