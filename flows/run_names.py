"""What runs are called in Prefect's UI: sentences that say what is done to which cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from prefect.runtime import flow_run

#: A template with parameters in braces, or what makes a sentence of them.
Words = str | Callable[[Mapping[str, Any]], str]

#: Characters of a name that Prefect's lists still show on one line.
LONGEST = 100


def named(words: Words) -> Callable[[], str]:
    """Have the runs of a flow called so, as ``flow_run_name`` takes it.

    Args:
        words: See :data:`Words`.
    """
    return lambda: sentence(words, flow_run.parameters or {})


def sentence(words: Words, parameters: Mapping[str, Any]) -> str:
    """A run's name: of a cluster file's path only what it is known by, and whether it is only a plan."""
    known = {**parameters, "cluster": _short(str(parameters["cluster"]))}
    said = words.format(**known) if isinstance(words, str) else words(known)
    said = f"plan to {said}" if parameters.get("plan_only") else said
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 3]}..."


def restore_name(parameters: Mapping[str, Any]) -> str:
    """Of disaster-restore."""
    cluster = parameters["cluster"]
    if parameters.get("go_back"):
        return f"take back the last restore of {cluster}"
    if parameters.get("from_survivors"):
        return f"restore {cluster} from its survivors"
    origin = parameters.get("from_data_dir") or parameters.get("file")
    return f"restore {cluster} from {PurePath(origin).name if origin else parameters.get('snapshot') or 'latest'}"


def bootstrap_name(parameters: Mapping[str, Any]) -> str:
    """Of bootstrap-cluster."""
    cluster, snapshot = parameters["cluster"], parameters.get("from_snapshot")
    return f"bring up {cluster} with the data of {snapshot}" if snapshot else f"bring up {cluster}"


def keys_name(parameters: Mapping[str, Any]) -> str:
    """Of restore-keys, which first compares and then, told so, writes."""
    cluster = parameters["cluster"]
    if parameters.get("apply"):
        return f"restore keys of {cluster}"
    return f"compare keys of {cluster} with {parameters.get('snapshot') or 'a snapshot'}"


def _short(cluster: str) -> str:
    path = PurePath(cluster)
    return path.stem if path.suffix in (".yaml", ".yml") else path.name or cluster
