"""``etcd-flows trigger``: starts a deployment through the API, shows what it says, ends as it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from deployments.api import api_errors, turn_to_api
from deployments.errors import show_error
from tasks.errors import EtcdFlowsError, InputError

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

#: Seconds between two looks at a run.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Order:
    """What to start.

    Args:
        flow: Prefect's name of the flow.
        cluster: Name of the deployment.
        parameters: Of the flow, besides the cluster.
        key: Idempotency key: a second start with the same key is the same run, even if that failed.
        follow: Whether to wait for its end.
    """

    flow: str
    cluster: str
    parameters: Mapping[str, Any]
    key: str | None
    follow: bool


def parse_parameters(words: Sequence[str]) -> dict[str, Any]:
    """``name=value`` pairs; a value is JSON where it can be read as that, else text.

    Raises:
        InputError: A word has no ``=``.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InputError(f"{word!r} is no parameter", remedy="write name=value, such as plan_only=true")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def run_trigger(order: Order, *, as_json: bool) -> int:
    """Start it and, unless told otherwise, follow it to its end; returns the exit code."""
    try:
        url = turn_to_api()
        from prefect.client.orchestration import get_client

        with api_errors(url), get_client(sync_client=True) as client:
            run = _start(client, order)
            if not as_json:
                click.echo(f"{order.flow}/{order.cluster}: {url.removesuffix('/api')}/runs/flow-run/{run.id}", err=True)
            if order.follow:
                run = _follow(client, run.id, quiet=as_json)
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    except KeyboardInterrupt:
        click.echo("no longer watched: the run itself goes on; cancel it in the UI", err=True)
        return 1
    return _tell(run, order, as_json=as_json)


def _start(client: SyncPrefectClient, order: Order) -> FlowRun:
    from prefect.exceptions import ObjectNotFound

    from deployments.declared import OFFERED

    name = f"{order.flow}/{order.cluster}"
    try:
        deployment = client.read_deployment_by_name(name)
    except ObjectNotFound as error:
        if order.flow not in (flows := [each.flow for each in OFFERED]):
            raise InputError(
                f"no flow is called {order.flow!r}", state="nothing was started", remedy=f"there are {', '.join(flows)}"
            ) from error
        raise InputError(
            f"there is no deployment {name}",
            state="nothing was started",
            remedy="`etcd-flows deploy --plan` shows what there could be; `etcd-flows deploy` registers it",
        ) from error
    return client.create_flow_run_from_deployment(
        deployment.id, parameters=dict(order.parameters), idempotency_key=order.key
    )


def _follow(client: SyncPrefectClient, run_id: UUID, *, quiet: bool) -> FlowRun:
    """Show the run's log until it has ended."""
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId, LogFilterLevel
    from prefect.client.schemas.sorting import LogSort

    from flows.report import STEPS

    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]), level=LogFilterLevel(ge_=20))
    shown, waiting = 0, ""
    while True:
        run = client.read_flow_run(run_id)
        ended = run.state is not None and run.state.is_final()
        if run.state is not None and not run.state.is_running() and not ended and run.state.name != waiting:
            waiting = run.state.name or ""
            if not quiet:
                click.echo(f"   {waiting.lower()} ...", err=True)
        if ended:
            time.sleep(_LOOK_SECONDS)  # a run's last lines arrive after its end
        lines = client.read_logs(wanted, limit=200, offset=shown, sort=LogSort.TIMESTAMP_ASC)
        shown += len(lines)
        for each in lines:
            if each.name.endswith(f".{STEPS}") and not quiet:
                click.echo(each.message, err=True)
        if ended and not lines:
            return run
        if not lines:
            time.sleep(_LOOK_SECONDS)


def _tell(run: FlowRun, order: Order, *, as_json: bool) -> int:
    from flows.ending import STATE_NAMES

    state = run.state
    name = (state.name if state else None) or "Unknown"
    codes = {name: code for code, name in STATE_NAMES.items()}
    good = bool(state and state.is_completed()) or not order.follow
    code = 0 if good else codes.get(name, 1)
    message = (state.message if state else None) or ""
    if as_json:
        record = {"ok": code == 0, "run": str(run.id), "name": run.name, "state": name, "message": message}
        click.echo(json.dumps(record, indent=2))
    elif order.follow:
        click.echo(f"{name.lower()}: {message}" if message else name.lower())
    else:
        click.echo(str(run.id))
    return code
