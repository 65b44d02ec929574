"""A target's chart as a Plotly figure in plain data.

Colours are names of CSS variables (`--tidegate`); the page resolves them, so one figure serves light and dark.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from simulator.report.runs import Compared, Series, TargetRun

Figure = dict[str, Any]

MINUTE = timedelta(minutes=1)
VIOLATED, WAITING, MAIN = "y2", "y3", "y"
CROWDED = 200
"""Marks of more decisions are drawn smaller."""

SYMBOLS = ("circle", "square", "triangle-up", "cross", "x", "star", "pentagon", "hexagon2", "bowtie")
"""One a policy, so that nobody depends on colours."""

COLOURS = ("--plain", "--floor", "--other", "--bound", "--mark")


def stamp(at: datetime) -> str:
    """Write a time as Plotly reads it: UTC without an offset."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def harmed_spans(series: Series) -> Iterator[tuple[datetime, datetime]]:
    """Yield the stretches in which requests were violated or items late, as [from, to)."""
    bad = [at for at, harmed in zip(series.minutes, series.harmed, strict=True) if harmed > 0]
    if not bad:
        return
    begin = bad[0]
    for at, following in pairwise(bad):
        if following - at > MINUTE:
            yield begin, at + MINUTE
            begin = following
    yield begin, bad[-1] + MINUTE


def figure(target: TargetRun) -> Figure:
    """Return the chart: capacity against demand on top, what was violated below, a queue between where there is one."""
    queue = bool(target.tidegate.backlog or target.plain.backlog)
    return {"data": [*_traces(target, queue=queue)], "layout": _layout(target, queue=queue)}


def _traces(target: TargetRun, *, queue: bool) -> Iterator[Figure]:
    ours, plain = target.tidegate, target.plain
    if target.sized:
        yield _demand(target, ours, "Demand", fill=True)
    if target.sized and plain.demand != ours.demand:  # a queue depends on who works it off
        yield _demand(target, plain, f"Demand under {target.beside}", fill=False)
    yield _line("Ceiling", ours, ours.ceiling, {"color": "--bound", "width": 1, "dash": "dot"})
    yield _line("Floor", ours, ours.floor, {"color": "--floor", "width": 1.5})
    if ours.target:
        yield _line("Tracking rests at", ours, _rests(ours), {"color": "--bound", "width": 1, "shape": "linear"})
    yield _line(f"{target.other}, ready", plain, plain.ready, {"color": "--plain", "width": 1.8, "dash": "4px,2px"})
    yield _line("Tidegate, ready", ours, ours.ready, {"color": "--tidegate", "width": 2.4})
    if target.marks:
        yield _marks(target)
    if queue:
        yield from _pair(target, "Waiting", (plain, plain.backlog), (ours, ours.backlog), WAITING)
    if target.sized:
        yield from _pair(target, target.word.capitalize(), (plain, plain.harmed), (ours, ours.harmed), VIOLATED)


def _rests(series: Series) -> list[float | None]:
    """Return the capacity at which native tracking would leave each minute's demand alone."""
    return [target and round(demand / target, 3) for demand, target in zip(series.demand, series.target, strict=False)]


def _demand(target: TargetRun, series: Series, name: str, *, fill: bool) -> Figure:
    trace = _line(
        name,
        series,
        [round(value / target.capacity_per_instance, 3) for value in series.demand],
        {"color": "--demand", "width": 1, "dash": "solid" if fill else "dot"},
    )
    trace |= {
        "line": trace["line"] | {"shape": "linear"},
        "hovertemplate": "%{y:.2f} (%{customdata:,.0f} " + target.unit.replace("%", "") + ")",
        "customdata": [round(value, 2) for value in series.demand],
    }
    return trace | {"fill": "tozeroy", "fillcolor": "--demand-fill"} if fill else trace


def _line(name: str, series: Series, values: Sequence[float | None], line: Figure, axis: str = MAIN) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [stamp(at) for at in series.minutes],
        "y": list(values),
        "yaxis": axis,
        "line": {"shape": "hv"} | line,
        "hovertemplate": "%{y:,.4~g}",
    }


def _pair(
    target: TargetRun, name: str, plain: tuple[Series, Sequence[float]], ours: tuple[Series, Sequence[float]], axis: str
) -> Iterator[Figure]:
    for who, token, (series, values) in ((target.beside, "plain", plain), ("Tidegate", "tidegate", ours)):
        yield _line(f"{name}, {who}", series, values, {"color": f"--{token}", "width": 1.2}, axis) | {
            "fill": "tozeroy",
            "fillcolor": f"--{token}-fill",
        }


def _marks(target: TargetRun) -> Figure:
    """Put each decision on the floor it left behind."""
    series = target.tidegate
    heights: list[int | None] = []
    for mark in target.marks:
        index = min(max(bisect_right(series.minutes, mark.at), 0), len(series.minutes) - 1)
        heights.append((series.floor[index] or series.desired[index]) if series.minutes else None)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "Decisions",
        "x": [stamp(mark.at) for mark in target.marks],
        "y": heights,
        "yaxis": MAIN,
        "marker": {
            "symbol": "diamond",
            "size": 7 if len(target.marks) < CROWDED else 4,
            "color": "--mark",
            "line": {"color": "--card", "width": 1},
        },
        # Plotly reads a little HTML in texts; reasons are data, so their brackets are written as entities.
        "text": [f"{_plain_text(mark.reason)}: {_wrapped(_plain_text(mark.text))}" for mark in target.marks],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _plain_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _wrapped(text: str, width: int = 60) -> str:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) >= width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "<br>".join([*lines, line])


