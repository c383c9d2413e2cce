"""Standing still until a person has filled in a form, as long as that takes, through whatever Prefect's server does.

Prefect's own waiting ends with an error as soon as the API does not answer once. A restart of the server must not take
an approval away, so here the waiting goes on when the API is back, and finds the answer that was given meanwhile.
"""

from __future__ import annotations

import math
import time
from typing import Any, TypeVar, cast
from uuid import UUID

import httpx
from prefect import pause_flow_run
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import FlowPauseTimeout, ObjectNotFound
from prefect.input import RunInput
from prefect.runtime import flow_run

from tasks.reporting.progress import emit

#: Seconds between looks at whether the answer is there.
POLL = 2

Form = TypeVar("Form", bound=RunInput)


def pause_for(form: type[Form], seconds: float) -> Form:
    """Pause this run with a form, until it is filled in.

    Args:
        seconds: How long to wait at most.

    Raises:
        FlowPauseTimeout: Nobody has filled it in by then; the run is still paused.
    """
    until = time.monotonic() + seconds
    asked: set[str] | None = None
    while True:
        try:
            if asked is None:
                with get_client(sync_client=True) as client:
                    asked = set(_pauses(client))
            left = max(1, math.ceil(until - time.monotonic()))
            return pause_flow_run(wait_for_input=form, timeout=left, poll_interval=POLL)
        except httpx.HTTPError as error:
            emit("warning", f"Prefect's API does not answer ({type(error).__name__}); it is asked until it does")
        given = _when_it_answers(form, asked or set(), until)
        if given is not None:
            return given


def _when_it_answers(form: type[Form], asked: set[str], until: float) -> Form | None:
    """The answer; None if this run has not been paused yet with that form.

    Args:
        asked: Keys of earlier pauses.
    """
    while time.monotonic() < until:
        time.sleep(POLL)
        try:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(_run()).state
                if state is None or not state.is_running():
                    continue
                keys = [keys for key, keys in _pauses(client).items() if key not in asked]
                return cast(Form, form.load(keys[-1])) if keys else None
        except ObjectNotFound:
            return None  # it was paused, and cut off before the form was there
        except httpx.HTTPError:
            continue
    raise FlowPauseTimeout("nobody has filled in the form")


def _pauses(client: SyncPrefectClient) -> dict[str, Any]:
    """Where answers of this run's pauses lie, by the key of the pause, in the order of time."""
    states = [state for state in client.read_flow_run_states(_run()) if state.is_paused()]
    states.sort(key=lambda state: state.timestamp)
    return {str(state.state_details.pause_key): state.state_details.run_input_keyset for state in states}


def _run() -> UUID:
    return UUID(str(flow_run.id))
