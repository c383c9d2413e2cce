"""A run that lives says so, when Prefect's server has taken it for dead.

The automations for lost runs (:mod:`deployments.lost_runs`) go by silence. When the server was away for minutes, or
the whole machine stood still (a suspended virtual machine), no sign of life could arrive, and what the server does
first afterwards is to end runs that live. Such a run puts that right: it gets the state back that it had, a paused one
with its form, so that it can still be approved; and whoever was told that it was lost is told that it lives.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import flow_run

from flows.events import send, tell
from tasks.cluster.load import load_cluster
from tasks.errors import EtcdFlowsError
from tasks.reporting.progress import emit

#: Seconds between two looks at what the server thinks of this run.
LOOK = 10.0
#: The state of a run that was lost with its worker and may be repeated unasked, and the one that follows it at once,
#: until another worker takes it up.
LOST = "Lost"
TAKEN_UP = "TakenUp"


def say_ended(began: float) -> None:
    """Tell the automations for lost runs that no sign of life is to come, by the way of those, and after them.

    What Prefect tells of a run's end does not do (seen with 3.8.8): of a short run it overtakes the first sign of life,
    and after a restart of the server it may be kept back for a quarter of an hour, since it follows an event that the
    server has not seen (``server/events/ordering``). Then a run that had ended counted as lost two minutes later.

    Args:
        began: When the run did, by the monotonic clock. The server heeds two events at a time, so this one waits until
            the first sign of life is a second old.
    """
    time.sleep(max(0.0, began + 1.0 - time.monotonic()))
    run = {"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.name": flow_run.name or ""}
    send("prefect.flow-run.ended", run)


@contextmanager
def staying_alive() -> Iterator[None]:
    """For as long as the block runs, this run of a deployment is not dead."""
    over = threading.Event()
    watch = contextvars.copy_context().run
    thread = threading.Thread(target=watch, args=(_watch, UUID(str(flow_run.id)), over), daemon=True, name="alive")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(LOOK)  # an API that does not answer keeps no run from ending


def _watch(run: UUID, over: threading.Event) -> None:
    with get_client(sync_client=True) as client:
        while not over.wait(LOOK):
            try:
                _claim(client, run, over)
            except httpx.HTTPError:
                continue  # the server is away: that is what this is about
            except EtcdFlowsError as error:
                emit("warning", f"that it lives could not be told: {error.message}")


def _claim(client: SyncPrefectClient, run: UUID, over: threading.Event) -> None:
    """While a flow's own code runs nobody but those automations, or a person, calls its run crashed."""
    found = client.read_flow_run(run)
    now = found.state
    if now is None or over.is_set() or not (now.is_crashed() or now.name == TAKEN_UP):
        return
    lived = [state for state in client.read_flow_run_states(run) if state.type in (StateType.RUNNING, StateType.PAUSED)]
    if not lived:
        return
    last = max(lived, key=lambda state: state.timestamp)
    again: State[None] = State(
        type=last.type, name=last.name, message="it was taken for lost, but lives", state_details=last.state_details
    )
    client.set_flow_run_state(run, again, force=True)
    name = (last.name or "").lower()
    emit("warning", f"Prefect's server took this run for lost; it lives, and is {name} again")
    if called := found.parameters.get("cluster"):
        cluster = load_cluster(str(called)).cluster.name
        tell("run.lives", cluster, {"run": str(run), "name": found.name, "state": name})
