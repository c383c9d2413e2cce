"""The plan of enable-monitoring. Pure: cluster file and facts in, steps out.

Order: accounts and programs; configuration, each checked by the program's own tool before it takes its place; the
programs, reloaded where that is enough; the proof. A note on the host keeps that a program does not know its present
configuration yet, so that a run that was cut off is carried on by the next one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.cluster.spec import Cluster
from tasks.cluster.spec_monitoring import TEXTFILE_DIRECTORY, Watch
from tasks.errors import EtcdFlowsError, Refused
from tasks.etcd.bootstrap import EnsureAccount
from tasks.hosts.facts import FileFact
from tasks.monitoring import alertmanager
from tasks.monitoring.actions import (
    ConfigFile,
    Configure,
    InstallProgram,
    IssueClient,
    ProveReceivers,
    ProveTargets,
    RunProgram,
)
from tasks.monitoring.client import client_due
from tasks.monitoring.look import WatchFacts, unit_of
from tasks.monitoring.programs import (
    ALERTMANAGER,
    NODE_EXPORTER,
    PROGRAMS,
    PROMETHEUS,
    Program,
    access,
    note,
    release_of,
)
from tasks.monitoring.units import marker_in, render_unit
from tasks.monitoring.wanted import SERVERS, Inputs, client_paths, files_of, record_path, record_text, watch_of
from tasks.monitoring.web import OPEN_NAMES, SECRET_NAMES
from tasks.pki.authority import Authority
from tasks.pki.leaves import common_name
from tasks.plan import Phase, Plan, Step, make_plan

FLOW = "enable-monitoring"
PROVE_SECONDS = 120.0  # a target is scraped within one interval; a loaded machine takes its time
TELL_SECONDS = 90.0
_OURS = b"Written by etcd-flows"


@dataclass(frozen=True)
class _Scene:
    """All that planning looks at."""

    cluster: Cluster
    watch: Watch
    facts: WatchFacts
    inputs: Inputs
    authority: Authority | None

    @property
    def host(self) -> str:
        return self.watch.host.name

    def step(self, name: str, summary: str, action: object, why: str = "", changes: tuple[str, ...] = ()) -> Step:
        return Step(self.host, name, summary, action, why, changes)  # type: ignore[arg-type]


def plan_watch(cluster: Cluster, facts: WatchFacts, inputs: Inputs, authority: Authority | None) -> Plan:
    """The whole plan.

    Args:
        facts: Of the monitoring host, with the paths of :func:`tasks.monitoring.wanted.fact_paths` looked at.
        authority: The operator's CA, whose certificate members show on metrics over https.

    Raises:
        InputError: The cluster has no monitoring host.
        Refused: See :func:`refusals`.
    """
    scene = _Scene(cluster, watch_of(cluster), facts, inputs, authority)
    prepare = [*_accounts(scene), *_installs(scene)]
    configured = {one: _configure(scene, one) for one in PROGRAMS}
    client = _client(scene)
    changed = {one for one in PROGRAMS if configured[one]} | ({PROMETHEUS} if client else set())
    runs = {one: _run(scene, one, changed=one in changed) for one in PROGRAMS}
    pending = any(runs.values())
    told = _tell(scene)
    phases = [
        Phase("prepare the monitoring host", tuple(prepare)),
        Phase("configure", tuple(step for step in (client, *configured.values()) if step)),
        Phase("run", tuple(step for step in runs.values() if step)),
        Phase("prove", tuple(step for step in (_prove(scene) if pending or told else None, told) if step)),
    ]
    mine = alertmanager.part(cluster, scene.watch)
    return make_plan(FLOW, cluster.name, phases, alertmanager.others(cluster.name, mine, facts.parts))


def refusals(cluster: Cluster, facts: WatchFacts, authority: Authority | None) -> tuple[EtcdFlowsError, ...]:
    """What speaks against setting anything up there."""
    found: list[EtcdFlowsError] = []
    watch = watch_of(cluster)
    for one in PROGRAMS:
        unit = unit_of(facts, one)
        content = facts.host.file(one.unit_file).content
        if (unit.loaded and unit.fragment != one.unit_file) or (content is not None and _OURS not in content):
            found.append(_foreign(watch, f"there is a {one.unit} that etcd-flows did not make ({unit.fragment})"))
    for one, name in ((PROMETHEUS, "prometheus.yml"), (ALERTMANAGER, "alertmanager.yml")):
        content = facts.host.file(f"{one.etc}/{name}").content
        if content is not None and _OURS not in content:
            found.append(_foreign(watch, f"there is a {one.etc}/{name} that etcd-flows did not write"))
    if client_paths(cluster) and authority is None:
        found.append(
            Refused(
                f"there is no CA in {cluster.pki.state_dir}, and metrics over https are asked for with its certificate",
                state="nothing was changed",
                remedy="run bootstrap-cluster first, or bring that directory here",
            )
        )
    return tuple(found)


def _foreign(watch: Watch, what: str) -> Refused:
    return Refused(
        what,
        host=watch.host.name,
        state="nothing was changed",
        remedy="choose another machine, or remove that one; for a Prometheus of your own there is "
        "`etcd-flows monitoring files`",
    )


def _accounts(scene: _Scene) -> list[Step]:
    return [
        scene.step(
            f"{one.service}-account",
            f"create the system user {one.service}",
            EnsureAccount(one.service, one.data),
            "user or group is missing",
        )
        for one in PROGRAMS
        if one.service not in scene.facts.accounts
    ]


def _installs(scene: _Scene) -> list[Step]:
    found = []
    for one in PROGRAMS:
        version = release_of(scene.watch, one).version
        why = _why_install(scene, one, version)
        if why:
            summary = f"install {one.title} {version} in {one.home(version)}"
            action = InstallProgram(one.product.name, version, scene.facts.host.arch)
            found.append(scene.step(f"{one.service}-release", summary, action, why))
    return found


def _why_install(scene: _Scene, one: Program, version: str) -> str:
    content = scene.facts.host.file(one.receipt(version)).content
    if content is None:
        return "it is not installed"
    try:
        sums = json.loads(content)["binaries"]
    except (ValueError, KeyError, TypeError):
        return "what was installed is not known"
    for name in one.product.programs:
        seen = scene.facts.host.file(f"{one.home(version)}/{name}")
        if not seen.present:
            return f"{seen.path} is missing"
        if seen.sha256 is not None and sums.get(name) != seen.sha256:
            return f"{seen.path} is not what was installed"
    return ""


def _configure(scene: _Scene, one: Program) -> Step | None:
    ca = scene.authority.cert_pem if scene.authority else None
    wanted = files_of(scene.cluster, one, scene.inputs, scene.facts.parts, ca)
    differing = tuple(file for file in wanted if not _same(file, scene.facts.host.files.get(file.path), scene.inputs))
    stale = _stale(scene, one, {file.path for file in wanted})
    dirs = _dirs(scene, one)
    if not differing and not stale and not dirs:
        return None
    version = release_of(scene.watch, one).version
    why = "not there yet" if not unit_of(scene.facts, one).loaded else "not as the cluster file says"
    action = Configure(one.product.name, version, differing, stale, dirs, note(one))
    names = ", ".join(file.path.rpartition("/")[2] for file in differing) or "directories"
    gone = f"; remove {', '.join(path.rpartition('/')[2] for path in stale)}" if stale else ""
    return scene.step(f"{one.service}-config", f"check and write {names}{gone}", action, why)


def _same(file: ConfigFile, seen: FileFact | None, inputs: Inputs) -> bool:
    if seen is None or seen.kind != "file" or (seen.mode, seen.group) != (file.mode, file.group):
        return False
    if file.content is None:
        return seen.sha256 == inputs.secrets[file.path]
    return seen.content == file.content


def _stale(scene: _Scene, one: Program, wanted: set[str]) -> tuple[str, ...]:
    """Files of this cluster, and of no other, that it does not want any more; a directory's end is not ours."""
    prefix = f"{one.clusters}/etcd-{scene.cluster.name}."
    kept = {*wanted, f"{prefix}tls"}
    web = [f"{one.etc}/{name}" for name in (*OPEN_NAMES, *SECRET_NAMES)] if one in SERVERS else []
    unwanted = [path for path in web if path not in wanted and scene.facts.host.file(path).present]
    return (*unwanted, *sorted(path for path in scene.facts.below if path.startswith(prefix) and path not in kept))


