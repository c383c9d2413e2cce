"""How a run of a deployment ends: in a state that says what the command line says with its exit code.

On the command line a flow returns its result, and the exit code tells how it went. A run of a deployment has no exit
code: there a result that is not good has to end in a failed state, or the UI would show a partial backup as done.
"""

from __future__ import annotations

import functools
import inspect
import re
import time
from collections.abc import Callable, Collection
from typing import ParamSpec, Protocol, TypeVar, cast
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import deployment, flow_run
from prefect.states import Completed, Failed

from flows.alive import LOST, say_ended, staying_alive
from tasks.errors import EtcdFlowsError

Parameters = ParamSpec("Parameters")


class Result(Protocol):
    """What flows return."""

    @property
    def exit_code(self) -> int:
        """0 if all worked."""

    def as_text(self) -> str:
        """For people."""


Returned = TypeVar("Returned", bound=Result)

#: Names of states by exit code; ``etcd-flows trigger`` turns them back.
STATE_NAMES = {1: "Failed", 2: "BadInput", 3: "Refused"}
#: So often a run may be lost: then it is probably what takes its workers down.
LIVES = 3
LOST_TOO_OFTEN = (
    f"its worker went away {LIVES} times while it ran: it is not taken up again\n"
    "  state: what was done so far is in the logs of this run\n"
    "  what to do: see why the workers went away (memory, disk), then start it by hand"
)
#: Characters of a message that Prefect's UI still shows well.
LONGEST = 4000
_LINES = 4
#: Parameters that have other names than the command line's options.
_CALLED = {
    **{"plan": "plan_only", "from": "snapshot", "key": "keys", "prefix": "prefixes", "resource": "resources"},
    **{"namespace": "namespaces", "name": "names"},
}


def ends_in_state(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Have a flow's runs by deployment end in a state; a run from Python or the command line is left as it is."""
    parameters = inspect.signature(function).parameters

    def settled(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        if _was_lost() >= LIVES:
            return cast(Returned, _failed(1, LOST_TOO_OFTEN))
        try:
            with staying_alive():
                result = function(*args, **kwargs)
        except EtcdFlowsError as error:
            said = str(error)
            return cast(Returned, _failed(error.exit_code, said + in_forms(said, parameters)))
        if result.exit_code:
            return cast(Returned, _failed(result.exit_code, tables_last(result.as_text())))
        return cast(Returned, Completed(message=in_short(result.as_text())[:LONGEST]))

    @functools.wraps(function)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        if deployment.id is None:
            return function(*args, **kwargs)
        began = time.monotonic()
        ended = settled(*args, **kwargs)
        say_ended(began)
        return ended

    # Prefect reads types from the signature, and would look their names up in this module.
    run.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    return run


def in_short(text: str) -> str:
    """The first paragraph that is no table: the UI runs lines together, and the tables are artifacts of the run.

    Of one that is long, as a plan is, only the first line.
    """
    part = next((part for part in text.split("\n\n") if part and not _is_table(part)), text)
    lines = part.splitlines()
    return part if len(lines) <= _LINES or _is_table(part) else f"{lines[0]}\nall of it is among the run's artifacts"


def tables_last(text: str) -> str:
    """The same with its tables at the end, as they can't be read where the UI runs lines together."""
    parts = text.split("\n\n")
    return "\n\n".join(sorted((part.strip("\n") for part in parts), key=_is_table))


def marked(text: str) -> str:
    """Where an error's next line begins, such as what to do, can be seen although the UI runs lines together."""
    return re.sub(r"^  (?=[^ ].*: )", "  | ", text, flags=re.MULTILINE)


def in_forms(text: str, parameters: Collection[str]) -> str:
    """What the command line's options in a text are called in the flow's form and by the API; empty if there are none.

    Args:
        parameters: Of the flow.
    """
    found = {}
    for option in re.findall(r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)", text):
        name = _CALLED.get(option, option.replace("-", "_"))
        if name in parameters:
            found[option] = name
    said = ", ".join(f"--{option} is {name}" for option, name in found.items())
    return f"\n  in the form, and by API: {said}" if said else ""


def _is_table(part: str) -> bool:
    return any(line.strip() and not line.strip(" -") for line in part.splitlines())


def _was_lost() -> int:
    """How often this run was lost with its worker."""
    if (flow_run.run_count or 0) <= LIVES:
        return 0
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(UUID(str(flow_run.id)))
    return sum(state.name == LOST for state in states)


def _failed(code: int, text: str) -> object:
    return Failed(name=STATE_NAMES.get(code, "Failed"), message=marked(text)[:LONGEST])
