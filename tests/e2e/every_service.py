"""Beyond one machine, as docs/operations.md says: Prefect's server on PostgreSQL behind nginx, a worker elsewhere.

Not part of the suite: its image takes a minute to make, its backups go by the clock. `make interruptions`, or
``pytest tests/e2e/every_service.py``; 7 minutes.
"""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

from tests.e2e.operator_host import PACKAGES, OperatorHost
from tests.lab.base import Image
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab
from tests.lab.system import wait_until
from tests.wheel import build_wheel

NAME = "prefect.example.com"
LOGIN = "admin:of-the-server"
SETTINGS = f"""\
PREFECT_SERVER_DATABASE_CONNECTION_URL=postgresql+asyncpg://prefect:of-postgres@127.0.0.1:5432/prefect
PREFECT_SERVER_API_AUTH_STRING={LOGIN}
PREFECT_SERVER_UI_API_URL=https://{NAME}/api
"""
WAY = f"""\
PREFECT_API_URL=https://{NAME}:4443/api
PREFECT_API_AUTH_STRING={LOGIN}
PREFECT_API_SSL_CERT_FILE=/etc/etcd-flows/prefect-ca.crt
"""
NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
CERTIFICATES = f"""\
openssl req -x509 {NEW_KEY} -days 9 -subj /CN=ca -keyout /root/ca.key -out /root/ca.crt
openssl req {NEW_KEY} -subj /CN={NAME} -keyout /etc/nginx/prefect.key -out /root/prefect.csr
printf subjectAltName=DNS:{NAME} >/root/names
openssl x509 -req -in /root/prefect.csr -CA /root/ca.crt -CAkey /root/ca.key -CAcreateserial -days 9 \
  -extfile /root/names -out /etc/nginx/prefect.crt
"""
PROXY = f"""\
for user in alice oncall looker; do echo "$user:$(openssl passwd -apr1 of-$user)"; done >/etc/nginx/prefect.users
sed -e "s/BASE64_OF_THE_FILE_AUTH/$(printf {LOGIN} | base64 -w0)/; s#10.0.0.0/24#198.18.0.0/24#" \
  /root/checkout/docs/units/nginx-prefect.conf >/etc/nginx/conf.d/prefect.conf
nginx -t && systemctl restart nginx
"""
DATABASE = """\
cd / && runuser -u postgres -- psql -c "CREATE ROLE prefect LOGIN PASSWORD 'of-postgres'"
runuser -u postgres -- createdb --owner=prefect prefect
"""


def serve_prefect(machine: OperatorHost) -> None:
    machine.follow("server")
    machine.host.write("/etc/etcd-flows/server.env", SETTINGS, 0o600)
    machine.host.exec(f"set -e\n{DATABASE}{CERTIFICATES}{PROXY}", timeout=120)
    machine.host.exec("systemctl daemon-reload && systemctl enable --now prefect-server")
    wait_until("Prefect answers", lambda: asked(machine.host, "http://127.0.0.1:4200/api/health") == "200", 300, 1)


def asked(host: LabHost, url: str, *words: str, user: str = LOGIN) -> str:
    """The status of an answer."""
    trust = f"--cacert /root/ca.crt --resolve {NAME}:443:127.0.0.1 --resolve {NAME}:4443:{host.address}"
    command = f"curl -s -o /dev/null -w '%{{http_code}}' {trust} -u {user} {' '.join(words)} {url}"
    return host.exec(command, check=False).strip()


def runs(server: LabHost, state: str) -> list[str]:
    """Ids of the backups' runs in a state."""
    wanted = {"flows": {"name": {"any_": ["snapshot-backup"]}}, "flow_runs": {"state": {"type": {"any_": [state]}}}}
    ask = f"curl -s -u {LOGIN} -H 'content-type: application/json' http://127.0.0.1:4200/api/flow_runs/filter -d @-"
    return [each["id"] for each in json.loads(server.exec(ask, stdin=json.dumps(wanted)))]


