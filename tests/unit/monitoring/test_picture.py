"""The picture in the README: drawn from what a Prometheus says, whatever that is."""

from __future__ import annotations

import xml.etree.ElementTree as Xml
from collections.abc import Mapping
from itertools import pairwise

from docs.dashboards.picture import PANELS, Series, draw, panel

BEGIN, END = 1_800_000_000.0, 1_800_000_240.0
SVG = "{http://www.w3.org/2000/svg}"


def drawn(values: Mapping[str, Series]) -> Xml.Element:
    """A picture with one panel."""
    one = panel("etcd-latency", "Syncs of the log", "a", lambda expr, legend: values)
    return Xml.fromstring(draw([one], "<a> & b", BEGIN, END))  # noqa: S314 - made just now


def test_every_panel_asks_about_the_cluster_with_nothing_left_open() -> None:
    for board, title in PANELS:
        asked: list[str] = []
        panel(board, title, "prod-a", lambda expr, legend, seen=asked: seen.append(expr) or {})  # type: ignore[misc]
        assert asked
        assert all('cluster="prod-a"' in expr and "$" not in expr for expr in asked)


def test_a_line_is_broken_where_nothing_is_known_and_stays_in_its_panel() -> None:
    known = [*range(0, 100, 2), *range(160, 240, 2)]
    root = drawn({"m1 <p99>": [(BEGIN + at, 0.0123) for at in known], "m2": []})
    lines = [line.attrib["points"].split() for line in root.iter(f"{SVG}polyline")]
    assert [len(line) for line in lines] == [50, 40]
    for line in lines:
        places = [tuple(map(float, point.split(","))) for point in line]
        assert all(0 < x < 320 and 0 < y < 210 for x, y in places)
        assert all(left[0] < right[0] for left, right in pairwise(places))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"Syncs of the log", "m1 <p99>", "m2", "<a> & b"} <= set(texts)
    assert any(text and text.endswith(" ms") for text in texts)
    crowded = drawn({f"etcd-01 to 6cf114cf1472a5{n}": [(BEGIN, 1.0)] for n in (1, 2)})
    assert "2 lines, such as etcd-01 to 6cf114cf1472a51" in [text.text for text in crowded.iter(f"{SVG}text")]


def test_without_anything_there_is_still_a_picture() -> None:
    assert not list(drawn({}).iter(f"{SVG}polyline"))
    (line,) = drawn({"m1": [(BEGIN, 0.0), (BEGIN + 2, 0.0)]}).iter(f"{SVG}polyline")
    assert len({point.partition(",")[2] for point in line.attrib["points"].split()}) == 1, "nothing is a flat line"
