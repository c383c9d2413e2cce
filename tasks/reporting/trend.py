"""How long restores took, drill after drill, as a picture (SVG). Pure.

It has a white ground of its own, so that it can be read in dark surroundings too, and no script, style sheet or link:
it is shown as an image.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from tasks.reporting.human import duration

WIDTH, HEIGHT = 760, 320
LEFT, RIGHT, TOP, BOTTOM = 78, 24, 52, 44

_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_LINES = 6  # grid lines at most
#: A target that is so many times the longest drill is told, not drawn.
FAR = 4
_INK, _FAINT, _GOOD, _BAD, _TARGET = "#1f2937", "#e5e7eb", "#0f766e", "#dc2626", "#b45309"


@dataclass(frozen=True)
class Point:
    """One drill.

    Args:
        at: When, UTC.
        seconds: How long it took.
        good: Whether the snapshot was good.
        what: Shown where the pointer rests on it.
    """

    at: datetime
    seconds: float
    good: bool
    what: str = ""


@dataclass(frozen=True)
class _Scale:
    """From what is measured to where it is drawn."""

    first: float
    last: float
    top: float

    def x(self, at: datetime) -> float:
        """Of a time; the middle if there is but one."""
        span = self.last - self.first
        share = (at.timestamp() - self.first) / span if span > 0 else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, seconds: float) -> float:
        """Of a time span."""
        return HEIGHT - BOTTOM - seconds / self.top * (HEIGHT - TOP - BOTTOM)


def draw(points: Sequence[Point], title: str, target: float | None = None) -> str:
    """The picture of some drills, in any order.

    Args:
        target: Seconds that a restore may take; drawn as a line.
    """
    ordered = sorted(points, key=lambda point: point.at)
    step, top = grid(_to_show([point.seconds for point in ordered], target))
    moments = [point.at.timestamp() for point in ordered] or [0.0]
    scale = _Scale(moments[0], moments[-1], top)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="12" fill="{_INK}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
        *_horizontal(scale, step),
        *_times(scale, ordered),
        *(_target(scale, target) if target else ()),
        *_curve(scale, ordered),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def data_uri(svg: str) -> str:
    """The picture as an address that holds it whole, for Markdown."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def grid(values: Sequence[float]) -> tuple[float, float]:
    """Between grid lines, and up to where: round figures, with all values and some air below the top."""
    most = max([0.1, *values]) * 1.08
    step = next((step for step in _STEPS if most / step <= _LINES), math.ceil(most / _LINES / 86400) * 86400.0)
    return step, math.ceil(most / step) * step


def _to_show(seconds: Sequence[float], target: float | None) -> list[float]:
    """What has to be within the picture: a target far above all would press the drills flat onto the ground."""
    if not target or (seconds and target > FAR * max(seconds)):
        return list(seconds)
    return [*seconds, target]


def _horizontal(scale: _Scale, step: float) -> Iterator[str]:
    for number in range(round(scale.top / step) + 1):
        y = scale.y(number * step)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{_FAINT}"/>'
        text = duration(number * step) if number else "0"
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'


def _times(scale: _Scale, points: Sequence[Point]) -> Iterator[str]:
    """Dates below the curve, so few that they don't touch."""
    if not points:
        yield f'<text x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle">no drill is on record yet</text>'
        return
    span = scale.last - scale.first
    form = "%Y-%m-%d" if span > 4 * 86400 else "%m-%d %H:%M"
    count = 1 if span <= 0 else 5 if span > 300 else 2
    for number in range(count):
        at = datetime.fromtimestamp(scale.first + span * (number / (count - 1) if count > 1 else 0), UTC)
        anchor = "middle" if 0 < number < count - 1 or count == 1 else "end" if number else "start"
        x = scale.x(at) if count > 1 else WIDTH / 2 + (LEFT - RIGHT) / 2
        yield f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="{anchor}">{at.strftime(form)}</text>'
    yield f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end" font-size="10">UTC</text>'


def _target(scale: _Scale, target: float) -> Iterator[str]:
    drawn = target <= scale.top
    if drawn:
        y = scale.y(target)
        yield (
            f'<line class="target" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{_TARGET}" '
            'stroke-width="1.5" stroke-dasharray="6 4"/>'
        )
    said = f"- - target: {duration(target)}" if drawn else f"target: {duration(target)}, above this picture"
    yield f'<text x="{WIDTH - RIGHT}" y="40" text-anchor="end" fill="{_TARGET}">{escape(said)}</text>'


def _curve(scale: _Scale, points: Sequence[Point]) -> Iterator[str]:
    good = [point for point in points if point.good]
    if len(good) > 1:
        path = " ".join(f"{scale.x(point.at):.1f},{scale.y(point.seconds):.1f}" for point in good)
        yield f'<polyline points="{path}" fill="none" stroke="{_GOOD}" stroke-width="1.5"/>'
    radius = 4.5 if len(points) <= 30 else 2.5
    for point in points:
        x, y = scale.x(point.at), scale.y(point.seconds)
        told = f"<title>{escape(_told(point))}</title>"
        if point.good:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{_GOOD}">{told}</circle>'
        else:
            cross = f"M{x - 5:.1f} {y - 5:.1f}L{x + 5:.1f} {y + 5:.1f}M{x - 5:.1f} {y + 5:.1f}L{x + 5:.1f} {y - 5:.1f}"
            yield f'<path class="bad" d="{cross}" stroke="{_BAD}" stroke-width="2.5">{told}</path>'
    if points:
        last = points[-1]
        bad = sum(not point.good for point in points)
        said = f"last: {duration(last.seconds)}" if last.good else "last: BAD"
        said += f"; {bad} of {len(points)} bad (red crosses)" if bad else ""
        colour = _GOOD if last.good else _BAD
        yield f'<text x="{LEFT}" y="40" fill="{colour}">{escape(said)}</text>'


def _told(point: Point) -> str:
    return (
        f"{point.at:%Y-%m-%d %H:%M} UTC: {duration(point.seconds)}{'' if point.good else ', BAD'} {point.what}".strip()
    )
