"""Standing still until a person has filled in a form, as long as that takes, through whatever Prefect's server does.

Prefect's own waiting (``pause_flow_run``) ends with an error as soon as the API does not answer once. A restart of the
server must not take an approval away, so here every question is asked again until there is an answer. The form is there
before the run is paused, so nobody finds a paused run without one. And the server is given a later end of the pause
than this one: it ends pauses in words of its own, in a race with whoever waits (seen with 3.8.8).
"""

from __future__ import annotations

import math
import time
import uuid
from typing import Any, TypeVar, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import FlowPauseTimeout
from prefect.input import Keyset, RunInput, keyset_from_paused_state, read_flow_run_input
from prefect.runtime import flow_run
from prefect.states import Paused

from tasks.reporting.progress import emit

#: Seconds between looks at whether the answer is there.
POLL = 2
#: Seconds that the server waits longer.
LATER = 600

Form = TypeVar("Form", bound=RunInput)


def pause_for(form: type[Form], seconds: float) -> Form:
    """Pause this run with a form, until it is filled in.

    Args:
        seconds: How long to wait at most.

    Raises:
        FlowPauseTimeout: Nobody has filled it in by then; the run is still paused.
    """
    until = time.monotonic() + seconds
    pause = _Pause(form, math.ceil(seconds) + LATER)
    silent = False
    while True:
        try:
            given = pause.look()
            silent = False
        except httpx.HTTPError as error:
            given = None
            if not silent:
                emit("warning", f"Prefect's API does not answer ({type(error).__name__}); it is asked until it does")
            silent = True
        if given is not None:
            return cast(Form, given)
        if time.monotonic() > until:
            raise FlowPauseTimeout("nobody has filled in the form")
        time.sleep(POLL)


class _Pause:
    """Each step is taken once; one that failed is taken again."""

    def __init__(self, form: type[RunInput], seconds: int) -> None:
        self._form = form
        self._seconds = seconds
        self._state: State[Any] | None = None
        self._keys: Keyset
        self._asked = False

    def look(self) -> RunInput | None:
        """What was filled in, if it was."""
        if self._state is None:
            state: State[Any] = Paused(timeout_seconds=self._seconds, pause_key=uuid.uuid4().hex)
            self._keys = keyset_from_paused_state(state)
            state.state_details.run_input_keyset = {str(name): key for name, key in self._keys.items()}
            self._form.save(self._keys)
            self._state = state
        with get_client(sync_client=True) as client:
            if not self._asked:
                # If it was done before, and only the answer got lost, the server knows the key and changes nothing.
                client.set_flow_run_state(_run(), self._state)
                self._asked = True
            now = client.read_flow_run(_run()).state
        if now is None or not now.is_running():
            return None
        filled: Any = read_flow_run_input(self._keys["response"], _run())
        # Running without an answer, it was not paused: it was taken for lost at that moment, and has put that right.
        self._asked = filled is not None
        return self._form(**filled) if self._asked else None


def _run() -> UUID:
    return UUID(str(flow_run.id))
