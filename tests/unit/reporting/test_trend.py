"""The picture of drills: whatever was measured, it is a whole picture, true to scale, and nothing lies outside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from tasks.reporting.trend import FAR, HEIGHT, LEFT, RIGHT, WIDTH, Point, draw, grid

SVG = "{http://www.w3.org/2000/svg}"
BEGIN = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)

points = st.lists(
    st.builds(
        Point,
        st.floats(1.6e9, 2.2e9).map(lambda at: datetime.fromtimestamp(at, UTC)),
        st.floats(0.001, 4e5),
        st.booleans(),
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    ),
    max_size=100,
)
targets = st.none() | st.floats(0.1, 4e5)


def parsed(drills: list[Point], target: float | None = None) -> ElementTree.Element:
    return ElementTree.fromstring(draw(drills, "Restore drills of <prod-a> & others", target))  # noqa: S314 - our own


def numbers(element: ElementTree.Element) -> list[tuple[float, float]]:
    """All places in it."""
    text = element.get("points", "") + element.get("d", "")
    found = [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+)[ ,](-?[\d.]+)", text)]
    for x, y in (("x", "y"), ("cx", "cy"), ("x1", "y1"), ("x2", "y2")):
        if element.get(x) and element.get(y):
            found.append((float(element.get(x, "")), float(element.get(y, ""))))
    return found


@given(points, targets)
def test_all_is_there_and_within(drills: list[Point], target: float | None) -> None:
    picture = parsed(drills, target)
    dots = picture.findall(f"{SVG}circle")
    crosses = picture.findall(f"{SVG}path[@class='bad']")
    assert (len(dots), len(crosses)) == (sum(d.good for d in drills), sum(not d.good for d in drills))
    drawn, said = len(picture.findall(f"{SVG}line[@class='target']")), "".join(picture.itertext())
    assert ("target: " in said) == (target is not None)
    assert ("above this picture" in said) == (target is not None and not drawn)
    if target is not None and target <= FAR * max([d.seconds for d in drills], default=target):
        assert drawn, "it is near enough"
    for element in picture.iter():
        for x, y in numbers(element):
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT


@given(points.filter(lambda drills: any(d.good for d in drills)), targets)
def test_it_is_true_to_scale(drills: list[Point], target: float | None) -> None:
    dots = parsed(drills, target).findall(f"{SVG}circle")
    good = sorted((d for d in drills if d.good), key=lambda d: d.at)
    drawn = [numbers(dot)[0] for dot in dots]
    assert [x for x, _ in drawn] == sorted(x for x, _ in drawn)
    full = max(d.seconds for d in drills)
    _, top = grid([d.seconds for d in drills] + ([target] if target and target <= FAR * full else []))
    zero = _zero(drills, target)
    for drill, (_, y) in zip(good, drawn, strict=True):
        assert abs((zero - y) - drill.seconds / top * (HEIGHT - 52 - 44)) < 0.11
    assert full <= top


def _zero(drills: list[Point], target: float | None) -> float:
    first = parsed(drills, target).find(f"{SVG}line")
    assert first is not None
    return float(first.get("y1", ""))


@given(points, targets)
def test_texts_do_not_touch(drills: list[Point], target: float | None) -> None:
    """At 12 pixels a character of Helvetica has 6.7 on average."""
    places = []
    for text in parsed(drills, target).findall(f"{SVG}text"):
        size, length = float(text.get("font-size", "12")), len(text.text or "")
        width, x, y = length * size * 0.56, float(text.get("x", "")), float(text.get("y", ""))
        left = {"end": x - width, "middle": x - width / 2}.get(text.get("text-anchor", ""), x)
        places.append((left, left + width, y - size * 0.8, y))
    for index, (left, right, top, bottom) in enumerate(places):
        for other in places[index + 1 :]:
            assert right <= other[0] or other[1] <= left or bottom <= other[2] or other[3] <= top, (places, index)
        assert right <= WIDTH + 1
        assert left >= -1


@given(st.lists(st.floats(0.001, 1e7), min_size=1))
def test_the_grid_is_round_and_holds_all(values: list[float]) -> None:
    step, top = grid(values)
    assert max(values) < top
    assert 1 <= round(top / step) <= 7


def test_one_drill_stands_in_the_middle() -> None:
    (dot,) = parsed([Point(BEGIN, 42.0, good=True)]).findall(f"{SVG}circle")
    assert numbers(dot)[0][0] == LEFT + (WIDTH - LEFT - RIGHT) / 2


def test_a_bad_one_is_not_part_of_the_curve() -> None:
    drills = [Point(BEGIN + timedelta(days=n), 40.0 + n, good=n != 1) for n in range(3)]
    picture = parsed(drills, 60.0)
    (line,) = picture.findall(f"{SVG}polyline")
    assert len(line.get("points", "").split()) == 2
    assert "1 of 3 bad" in "".join(picture.itertext())
