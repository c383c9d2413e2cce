"""The kinds of panels that our dashboards are made of. Each has a unit, a description, and a text for no data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import gauge, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from tasks.monitoring.rule import own, selector

Panel: TypeAlias = Builder[models.Panel]
_Kind = TypeVar("_Kind", timeseries.Panel, stat.Panel, gauge.Panel, heatmap.Panel, table.Panel)
#: Colours, each from a value on; the first holds from the lowest.
Steps = Sequence[tuple[float | None, str]]

CLUSTER = "$cluster"
#: Over what rates are taken: never less than four times :data:`_STEP`.
RATE = "$__rate_interval"
#: Least distance of points, so that rates hold enough of them with any scrape interval up to a minute.
_STEP = "30s"
SOURCE = models.DataSourceRef("prometheus", "${datasource}")
NOT_SCRAPED = "Prometheus has nothing about it: are the members scraped?"
NOT_TOLD = "the flows have told nothing about it yet"

GREEN, ORANGE, RED, BLUE = "green", "orange", "red", "blue"
PLAIN: Steps = ((None, BLUE),)
YES_NO = {"0": ("no", RED), "1": ("yes", GREEN)}


@dataclass(frozen=True)
class Query:
    """What Prometheus is asked.

    Args:
        legend: Name of each series, with labels as ``{{member}}``.
        dashed: Whether it is a limit that others are compared with.
    """

    expr: str
    legend: str = "{{member}}"
    dashed: bool = False


def members(*matchers: str) -> str:
    """Selects all members of the chosen cluster."""
    return selector(CLUSTER, *matchers)


def chosen(*matchers: str) -> str:
    """Selects the chosen members of the chosen cluster."""
    return selector(CLUSTER, 'member=~"$member"', *matchers)


def told(name: str, *matchers: str) -> str:
    """What the flows tell of the chosen cluster; see :mod:`tasks.monitoring.own_families`."""
    return own(CLUSTER, name, *matchers)


def rate(counter: str, chooser: str) -> str:
    """How fast a counter grows, a second."""
    return f"rate({counter}{chooser}[{RATE}])"


def quantile(share: float, histogram: str, chooser: str, *by: str) -> str:
    """A quantile of a histogram, by these labels."""
    labels = ", ".join((*by, "le"))
    return f"histogram_quantile({share:g}, sum by ({labels}) ({rate(f'{histogram}_bucket', chooser)}))"


def _target(query: Query, number: int, kind: PromQueryFormat, *, instant: bool) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + number)).datasource(SOURCE).format(kind)
    if query.legend:
        target = target.legend_format(query.legend)
    return target.instant() if instant else target.range().interval(_STEP)


def _thresholds(steps: Steps) -> builders.ThresholdsConfig:
    found = [models.Threshold(value, color) for value, color in steps]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)


def _mappings(texts: Mapping[str, tuple[str, str]]) -> list[models.ValueMapping]:
    named = {value: models.ValueMappingResult(text, color) for value, (text, color) in texts.items()}
    return [models.ValueMap(named)] if named else []


def _begun(kind: _Kind, title: str, description: str, unit: str, empty: str, width: int, height: int) -> _Kind:
    """What every panel has."""
    named = kind.title(title).description(description).datasource(SOURCE)
    return named.unit(unit).no_value(empty).span(width).height(height)


def lines(
    title: str, description: str, unit: str, *queries: Query, width: int = 8, empty: str = NOT_SCRAPED, least: float = 0
) -> Panel:
    """Series over time; limits are dashed."""
    panel = (
        _begun(timeseries.Panel(), title, description, unit, empty, width, 8)
        .axis_soft_min(least)
        .fill_opacity(5)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
    )
    for number, query in enumerate(queries):
        panel = panel.with_target(_target(query, number, PromQueryFormat.TIME_SERIES, instant=False))
        if query.dashed:
            style = {"fill": "dash", "dash": [8, 8]}
            found = [("custom.lineStyle", style), ("color", {"mode": "fixed", "fixedColor": RED})]
            limits = [models.DynamicConfigValue(name, value) for name, value in found]
            panel = panel.override_by_query(chr(ord("A") + number), limits)
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    width: int = 4,
    steps: Steps = PLAIN,
    texts: Mapping[str, tuple[str, str]] | None = None,
    empty: str = NOT_SCRAPED,
    shown: common.BigValueTextMode = common.BigValueTextMode.AUTO,
) -> Panel:
    """How something is now; several series side by side."""
    return (
        _begun(stat.Panel(), title, description, unit, empty, width, 4)
        .thresholds(_thresholds(steps))
        .mappings(_mappings(texts or {}))
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(shown)
        .reduce_options(common_builders.ReduceDataOptions().values(False).calcs(["lastNotNull"]))
        .with_target(_target(query, 0, PromQueryFormat.TIME_SERIES, instant=True))
    )


def yes_no(title: str, description: str, expr: str, legend: str = "{{member}}") -> Panel:
    """Whether something is as it should be: 1 is good."""
    return number(title, description, "none", Query(expr, legend), steps=((None, RED), (1, GREEN)), texts=YES_NO)


def share(
    title: str, description: str, query: Query, *, width: int = 8, steps: Steps, empty: str = NOT_SCRAPED
) -> Panel:
    """How much of what is allowed is used; 1 is all."""
    return (
        _begun(gauge.Panel(), title, description, "percentunit", empty, width, 8)
        .min(0)
        .max(1)
        .thresholds(_thresholds(steps))
        .reduce_options(common_builders.ReduceDataOptions().values(False).calcs(["lastNotNull"]))
        .with_target(_target(query, 0, PromQueryFormat.TIME_SERIES, instant=True))
    )


def spread(title: str, description: str, histogram: str, chooser: str, *, width: int = 12) -> Panel:
    """How often which duration was seen, over time."""
    query = Query(f"sum by (le) (increase({histogram}_bucket{chooser}[{RATE}]))", "{{le}}")
    return (
        _begun(heatmap.Panel(), title, description, "s", NOT_SCRAPED, width, 8)
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Spectral").steps(64))
        .with_target(_target(query, 0, PromQueryFormat.HEATMAP, instant=False))
    )


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        title: Its heading; empty for one that is asked for its labels alone.
        query: Gives a value for each row.
        unit: Of its values.
        texts: What stands for a value, and its colour.
    """

    title: str
    query: str
    unit: str = "none"
    texts: Mapping[str, tuple[str, str]] | None = None


