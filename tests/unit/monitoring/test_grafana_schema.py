"""Grafana's own types, as a JSON Schema: our dashboards keep to them, down to the options of each kind of panel."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.monitoring.dashboards import boards, panels

SCHEMA = json.loads((Path(__file__).parents[2] / "monitoring" / "grafana.schema.json").read_text())
KEEPS = jsonschema.Draft7Validator(SCHEMA)
BOARDS = boards()


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_what_grafana_takes(name: str) -> None:
    found = [f"{list(error.absolute_path)}: {error.message[:300]}" for error in KEEPS.iter_errors(BOARDS[name])]
    assert found == []


def _first(board: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(panel for panel in panels(board) if panel["type"] == kind)
    return found


Spoil = Callable[[dict[str, Any]], object]
SPOILED: dict[str, Spoil] = {
    "a kind that is none": lambda board: _first(board, "stat").update(type="stats"),
    "an option of another kind": lambda board: _first(board, "stat")["options"].update(cellHeight="sm"),
    "a word that it does not know": lambda board: _first(board, "timeseries")["options"]["tooltip"].update(mode="all"),
    "a misspelt setting": lambda board: _first(board, "timeseries")["fieldConfig"]["defaults"].update(units="s"),
    "a line style on a number": lambda board: _first(board, "stat")["fieldConfig"]["defaults"].update(
        custom={"fillOpacity": 5}
    ),
    "text where a number belongs": lambda board: _first(board, "table")["gridPos"].update(w="24"),
    "a variable's sort order that is none": lambda board: board["templating"]["list"][1].update(sort=99),
    "no panels": lambda board: board.pop("panels"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_what_it_does_not_take_is_noticed(what: str) -> None:
    board = copy.deepcopy(BOARDS["etcd-cluster"])
    assert KEEPS.is_valid(board)
    SPOILED[what](board)
    assert not KEEPS.is_valid(board)
