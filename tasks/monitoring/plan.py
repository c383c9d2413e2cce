"""The plan of enable-monitoring. Pure: cluster file and facts in, steps out.

Order: accounts and programs; configuration, each checked by the program's own tool before it takes its place; the
programs, reloaded where that is enough; the proof. A note on the host keeps that a program does not know its present
configuration yet, so that a run that was cut off is carried on by the next one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

from tasks.cluster.spec import Cluster
from tasks.cluster.spec_monitoring import TEXTFILE_DIRECTORY, Watch
from tasks.etcd.bootstrap import EnsureAccount
from tasks.hosts.facts import FileFact
from tasks.monitoring import alertmanager, grafana_plan
from tasks.monitoring.actions import (
    ConfigFile,
    Configure,
    InstallPackages,
    InstallProgram,
    IssueClient,
    ProveReceivers,
    ProveTargets,
    RunProgram,
)
from tasks.monitoring.client import client_due
from tasks.monitoring.grafana_host import WEB_FILES, taken_up
from tasks.monitoring.look import WatchFacts, unit_of
from tasks.monitoring.packages import PACKAGES, missing
from tasks.monitoring.programs import (
    ALERTMANAGER,
    GRAFANA,
    NODE_EXPORTER,
    PROGRAMS,
    PROMETHEUS,
    RELOADING,
    TOOLS,
    Program,
    access,
    executable,
    main_config,
    note,
    packaged,
    programs_of,
    release_of,
)
from tasks.monitoring.removal import remove_steps, unwanted
from tasks.monitoring.scene import Scene
from tasks.monitoring.sharing import agreed, notes
from tasks.monitoring.units import marker_in, render_unit
from tasks.monitoring.wanted import (
    MAINS,
    SERVERS,
    Inputs,
    client_paths,
    files_of,
    ours,
    record_path,
    record_text,
    watch_of,
)
from tasks.monitoring.web import OPEN_NAMES, SECRET_NAMES
from tasks.pki.authority import Authority
from tasks.pki.leaves import common_name
from tasks.plan import Phase, Plan, Step, make_plan

FLOW = "enable-monitoring"
PROVE_SECONDS = 120.0  # a target is scraped within one interval; a loaded machine takes its time
TELL_SECONDS = 90.0


def plan_watch(cluster: Cluster, facts: WatchFacts, inputs: Inputs, authority: Authority | None) -> Plan:
    """The whole plan.

    Args:
        facts: Of the monitoring host, with the paths of :func:`tasks.monitoring.wanted.fact_paths` looked at.
        authority: The operator's CA, whose certificate members show on metrics over https.

    Raises:
        InputError: The cluster has no monitoring host.
        Refused: What another cluster has there can't be read.
    """
    asked = watch_of(cluster)
    parts = {**facts.parts, alertmanager.part_path(cluster.name): alertmanager.part(cluster, asked)}
    settled = agreed(cluster, asked, parts, facts.below)
    scene = Scene(settled, watch_of(settled), replace(facts, parts=parts), inputs, authority)
    programs = programs_of(asked)
    configured = {one: _configure(scene, one) for one in programs}
    client, password = _client(scene), grafana_plan.password_step(scene)
    changed = {one for one, step in configured.items() if step and needs_run(one, step)}
    changed |= {PROMETHEUS} if client else set()
    installs = _installs(scene, asked)
    replaced = {step.action.name for step in installs if isinstance(step.action, InstallProgram)}
    changed |= {one for one in programs if one.product.name in replaced}
    runs = {one: _run(scene, one, changed=one in changed) for one in programs}
    told = _tell(scene)
    pending = any(step for one, step in runs.items() if one is not GRAFANA) or told
    shown = grafana_plan.prove_step(scene) if any((password, configured.get(GRAFANA), runs.get(GRAFANA))) else None
    phases = [
        Phase("prepare the monitoring host", (*_accounts(scene), *installs)),
        Phase("configure", tuple(step for step in (client, password, *configured.values()) if step)),
        Phase("run", (*remove_steps(scene.host, facts, unwanted(parts)), *(step for step in runs.values() if step))),
        Phase("prove", tuple(step for step in (_prove(scene) if pending else None, told, shown) if step)),
    ]
    return make_plan(FLOW, cluster.name, phases, (*notes(cluster, asked, scene.watch, facts.parts), *_unheard(asked)))


def _unheard(watch: Watch) -> tuple[str, ...]:
    return () if watch.receivers else ("no receivers are in the cluster file: alerts are shown, and nobody is told",)


def _accounts(scene: Scene) -> list[Step]:
    return [
        scene.step(
            f"{one.service}-account",
            f"create the system user {one.service}",
            EnsureAccount(one.service, one.data),
            "user or group is missing",
        )
        for one in programs_of(scene.watch)
        if one.service not in scene.facts.accounts
    ]


def _installs(scene: Scene, asked: Watch) -> list[Step]:
    found = []
    if asked.packages and (names := missing(scene.facts.packages)):
        units = tuple(package.unit for one, package in PACKAGES.items() if package.name in names)
        action = InstallPackages(names, units)
        summary = f"install the distribution's {', '.join(names)}"
        found.append(scene.step("packages", summary, action, "not installed"))
    for one in programs_of(asked):
        version = release_of(asked, one).version
        if packaged(asked, one) or version != release_of(scene.watch, one).version:
            continue  # another cluster's, which looks after it
        why = _why_install(scene, one, version)
        if why:
            summary = f"install {one.title} {version} in {one.home(version)}"
            install = InstallProgram(one.product.name, version, scene.facts.host.arch)
            found.append(scene.step(f"{one.service}-release", summary, install, why))
    return found


def _why_install(scene: Scene, one: Program, version: str) -> str:
    content = scene.facts.host.file(one.receipt(version)).content
    if content is None:
        return "it is not installed"
    try:
        sums = json.loads(content)["binaries"]
    except (ValueError, KeyError, TypeError):
        return "what was installed is not known"
    for name in one.product.programs:
        seen = scene.facts.host.file(one.binary(version, name))
        if not seen.present:
            return f"{seen.path} is missing"
        if seen.sha256 is not None and sums.get(name) != seen.sha256:
            return f"{seen.path} is not what was installed"
    return ""


def _configure(scene: Scene, one: Program) -> Step | None:
    ca = scene.authority.cert_pem if scene.authority else None
    wanted = files_of(scene.cluster, one, scene.inputs, scene.facts.parts, ca)
    differing = tuple(file for file in wanted if not _same(file, scene.facts.host.files.get(file.path), scene.inputs))
    stale = _stale(scene, one, {file.path for file in wanted})
    dirs = _dirs(scene, one)
    if not differing and not stale and not dirs:
        return None
    why = "not there yet" if not unit_of(scene.facts, one).loaded else "not as the cluster file says"
    tool = executable(scene.watch, one, TOOLS[one]) if one in TOOLS else ""
    action = Configure(one.product.name, main_config(scene.watch, one), tool, differing, stale, dirs, note(one))
    names = ", ".join(file.path.rpartition("/")[2] for file in differing) or "directories"
    gone = f"; remove {', '.join(path.rpartition('/')[2] for path in stale)}" if stale else ""
    verb = "check and write" if tool else "write"
    return scene.step(f"{one.service}-config", f"{verb} {names}{gone}", action, why)


def needs_run(one: Program, step: Step) -> bool:
    """Whether the program has to be told of what the step writes."""
    action = step.action
    if one is not GRAFANA or not isinstance(action, Configure) or action.remove or action.dirs:
        return True
    return not all(taken_up(file.path) for file in action.files)


def _same(file: ConfigFile, seen: FileFact | None, inputs: Inputs) -> bool:
    if seen is None or seen.kind != "file" or (seen.mode, seen.group) != (file.mode, file.group):
        return False
    known = inputs.secrets[file.path] if file.content is None else hashlib.sha256(file.content).hexdigest()
    return seen.sha256 == known


def _stale(scene: Scene, one: Program, wanted: set[str]) -> tuple[str, ...]:
    """Files of this cluster, and of no other, that it does not want any more; a directory's end is not ours."""
    prefix = f"{one.clusters}/etcd-{scene.cluster.name}."
    kept = {*wanted, f"{prefix}tls"}
    web = list(WEB_FILES) if one is GRAFANA else []
    web += [f"{one.etc}/{name}" for name in (*OPEN_NAMES, *SECRET_NAMES)] if one in SERVERS else []
    mains = [path for path in MAINS if path.startswith(f"{one.etc}/") and ours(scene.facts.host.file(path))]
    unwanted = [path for path in web if scene.facts.host.file(path).present]
    unwanted = [path for path in (*mains, *unwanted) if path not in wanted]
    return (*unwanted, *sorted(path for path in scene.facts.below if path.startswith(prefix) and path not in kept))


