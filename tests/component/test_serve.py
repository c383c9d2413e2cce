"""`etcd-flows serve` on a machine of its own: schedules, triggers, a restore by plain HTTP, stop, start, removal; and
no secret where none belongs."""

from __future__ import annotations

import base64
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.automations import ALWAYS
from tests.component.hunting import Secrets, readable_by_others, told_by, unexpected
from tests.e2e.canaries import WorkerSampler, on_disk
from tests.outputs import assert_as_published
from tests.starter import STARTER

pytestmark = [pytest.mark.component, pytest.mark.slow]

PROGRAM = (sys.executable, "-m", "deployments.cli")
START_SECONDS = 240.0
ROOT = Path(__file__).parents[2]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@dataclass
class Site:
    """One machine: cluster files, a state directory, a port for Prefect."""

    directory: Path
    port: int
    secrets: Secrets
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def said(self) -> str:
        return (self.directory / "serve.log").read_text()

    @property
    def auth(self) -> str:
        return (self.directory / "state/etcd-flows.server/auth").read_text().strip()

    @property
    def environ(self) -> dict[str, str]:
        return {
            **os.environ,
            "ETCD_FLOWS_CLUSTERS": str(self.directory / "clusters"),
            "XDG_STATE_HOME": str(self.directory / "state"),
            "HOME": str(self.directory),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_LOGGING_LEVEL": "DEBUG",
            "AGE_IDENTITY": self.secrets.identity,
            "TMPDIR": str(self.directory / "tmp"),
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return STARTER.run([*PROGRAM, *words], ROOT, self.environ)

    def python(self, script: str, *words: str, stdin: str = "") -> None:
        """Run a script with the API's credentials."""
        environ = {**self.environ, "PREFECT_API_URL": self.url, "PREFECT_API_AUTH_STRING": self.auth}
        argv = [sys.executable, "-c", script, *words]
        subprocess.run(argv, env=environ, input=stdin, text=True, timeout=120, check=True, cwd=ROOT)

    def trigger(self, *words: str) -> dict[str, Any]:
        done = self.run("trigger", *words, "--json")
        said = assert_as_published("trigger", done.stdout) if done.stdout else {}
        return {"code": done.returncode, **said, "stderr": done.stderr}

    def start(self) -> None:
        with (self.directory / "serve.log").open("wb") as log:
            words = [*PROGRAM, "serve", "--port", str(self.port), "--limit", "3"]
            self.process = subprocess.Popen(
                words, env=self.environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        until = time.monotonic() + START_SECONDS
        while "a worker runs" not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < until, self.said
            time.sleep(0.2)

    def stop(self) -> int:
        assert self.process
        self.process.terminate()
        return self.process.wait(90)

    def ask(self, method: str, path: str, body: Any = None, auth: str | None = None) -> Any:
        """As `curl --retry` would: no client library, basic authentication."""
        token = base64.b64encode((self.auth if auth is None else auth).encode()).decode()
        headers = {"content-type": "application/json", "authorization": f"Basic {token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)  # noqa: S310
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > until:  # its database is locked at times
                    raise
                time.sleep(1)

    def ended(self, run: str) -> dict[str, Any]:
        until = time.monotonic() + 180
        while time.monotonic() < until:
            state: dict[str, Any] = self.ask("GET", f"/flow_runs/{run}")["state"]
            if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
                return state
            time.sleep(0.5)
        pytest.fail(f"the run has not ended: {self.said}")

    def write_cluster(self, name: str, mirror: Path, schedule: str) -> None:
        client, peer, metrics = free_ports(3)
        host = {"name": "etcd-01", "address": "127.0.0.1", "prefix": str(self.directory / "hosts" / name)}
        host |= {"client_port": client, "peer_port": peer, "metrics_port": metrics}  # type: ignore[dict-item]
        document = {
            "name": name,
            "hosts": [{**host, "connection": "local", "service": "supervisor"}],
            "ssh": {"sudo": "none"},
            "etcd": {"release": {"source": str(mirror), "cache": str(self.directory / "cache")}},
            "pki": {"passphrase": "block:ca-passphrase"},
            "snapshots": {
                "encryption": {"recipients": [self.secrets.recipient], "identity": "env:AGE_IDENTITY"},
                "schedule": schedule,
                "stores": [{"name": "local", "directory": str(self.directory / "backups")}],
            },
        }
        (self.directory / "clusters").mkdir(exist_ok=True)
        (self.directory / "clusters" / f"{name}.yaml").write_text(yaml.safe_dump(document))


SAVE_SECRET = """
import sys
from prefect.blocks.system import Secret
Secret(value=sys.stdin.read()).save("ca-passphrase")
"""

SAVE_BLOCK = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock
told = {"subject": "{{subject}}", "body": "{{body}}"}
CustomWebhookNotificationBlock(name="on-call", url=sys.argv[1], json_data=told).save("on-call")
"""

MISS_SOON = """
from datetime import timedelta
from prefect.client.orchestration import get_client
from deployments.automations import missed, register_automations
with get_client(sync_client=True) as client:
    register_automations(client, (missed("alpha", timedelta(seconds=15)),), "custom-webhook/on-call")
"""


class Webhook:
    """Takes what is posted to it."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, str]] = []
        bodies = self.bodies

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for(self, subjects: set[str]) -> dict[str, str]:
        """The bodies of these messages, as soon as all have come."""
        until = time.monotonic() + 120
        while not subjects <= {each["subject"] for each in self.bodies}:
            assert time.monotonic() < until, self.bodies
            time.sleep(0.2)
        return {each["subject"]: each["body"] for each in self.bodies}


@pytest.fixture
def site(etcd_release_dir: Path) -> Iterator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="efl-site-"))  # short: a supervisor's socket lies below it
    (directory / "tmp").mkdir()
    site = Site(directory, free_ports(1)[0], Secrets())
    site.write_cluster("alpha", etcd_release_dir, "0 */6 * * *")
    try:
        yield site
    finally:
        if site.process and site.process.poll() is None:
            site.stop()
        for pid_file in (directory / "hosts").glob("*/**/supervisord.pid"):
            os.kill(int(pid_file.read_text()), signal.SIGTERM)
        shutil.rmtree(directory, ignore_errors=True)


def test_the_whole_life_of_one_machine(site: Site, etcd_release_dir: Path) -> None:
    site.write_cluster("beta", etcd_release_dir, "30 1 * * *")
    site.start()
    assert site.auth.split(":")[1] in site.said, "shown once"
    site.secrets.known("API's password", site.auth.split(":")[1])
    site.python(SAVE_SECRET, stdin=site.secrets.block)
    with WorkerSampler() as sampler:
        the_life(site, etcd_release_dir)
    assert {leak.secret for leak in sampler.leaks(site.secrets.canaries)} == {"planted"}, "by the test's own trigger"


def the_life(site: Site, etcd_release_dir: Path) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        site.ask("POST", "/deployments/filter", {}, auth="admin:wrong")

    built = site.trigger("bootstrap-cluster", "alpha")
    assert (built["code"], built["state"]) == (0, "Completed"), built
    refused = site.trigger("disaster-restore", "alpha", "-p", "reason=drill", "--confirm", "beta")
    assert (refused["code"], refused["state"]) == (3, "Refused"), refused
    backup = site.trigger("snapshot-backup", "alpha", "-p", f"requested_by={site.secrets.planted}")
    assert backup["code"] == 0, backup
    looked = json.loads(site.run("doctor", "alpha", "--json").stdout)["findings"]
    apis = [each for each in looked if each["check"] == "prefect api"]
    assert [(each["level"], site.url in each["text"]) for each in apis] == [("ok", True)], looked
    assert any(each["check"] == "store" and "1 snapshot, " in each["text"] for each in looked), looked
    by_hand = site.run("check-cluster", "alpha")
    assert by_hand.returncode == 0, by_hand
    assert f"in the UI of `etcd-flows serve`: http://127.0.0.1:{site.port}" in by_hand.stderr
    typed = {"deployment_id": {"is_null_": True}, "name": {"any_": ["check alpha"]}}
    seen = site.ask("POST", "/flow_runs/filter", {"flow_runs": typed})
    assert [each["state"]["type"] for each in seen] == ["COMPLETED"], seen
    odd = site.run("trigger", "snapshot-backup", "alpha", "-p", "kind=odd")
    assert odd.returncode == 2
    assert "'odd' is not one of" in odd.stderr

    # A restore by plain HTTP, as a runbook's curl does it; the same key again is the same run.
    deployment = site.ask("GET", "/deployments/name/disaster-restore/alpha")["id"]
    body = {"parameters": {"confirm": "alpha", "reason": "3 a.m."}, "idempotency_key": "incident-7"}
    started = site.ask("POST", f"/deployments/{deployment}/create_flow_run", body)
    again = site.ask("POST", f"/deployments/{deployment}/create_flow_run", body)
    assert again["id"] == started["id"]
    state = site.ended(started["id"])
    assert state["type"] == "COMPLETED", state

    backups = site.ask("GET", "/deployments/name/snapshot-backup/beta")
    assert [each["schedule"]["cron"] for each in backups["schedules"]] == ["30 1 * * *"]

    told = Webhook()
    site.python(SAVE_BLOCK, told.url)
    registered = site.run("deploy", "--notify", "custom-webhook/on-call", "--json")
    assert registered.returncode == 0, registered
    assert {*assert_as_published("deploy", registered.stdout)["automations"].values()} == {"change"}, registered
    assert site.run("deploy", "--notify", "custom-webhook/nobody").returncode == 2
    (site.directory / "backups/alpha").rename(site.directory / "elsewhere")
    (site.directory / "backups/alpha").write_text("a file where the store was")
    assert site.trigger("snapshot-backup", "alpha")["code"] == 1
    assert site.trigger("restore-drill", "alpha")["code"] == 1
    assert site.trigger("verify-snapshots", "alpha")["code"] == 1
    assert site.trigger("check-cluster", "beta")["code"] == 1, "no member of it was ever built"
    # Of restores other tests see to it.
    failed = ("backup failed", "drill failed", "verification failed", "cluster unhealthy")
    of_alpha = {subject: "alpha" for name, _, subject, _ in ALWAYS if name in failed}
    wanted = of_alpha | {"An etcd cluster is unhealthy": "beta"}
    assert len(wanted) == len(failed)
    subjects = told.wait_for({*wanted})
    assert {subject: name for subject, name in wanted.items() if name not in subjects[subject]} == {}
    site.python(MISS_SOON)  # in the place of all others: no backup in 15 seconds, where the real one waits for hours
    told.wait_for({"No etcd backup of alpha"})
    told.server.shutdown()

    # Killed in the middle of a run; started again, the run is told to have crashed, and its deployment is free again.
    left = site.run("trigger", "check-cluster", "beta", "--detach").stdout.strip()
    until = time.monotonic() + 60
    while site.ask("GET", f"/flow_runs/{left}")["state"]["type"] == "SCHEDULED" and time.monotonic() < until:
        time.sleep(0.2)
    assert site.stop() == 0, site.said
    site.write_cluster("alpha", etcd_release_dir, "15 * * * *")
    (site.directory / "clusters/beta.yaml").unlink()
    site.start()
    assert "change  snapshot-backup/alpha  (15 * * * * UTC)" in site.said
    assert "remove  snapshot-backup/beta" in site.said
    assert site.auth.split(":")[1] not in site.said.replace(str(site.directory), ""), "not shown again"
    assert site.ask("GET", f"/flow_runs/{left}")["state"]["type"] in ("CRASHED", "COMPLETED", "FAILED", "CANCELLED")
    plan = assert_as_published("deploy", site.run("deploy", "--plan", "--json").stdout)
    assert {each["change"] for each in plan["deployments"]} == {"keep"}

    assert told_by(site.secrets, site.ask) == {"planted"}
    leaks = unexpected(on_disk(site.secrets.canaries, site.directory), {"auth"})
    assert {leak.secret for leak in leaks} == {"planted"}, leaks
    assert site.process
    assert readable_by_others(site.process.pid) == set()
    children = Path(f"/proc/{site.process.pid}/task/{site.process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    assert site.process.wait(90) == 1
    assert "the server ended by itself" in site.said
