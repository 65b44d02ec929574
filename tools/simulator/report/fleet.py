"""The page that leads to the pages of all endpoints: what each has now, plain AAS at its best, and Tidegate."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from simulator.report.page import DASH, bullets, document, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = {"now": "What it has now", "best": "Plain AAS at its best", "tidegate": "Tidegate"}
CHIPS = {"now": "plain", "best": "best", "tidegate": "tidegate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one way of scaling came to in the judged days."""

    instance_hours: float
    violated: float
    """Requests."""

    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One endpoint, and what is advised."""

    name: str
    about: str
    requests: float
    outcomes: dict[str, Outcome]
    """By `now`, `best` and `tidegate`."""

    advice: str
    """In a few words."""

    why: str
    """In a sentence with the figures."""

    page: str | None = None
    """File of its own page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything the page shows."""

    title: str
    lines: list[str]
    judged: list[Judged]
    skipped: list[tuple[str, str]]
    """Endpoints that were not judged, and why."""

    facts: dict[str, str] = field(default_factory=dict)


def total(judged: list[Judged]) -> dict[str, Outcome]:
    """Return the sums over endpoints; the cost is None unless all have one."""
    return {
        way: Outcome(
            instance_hours=sum(each.instance_hours for each in found),
            violated=sum(each.violated for each in found),
            cost=sum(known)
            if len(known := [each.cost for each in found if each.cost is not None]) == len(found)
            else None,
        )
        for way in NAMES
        if (found := [each.outcomes[way] for each in judged])
    }


def fleet_page(overview: Overview) -> str:
    """Return the whole file; it needs no script."""
    body = f"""<header>
<p class="brand">Tidegate</p>
<h1>{escape(overview.title)}</h1>
{bullets(overview.lines, "lines")}
</header>
<main>
<section id="summary" aria-labelledby="summary-heading" tabindex="-1">
<h2 id="summary-heading">Endpoints</h2>
{_table(overview.judged)}
</section>
{_skipped(overview.skipped)}
<section aria-labelledby="settings-heading">
<h2 id="settings-heading">Settings</h2>
{settings(overview.facts)}
</section>
</main>
"""
    return document(overview.title, body, "'none'")


def _table(judged: list[Judged]) -> str:
    if not judged:
        return "<p>No endpoint could be judged.</p>"
    priced = any(outcome.cost is not None for each in judged for outcome in each.outcomes.values())
    money = '<th scope="col">Money</th>' if priced else ""
    groups = [_endpoint(each, priced=priced) for each in judged]
    if len(judged) > 1:
        head = f'Whole fleet <span class="soft">{len(judged)} endpoints</span>'
        requests = sum(each.requests for each in judged)
        groups.insert(0, _group(head, total(judged), requests, priced=priced))
    return f"""<div class="card scroll" role="region" aria-label="Table of endpoints" tabindex="0">
<table class="summary bars">
<caption>The same traffic under each way of scaling; bars compare instance-hours of one endpoint.
Violated: requests of a minute with more load than ready capacity; of a queue, items done late.</caption>
<thead><tr><td></td><th scope="col">Instance hours</th>{money}<th scope="col">Violated</th></tr></thead>
{"".join(groups)}
</table>
</div>"""


def _endpoint(each: Judged, *, priced: bool) -> str:
    name = escape(each.name)
    link = f'<a href="{escape(each.page)}">{name}</a>' if each.page else name
    head = (
        f'{link} <span class="soft">{escape(each.about)}</span><br>'
        f'<span class="said"><strong>{escape(each.advice)}.</strong> {escape(each.why)}</span>'
    )
    return _group(head, each.outcomes, each.requests, priced=priced)


def _group(head: str, outcomes: dict[str, Outcome], requests: float, *, priced: bool) -> str:
    most = max(outcome.instance_hours for outcome in outcomes.values()) or 1.0
    rows = "".join(_row(way, outcome, most, requests, priced=priced) for way, outcome in outcomes.items())
    span = 4 if priced else 3
    return f"""<tbody>
<tr class="group"><th scope="rowgroup" colspan="{span}">{head}</th></tr>
{rows}</tbody>
"""


def _row(way: str, outcome: Outcome, most: float, requests: float, *, priced: bool) -> str:
    width = f"{100 * outcome.instance_hours / most:.1f}%"
    bar = f'<div class="bar {CHIPS[way]}" style="width:{width}" aria-hidden="true"></div>'
    cells = [f"{outcome.instance_hours:,.1f}{bar}"]
    if priced:
        cells.append(DASH if outcome.cost is None else f"{outcome.cost:,.2f}")
    share = f'{outcome.violated / requests:.2%} <span class="soft wide">of {requests:,.0f}</span>' if requests else DASH
    cells.append(share)
    chip = f'<span class="chip {CHIPS[way]}" aria-hidden="true"></span>'
    numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    return f'<tr><th scope="row">{chip}{NAMES[way]}</th>{numbers}</tr>\n'


def _skipped(skipped: list[tuple[str, str]]) -> str:
    if not skipped:
        return ""
    return f"""<section aria-labelledby="skipped-heading">
<h2 id="skipped-heading">Not judged</h2>
<div class="card scroll" role="region" aria-label="Table of endpoints not judged" tabindex="0">
<table class="settings"><caption>Nothing is claimed of these.</caption>
<tbody>{"".join(_why_not(skipped))}</tbody></table>
</div>
</section>
"""


def _why_not(skipped: list[tuple[str, str]]) -> Iterator[str]:
    for name, why in skipped:
        yield f'<tr><th scope="row">{escape(name)}</th><td>{escape(why)}</td></tr>'
