"""`etcd-flows serve` is killed in the middle of a restore, and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.hunting import Secrets
from tests.component.restore.deployed import customize
from tests.component.test_serve import SAVE_BLOCK, SAVE_SECRET, Site, Webhook, free_ports
from tests.lab.system import wait_until
from tests.processes import family

pytestmark = [pytest.mark.component, pytest.mark.slow, pytest.mark.timeout(600)]

HELD = "done/etcd-01/hold"


class Held(Site):
    """Its runs stop at an event while there is a file that names it."""

    notify = ""

    @property
    def point(self) -> Path:
        """The file."""
        return self.directory / "point/event"

    @property
    def environ(self) -> dict[str, str]:
        ours = {"PYTHONPATH": str(self.directory / "customized"), "ETCD_FLOWS_TEST_POINT": str(self.point)}
        return {**super().environ, **ours, "ETCD_FLOWS_NOTIFY": self.notify}


@pytest.fixture
def site(etcd_release_dir: Path) -> Iterator[Held]:
    directory = Path(tempfile.mkdtemp(prefix="efl-held-"))  # short: a supervisor's socket lies below it
    for name in ("tmp", "point"):
        (directory / name).mkdir()
    customize(directory / "customized")
    made = Held(directory, free_ports(1)[0], Secrets())
    made.write_cluster("alpha", etcd_release_dir, "0 */6 * * *")
    try:
        yield made
    finally:
        made.point.unlink(missing_ok=True)
        if made.process and made.process.poll() is None:
            made.stop()
        for pid_file in (directory / "hosts").glob("*/**/supervisord.pid"):
            os.kill(int(pid_file.read_text()), signal.SIGTERM)
        shutil.rmtree(directory, ignore_errors=True)


def living(pids: list[int]) -> list[str]:
    """Those of them that there still are: what they run."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            found.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[-80:])
    return [words for words in found if words]


def test_nothing_is_left_running_and_what_was_begun_is_told(site: Held) -> None:
    site.start()
    site.python(SAVE_SECRET, stdin=site.secrets.block)
    told = Webhook()
    site.python(SAVE_BLOCK, told.url)
    assert site.trigger("bootstrap-cluster", "alpha")["code"] == 0
    assert site.trigger("snapshot-backup", "alpha")["code"] == 0

    site.point.write_text(HELD)
    words = ("-p", 'accept=["no-safety-snapshot"]', "--confirm", "alpha", "--detach")
    left = site.run("trigger", "disaster-restore", "alpha", *words).stdout.strip()
    wait_until("the restore is there", site.point.with_name("there").exists, 120)
    assert site.process
    every = family(site.process.pid)
    assert len(every) >= 4, "serve, server, worker, run"
    site.process.kill()
    site.process.wait(30)
    wait_until("all that it started has ended", lambda: not living(every), 90)

    site.point.unlink()
    site.notify = "custom-webhook/on-call"
    site.start()
    assert "1 run cut off when it was last stopped: marked as crashed" in site.said
    wait_until("it is told", lambda: "how the cluster stands" in site.ended(left)["message"], 120)
    state = site.ended(left)
    assert state["type"] == "CRASHED"
    assert "etcd-01: stopped and held, set to its former data" in state["message"]
    assert "to go on: etcd-flows disaster-restore alpha --confirm alpha" in state["message"]
    assert "etcd-01: stopped and held" in told.wait_for({"An etcd restore was cut off"})["An etcd restore was cut off"]
    again = site.trigger("disaster-restore", "alpha", "--confirm", "alpha")
    assert (again["code"], again["state"]) == (0, "Completed"), again