def who_may_what(host: LabHost) -> None:
    filters = ("-X POST", "-H 'content-type: application/json'", "-d '{}'")
    people = f"https://{NAME}/api"
    assert asked(host, f"{people}/flow_runs/filter", *filters, user="looker:of-looker") == "200"
    assert asked(host, f"{people}/block_documents/filter", *filters, user="looker:of-looker") == "403"
    assert asked(host, f"{people}/block_documents/filter", *filters, user="alice:of-alice") == "200"
    assert asked(host, f"{people}/flow_runs/filter", *filters, user="looker:wrong") == "401"
    start = f"{people}/deployments/{uuid4()}/create_flow_run"
    assert asked(host, start, *filters, user="looker:of-looker") == "403"
    assert asked(host, start, *filters, user="oncall:of-oncall") == "404", "there is no such deployment"
    assert asked(host, f"{people}/automations/", *filters, user="oncall:of-oncall") == "403"
    assert asked(host, f"https://{NAME}:4443/api/flow_runs/filter", *filters, user="looker:of-looker") == "401"


def test_server_and_worker_as_services_survive_power_cuts(lab: Lab, etcd_release_dir: Path, tmp_path: Path) -> None:
    images = (Image(), Image(more=(*PACKAGES, "postgresql", "nginx-light")), Image(more=PACKAGES))
    member, server, worker = (OperatorHost(host) for host in lab.fresh(3, images))
    wheel = build_wheel(tmp_path)
    for each in (server, worker):
        each.install(wheel, etcd_release_dir)
    serve_prefect(server)
    who_may_what(server.host)

    worker.follow("serve")
    worker.describe(member.host, "* * * * *")
    worker.host.exec("rm /etc/systemd/system/etcd-flows-serve.service")
    worker.host.exec("cat >>/etc/hosts", stdin=f"{server.host.address} {NAME}\n")
    worker.host.write("/etc/etcd-flows/prefect-ca.crt", server.host.read("/root/ca.crt"))
    worker.host.write("/etc/etcd-flows/worker.env", WAY, 0o600)
    worker.follow("worker")
    assert f"https://{NAME}:4443/api (by PREFECT_API_URL) answers" in " ".join(worker.flows("doctor").split())
    worker.flows("deploy")
    worker.flows("trigger", "bootstrap-cluster", "prod-a")
    wait_until("a backup by schedule", lambda: bool(worker.snapshots()), 240, every=2)
    for unit, machine in (("prefect-server", server), ("etcd-flows-worker", worker)):
        print(unit, "is exposed", machine.exposure(unit))
        assert machine.exposure(unit) < 2.0

    server.host.power_cycle()
    before = worker.snapshots()
    wait_until("a backup after the server's power cut", lambda: worker.snapshots()[0] not in before, 400, every=2)
    member.host.cut_ssh()
    wait_until("a backup waits for the member", lambda: bool(runs(server.host, "RUNNING")), 180, every=0.5)
    (cut_off,) = runs(server.host, "RUNNING")
    worker.host.power_cycle()
    member.host.open_ssh()
    wait_until("the worker takes it up again", lambda: cut_off in runs(server.host, "COMPLETED"), 600, every=2)
    events = "-X POST -H 'content-type: application/json' http://127.0.0.1:4200/api/events/filter"
    wanted = '{"filter": {"event": {"name": ["etcd-flows.snapshot.completed"]}}}'
    assert "prod-a" in server.host.exec(f"curl -s -u {LOGIN} {events} -d '{wanted}'"), "events come by websockets"
    for unit, machine in (("etcd-flows-worker", worker), ("prefect-server", server)):
        machine.host.exec(f"systemctl stop {unit}", timeout=150)
        assert machine.host.exec(f"systemctl show {unit} -p Result --value").strip() == "success"