def _dirs(scene: _Scene, one: Program) -> tuple[tuple[str, str], ...]:
    if scene.facts.host.file(one.data).present:
        return ()
    return ((TEXTFILE_DIRECTORY, "root"),) if one is NODE_EXPORTER else ((one.data, one.service),)


def _client(scene: _Scene) -> Step | None:
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


def _run(scene: _Scene, one: Program, *, changed: bool) -> Step | None:
    unit = unit_of(scene.facts, one)
    marker = marker_in(render_unit(scene.watch, one))
    version = release_of(scene.watch, one).version
    pending = scene.facts.host.file(note(one)).present
    if unit.active and unit.enabled and unit.marker == marker and not pending and not changed:
        return None
    if not unit.active:
        summary, why = f"start {one.title}", "it does not run"
    elif unit.marker != marker or one is NODE_EXPORTER:  # which can't be reloaded
        summary, why = f"restart {one.title}", "it was not started as it is to be now"
    else:
        summary, why = f"reload {one.title}", "its configuration is new to it"
    ready: tuple[str, ...] = ()
    asked = access(scene.watch, one) if one in SERVERS else None
    if asked:
        is_prometheus = one is PROMETHEUS
        ready = asked.words("check", "ready", url=asked.url) if is_prometheus else asked.orders("config", "show")
    action = RunProgram(one.product.name, version, marker, ready, note(one))
    return scene.step(f"{one.service}-run", summary, action, why)


def _prove(scene: _Scene) -> Step:
    action = ProveTargets(
        scene.cluster.name,
        tuple((host.name, host.scrape_url or host.metrics_url) for host in scene.cluster.hosts),
        access(scene.watch, PROMETHEUS),
        tuple(note(one) for one in PROGRAMS),
        PROVE_SECONDS,
    )
    return scene.step("targets", f"see that Prometheus gets metrics of all {len(scene.cluster.hosts)} members", action)


def _tell(scene: _Scene) -> Step | None:
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
