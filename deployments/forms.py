"""The forms that people fill in, in Prefect's UI: of the flows' parameters, readable, and for one cluster each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: These come first, in this order: what is asked of every run that changes something.
FIRST = ("cluster", "plan_only")
#: Parameters that name several members.
SEVERAL = frozenset({"dead", "fenced"})


def form(
    schema: Mapping[str, Any], cluster: str, members: Sequence[str] = (), stores: Sequence[str] = ()
) -> dict[str, Any]:
    """The parameters' schema for one cluster's deployment.

    Args:
        schema: Of the flow, as Prefect makes it.
        cluster: The one that the deployment is for: nothing else can be chosen. Empty: the flow asks for none.
        members: Its members, of whom are chosen those that a flow is about.
        stores: Its stores, of which one can be chosen.
    """
    properties = {name: _field(name, value) for name, value in schema["properties"].items()}
    if cluster:
        properties["cluster"] |= {
            "enum": [cluster],
            "default": cluster,
            "description": "The cluster of this deployment; others have their own.",
        }
    if members:
        if "member" in properties:
            properties["member"]["enum"] = list(members)
        for name in SEVERAL & properties.keys():
            properties[name]["items"] = {**properties[name]["items"], "enum": list(members)}
    if stores and "store" in properties and "from_cluster" not in properties:  # there it may be another cluster's
        properties["store"]["enum"] = ["", *stores]
    order = [name for name in FIRST if name in properties]
    order += [name for name in properties if name not in FIRST]
    for position, name in enumerate(order):
        properties[name]["position"] = position
    # Closed: a misspelt parameter is told to whoever starts the run, instead of crashing it in its worker.
    return {**schema, "properties": {name: properties[name] for name in order}, "additionalProperties": False}


def _field(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """With a title of words, no markup that the UI would show as it is, and lists that are empty, not ``None``."""
    found = {**value, "title": name.replace("_", " ").capitalize()}
    if "description" in value:
        found["description"] = value["description"].replace("``", "'").replace("`", "'")
    lists = [choice for choice in value.get("anyOf", ()) if choice.get("type") == "array"]
    if lists and value.get("default", ...) is None:
        del found["anyOf"]
        found |= {**lists[0], "default": []}
    return found
