"""The report as text: its numbers, its escaping, its independence of any network."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from simulator.report import FleetRun, Series, TargetRun, Totals, write_report
from simulator.report.figure import figure, harmed_spans
from tests.browser.sample_run import START, sample_run

MINUTE = timedelta(minutes=1)


def html_of(run: FleetRun, folder: Path) -> str:
    write_report(run, folder / "new" / "report.html")
    return (folder / "new" / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return html_of(sample_run(), tmp_path_factory.mktemp("report"))


def without_scripts(html: str) -> str:
    return re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


def cells(row: str) -> list[str]:
    return re.findall(r'<td class="number">(.*?)</td>', row)


def summary(html: str) -> list[list[str]]:
    body = html.split('<table class="summary">', 1)[1].split("</table>", 1)[0]
    return [found for row in re.findall(r"<tr.*?</tr>", body, flags=re.DOTALL) if (found := cells(row))]


def target_of(totals: Totals, plain: Totals) -> TargetRun:
    return replace(sample_run().targets[0], totals=totals, plain_totals=plain)


SUMMARIES = [
    ("worse and dearer under plain AAS", Totals(1000, 10, 30, 8), Totals(1000, 25, 40, 5),
     [["1.00%", "30.0", "8"], ["2.50%", "40.0", "5"], ["−1.50 pp", "−25.0%", "+3"]]),  # noqa: RUF001 - a real minus
    ("better under plain AAS", Totals(1000, 25, 44, 5), Totals(1000, 10, 40, 8),
     [["2.50%", "44.0", "5"], ["1.00%", "40.0", "8"], ["+1.50 pp", "+10.0%", "−3"]]),  # noqa: RUF001 - a real minus
    ("no traffic, no instances", Totals(0, 0, 0, 0), Totals(0, 0, 0, 0),
     [["–", "0.0", "0"], ["–", "0.0", "0"], ["–", "–", "+0"]]),  # noqa: RUF001 - a dash for "does not apply"
]  # fmt: skip


@pytest.mark.parametrize(("totals", "plain", "rows"), [c[1:] for c in SUMMARIES], ids=[c[0] for c in SUMMARIES])
def test_summary(totals: Totals, plain: Totals, rows: list[list[str]], tmp_path: Path) -> None:
    run = replace(sample_run(), targets=[target_of(totals, plain)])
    assert summary(html_of(run, tmp_path)) == rows


def test_a_fleet_is_summed_in_hours_and_changes_only(html: str) -> None:
    targets = sample_run().targets
    hours = sum(target.totals.instance_hours for target in targets)
    changes = sum(target.totals.changes for target in targets)
    assert summary(html)[-3] == ["–", f"{hours:,.1f}", str(changes)]  # noqa: RUF001 - a dash


def test_what_it_comes_to_stands_above_the_figures_and_the_story_below(tmp_path: Path) -> None:
    html = without_scripts(html_of(replace(sample_run(), lines=["The verdict."], story=["00:20 <why>"]), tmp_path))
    assert html.index("The verdict.") < html.index('<table class="summary">') < html.index("00:20 &lt;why&gt;")


def test_every_text_from_outside_is_escaped(html: str) -> None:
    page = without_scripts(html)
    assert "<title>Replay of a &lt;b&gt;Monday&lt;/b&gt; &amp; its night</title>" in page
    assert "scoring-&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;" in page
    assert "a week of &lt;requests&gt;" in page
    assert '<script>alert("x")' not in html


def test_hostile_data_cannot_end_the_script_that_carries_it(tmp_path: Path) -> None:
    run = sample_run()
    mark = replace(run.targets[0].marks[0], reason="</script><script>alert(1)</script>", text="<img src=x>")
    html = html_of(replace(run, targets=[replace(run.targets[0], marks=[mark])]), tmp_path)
    assert "<script>alert(1)" not in html
    marks = next(trace for trace in figures(html)[0]["data"] if trace["name"] == "Decisions")
    assert marks["text"] == ["&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;: &lt;img src=x&gt;"]


def figures(html: str) -> list[dict[str, Any]]:
    text = html.split('<script type="application/json" id="figures">', 1)[1].split("</script>", 1)[0]
    return list(json.loads(text))


def test_nothing_is_fetched(html: str) -> None:
    page = without_scripts(html)
    assert "http:" not in page
    assert "https:" not in page
    assert not re.search(r"<(link|img|iframe|script[^>]* src)", html.split("<body>", 1)[0])
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert html.count("plotly.js v") == 1  # the library, once


def test_each_decision_is_listed(html: str) -> None:
    for target in sample_run().targets:
        for mark in target.marks:
            assert f"{mark.at:%H:%M}</button>" in html


def test_requests_are_violated_and_items_of_a_queue_late(html: str, tmp_path: Path) -> None:
    page, (chat, papers, *_) = without_scripts(html), sample_run().targets
    assert '<th scope="col">Violated</th>' in page.split('id="summary"')[1].split("</table>")[0]
    assert "; of a queue, items done late." in page
    assert page.count("Shaded minutes: violated under") == 2
    assert page.count("Shaded minutes: late under") == 1
    assert [figure(each)["layout"]["yaxis2"]["title"]["text"] for each in (chat, papers)] == [
        "violated / min",
        "late / min",
    ]
    alone = without_scripts(html_of(replace(sample_run(), targets=[papers]), tmp_path))
    assert '<th scope="col">Late</th>' in alone
    assert "iolated" not in alone.split("<main>")[1]
    assert not re.search(r"\bharm", page)


def test_charts_have_a_text_of_their_own(html: str) -> None:
    assert re.search(
        r'role="group" aria-label="Capacity of chat-prod over time\. Demand peaks at 1\d\.\d instances\. '
        r"Ready: Tidegate 1 to 14 instances, plain AAS 1 to 14 instances\. Violated: ",
        html,
    )


def test_tables_have_captions_and_scopes(html: str) -> None:
    page = without_scripts(html)
    assert (
        page.count("<table") == page.count("<caption>") == 9
    )  # summary, policies, settings; a chart and decisions, thrice
    assert all("scope=" in cell for cell in re.findall(r"<th[^>]*>", page) if not cell.startswith("<thead"))


def test_demand_is_shown_in_instances() -> None:
    target = replace(sample_run().targets[0], capacity_per_instance=200.0)
    demand = figure(target)["data"][0]
    assert demand["y"][100] == round(target.tidegate.demand[100] / 200, 3)
    assert demand["customdata"][100] == round(target.tidegate.demand[100], 2)


def test_a_queue_of_its_own_is_shown_for_each(html: str) -> None:
    names = [[trace["name"] for trace in fig["data"]] for fig in figures(html)]
    assert "Demand under plain AAS" not in names[0]
    assert "Demand under plain AAS" in names[1]
    assert "Waiting, Tidegate" in names[2]


def test_plotly_accepts_the_figures(html: str) -> None:
    """Plotly's own validation finds misspelt attributes; colours are the page's business."""
    for fig in figures(html):
        go.Figure(json.loads(re.sub(r'"--[a-z-]+"', '"#123456"', json.dumps(fig))))


HARMED = [
    ([0, 0, 0], []),
    ([0, 1, 1, 0], [(1, 3)]),
    ([2, 0, 2], [(0, 1), (2, 3)]),
    ([0, 0, 5], [(2, 3)]),
]


@pytest.mark.parametrize(("harmed", "spans"), HARMED)
def test_harmed_minutes_are_joined(harmed: list[float], spans: list[tuple[int, int]]) -> None:
    minutes = [START + i * MINUTE for i in range(len(harmed))]
    one = [1] * len(harmed)
    series = Series(minutes, [0.0] * len(harmed), one, one, [None for _ in harmed], [None for _ in harmed], harmed)
    assert list(harmed_spans(series)) == [(START + a * MINUTE, START + b * MINUTE) for a, b in spans]


def test_a_run_of_nothing_is_a_report_too(tmp_path: Path) -> None:
    empty = Series([], [], [], [], [], [], [])
    nothing = replace(
        target_of(Totals(0, 0, 0, 0), Totals(0, 0, 0, 0)), tidegate=empty, plain=empty, marks=[], notes=[]
    )
    html = html_of(FleetRun("Nothing", START, 0, [nothing], [], {}), tmp_path)
    assert "No decision changed anything." in html


def luminance(colour: str) -> float:
    """Of #rrggbb, as WCAG 2.2 defines it."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


TEXT, LINES = ("ink", "soft", "accent"), ("tidegate", "plain", "floor", "other", "bound", "mark", "demand")


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_and_lines_stand_out_as_wcag_aa_asks(html: str, scheme: int) -> None:
    colours = dict(
        re.findall(r"--([\w-]+): (#\w{6});", re.findall(r":root \{(.*?--demand-fill.*?)\}", html, re.DOTALL)[scheme])
    )
    faint = {name: round(worst, 2) for names, least in ((TEXT, 4.5), (LINES, 3.0)) for name in names
             if (worst := min(contrast(colours[name], colours[ground]) for ground in ("card", "paper"))) < least}  # fmt: skip
    assert faint == {}
