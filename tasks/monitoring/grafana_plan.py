"""Steps of enable-monitoring that are Grafana's alone. Pure."""

from __future__ import annotations

import json

from tasks.monitoring.actions import KeepPassword, ProveGrafana
from tasks.monitoring.grafana import DATASOURCE, dashboards
from tasks.monitoring.grafana_host import INI, PASSWORD, SECRET_KEY
from tasks.monitoring.programs import GRAFANA, executable, note, release_of, url
from tasks.monitoring.scene import Scene
from tasks.plan import Step

PROVE_SECONDS = 180.0  # the first start makes a database; dashboards are read again every ten seconds
_SECRETS = (PASSWORD, SECRET_KEY)


def password_step(scene: Scene) -> Step | None:
    """Make what Grafana keeps secret, or fetch the password that the host has; None if all is there."""
    if scene.watch.grafana is None:
        return None
    seen, kept = [scene.facts.host.file(path) for path in _SECRETS], scene.inputs.grafana_password
    closed = all(one.present and (one.mode, one.group) == (0o640, GRAFANA.service) for one in seen)
    if closed and seen[0].sha256 == kept:
        return None
    new = not seen[0].present and not kept
    action = KeepPassword(PASSWORD, SECRET_KEY, GRAFANA.service, new)
    if new:
        return scene.step("grafana-password", "make Grafana's admin password", action, "there is none yet")
    if seen[0].present and seen[0].sha256 != kept:
        why = "the one that is kept here is another one" if kept else "none is kept here"
        return scene.step("grafana-password", "fetch Grafana's admin password", action, why)
    return scene.step("grafana-password", "put Grafana's secrets in place", action, "they are not as they are to be")


def prove_step(scene: Scene) -> Step:
    """See that Grafana is as it is to be, by its HTTP API."""
    home = GRAFANA.home(release_of(scene.watch, GRAFANA).version)
    program = executable(scene.watch, GRAFANA, "grafana")
    reset = (
        f"sudo -u {GRAFANA.service} {program} cli --homepath {home} --config {INI} admin reset-admin-password "
        f"--password-from-stdin <{PASSWORD}"
    )
    uids = tuple(str(json.loads(text)["uid"]) for text in dashboards().values())
    action = ProveGrafana(
        url(scene.watch, GRAFANA),
        scene.inputs.web.certificate,
        scene.inputs.web.name,
        DATASOURCE,
        uids,
        reset,
        note(GRAFANA),
        PROVE_SECONDS,
    )
    return scene.step("grafana", f"log in to Grafana: it asks Prometheus, and has {len(uids)} dashboards", action)
