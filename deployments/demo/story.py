"""``etcd-flows demo``: three members with real TLS on this machine, built, broken and healed by the product itself.

The acts run the same flows as the command line does, on a cluster file like a user's. Only the hosts are special: they
are this machine (``connection: local``), and supervisor stands for systemd so that no root is needed.
"""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from deployments.demo import release
from deployments.demo.acts import destroy
from deployments.demo.program import ACTS
from deployments.demo.prometheus import find
from deployments.demo.screen import Screen
from deployments.demo.stage import Stage, stage
from tasks.errors import EtcdFlowsError, InputError
from tasks.reporting import tables
from tasks.reporting.human import duration

Timings = list[tuple[str, float]]

_INTRO = """\
etcd-flows demo: an etcd cluster of three members with mutual TLS, on this machine, without root.
It is built, broken, healed, backed up, lost and restored by the flows that do it on real hosts. Two minutes.
"""


def run_demo(directory: Path | None, *, keep: bool, prometheus: Path | None = None) -> int:
    """Play the whole story.

    Args:
        directory: Where it lives, empty or new, and left there at the end; None makes one and removes it.
        keep: Leave the cluster and Prefect's server running at the end.
        prometheus: Path of the program that is to watch; None takes one that this machine has, if any.

    Returns:
        0 if every act did what it says; 1 if one failed or it was interrupted; 2 if it could not begin.
    """
    screen = Screen()
    timings: Timings = []
    try:
        _preconditions()
        with _signals_interrupt(), stage(screen, directory, find(prometheus), keep=keep) as made:
            screen.say(_INTRO)
            stays = keep or directory is not None
            screen.say(f"Everything is in {made.root}" + ("." if stays else ", and goes away at the end."))
            if not _play(made, timings):
                return 1
        _epilogue(made, timings)
    except KeyboardInterrupt:
        screen.say(
            "interrupted: " + ("--keep leaves it as it is" if keep else "the demo's processes have been stopped")
        )
        return 1
    except EtcdFlowsError as error:
        screen.say(f"the demo can't begin: {error}", fg="red")
        return error.exit_code
    return 0


def _preconditions() -> None:
    if not sys.platform.startswith("linux"):
        raise InputError("the demo needs Linux, as etcd-flows' hosts do", remedy="run it in a virtual machine")
    if find_spec("supervisor") is None:
        raise InputError("the demo needs the PyPI package supervisor", remedy=release.HOW_TO_INSTALL)
    release.programs()


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP (the terminal was closed) end the demo as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    old = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _play(made: Stage, timings: Timings) -> bool:
    acts = [act for act in ACTS if not (made.keep and act[1] is destroy)]
    for number, (title, act) in enumerate(acts):
        made.screen.heading(f"Act {number} of {len(acts) - 1}: {title}")
        began = time.monotonic()
        try:
            outcome = act(made)
        except Exception as error:  # noqa: BLE001 - whatever it is, people are told which act it was
            made.failed = True
            _tell_failure(made, title, error)
            return False
        timings.append((title, time.monotonic() - began))
        made.screen.outcome(outcome)
    return True


def _tell_failure(made: Stage, title: str, error: Exception) -> None:
    said = str(error) if isinstance(error, EtcdFlowsError) else f"{type(error).__name__}: {error}"
    (made.root / "demo.log").write_text("".join(traceback.format_exception(error)))
    made.screen.say(f"the act {title!r} failed: {said}", fg="red", bold=True)
    made.screen.say(f"The logs are kept: {made.logs}", fg="red")
    if made.keep:
        _kept(made)


def _epilogue(made: Stage, timings: Timings) -> None:
    screen = made.screen
    screen.heading("That was it")
    rows = [(title, f"{seconds:6.1f} s") for title, seconds in timings]
    screen.raw(tables.as_text(tables.table(("act", "took"), rows), indent="   "))
    screen.say("Of the first act nearly all, and of the others a part, is Prefect getting ready.")
    total = duration(sum(seconds for _, seconds in timings))
    screen.raw()
    screen.say(
        f"{total} in all, on one machine. What is different on real hosts: SSH instead of this shell, systemd instead "
        "of supervisor, a current etcd from the official site or your mirror, and machines that fail one by one. "
        "What is the same: the flows, the plans, the checks."
    )
    screen.raw()
    screen.say("Now the real thing: three hosts that you can ssh to, and a file of three lines (README.md has all):")
    screen.raw()
    screen.raw(_REAL.rstrip(), indent="   ")
    screen.raw()
    screen.command("bootstrap-cluster prod-a.yaml --plan     # look first")
    screen.command("bootstrap-cluster prod-a.yaml            # then do it")
    if made.keep:
        _kept(made)
    elif not made.temporary:
        screen.say(f"What --dir was given, {made.root}, stays: cluster file, CA, logs, Prefect's database.")


_REAL = """\
name: prod-a
hosts:
  - {name: etcd-01, address: 10.0.0.11}
  - {name: etcd-02, address: 10.0.0.12}
  - {name: etcd-03, address: 10.0.0.13}
ssh: {user: ubuntu}
"""


def _kept(made: Stage) -> None:
    screen = made.screen
    screen.raw()
    servers = {"Prefect": made.server, "Prometheus": made.prometheus}
    running = {name: one for name, one in servers.items() if one is not None and one.pid}
    where = " and ".join(f"{name} ({one.url})" for name, one in running.items())
    screen.say(f"Because of --keep what runs runs on, {where} too. To be rid of it:")
    screen.command(f"destroy-cluster {made.file} --confirm demo --delete-data")
    screen.raw(f"$ kill {' '.join(str(one.pid) for one in running.values())}; rm -r {made.root}", fg="cyan")