def _layout(target: TargetRun, *, queue: bool) -> Figure:
    axis = {"gridcolor": "--grid", "zerolinecolor": "--grid", "rangemode": "tozero", "fixedrange": True}
    layout: Figure = {
        "margin": {"l": 44, "r": 12, "t": 8, "b": 44},
        "height": 536 if queue else 446,
        "showlegend": False,
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "hoverlabel": {"bgcolor": "--card", "bordercolor": "--rule", "font": {"color": "--ink"}},
        "paper_bgcolor": "--card",
        "plot_bgcolor": "--card",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "--ink"},
        "xaxis": {
            "type": "date",
            "gridcolor": "--grid",
            "hoverformat": "%a %H:%M UTC",
            "anchor": VIOLATED,
            "showspikes": True,
            "spikethickness": 1,
            "spikecolor": "--rule",
            "spikemode": "across",
        },
        "yaxis": axis
        | {"domain": [0.52 if queue else 0.32, 1], "title": _title("instances"), "range": [0, _top(target)]},
        "yaxis2": axis | {"domain": [0, 0.2 if queue else 0.24], "title": _title(f"{target.word} / min"), "nticks": 4},
        "shapes": [
            {
                "type": "rect",
                "xref": "x",
                "yref": "y domain",
                "x0": stamp(begin),
                "x1": stamp(end),
                "y0": 0,
                "y1": 1,
                "layer": "below",
                "line": {"width": 0},
                "fillcolor": "--violated-fill",
            }
            for begin, end in harmed_spans(target.tidegate)
        ],
    }
    if queue:
        layout["yaxis3"] = axis | {"domain": [0.26, 0.46], "title": _title("waiting"), "nticks": 4}
    return layout


def frontier(compared: Sequence[Compared], word: str) -> Figure:
    """Return cost against what was violated or late: a line a policy over its knob; below and to the left is better."""
    data: list[Figure] = []
    for policy in dict.fromkeys(each.policy for each in compared):
        points = sorted((each for each in compared if each.policy == policy), key=lambda each: each.cost_ratio)
        ours = policy == "tidegate"
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers+text",
                "cliponaxis": False,
                "name": _plain_text(policy),
                "x": [round(each.cost_ratio, 4) for each in points],
                "y": [round(100 * each.harmed_share, 4) for each in points],
                "text": ["Tidegate"] if ours and len(points) == 1 else [_plain_text(each.knob) for each in points],
                "textposition": "bottom center",
                "textfont": {"size": 10, "color": "--tidegate" if ours else "--soft"},
                "hovertext": [
                    _plain_text(f"{policy} {each.knob}")
                    + f": {each.cost_ratio:.2f} x clairvoyant, {each.harmed_share:.2%} {word}, "
                    f"{each.instance_hours:,.1f} instance-hours"
                    for each in points
                ],
                "hoverinfo": "text",
                "line": {"color": "--tidegate" if ours else COLOURS[len(data) % len(COLOURS)], "width": 1.5},
                "marker": {
                    "size": 13 if ours else 8,
                    "symbol": "diamond" if ours else SYMBOLS[len(data) % len(SYMBOLS)],
                },
            }
        )
    axis = {"gridcolor": "--grid", "zerolinecolor": "--rule", "fixedrange": True}
    top = 100 * max((each.harmed_share for each in compared), default=0) or 1
    layout: Figure = {
        "margin": {"l": 56, "r": 16, "t": 8, "b": 48},
        "height": 420,
        "showlegend": True,
        "legend": {"orientation": "h", "y": -0.2},
        "hovermode": "closest",
        "paper_bgcolor": "--card",
        "plot_bgcolor": "--card",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "--ink"},
        "xaxis": axis | {"zeroline": False, "title": _title("cost ÷ clairvoyant's")},
        # Many violate nothing: there is room below zero for what is written under their marks.
        "yaxis": axis
        | {
            "range": [-0.09 * top, 1.09 * top],
            "title": _title(f"{word}, % of {'items' if word == 'late' else 'requests'}"),
        },
    }
    return {"data": data, "layout": layout}


def _top(target: TargetRun) -> float:
    """Return the height of the chart: all but a ceiling that is far away."""
    used = max(
        (value for series in (target.tidegate, target.plain) for value in (*series.ready, *_counts(series.floor))),
        default=1,
    )
    peak = max((value / target.capacity_per_instance for value in target.tidegate.demand), default=1.0)
    peak = max([peak, *(value for value in _rests(target.tidegate) if value is not None)])
    ceiling = max(_counts(target.tidegate.ceiling), default=0)
    top = 1.08 * max(used, peak, 1)
    return max(top, 1.04 * ceiling) if ceiling <= 2 * top else top


def _counts(values: Sequence[int | None]) -> list[int]:
    return [value for value in values if value is not None]


def _title(text: str) -> Figure:
    return {"text": text, "standoff": 6, "font": {"size": 11, "color": "--soft"}}
