"""Draws some panels of the dashboards from what a Prometheus knows, for the README.

``python -m docs.dashboards.picture http://127.0.0.1:9090 CLUSTER FILE.svg --minutes 5``. The queries are those of the
shipped dashboards; the picture has a white ground of its own, and neither script nor link.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from tasks.monitoring.grafana import dashboards
from tasks.reporting.human import size

#: Dashboard and title of the panels, from the left, row by row.
PANELS = (
    ("etcd-cluster", "Requests by member"),
    ("etcd-cluster", "Proposals committed"),
    ("etcd-cluster", "Elections"),
    ("etcd-latency", "Syncs of the log"),
    ("etcd-latency", "Round trips between members"),
    ("etcd-cluster", "In use"),
)
_ACROSS = 3
_WIDTH, _HEIGHT = 320, 210  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 30, 48
_POINTS = 120  # of a series
_LONGEST = 14  # characters of a name in a legend
_INK, _FAINT = "#1f2937", "#e5e7eb"
_COLOURS = ("#0f766e", "#b45309", "#1d4ed8", "#dc2626", "#7c3aed", "#0891b2")

Series = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Drawn:
    """A panel and what is to be seen in it; series by legend."""

    title: str
    unit: str
    series: Mapping[str, Series]


def panel(board: str, title: str, cluster: str, ask: Callable[[str, str], Mapping[str, Series]]) -> Drawn:
    """A panel of a dashboard, its queries asked.

    Args:
        ask: Takes a query and the legend of its series.
    """
    (found,) = (each for each in json.loads(dashboards()[f"{board}.json"])["panels"] if each["title"] == title)
    values = {"cluster": cluster, "member": ".+", "__rate_interval": "30s"}
    series: dict[str, Series] = {}
    for target in found["targets"]:
        expr = re.sub(r"\$(\w+)", lambda name: values[name[1]], target["expr"])
        if "{" in expr:  # a limit is no measurement
            series |= ask(expr, target.get("legendFormat", ""))
    return Drawn(title, found["fieldConfig"]["defaults"]["unit"], series)


def asking(url: str, begin: float, end: float) -> Callable[[str, str], Mapping[str, Series]]:
    """Asks a Prometheus for a time."""

    def ask(expr: str, legend: str) -> Mapping[str, Series]:
        words = {"query": expr, "start": f"{begin}", "end": f"{end}", "step": f"{(end - begin) / _POINTS}"}
        address = f"{url}/api/v1/query_range?{urllib.parse.urlencode(words)}"
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - whoever calls this names it
            found = json.load(answer)["data"]["result"]

        def name(labels: Mapping[str, str]) -> str:
            return re.sub(r"{{(\w+)}}", lambda label: labels.get(label[1], ""), legend)

        values = {name(one["metric"]): [(at, float(value)) for at, value in one["values"]] for one in found}
        return {text: [pair for pair in pairs if not math.isnan(pair[1])] for text, pairs in values.items()}

    return ask


def draw(panels: Sequence[Drawn], title: str, begin: float, end: float) -> str:
    """The picture."""
    width, height = _ACROSS * _WIDTH, 34 + math.ceil(len(panels) / _ACROSS) * _HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="10" fill="{_INK}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LEFT / 2:.0f}" y="22" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for number, one in enumerate(panels):
        x, y = number % _ACROSS * _WIDTH, 34 + number // _ACROSS * _HEIGHT
        parts += [f'<g transform="translate({x} {y})">', *_panel(one, begin, end), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(one: Drawn, begin: float, end: float) -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    top = _round_up(max((value for pairs in one.series.values() for _, value in pairs), default=1.0))
    yield f'<text x="{_LEFT}" y="18" font-size="12" font-weight="bold">{escape(one.title)}</text>'
    for share in (0, 0.5, 1):
        y = bottom - share * (bottom - _TOP)
        yield f'<line x1="{_LEFT}" y1="{y:.0f}" x2="{right}" y2="{y:.0f}" stroke="{_FAINT}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 3:.0f}" text-anchor="end">{_shown(share * top, one.unit)}</text>'
    for at, anchor, x in ((begin, "start", _LEFT), (end, "end", right)):
        clock = time.strftime("%H:%M:%S", time.gmtime(at))
        yield f'<text x="{x}" y="{bottom + 13}" text-anchor="{anchor}">{clock}</text>'
    names = sorted(one.series)
    for number, name in enumerate(names):
        colour = _COLOURS[number % len(_COLOURS)]
        for stretch in _stretches(one.series[name], 2.5 * (end - begin) / _POINTS):
            pairs = " ".join(
                f"{_LEFT + (at - begin) / (end - begin) * (right - _LEFT):.1f},"
                f"{bottom - value / top * (bottom - _TOP):.1f}"
                for at, value in stretch
            )
            yield f'<polyline points="{pairs}" fill="none" stroke="{colour}" stroke-width="1.3"/>'
    yield from _legend(names, bottom + 27)


def _legend(names: Sequence[str], top: int) -> Iterator[str]:
    """Two rows of names; of names that don't fit there one stands for all."""
    if len(names) > len(_COLOURS) or any(len(name) > _LONGEST for name in names):
        yield f'<text x="{_LEFT}" y="{top}">{len(names)} lines, such as {escape(names[0])}</text>'
        return
    for number, name in enumerate(names):
        x, y = _LEFT + number % 3 * 86, top + number // 3 * 13
        yield f'<rect x="{x}" y="{y - 7}" width="8" height="8" fill="{_COLOURS[number]}"/>'
        yield f'<text x="{x + 11}" y="{y}">{escape(name)}</text>'


def _stretches(pairs: Series, gap: float) -> Iterator[Series]:
    """Where values are missing the line is broken."""
    found: list[tuple[float, float]] = []
    for pair in pairs:
        if found and pair[0] - found[-1][0] > gap:
            yield found
            found = []
        found.append(pair)
    if found:
        yield found


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    step: float = 10.0 ** math.floor(math.log10(value))
    return math.ceil(value * 1.05 / step * 2) / 2 * step


def _shown(value: float, unit: str) -> str:
    if unit == "s":
        return f"{1000 * value:g} ms" if value < 1 else f"{value:g} s"
    return size(value) if unit == "bytes" else f"{value:g}"


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("cluster")
    parser.add_argument("file", type=Path)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--title", default="")
    given = parser.parse_args()
    end = time.time()
    begin = end - 60 * given.minutes
    ask = asking(given.url.rstrip("/"), begin, end)
    panels = [panel(board, title, given.cluster, ask) for board, title in PANELS]
    given.file.write_text(draw(panels, given.title or f"etcd cluster {given.cluster}", begin, end))


if __name__ == "__main__":
    main()
