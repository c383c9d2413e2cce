"""The pictures of docs/ui.md: ``make pictures`` retakes them, from the real thing.

A cluster of three members on loopback, ``etcd-flows serve`` beside it, and a restore done by a person in Chromium: the
form filled in, the plan looked at, a wrong name typed, the right one, the report read. It fails where a page does not
show what it should, so it is a test of the UI as well; it is no part of the suite, since Chromium may not be there.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from PIL import Image
from playwright.sync_api import Locator, Page, expect, sync_playwright

from deployments.demo import processes
from deployments.demo.cluster import free_ports, render
from tests.lab import releases

IMAGES = Path(__file__).resolve().parent / "images"
ROOT = IMAGES.parents[1]
CLI = (sys.executable, "-m", "deployments.cli")
CLUSTER = "prod-a"
#: Milliseconds that a page may take: the machine may be busy.
PATIENCE = 60_000
#: A picture is reduced to so many colours, which makes it a third as large; this way keeps those of
#: small things, such as a line.
COLOURS, WAY = 128, Image.Quantize.FASTOCTREE
WIDTH, HEIGHT = 1100, 760


@dataclass
class Site:
    """A directory with a cluster file, the members' directories, a store, and what `serve` keeps."""

    directory: Path
    port: int

    @property
    def url(self) -> str:
        """Of the UI."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def auth(self) -> str:
        """What the UI asks for."""
        return (self.directory / "state/etcd-flows.server/auth").read_text().strip()

    @property
    def environ(self) -> dict[str, str]:
        """Of the command line."""
        here = {"ETCD_FLOWS_CLUSTERS": str(self.directory / "clusters"), "HOME": str(self.directory)}
        return {**os.environ, **here, "XDG_STATE_HOME": str(self.directory / "state")}

    def run(self, *words: str) -> str:
        """The command line; returns what it printed."""
        done = subprocess.run([*CLI, *words], env=self.environ, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise RuntimeError(f"{words}: {done.stdout}{done.stderr}")
        return done.stdout

    def ask(self, path: str, body: Any = None) -> Any:
        """Prefect's API; on SQLite it answers 503 while its database is busy."""
        until = time.monotonic() + PATIENCE / 1000
        while True:
            try:
                return self._ask(path, body)
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > until:
                    raise
                time.sleep(1)

    def _ask(self, path: str, body: Any) -> Any:
        token = base64.b64encode(self.auth.encode()).decode()
        headers = {"content-type": "application/json", "authorization": f"Basic {token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api{path}", data, headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)


