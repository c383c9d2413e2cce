"""Taking a cluster off a monitoring host. Pure.

Files of other clusters are not touched. What no cluster there wants any more goes too: Grafana, and with the last
cluster all programs, their units and configuration. What they have gathered is kept, and so are Grafana's secrets,
without which nobody could open its database again; users and packages stay, packages' own units masked.
"""

from __future__ import annotations

from collections.abc import Iterable

from tasks.cluster.spec import Cluster
from tasks.cluster.spec_monitoring import TEXTFILE_DIRECTORY
from tasks.monitoring import alertmanager
from tasks.monitoring.actions import ConfigFile, Configure, ProveTargets, RunProgram
from tasks.monitoring.look import WatchFacts
from tasks.monitoring.plan import PROVE_SECONDS, ready
from tasks.monitoring.programs import (
    ALERTMANAGER,
    PROGRAMS,
    PROMETHEUS,
    TOOLS,
    access,
    executable,
    main_config,
    note,
    packaged,
    release_of,
)
from tasks.monitoring.removal import remove_steps, unwanted
from tasks.monitoring.sharing import agreed, read_part
from tasks.monitoring.textfile import file_name
from tasks.monitoring.units import marker_in
from tasks.monitoring.wanted import SERVERS, record_path, watch_of
from tasks.plan import Phase, Step


def textfile_path(cluster: Cluster) -> str:
    """What the flows know about a cluster, on its monitoring host."""
    return f"{TEXTFILE_DIRECTORY}/{file_name(cluster.name)}"


def leave_phases(cluster: Cluster, facts: WatchFacts) -> tuple[Phase, ...]:
    """Take the cluster off the host that its cluster file names; none if it is not there.

    Args:
        facts: Of that host, with the paths of :func:`tasks.monitoring.wanted.fact_paths` looked at.

    Raises:
        Refused: What another cluster has there can't be read.
    """
    host = watch_of(cluster).host.name
    parts = {path: read_part(path, text) for path, text in facts.parts.items()}
    others = {path: text for path, text in facts.parts.items() if parts[path]["cluster"] != cluster.name}
    there, strangers = _files(cluster, facts), _strangers(cluster, facts)
    if others or strangers:
        steps = [*_leave(cluster, facts, others, there), *remove_steps(host, facts, unwanted(others))]
    else:
        steps = remove_steps(host, facts, PROGRAMS, there)
    return (Phase(f"leave {host}", tuple(steps)),) if steps else ()


def _files(cluster: Cluster, facts: WatchFacts) -> tuple[str, ...]:
    """All files of the cluster there, and of no other."""
    beginnings = tuple(f"{one.clusters}/etcd-{cluster.name}." for one in SERVERS)
    found = {path for path in facts.below if path.startswith(beginnings)}
    known = (record_path(cluster), textfile_path(cluster))
    return (*sorted(found), *(path for path in known if facts.host.file(path).present))


def _strangers(cluster: Cluster, facts: WatchFacts) -> bool:
    """Whether Prometheus has files of other clusters."""
    beginning = f"{PROMETHEUS.clusters}/etcd-"
    files = [path for path in facts.below if path.startswith(beginning)]
    return any(not path.startswith(f"{beginning}{cluster.name}.") for path in files)


def _leave(cluster: Cluster, facts: WatchFacts, others: dict[str, str], there: tuple[str, ...]) -> list[Step]:
    if not there:
        return []
    watch = watch_of(agreed(cluster, watch_of(cluster), others, facts.below))
    host, whole = watch.host.name, alertmanager.main_file(others)
    main = ConfigFile(main_config(watch, ALERTMANAGER), whole.encode(), 0o640, ALERTMANAGER.service)
    told = tuple(path for path in there if path.startswith(f"{ALERTMANAGER.etc}/"))
    scraped = tuple(path for path in there if path not in told)
    steps = []
    for one, files, gone in ((PROMETHEUS, (), scraped), (ALERTMANAGER, (main,), told)):
        tool = executable(watch, one, TOOLS[one])
        action = Configure(one.product.name, main_config(watch, one), tool, files, gone, (), note(one))
        summary = f"remove {_names(gone)}" if gone else "take its receivers out"
        steps.append(Step(host, f"{one.service}-config", f"{one.title}: {summary}", action))
    for one in (PROMETHEUS, ALERTMANAGER):
        marker = marker_in((facts.host.file(one.unit_file).content or b"").decode(errors="replace"))
        home = "" if packaged(watch, one) else one.home(release_of(watch, one).version)
        run = RunProgram(one.product.name, home, marker, ready(watch, one), note(one))
        steps.append(Step(host, f"{one.service}-run", f"reload {one.title}", run))
    notes = tuple(note(one) for one in (PROMETHEUS, ALERTMANAGER))
    prove = ProveTargets(cluster.name, (), access(watch, PROMETHEUS), notes, PROVE_SECONDS)
    steps.append(Step(host, "proof", "see that both know their configuration", prove))
    return steps


def _names(paths: Iterable[str]) -> str:
    return ", ".join(path.rpartition("/")[2] for path in paths)