def _dirs(scene: Scene, one: Program) -> tuple[tuple[str, str], ...]:
    if scene.facts.host.file(one.data).present:
        return ()
    return ((TEXTFILE_DIRECTORY, "root"),) if one is NODE_EXPORTER else ((one.data, one.service),)


def _client(scene: Scene) -> Step | None:
    paths = client_paths(scene.cluster)
    if paths is None or scene.authority is None:
        return None
    files = scene.facts.host.files
    why = client_due(files[paths[0]], files[paths[1]], files[paths[2]], scene.authority, datetime.now(UTC))
    if not why:
        return None
    folder = paths[0].rpartition("/")[0]
    action = IssueClient(folder, PROMETHEUS.service, common_name(scene.host, "-prometheus"))
    return scene.step("prometheus-client", "issue Prometheus's client certificate", action, why)


def _run(scene: Scene, one: Program, *, changed: bool) -> Step | None:
    unit = unit_of(scene.facts, one)
    marker = marker_in(render_unit(scene.watch, one))
    pending = scene.facts.host.file(note(one)).present
    same = unit.marker == marker and not unit.replaced
    if unit.active and unit.enabled and same and not pending and not changed:
        return None
    if not unit.active:
        summary, why = f"start {one.title}", "it does not run"
    elif not same or one not in RELOADING:
        summary, why = f"restart {one.title}", "it was not started as it is to be now"
    else:
        summary, why = f"reload {one.title}", "its configuration is new to it"
    home = "" if packaged(scene.watch, one) else one.home(release_of(scene.watch, one).version)
    action = RunProgram(one.product.name, home, marker, ready(scene.watch, one), note(one))
    return scene.step(f"{one.service}-run", summary, action, why)


