"""Hooks as commands that really run, here."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tasks.cluster.spec import Hook, SecretRef
from tasks.errors import CommandFailed, InputError, TransientHostError
from tasks.hosts.shell import Shell, close_all
from tasks.reporting.progress import Event, listening
from tasks.restore.hooks import demand_secrets, run_hook
from tests import etcd_specs as specs

pytestmark = pytest.mark.component


def run(command: str, timeout: float = 30.0, secrets: tuple[tuple[str, SecretRef], ...] = ()) -> list[str]:
    """Run a hook; what it showed."""
    here = replace(specs.host("local"), ssh=replace(specs.LOCAL, sudo="none"))
    said: list[Event] = []
    try:
        with listening(said.append):
            run_hook(Shell(here), Hook("a-hook", here, command, timeout, secrets))
    finally:
        close_all()
    return [event.text.strip() for event in said]


def test_it_runs_as_people_write_sh() -> None:
    assert run("echo one; echo two >&2; echo ${unset}three; cat; umask") == [
        "a-hook: one",
        "a-hook: three",
        "a-hook: 0022",
        "a-hook: two",
    ]


def test_the_first_command_that_fails_ends_it() -> None:
    with pytest.raises(CommandFailed, match=r"hook a-hook ended with exit code 3: so far"):
        run("echo so far\n(exit 3)\necho never")


def test_it_does_not_take_forever() -> None:
    began = time.monotonic()
    with pytest.raises(TransientHostError, match="hook a-hook did not end within 1 s"):
        run("sleep 60", timeout=1.0)
    assert time.monotonic() - began < 20


def test_its_secrets_are_on_no_command_line_and_in_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter2hunter2")
    secrets = (("TOKEN", SecretRef("env", "MY_TOKEN")),)
    look = "echo is $TOKEN; [ ${#TOKEN} = 14 ]; ! tr '\\0' ' ' </proc/$$/cmdline | grep hunter2"
    assert run(look, secrets=secrets) == ["a-hook: is (hidden)"]
    monkeypatch.delenv("MY_TOKEN")
    hook = Hook("a-hook", specs.host("local"), "true", 1.0, secrets)
    cluster = specs.cluster()
    with pytest.raises(InputError, match="MY_TOKEN"):
        demand_secrets(replace(cluster, restore=replace(cluster.restore, after_proof=(hook,))))