@contextmanager
def site() -> Iterator[Site]:
    """A cluster that serves, with a backup, a drill and a check behind it, as people find it on a usual day."""
    directory = Path(tempfile.mkdtemp(prefix="efl-", dir="/tmp"))
    made = Site(directory, free_ports() + 7)
    server = None
    try:
        describe(directory)
        with (directory / "serve.log").open("wb") as log:
            server = subprocess.Popen(  # noqa: S603
                [*CLI, "serve", "--port", str(made.port)],
                env=made.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while "a worker runs" not in (directory / "serve.log").read_text():
            if server.poll() is not None:
                raise RuntimeError((directory / "serve.log").read_text())
            time.sleep(0.5)
        yield made
    finally:
        if server is not None and server.poll() is None:
            server.send_signal(signal.SIGTERM)
            server.wait(120)
        processes.stop_all(directory)
        shutil.rmtree(directory, ignore_errors=True)


def describe(directory: Path) -> None:
    """The cluster file: the demo's, with a schedule and a goal for restores."""
    (directory / "clusters").mkdir()
    text = render(directory, releases.VERSIONS[0], free_ports()).replace("name: demo", f"name: {CLUSTER}")
    text = text.replace("source: ./release", f"source: {releases.mirror()}")
    text = re.sub(r"\./(cache|operator|backups)", f"{directory}/\\1", text)
    text = text.replace("/backups}]", f"/backups}}, {{name: offsite, directory: {directory}/offsite}}]")
    text = text.replace("snapshots:\n", "snapshots:\n  schedule: 0 */6 * * *\n") + "drill: {rto: 0.05m}\n"
    (directory / "clusters" / f"{CLUSTER}.yaml").write_text(text)


class Pictures:
    """A person at the UI, who takes pictures of what is seen."""

    def __init__(self, site: Site, page: Page) -> None:
        self.site = site
        self.page = page
        page.set_default_timeout(PATIENCE)

    def log_in(self) -> None:
        """With what `serve` has shown."""
        self.page.goto(self.site.url)
        self.page.locator("input").fill(self.site.auth)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url("**/dashboard**")

    def go(self, path: str) -> None:
        """Open a page and let it come to rest."""
        self.page.goto(f"{self.site.url}/v2/{path}")
        self.page.wait_for_load_state("networkidle")

    def take(self, name: str, *sees: str) -> None:
        """Write docs/images/NAME.png.

        Args:
            sees: What has to be on the page.
        """
        for text in sees:
            expect(self.page.get_by_text(text).first).to_be_visible(timeout=PATIENCE)
        self.page.wait_for_timeout(1500)  # moving parts
        shot = Image.open(io.BytesIO(self.page.screenshot()))
        shot.convert("RGB").quantize(COLOURS, WAY).save(IMAGES / f"{name}.png", optimize=True)
        click.echo(f"{name}: {(IMAGES / name).with_suffix('.png').stat().st_size // 1024} KiB")

    def form(self, flow: str) -> None:
        """The form of a flow's deployment."""
        self.go(f"deployments/deployment/{self.site.ask(f'/deployments/name/{flow}/{CLUSTER}')['id']}/run")
        expect(self.page.get_by_role("button", name="Submit")).to_be_visible(timeout=PATIENCE)

    def artifact(self, key: str) -> None:
        """The newest of that name."""
        wanted = {"artifacts": {"key": {"any_": [f"{CLUSTER}-{key}"]}}, "sort": "CREATED_DESC", "limit": 1}
        self.go(f"artifacts/artifact/{self.site.ask('/artifacts/filter', wanted)[0]['id']}")

    def run_in(self, *states: str) -> dict[str, Any]:
        """Wait for the newest restore to be in one of these states; returns the run."""
        wanted = {"flows": {"name": {"any_": ["disaster-restore"]}}, "sort": "START_TIME_DESC", "limit": 1}
        until = time.monotonic() + 300
        while time.monotonic() < until:
            for run in self.site.ask("/flow_runs/filter", wanted):
                if run["state_type"] in {"FAILED", "CRASHED"} - set(states):
                    raise RuntimeError(run["state"]["message"])
                if run["state_type"] in states:
                    return dict(run)
            time.sleep(1)
        raise RuntimeError(f"no restore is in {states}: {self.site.ask('/flow_runs/filter', wanted)}")

    def answer_form(self, run: str) -> Locator:
        """The form with which a paused run asks for the cluster's name."""
        self.go(f"runs/flow-run/{run}")
        self.page.locator("main button[aria-haspopup=menu], button[aria-haspopup=menu]").last.click()
        self.page.get_by_role("menuitem", name="Resume").click()
        dialog = self.page.get_by_role("dialog")
        expect(dialog.locator("textarea").first).to_be_visible(timeout=PATIENCE)
        return dialog


def restore(pictures: Pictures) -> None:
    """By a person who has to type the name twice."""
    page = pictures.page
    pictures.form("disaster-restore")
    page.get_by_label("Requested by (Optional)").fill("J. Doe")
    page.get_by_label("Reason (Optional)").fill("a bad write at 14:20")
    page.mouse.wheel(0, -5000)
    pictures.take("ui-restore-form", "Plan only (Optional)")
    page.get_by_role("button", name="Submit").click()
    run = pictures.run_in("PAUSED")["id"]
    pictures.artifact("disaster-restore-plan")
    pictures.take("ui-plan", "write the restore's record")
    dialog = pictures.answer_form(run)
    dialog.locator("textarea").first.fill("prod-b")
    dialog.get_by_role("button", name="Resume").click()
    expect(dialog).to_be_hidden(timeout=PATIENCE)
    time.sleep(5)
    pictures.run_in("PAUSED")
    dialog = pictures.answer_form(run)
    expect(dialog).to_contain_text("'prod-b' was typed, which is not this cluster's name", timeout=PATIENCE)
    expect(dialog.get_by_text("Who you are")).to_have_count(1)
    dialog.locator("textarea").first.fill(CLUSTER)
    dialog.locator("textarea").first.scroll_into_view_if_needed()
    pictures.take("ui-approval", "Resume Flow Run", "Cluster's name")
    dialog.get_by_role("button", name="Resume").click()
    ended = pictures.run_in("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
    if ended["state_type"] != "COMPLETED":
        raise RuntimeError(str(ended["state"]))
    pictures.go(f"runs/flow-run/{run}")
    pictures.take("ui-restore-done", f"restore {CLUSTER} from latest", "Completed")
    pictures.artifact("restore")
    pictures.take("ui-report", "clients could write", "Members")


def main() -> None:
    """Retake all pictures."""
    with site() as here, sync_playwright() as playwright:
        for words in (
            ("bootstrap-cluster",),
            ("snapshot-backup", "-p", "reason=before the upgrade"),
            ("restore-drill",),
            ("restore-drill",),
            ("restore-drill",),
            ("snapshot-backup",),
            ("check-cluster",),
        ):
            here.run("trigger", words[0], CLUSTER, *words[1:])
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        pictures = Pictures(here, browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}))
        pictures.log_in()
        pictures.go("deployments")
        pictures.take("ui-deployments", "every-cluster", CLUSTER)  # ten of them, in no order within a name
        pictures.artifact("drills")
        pictures.take("ui-drills", "result", "good")
        pictures.artifact("check")
        pictures.take("ui-check", "etcd runs")
        pictures.artifact("snapshots")
        pictures.take("ui-snapshots", "revision", "offsite")
        pictures.form("replace-member")
        pictures.page.get_by_text("Select", exact=True).click()
        pictures.take("ui-member-form", "etcd-03")
        restore(pictures)
        browser.close()


if __name__ == "__main__":
    main()
