"""The report as HTML. Every text that came from outside is escaped here; nothing is fetched when the file opens."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, timedelta
from html import escape
from pathlib import Path

from plotly.offline import get_plotlyjs

from simulator.report.figure import Figure, figure, frontier, stamp
from simulator.report.runs import Compared, FleetRun, Mark, Series, TargetRun, Totals

_HERE = Path(__file__).parent
_POLICY = "default-src 'none'; script-src {}; style-src 'unsafe-inline'; img-src data: blob:"
"""The browser itself refuses any request to elsewhere."""

HOUR = 60
SPANS, ROWS = (10, 30, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR), 60
"""Minutes that a row of a chart's table may cover, and how many rows are readable."""

_MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
_LEGEND = {
    "Demand": "demand",
    "Ceiling": "bound",
    "Floor": "floor",
    "Tracking rests at": "tracking",
    "Tidegate, ready": "tidegate",
    "Decisions": "mark",
}


def page(run: FleetRun, plotly: str | None = None, up: str | None = None) -> str:
    """Return the whole file.

    Args:
        run: what it shows.
        plotly: file beside it that has Plotly, for pages that share one; None puts it into the page.
        up: page of the fleet that it belongs to.
    """
    figures = [figure(target) for target in run.targets]
    if run.compared:
        figures.append(frontier(run.compared, _word(run.targets)))
    sections = (_target(i, target, fig) for i, (target, fig) in enumerate(zip(run.targets, figures, strict=False)))
    end = run.start + timedelta(hours=run.hours)
    body = f"""<header>
<p class="brand">{f'<a href="{escape(up)}">Tidegate: all endpoints</a>' if up else "Tidegate"}</p>
<h1>{escape(run.title)}</h1>
<p class="soft">{run.hours:,.4g} hours of traffic, {stamp(run.start)} to {stamp(end)} UTC</p>
{bullets(run.lines, "lines")}
</header>
<main>
<section id="summary" aria-labelledby="summary-heading" tabindex="-1">
<h2 id="summary-heading">Beside the same traffic under {escape(_others(run.targets))}</h2>
{_summary(run.targets)}
</section>
{_story(run.story)}{_compared(len(run.targets), run.compared, _word(run.targets))}
{"".join(sections)}
<section aria-labelledby="settings-heading">
<h2 id="settings-heading">Settings</h2>
{settings(run.facts)}
</section>
</main>
<noscript><p>The charts need JavaScript; the tables do not.</p></noscript>
<script type="application/json" id="figures">{_embedded(figures)}</script>
{f'<script src="{escape(plotly)}"></script>' if plotly else f"<script>{get_plotlyjs()}</script>"}
<script>{_asset("page.js")}</script>
"""
    return document(run.title, body, "'unsafe-inline' 'self' file:" if plotly else "'unsafe-inline'")


def document(title: str, body: str, scripts: str) -> str:
    """Return a page with our style around a body that is HTML already.

    Args:
        title: as text.
        body: as HTML.
        scripts: where those may come from, in the words of Content-Security-Policy.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY.format(scripts)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_asset("page.css")}</style>
</head>
<body>
<a class="skip" href="#summary">Skip to the summary</a>
{body}</body>
</html>
"""


def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _embedded(figures: list[Figure]) -> str:
    """Write JSON that cannot end the script element around it."""
    return json.dumps(figures, separators=(",", ":")).replace("<", "\\u003c")


def bullets(lines: Iterable[str], css: str) -> str:
    """Return a list, empty without lines."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="{css}">{items}</ul>' if items else ""


def _story(lines: list[str]) -> str:
    if not lines:
        return ""
    return f"""<section aria-labelledby="story-heading">
<h2 id="story-heading">What was decided, and why</h2>
{bullets(lines, "notes")}
</section>
"""


def _others(targets: list[TargetRun]) -> str:
    return " or ".join(dict.fromkeys(target.beside for target in targets))


def _word(targets: list[TargetRun]) -> str:
    """Say what befell demand that was not served as promised: `violated` stands for both where some have queues."""
    return "late" if targets and all(target.queued for target in targets) else "violated"


def _meaning(targets: list[TargetRun]) -> str:
    if _word(targets) == "late":
        return "Late: items done after their objective."
    also = "; of a queue, items done late" if any(target.queued for target in targets) else ""
    return f"Violated: requests of a minute with more load than ready capacity{also}."


def _summary(targets: list[TargetRun]) -> str:
    groups = "".join(_summary_group(target) for target in targets)
    if len(targets) > 1:
        groups += _summary_fleet(targets)
    return f"""<div class="card scroll" role="region" aria-label="Summary table" tabindex="0">