def rows(
    title: str,
    description: str,
    key: str,
    *columns: Column,
    labels: Mapping[str, str] | None = None,
    width: int = 24,
    empty: str = NOT_SCRAPED,
) -> Panel:
    """A table as things are now.

    Args:
        key: The label that rows have in common in all columns.
        labels: Further labels that are shown, with their headings.
    """
    names = {key: key, **(labels or {})}
    values = {f"Value #{chr(ord('A') + n)}" if len(columns) > 1 else "Value": one for n, one in enumerate(columns)}
    panel = _begun(table.Panel(), title, description, "none", empty, width, 7)
    for n, column in enumerate(columns):
        panel = panel.with_target(_target(Query(column.query, ""), n, PromQueryFormat.TABLE, instant=True))
        if not column.title:
            continue
        found = [models.DynamicConfigValue("unit", column.unit)]
        if column.texts:
            found.append(models.DynamicConfigValue("mappings", _mappings(column.texts)))
        panel = panel.override_by_name(column.title, found)
    if len(columns) > 1:
        joined = {"byField": key, "mode": "outer"}
        panel = panel.with_transformation(models.DataTransformerConfig("joinByField", options=joined))
    hidden = ["Time", *(f"Time {n}" for n in range(1, len(columns) + 1))]
    hidden += [name for name, one in values.items() if not one.title]
    organized = {
        "excludeByName": dict.fromkeys(hidden, True),
        "indexByName": {name: n for n, name in enumerate([*names, *values])},
        "renameByName": names | {name: one.title for name, one in values.items() if one.title},
    }
    return panel.with_transformation(models.DataTransformerConfig("organize", options=organized))
