"""Taking a cluster off monitoring hosts: part of destroy-cluster and of enable-monitoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows.carry_out import Materials, run_plan
from flows.fan_out import gather
from flows.locking import host_lock, settle
from tasks.cluster.spec import Cluster
from tasks.hosts.query import FactQuery
from tasks.monitoring.leaving import leave_phases
from tasks.monitoring.look import WatchFacts, parse, query_for, script_for
from tasks.monitoring.remembered import elsewhere, forget
from tasks.monitoring.tasks import look_at_watch
from tasks.monitoring.wanted import fact_paths, watch_of
from tasks.plan import Plan, make_plan
from tasks.reporting.progress import emit


@dataclass(frozen=True)
class Leaving:
    """A cluster's way off the hosts that watch it.

    Args:
        places: The cluster as it is watched on each of them.
    """

    places: tuple[Cluster, ...]
    plan: Plan


def plan_leaving(spec: Cluster, flow: str, *, here: bool) -> Leaving:
    """Look at the hosts and plan. One that can't be reached is left out, with a warning: its files stay there.

    Args:
        here: Also leave the host that the cluster file names.
    """
    named = (spec,) if here and spec.monitoring and spec.monitoring.host else ()
    places = {watch_of(place).host.name: place for place in (*named, *elsewhere(spec))}
    seen, errors = gather({name: look_at_watch.submit(place, _query(place)) for name, place in places.items()})
    for error in errors:
        emit(
            "warning",
            f"{spec.name} stays on the monitoring host {error.host}, which can't be looked at: {error.message}",
        )
    reached = tuple(places[name] for name in seen)
    return Leaving(reached, _plan(spec, reached, seen, flow))


def _query(place: Cluster) -> FactQuery:
    return query_for(watch_of(place).host, *fact_paths(place))


def carry_out_leaving(spec: Cluster, shown: Leaving, flow: str) -> Plan:
    """Take the hosts' locks, plan again, carry that out, and forget the hosts; returns the plan carried out."""
    plan = shown.plan
    if not plan.empty:
        hosts = [watch_of(place).host for place in shown.places]
        scripts = {watch_of(p).host.name: script_for(_query(p), packages=watch_of(p).packages) for p in shown.places}
        with host_lock(hosts, spec.name, flow, scripts) as (lock, outputs):
            names = {watch_of(place).host.name: place for place in shown.places}
            facts = {name: parse(_query(place), outputs[name].stdout) for name, place in names.items()}
            plan = _plan(spec, shown.places, facts, flow)
            settle(shown.plan, plan)
            run_plan(plan, Materials(spec, {}, None, lock))
    for place in shown.places:
        forget(spec, watch_of(place).host.address)
    return plan


def _plan(spec: Cluster, places: Sequence[Cluster], facts: Mapping[str, WatchFacts], flow: str) -> Plan:
    phases = [phase for place in places for phase in leave_phases(place, facts[watch_of(place).host.name])]
    return make_plan(flow, spec.name, phases)


def joined(first: Plan, second: Plan) -> Plan:
    """Two plans that are carried out one after the other, as one to be shown."""
    return make_plan(first.flow, first.cluster, (*first.phases, *second.phases), (*first.notes, *second.notes))