<table class="summary">
<caption>{_meaning(targets)} Instance hours are paid from the order on.</caption>
<thead><tr><td></td><th scope="col">{_word(targets).capitalize()}</th>
<th scope="col">Instance hours</th><th scope="col">Changes</th></tr>
</thead>
{groups}
</table>
</div>"""


def _summary_group(target: TargetRun) -> str:
    ours, plain = target.totals, target.plain_totals
    about = f"{target.kind}, {ours.requests:,.0f} {'items' if target.queued else 'requests'}"
    return f"""<tbody>
<tr class="group"><th scope="rowgroup" colspan="4">{escape(target.name)} <span class="soft">{escape(about)}</span></th>
</tr>
{_row("Tidegate", _share(ours), f"{ours.instance_hours:,.1f}", f"{ours.changes:,}", "tidegate")}
{_row(escape(target.other), _share(plain), f"{plain.instance_hours:,.1f}", f"{plain.changes:,}", "plain")}
{
        _row(
            "Difference",
            _points(ours, plain),
            _percent(ours.instance_hours, plain.instance_hours),
            _signed(ours.changes - plain.changes, ",d"),
            "",
        )
    }
</tbody>"""


def _summary_fleet(targets: list[TargetRun]) -> str:
    """Sum what can be summed: hours and changes, not requests and queued items."""
    hours, plain_hours = (
        sum(target.totals.instance_hours for target in targets),
        sum(target.plain_totals.instance_hours for target in targets),
    )
    changes, plain_changes = (
        sum(target.totals.changes for target in targets),
        sum(target.plain_totals.changes for target in targets),
    )
    return f"""<tbody>
<tr class="group"><th scope="rowgroup" colspan="4">Whole fleet</th></tr>
{_row("Tidegate", DASH, f"{hours:,.1f}", f"{changes:,}", "tidegate")}
{_row(escape(targets[0].other), DASH, f"{plain_hours:,.1f}", f"{plain_changes:,}", "plain")}
{_row("Difference", DASH, _percent(hours, plain_hours), _signed(changes - plain_changes, ",d"), "")}
</tbody>"""


def _compared(index: int, compared: list[Compared], word: str) -> str:
    """Show every policy that played the same traffic: the curve of cost against violations, and its figures."""
    if not compared:
        return ""
    priced = any(each.money is not None for each in compared)
    rows = "".join(_compared_row(each, priced=priced) for each in compared)
    money = '<th scope="col">Money</th>' if priced else ""
    against = "Cost against late items" if word == "late" else "Cost against violated requests"
    return f"""<section aria-labelledby="compared-heading">
