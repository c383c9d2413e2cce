"""What our dashboards ask Prometheus, as Grafana asks it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.monitoring.grafana import dashboards

_LABEL_VALUES = re.compile(r"label_values\((?P<series>.+), (?P<label>\w+)\)")


@dataclass(frozen=True)
class Asked:
    """One query of a panel.

    Args:
        panel: The dashboard's file and the panel's title.
        instant: Whether it is asked for now alone, and not for a time.
    """

    panel: str
    expr: str
    instant: bool


def boards() -> dict[str, dict[str, Any]]:
    """All shipped dashboards, by file name without ending."""
    return {name.removesuffix(".json"): json.loads(text) for name, text in dashboards().items()}


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All but rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def asked(values: Mapping[str, str]) -> Iterator[Asked]:
    """All queries of all panels.

    Args:
        values: What stands for variables, by name without the dollar sign.
    """
    for name, board in boards().items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield Asked(f"{name}: {panel['title']}", filled(target["expr"], values), target["instant"])


def choices(values: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """What is offered in each dashboard: variable, label, and the series whose values of it are offered."""
    for name, board in boards().items():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                found = _LABEL_VALUES.fullmatch(variable["query"]["query"])
                assert found, variable
                yield f"{name}: {variable['name']}", found["label"], filled(found["series"], values)


def filled(text: str, values: Mapping[str, str]) -> str:
    """A query without variables."""
    done = re.sub(r"\$(\w+)", lambda found: values[found[1]], text)
    assert "$" not in done, text
    return done
