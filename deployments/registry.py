"""Making Prefect's deployments what the cluster files say: plan, then act; what is not ours is not touched."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version as installed_version
from typing import Any, TypeVar
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowFilter,
    FlowFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions, FlowRun, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker

from deployments.at_once import Tell, each_of
from deployments.declared import REPORTER, RUN_ENVIRONMENT, TAG, Change, Declared, changes
from deployments.forms import form
from flows.report_cut_off_run import RESTORE

#: Deployments that are asked for at once.
_PAGE = 200

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Registration:
    """What is to be done to the deployments of a Prefect server.

    Args:
        changes: By the deployment's name.
        wanted: What is declared, by name.
        present: Ids of what is there, by name.
        pool: Work pool whose workers run the flows.
    """

    changes: Mapping[str, Change]
    wanted: Mapping[str, Declared]
    present: Mapping[str, UUID]
    pool: str

    @property
    def empty(self) -> bool:
        """Whether all is as it should be."""
        return all(change == "keep" for change in self.changes.values())

    def as_text(self) -> str:
        """For people."""
        lines = []
        for name, change in self.changes.items():
            if change != "keep":
                each = self.wanted.get(name)
                when = f"  ({each.cron} UTC)" if each is not None and each.cron else ""
                lines.append(f"  {change:<7} {name}{when}")
        kept = sum(change == "keep" for change in self.changes.values())
        lines.append(f"  {kept} deployments are as they should be" if kept else "")
        return "\n".join(line for line in lines if line)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"deployments": [{"name": name, "change": change} for name, change in self.changes.items()]}


def plan_registration(client: SyncPrefectClient, wanted: tuple[Declared, ...], pool: str) -> Registration:
    """Compare what is declared with what the server has.

    Args:
        pool: Work pool whose workers are to run the flows; what is in another one changes.
    """
    by_name = {each.name: each for each in wanted}
    present: dict[str, UUID] = {}
    versions: dict[str, str] = {}
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    for flow in _pages(lambda offset: client.read_flows(deployment_filter=ours, limit=_PAGE, offset=offset)):
        for found in _of_flow(client, flow.id, ours):
            name = f"{flow.name}/{found['name']}"
            present[name] = UUID(found["id"])
            versions[name] = (found["version"] or "") if found["work_pool_name"] == pool else ""
    plan = changes({name: _version(each) for name, each in by_name.items()}, versions)
    return Registration(plan, by_name, present, pool)


def _of_flow(client: SyncPrefectClient, flow: UUID, ours: DeploymentFilter) -> Iterator[dict[str, Any]]:
    """Flow by flow, since the server sorts by names alone: where many bear one name, a page may miss some of them.

    As JSON, since Prefect's own objects take seconds for some hundred schedules, which nobody asks for here.
    """
    only = FlowFilter(id=FlowFilterId(any_=[flow])).model_dump(mode="json")
    body = {"flows": only, "deployments": ours.model_dump(mode="json"), "limit": _PAGE}
    return _pages(lambda offset: client.request("POST", "/deployments/filter", json={**body, "offset": offset}).json())


def _pages(ask: Callable[[int], Sequence[_Found]]) -> Iterator[_Found]:
    """All that there are, asked for a page at a time by how many came before."""
    offset = 0
    while page := ask(offset):
        yield from page
        offset += len(page)
        if len(page) < _PAGE:
            return


def register(client: SyncPrefectClient, registration: Registration, tell: Tell | None = None) -> None:
    """Carry it out. Run again after it was cut off, it does the rest.

    The pool is made if there is none of that name.

    Args:
        tell: Is told how far it is, in deployments.
    """
    ensure_pool(client, registration.pool)
    todo = {name: change for name, change in registration.changes.items() if change != "keep"}
    entrypoints = {registration.wanted[name].entrypoint for name, change in todo.items() if change != "remove"}
    flows = {entrypoint: client.create_flow_from_name(flow_object(entrypoint).name) for entrypoint in entrypoints}

    def work(name: str) -> None:
        if todo[name] == "remove":
            with suppress(ObjectNotFound):  # somebody else was faster
                client.delete_deployment(registration.present[name])
        else:
            each = registration.wanted[name]
            _create(client, each, flows[each.entrypoint], registration.pool)

    each_of(todo, work, tell)


def ensure_pool(client: SyncPrefectClient, pool: str) -> None:
    """Make the work pool, of type process, unless it is there."""
    try:
        client.read_work_pool(pool)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=pool, type="process", base_job_template=template))


def settle_orphans(client: SyncPrefectClient) -> list[FlowRun]:
    """Say of runs that nobody carries out any more that they crashed; their deployment takes no other run before.

    To be called where no worker runs: on the only machine that has one, before it is started.

    Returns:
        Those that there were.
    """
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    going_on = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
    filters = FlowRunFilter(state=FlowRunFilterState(type=going_on))
    settled = []
    while found := client.read_flow_runs(deployment_filter=ours, flow_run_filter=filters, limit=_PAGE):
        for run in found:
            text = "its worker was stopped while it ran; run it again: it carries on from what it finds"
            client.set_flow_run_state(run.id, Crashed(message=text), force=True)
            settled.append(run)
    return settled


def have_told(client: SyncPrefectClient, runs: Iterable[FlowRun]) -> None:
    """Have it found out, as soon as there is a worker, how things stand after those that were restores."""
    deployment = reporter(client)
    for run in runs:
        if deployment and client.read_flow(run.flow_id).name == RESTORE:
            client.create_flow_run_from_deployment(deployment, parameters={"run": str(run.id)})


def reporter(client: SyncPrefectClient) -> UUID | None:
    """The deployment that tells how things stand after a restore that was cut off; None before it is registered."""
    try:
        return client.read_deployment_by_name(REPORTER.name).id
    except ObjectNotFound:
        return None


def flow_object(entrypoint: str) -> Flow[..., Any]:
    """The flow behind a module path."""
    module, _, name = entrypoint.rpartition(".")
    found: Flow[..., Any] = getattr(importlib.import_module(module), name)
    return found


def _version(each: Declared) -> str:
    return each.version(_schema(each), installed_version("etcd-flows"))


@cache
def _parameters(entrypoint: str) -> dict[str, Any]:
    return flow_object(entrypoint).parameters.model_dump(exclude_unset=True)


def _schema(each: Declared) -> dict[str, Any]:
    parameters = _parameters(each.entrypoint)
    return form(parameters, each.cluster if each.of_cluster else "", each.members, each.stores)


def _options(each: Declared) -> ConcurrencyOptions | None:
    if each.collision is None:
        return None
    return ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy(each.collision))


def _create(client: SyncPrefectClient, each: Declared, flow_id: UUID, pool: str) -> None:
    flow = flow_object(each.entrypoint)
    schedules = []
    if each.cron:
        schedule = CronSchedule(cron=each.cron, timezone="UTC")
        parameters = dict(each.scheduled)
        schedules = [DeploymentScheduleCreate(schedule=schedule, slug="cluster-file", parameters=parameters)]
    client.create_deployment(
        flow_id=flow_id,
        name=each.cluster,
        version=_version(each),
        schedules=schedules,
        concurrency_limit=1 if each.collision else None,
        concurrency_options=_options(each),
        parameters=each.parameters,
        job_variables={"env": dict(RUN_ENVIRONMENT)},
        description=(flow.description or "").partition("\n")[0],
        work_pool_name=pool,
        tags=[TAG, each.cluster],
        entrypoint=each.entrypoint,
        parameter_openapi_schema=_schema(each),
        enforce_parameter_schema=True,
        pull_steps=[],
    )