<h2 id="compared-heading">{against}, beside what else could be chosen</h2>
<div class="card">
<figure>
<div class="chart" id="chart-{index}" role="group" aria-label="{against} of each policy; the table below has
the figures. Arrow keys go from point to point."></div>
<figcaption>One line a policy, one point a setting of its knob. Nothing with 0% {word} costs less than the clairvoyant,
at 1; below and to the left is better.</figcaption>
</figure>
</div>
<div class="card scroll" role="region" aria-label="All policies" tabindex="0">
<table class="summary policies">
<caption>The same traffic under every policy, cheapest first.</caption>
<thead><tr><th scope="col" class="name">Policy</th><th scope="col">Cost / clairvoyant</th>
<th scope="col">{word.capitalize()}</th>
<th scope="col" class="wide">Instance hours</th><th scope="col" class="wide">Changes a day</th>{money}</tr></thead>
<tbody>{rows}</tbody>
</table>
</div>
</section>
"""


def _compared_row(each: Compared, *, priced: bool) -> str:
    cells = [("", f"{each.cost_ratio:.2f}"), ("", f"{each.harmed_share:.2%}")]
    cells += [(" wide", f"{each.instance_hours:,.1f}"), (" wide", f"{each.changes_per_day:.1f}")]
    if priced:
        cells.append(("", DASH if each.money is None else f"{each.money:,.2f}"))
    chip = '<span class="chip tidegate" aria-hidden="true"></span>' if each.policy == "tidegate" else ""
    name = f"{chip}{escape(each.policy)} {escape(each.knob)}".rstrip()
    return (
        f'<tr><th scope="row">{name}</th>'
        + "".join(f'<td class="number{css}">{cell}</td>' for css, cell in cells)
        + "</tr>"
    )


def _row(who: str, share: str, hours: str, changes: str, token: str) -> str:
    chip = f'<span class="chip {token}" aria-hidden="true"></span>' if token else ""
    css = "" if token else ' class="difference"'
    return (
        f'<tr{css}><th scope="row">{chip}{who}</th>'
        f'<td class="number">{share}</td><td class="number">{hours}</td><td class="number">{changes}</td></tr>'
    )


def _share(totals: Totals) -> str:
    share = totals.harmed_share
    return DASH if share is None else f"{share:.2%}"


def _points(ours: Totals, plain: Totals) -> str:
    """Difference of two shares, in percentage points."""
    if ours.harmed_share is None or plain.harmed_share is None:
        return DASH
    return f"{_signed(100 * (ours.harmed_share - plain.harmed_share), '.2f')} pp"


def _percent(ours: float, plain: float) -> str:
    return f"{_signed(100 * (ours / plain - 1), '.1f')}%" if plain else DASH


def _signed(value: float, spec: str) -> str:
    return format(value, f"+{spec}").replace("-", _MINUS)


def _target(index: int, target: TargetRun, fig: Figure) -> str:
    demand = f"Demand in instances, at {target.capacity_per_instance:,.4g} {target.unit} each."
    demand = (
        demand
        if target.sized
        else "What an instance serves is not known, so neither demand nor what was violated is drawn."
    )
    return f"""<section aria-labelledby="target-{index}">
<h2 id="target-{index}">{escape(target.name)} <span class="kind">{escape(target.kind)}</span></h2>
{bullets(target.notes, "notes")}
<div class="card">
<div class="tools">
<div class="legend" role="group" aria-label="Lines of the chart">{"".join(_legend(index, target, fig))}</div>
<div class="zoom" role="group" aria-label="Zoom">
<button type="button" data-chart="{index}" data-zoom="earlier" aria-label="Earlier">&larr;</button>
<button type="button" data-chart="{index}" data-zoom="in" aria-label="Zoom in">+</button>
<button type="button" data-chart="{index}" data-zoom="out" aria-label="Zoom out">{_MINUS}</button>
<button type="button" data-chart="{index}" data-zoom="later" aria-label="Later">&rarr;</button>
<button type="button" data-chart="{index}" data-zoom="all">Whole run</button>
</div>
</div>
<figure>
<div class="chart" id="chart-{index}" role="group" aria-label="{escape(_described(target))}"></div>
<figcaption>{escape(demand)} Shaded minutes: {target.word} under Tidegate.
Times are UTC. A diamond is a decision: hover over it, or tab to it and use the arrow keys, to read why.</figcaption>
</figure>
{_as_table(target)}
</div>
{_decisions(index, target)}
</section>
"""


def _legend(index: int, target: TargetRun, fig: Figure) -> Iterator[str]:
    chips = {**_LEGEND, f"{target.other}, ready": "plain", f"Demand under {target.beside}": "demand-plain"}
    for number, trace in enumerate(fig["data"]):
        if token := chips.get(trace["name"]):
            yield (
                f'<button type="button" aria-pressed="true" data-chart="{index}" data-trace="{number}">'
                f'<span class="chip {token}" aria-hidden="true"></span>{escape(trace["name"])}</button>'
            )


def _described(target: TargetRun) -> str:
    """Say in words what the chart shows."""
    peak = max((value / target.capacity_per_instance for value in target.tidegate.demand), default=0.0)
    demand = f"peaks at {peak:.1f} instances" if target.sized else "is not known in instances"
    return (
        f"Capacity of {target.name} over time. Demand {demand}. "
        f"Ready: Tidegate {_range(target.tidegate)}, {target.beside} {_range(target.plain)}. "
        f"{target.word.capitalize()}: Tidegate {_share(target.totals)}, {target.beside} {_share(target.plain_totals)}. "
        f"{len(target.marks)} decisions, listed in the table below; arrow keys go from mark to mark."
    )


def _as_table(target: TargetRun) -> str:
    """Return the chart for those who would rather read it: a row a span of time, at most `ROWS` of them."""
    ours, plain, each = target.tidegate, target.plain, target.capacity_per_instance
    if not ours.minutes:
        return ""
    span = next((span for span in SPANS if len(ours.minutes) <= span * ROWS), SPANS[-1])
    rows = []
    for first in range(0, len(ours.minutes), span):
        part = slice(first, first + span)
        cells = (
            f"{max(ours.demand[part]) / each:,.1f}" if target.sized else DASH,
            _least_to_most(ours.ready[part]),
            _least_to_most(plain.ready[part]),
            _least_to_most([value for value in ours.floor[part] if value is not None]),
            f"{sum(ours.harmed[part]):,.0f}" if target.sized else DASH,
            f"{sum(plain.harmed[part]):,.0f}" if target.sized else DASH,
        )
        rows.append(
            f'<tr><th scope="row">{stamp(ours.minutes[first])}</th>'
            + "".join(f'<td class="number">{cell}</td>' for cell in cells)
            + "</tr>"
        )
    name, beside = escape(target.name), escape(target.beside)
    word = target.word.capitalize()
    heads = ("Demand, most", "Tidegate ready", f"Ready, {beside}", "Floor", f"{word}, Tidegate", f"{word}, {beside}")
    return f"""<details><summary>The chart as a table</summary>