def ready(watch: Watch, one: Program) -> tuple[str, ...]:
    """Words of a command that succeeds once the program serves; none if there is no such command."""
    if one not in SERVERS:
        return ()
    asked = access(watch, one)
    return asked.words("check", "ready", url=asked.url) if one is PROMETHEUS else asked.orders("config", "show")


def _prove(scene: Scene) -> Step:
    action = ProveTargets(
        scene.cluster.name,
        tuple((host.name, host.scrape_url or host.metrics_url) for host in scene.cluster.hosts),
        access(scene.watch, PROMETHEUS),
        tuple(note(one) for one in PROGRAMS if one is not GRAFANA),
        PROVE_SECONDS,
    )
    return scene.step("targets", f"see that Prometheus gets metrics of all {len(scene.cluster.hosts)} members", action)


def _tell(scene: Scene) -> Step | None:
    wanted = record_text(scene.cluster, scene.watch, scene.inputs)
    seen = scene.facts.host.file(record_path(scene.cluster)).content
    if not scene.watch.receivers or seen == wanted.encode():
        return None
    receivers = tuple((one.name, alertmanager.receiver_name(scene.cluster.name, one)) for one in scene.watch.receivers)
    action = ProveReceivers(
        scene.cluster.name,
        receivers,
        access(scene.watch, PROMETHEUS),
        access(scene.watch, ALERTMANAGER),
        record_path(scene.cluster),
        wanted,
        TELL_SECONDS,
    )
    names = ", ".join(name for name, _ in receivers)
    return scene.step("receivers", f"send a test alert to {names}", action, "they have not been proven as they are now")
