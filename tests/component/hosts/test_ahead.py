"""Looking at a host before anyone asks for it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tasks.cluster.spec import SecretRef
from tasks.errors import HostUnreachable
from tasks.hosts import ahead
from tasks.hosts.ahead import Look
from tests.component.hosts.sshd import Sshd

pytestmark = pytest.mark.component


def test_each_answer_is_there_once_for_whoever_asks_for_the_same(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    host = sshd.host()
    second = Look("second", lambda shell: shell.run("echo 2").text)
    ahead.begin(host, Look("first", lambda shell: shell.run("echo 1").text, lambda answer: second))
    assert ahead.take(replace(host, client_port=1), "first") is None, "the cluster file says something else now"
    assert ahead.take(host, "other") is None
    assert ahead.take(host, "first") == "1"
    assert ahead.take(host, "first") is None
    assert ahead.take(host, "second") == "2", "known as soon as the first answer is"
    ahead.begin(host, Look("old", lambda shell: "seen"))
    monkeypatch.setattr(ahead, "FRESH", 0.0)
    time.sleep(0.01)
    assert ahead.take(host, "old") is None


def test_what_failed_is_told_once_and_then_tried_again_by_whoever_wants_it(sshd: Sshd) -> None:
    host = sshd.host()
    sshd.stop()
    ahead.begin(host, Look("facts", lambda shell: shell.run("true").text))
    with pytest.raises(HostUnreachable):
        ahead.take(host, "facts")
    assert ahead.take(host, "facts") is None


def test_a_host_whose_login_needs_a_block_has_to_wait_for_prefect(sshd: Sshd) -> None:
    host = sshd.host(sudo_password=SecretRef("block", "sudo"))
    ahead.begin(host, Look("facts", lambda shell: "seen"))
    assert ahead.take(host, "facts") is None