<div class="scroll tall" role="region" aria-label="Chart of {name} as a table" tabindex="0">
<table class="summary"><caption>Each row is {_spelled(span)}; demand, ready and floor in instances.</caption>
<thead><tr><th scope="col" class="name">From, UTC</th>{"".join(f'<th scope="col">{head}</th>' for head in heads)}</tr>
</thead><tbody>{"".join(rows)}</tbody></table>
</div></details>"""


def _least_to_most(values: Sequence[int]) -> str:
    if not values:
        return DASH
    least, most = min(values), max(values)
    return f"{least}" if least == most else f"{least}{DASH}{most}"


def _spelled(minutes: int) -> str:
    return f"{minutes} minutes" if minutes < HOUR else f"{minutes // HOUR} hours" if minutes > HOUR else "an hour"


def _range(series: Series) -> str:
    return f"{min(series.ready)} to {max(series.ready)} instances" if series.ready else "unknown"


def _decisions(index: int, target: TargetRun) -> str:
    if not target.marks:
        return '<p class="soft">No decision changed anything.</p>'
    days = {mark.at.astimezone(UTC).date() for mark in target.marks}
    spec = "%H:%M" if len(days) == 1 else "%d %b %H:%M"
    rows = "".join(_decision(index, mark, f"{mark.at.astimezone(UTC):{spec}}") for mark in target.marks)
    name = escape(target.name)
    return f"""<div class="card scroll tall" role="region" aria-label="Decisions for {name}" tabindex="0">
<table class="decisions">
<caption>Decisions that changed something ({len(target.marks)}); a time shows its place in the chart.</caption>
<thead><tr><th scope="col">UTC</th><th scope="col">Reason</th><th scope="col">What and why</th></tr></thead>
<tbody>{rows}</tbody>
</table>
</div>"""


def _decision(index: int, mark: Mark, when: str) -> str:
    return (
        f'<tr><th scope="row"><button type="button" class="at" data-chart="{index}" data-at="{stamp(mark.at)}" '
        f'aria-label="Show {when} in the chart">{when}</button></th>'
        f'<td class="reason">{escape(mark.reason)}</td><td>{escape(mark.text)}</td></tr>'
    )


def settings(facts: dict[str, str]) -> str:
    """Return a table of what the figures depend on."""
    rows = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in facts.items())
    return f"""<div class="card scroll" role="region" aria-label="Table of settings" tabindex="0">
<table class="settings"><caption>What to set to repeat this run.</caption><tbody>{rows}</tbody></table>
</div>"""
