"""Which deployments there are: flows x clusters x schedules, declared once for ``serve``, ``deploy`` and prefect.yaml.

A new flow joins by one line in :data:`OFFERED`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tasks.cluster.spec import Cluster

Collision = Literal["CANCEL_NEW"]

#: Of each run: how often (in seconds; the least that Prefect has) it says that it lives, see ``lost_runs``.
RUN_ENVIRONMENT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}

#: Every deployment of ours bears it; others are never touched.
TAG = "etcd-flows"


@dataclass(frozen=True)
class Offered:
    """A flow that people can run by deployment.

    Args:
        module: Below ``flows``; the function has the same name.
        schedule: Cron (UTC) for a cluster, None for on demand only.
        scheduled: Parameters of scheduled runs.
        collision: What becomes of a run while another one of the same deployment runs. None: Prefect sees to nothing,
            the lock on the hosts decides. Prefect 3.8.8 cancels a run whose place in its limit it can't renew: one
            that has been paused (seen: it crashed 4 minutes after it began), any while the server is away for minutes,
            and after a restart of a server that keeps places in memory (see ``prefect_server``). So what changes hosts
            has no limit, however small the harm of two runs at once that it would keep away.
        fits: Whether it makes sense for a cluster at all.
        again: Whether a run that was lost with its worker is taken up by another one, unasked: it changes no host.
    """

    module: str
    schedule: Callable[[Cluster], str | None] = lambda cluster: None
    scheduled: Mapping[str, Any] = field(default_factory=dict)
    collision: Collision | None = None
    fits: Callable[[Cluster], bool] = lambda cluster: True
    again: bool = False

    @property
    def flow(self) -> str:
        """Prefect's name of the flow."""
        return self.module.replace("_", "-")

    @property
    def entrypoint(self) -> str:
        """As a module path, since a file path would load the file a second time."""
        return f"flows.{self.module}.{self.module}"


def _backups(cluster: Cluster) -> str | None:
    return cluster.snapshots.schedule if cluster.snapshots.stores else None


def _readable(cluster: Cluster) -> bool:
    """Whether there are stores, and the worker can read what it has put there: else every run would be refused."""
    snapshots = cluster.snapshots
    return bool(snapshots.stores) and (not snapshots.recipients or snapshots.identity is not None)


def _openings(cluster: Cluster) -> str | None:
    return cluster.snapshots.verify_schedule if _readable(cluster) else None


def _drills(cluster: Cluster) -> str | None:
    return cluster.drill_schedule if _readable(cluster) else None


def _has_monitoring_host(cluster: Cluster) -> bool:
    return cluster.monitoring is not None and cluster.monitoring.host is not None


OFFERED = (
    Offered("snapshot_backup", _backups, {"kind": "scheduled"}, "CANCEL_NEW", again=True),
    Offered("verify_snapshots", _openings, collision="CANCEL_NEW", again=True),
    Offered("check_cluster", lambda cluster: "7 * * * *", collision="CANCEL_NEW", again=True),
    Offered("restore_drill", _drills, collision="CANCEL_NEW", again=True),
    Offered("disaster_restore"),
    Offered("restore_keys"),
    Offered("replace_member"),
    Offered("bootstrap_cluster"),
    Offered("preflight_cluster", again=True),
    Offered("enable_monitoring", fits=_has_monitoring_host),
    Offered("prune_snapshots"),
    Offered("prune_data_dirs"),
    Offered("destroy_cluster"),
)


@dataclass(frozen=True)
class Declared:
    """One deployment.

    Args:
        flow: Prefect's name of the flow.
        cluster: Name of the cluster file; also the deployment's name and the flow's parameter.
        entrypoint: Module path of the flow.
        cron: When it runs by itself (UTC), None for never.
        scheduled: Further parameters of those runs.
        collision: See :class:`Offered`.
        of_cluster: Whether it is for that cluster alone.
        members: Names of its members.
        stores: Names of its stores.
    """

    flow: str
    cluster: str
    entrypoint: str
    cron: str | None
    scheduled: Mapping[str, Any]
    collision: Collision | None
    of_cluster: bool = True
    members: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, str]:
        """What each run has, unless told otherwise."""
        return {"cluster": self.cluster} if self.of_cluster else {}

    @property
    def name(self) -> str:
        """As Prefect shows it and takes it."""
        return f"{self.flow}/{self.cluster}"

    def version(self, schema: Mapping[str, Any], code: str) -> str:
        """Changes whenever anything of the deployment does.

        Args:
            schema: Of the flow's parameters.
            code: Version of etcd-flows.
        """
        text = json.dumps([asdict(self), schema, code, RUN_ENVIRONMENT], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


#: Started by an automation alone, for runs of any cluster.
REPORTER = Declared(
    "report-cut-off-run",
    "every-cluster",
    "flows.report_cut_off_run.report_cut_off_run",
    None,
    {},
    None,
    of_cluster=False,
)


def declared(clusters: Mapping[str, Cluster]) -> tuple[Declared, ...]:
    """All deployments of these clusters (by the name of their file), in a stable order."""
    found = [
        Declared(
            each.flow,
            name,
            each.entrypoint,
            each.schedule(clusters[name]),
            each.scheduled,
            each.collision,
            members=tuple(host.name for host in clusters[name].hosts),
            stores=tuple(store.name for store in clusters[name].snapshots.stores),
        )
        for name in sorted(clusters)
        for each in OFFERED
        if each.fits(clusters[name])
    ]
    return (*found, REPORTER)


Change = Literal["create", "change", "keep", "remove"]


def changes(wanted: Mapping[str, str], present: Mapping[str, str]) -> dict[str, Change]:
    """What has to be done to the deployments that are there.

    Args:
        wanted: Versions by name.
        present: Versions by name, of those that bear our tag.
    """
    found: dict[str, Change] = {}
    for name, version in wanted.items():
        found[name] = "create" if name not in present else "keep" if present[name] == version else "change"
    for name in present:
        if name not in wanted:
            found[name] = "remove"
    return dict(sorted(found.items()))


def prefect_yaml(all_of_them: Iterable[Declared], pool: str) -> dict[str, Any]:
    """The same as a ``prefect.yaml``, for those who run ``prefect deploy`` themselves."""
    return {
        "name": "etcd-flows",
        "deployments": [
            {
                "name": each.cluster,
                "entrypoint": each.entrypoint,
                "tags": [TAG],
                "parameters": each.parameters,
                "concurrency_limit": {"limit": 1, "collision_strategy": each.collision} if each.collision else None,
                "schedules": [
                    {"cron": each.cron, "timezone": "UTC", "slug": "cluster-file", "parameters": dict(each.scheduled)}
                ]
                if each.cron
                else [],
                "work_pool": {"name": pool, "job_variables": {"env": dict(RUN_ENVIRONMENT)}},
            }
            for each in all_of_them
        ],
    }
