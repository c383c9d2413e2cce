"""Grafana's dashboards: what is shipped is what the code makes, and each panel explains itself."""

from __future__ import annotations

import re

import pytest

from docs.dashboards.generate import files
from tasks.monitoring.grafana import dashboards
from tasks.monitoring.own_families import FAMILIES
from tests.monitoring.dashboards import asked, boards, panels

BOARDS = boards()
VALUES = {"cluster": "a", "member": "m", "__rate_interval": "1m"}


def test_what_is_shipped_is_what_the_code_makes() -> None:
    assert dashboards() == dict(sorted(files().items())), "run `make dashboards`"


def test_there_are_four_that_lead_to_each_other() -> None:
    assert sorted(BOARDS) == ["etcd-backup", "etcd-cluster", "etcd-latency", "etcd-member"]
    for name, board in BOARDS.items():
        assert board["uid"] == name
        (link,) = board["links"]
        assert set(link["tags"]) <= set(board["tags"])
        assert link["includeVars"]


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_says_what_it_shows_and_why_it_is_empty(name: str) -> None:
    shown = panels(BOARDS[name])
    assert len({panel["id"] for panel in BOARDS[name]["panels"]}) == len(BOARDS[name]["panels"])
    for panel in shown:
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["title"], panel
        assert panel["description"].endswith("."), panel["title"]
        assert defaults["unit"], panel["title"]
        assert defaults["noValue"], panel["title"]


@pytest.mark.parametrize("name", BOARDS)
def test_no_panel_lies_over_another(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]


def test_all_ask_the_chosen_prometheus_about_the_chosen_cluster() -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    for board in BOARDS.values():
        variables = {variable["name"] for variable in board["templating"]["list"]}
        for panel in panels(board):
            assert panel["datasource"] == source
            for target in panel["targets"]:
                assert target["datasource"] == source
                used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
                assert used <= variables
                choosers = re.findall(r"{[^}]*}", target["expr"])
                assert all('cluster="$cluster"' in chooser for chooser in choosers), target["expr"]
                assert choosers or target["expr"].startswith("vector("), target["expr"]


def test_all_that_the_flows_tell_is_shown_somewhere() -> None:
    told = set(re.findall(r"etcd_flows_\w+", " ".join(each.expr for each in asked(VALUES))))
    assert told == {family.name for family in FAMILIES}
