"""The report as a reader meets it: in a browser without network, light and dark, wide and narrow, by keyboard."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, FloatRect, Locator, Page, expect, sync_playwright
from typer.testing import CliRunner

from cli.main import app
from core.model import Mode
from simulator.report import Compared, Judged, Outcome, Overview, write_overview, write_report
from tests.browser.sample_run import sample_run
from tests.desk import desk, document

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket]  # Playwright talks to its browser through a socket

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 120_000
"""Milliseconds: what is slow on a machine with other work is no defect of a page."""

expect.set_options(timeout=PATIENCE)
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}
CARD = {"light": "rgb(255, 255, 255)", "dark": "rgb(24, 32, 42)"}
PAPER = {"light": "rgb(246, 247, 249)", "dark": "rgb(16, 21, 28)"}


@dataclass
class Opened:
    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def plots(self) -> Locator:
        """One of the layers Plotly draws each chart in."""
        return self.page.locator(".chart .main-svg:first-child")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(sample_run(), path)
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: apt-get install chromium, or set CHROMIUM")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@contextmanager
def opened(
    browser: Browser, report: str, scheme: Literal["light", "dark"], size: str, charts: int = 4
) -> Iterator[Opened]:
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce", offline=True
    )
    context.set_default_timeout(PATIENCE)
    seen = Opened(context.new_page())
    seen.page.on("console", lambda message: seen.complaints.append(f"{message.type}: {message.text}"))
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.on("request", lambda made: seen.requests.append(made.url))
    seen.page.goto(report)
    expect(seen.plots).to_have_count(charts)
    yield seen
    context.close()


def trespasses(page: Page) -> list[str]:
    """What axe-core finds against WCAG and good practice, with each place."""
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {rule['help']}: {node['html']}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_offline_draws_and_fits(
    browser: Browser, report: str, scheme: Literal["light", "dark"], size: str
) -> None:
    with opened(browser, report, scheme, size) as seen:
        page = seen.page
        for chart in page.locator(".chart").all():
            expect(chart.locator(".scatterlayer .trace")).not_to_have_count(0)
        expect(page.locator("body")).to_have_css("background-color", PAPER[scheme])
        expect(seen.plots.first).to_have_css("background-color", CARD[scheme])  # the plot follows the scheme too
        expect(page.get_by_role("heading", name="<script>")).to_have_count(1)  # a script in a name stays text

        assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]
        shown = page.locator(":not(details) > .scroll").all()  # a chart as a table may be wider than a phone
        assert all(box.evaluate("e => e.scrollWidth <= e.clientWidth") for box in shown)

        assert seen.complaints == []
        assert trespasses(page) == []
        assert [url for url in seen.requests if not url.startswith(("data:", "blob:"))] == [report]


def test_works_by_keyboard(browser: Browser, report: str) -> None:
    with opened(browser, report, "light", "wide") as seen:
        page, chart = seen.page, seen.page.locator("#chart-0")
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()

        plain = page.get_by_role("button", name="Plain AAS, ready").first
        drawn = chart.locator(".scatterlayer .trace")
        before = drawn.count()
        plain.press("Enter")
        expect(plain).to_have_attribute("aria-pressed", "false")
        expect(drawn).to_have_count(before - 1)

        decision = page.locator("button.at").first
        decision.press("Enter")
        expect(chart).to_have_attribute("data-zoomed", "true")
        expect(chart).to_be_in_viewport()
        begin, end = page.evaluate("document.getElementById('chart-0').layout.xaxis.range")
        assert begin[:16] < f"2026-03-02 {decision.inner_text()}" < end[:16]

        page.get_by_role("button", name="Whole run").first.press("Enter")
        expect(chart).to_have_attribute("data-zoomed", "false")
        assert seen.complaints == []


def test_a_decision_tells_its_reason_on_hover_and_on_focus(browser: Browser, report: str) -> None:
    with opened(browser, report, "light", "wide") as seen:
        page, chart = seen.page, seen.page.locator("#chart-0")
        told, points = chart.locator(".hoverlayer"), chart.locator(".point")
        in_focus = page.locator(":focus")

        page.get_by_role("button", name="Whole run").first.focus()
        page.keyboard.press("Tab")  # the marks of a chart are one tab stop
        expect(in_focus).to_have_accessible_name(re.compile(r"^2026-03-02 00:06 UTC, Load: floor None -> 1: "))
        expect(told).to_contain_text("Load: floor None -> 1")
        page.keyboard.press("ArrowRight")
        expect(in_focus).to_have_accessible_name(re.compile(r"^2026-03-02 01:15 UTC, Load: floor 1 -> 2: "))
        expect(told).to_contain_text("Load: floor 1 -> 2")
        assert in_focus.evaluate("e => getComputedStyle(e).strokeWidth") == "6px"  # the focus is seen
        page.keyboard.press("Escape")
        expect(told).not_to_contain_text("Load")
        page.keyboard.press("End")
        expect(points.last).to_be_focused()

        page.get_by_role("button", name="Zoom in").first.press("Enter")  # the first mark is outside now
        points.last.focus()
        page.keyboard.press("Home")
        expect(points.first).to_be_focused()
        assert page.evaluate("document.getElementById('chart-0').layout.xaxis.range[0]") < "2026-03-02 00:06"

        page.get_by_role("button", name="Whole run").first.press("Enter")
        points.nth(3).hover(force=True)
        expect(told).to_contain_text("Load: floor 3 -> 4")
        assert seen.complaints == []


def test_a_chart_can_be_read_as_a_table(browser: Browser, report: str) -> None:
    with opened(browser, report, "light", "wide") as seen:
        seen.page.get_by_text("The chart as a table").first.click()
        rows = seen.page.get_by_role("region", name="Chart of chat-prod as a table").locator("tbody tr")
        expect(rows).to_have_count(24)  # 12 hours by 30 minutes
        expect(rows.nth(13)).to_contain_text("2026-03-02 06:30")
        assert trespasses(seen.page) == []


def test_every_policy_is_a_row_and_a_line_of_cost_against_violations(browser: Browser, report: str) -> None:
    with opened(browser, report, "light", "wide") as seen:
        table = seen.page.get_by_role("region", name="All policies")
        expect(table.locator("tbody tr")).to_have_count(5)
        expect(table.get_by_role("row", name="tidegate balanced")).to_contain_text("1.30")
        expect(table).to_contain_text("<i>hpa</i> 0.6")  # names are text
        expect(seen.page.locator("#chart-3 .scatterlayer .trace")).to_have_count(4)  # one a policy
        expect(seen.page.locator("#chart-3 .legendtext")).to_have_count(4)
        assert seen.complaints == []


CROWD = [("tidegate", "balanced", 1.55, 0.0129), *((policy, f"0.{i}", 1.5 + i / 50, 0.011 + i / 4000)
         for policy in ("aas-target-tracking", "hpa", "knative", "keda") for i in range(1, 8))]  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_beside_marks_never_touches_another_word_or_mark(
    browser: Browser, tmp_path: Path, size: str
) -> None:
    crowded = [Compared(policy, knob, cost, share, 100.0, 40.0) for policy, knob, cost, share in CROWD]
    run = replace(sample_run(), targets=sample_run().targets[:1], compared=crowded)
    write_report(run, tmp_path / "report.html")
    with opened(browser, (tmp_path / "report.html").as_uri(), "light", size, charts=2) as seen:
        chart = seen.page.locator("#chart-1")
        words, marks = boxes(chart.locator(".textpoint text")), boxes(chart.locator(".point"))
        assert len(marks) == len(CROWD)
        assert 5 < len(words) < len(CROWD)  # what has no room is left to the table
        assert boxes(chart.locator(".textpoint text", has_text="Tidegate"))  # it has its way before all others
        assert [(a, b) for a, b in combinations(words, 2) if touch(a, b)] == []
        assert [(a, b) for a in words for b in marks if touch(a, b)] == []
        axis = boxes(chart.locator(".ytick text"))
        assert [(a, b) for a in words for b in axis if touch(a, b)] == []
        assert seen.complaints == []


def boxes(found: Locator) -> list[FloatRect]:
    """Where elements are shown, in pixels."""
    every: list[FloatRect] = found.evaluate_all("all => all.map(each => each.getBoundingClientRect().toJSON())")
    return [each for each in every if each["width"]]


def touch(one: FloatRect, other: FloatRect) -> bool:
    """Whether two boxes share more than an edge; half a pixel is rounding."""
    across = min(one["x"] + one["width"], other["x"] + other["width"]) - max(one["x"], other["x"])
    down = min(one["y"] + one["height"], other["y"] + other["height"]) - max(one["y"], other["y"])
    return across > 0.5 and down > 0.5


def test_a_backtest_is_a_page_with_both_charts(browser: Browser, tmp_path: Path) -> None:
    trace, html = tmp_path / "steps.csv", tmp_path / "out.html"
    begin = datetime(2026, 3, 2, tzinfo=UTC)
    rows = [f"{begin + timedelta(minutes=30 * i):%Y-%m-%dT%H:%M:%SZ},{600 if i % 12 < 4 else 60}" for i in range(96)]
    trace.write_text("\n".join(["timestamp,requests", *rows]))
    assert CliRunner().invoke(app, ["backtest", str(trace), "--html", str(html)]).exit_code == 0

    with opened(browser, html.as_uri(), "light", "wide", charts=2) as seen:
        page = seen.page
        expect(page.get_by_role("heading", level=1)).to_have_text("Backtest of steps")
        expect(page.get_by_role("region", name="All policies").get_by_role("row")).to_have_count(19)
        for line in (
            "Demand",
            "Floor",
            "Ceiling",
            "Tracking rests at",
            "Plain AAS, ready",
            "Tidegate, ready",
            "Decisions",
        ):
            expect(page.get_by_role("button", name=line, exact=True)).to_have_count(1)
        assert page.locator("#chart-0 .scatterlayer .trace").count() >= 7
        page.locator("button.at").first.press("Enter")
        expect(page.locator("#chart-0")).to_have_attribute("data-zoomed", "true")
        assert seen.complaints == []


@pytest.fixture(scope="module")
def shadow(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twelve minutes in shadow: `orders` with a rise of load, and `chat`, of which nobody says what it serves."""
    path = tmp_path_factory.mktemp("shadow") / "shadow.html"
    with desk(Mode.SHADOW) as watching:
        content = document({"name": "orders"}, {"name": "chat", "profile": "q"})
        content["profiles"]["q"] = {**content["profiles"]["p"], "objectives": {}}
        watching.in_force.content = json.dumps(content).encode()
        watching.stack.invoke("FleetSync", {"trigger": "policy"})
        workload: Any = watching.account.endpoint("orders").first.workload
        workload.per_minute_requests[workload.minute + 4 :] = [1700] * 100
        watching.minutes(14)
        assert watching.run("shadow-report", "--html", str(path)).exit_code == 0
    return path.as_uri()


@pytest.mark.parametrize(("scheme", "size"), [("light", "wide"), ("dark", "narrow")])
def test_a_shadow_report_shows_what_ran_beside_what_it_wished_and_why(
    browser: Browser, shadow: str, scheme: Literal["light", "dark"], size: str
) -> None:
    with opened(browser, shadow, scheme, size, charts=2) as seen:
        page = seen.page
        expect(page.get_by_role("heading", level=1)).to_have_text("Shadow report of tidegate")
        for line in ("Floor", "Ceiling", "What really ran, ready", "Tidegate, ready", "Decisions"):
            expect(page.get_by_role("button", name=line, exact=True)).to_have_count(2)
        # Nobody knows what chat's demand comes to in instances.
        expect(page.get_by_role("button", name="Demand", exact=True)).to_have_count(1)
        page.locator("#chart-1 .point").last.focus()
        expect(page.locator("#chart-1 .hoverlayer")).to_contain_text("Load: would hold 6..8 (requests per minute")
        assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]
        assert seen.complaints == []
        assert trespasses(page) == []


def overview() -> Overview:
    """Two endpoints with hostile names, one of them with its page, and one that was not judged."""
    outcomes = {
        "now": Outcome(instance_hours=200.0, violated=900.0, cost=46.0),
        "best": Outcome(instance_hours=150.0, violated=300.0, cost=34.5),
        "tidegate": Outcome(instance_hours=120.0, violated=200.0, cost=27.6),
    }
    judged = [
        Judged(name=name, about="ml.m5.xlarge, 7 days judged", requests=1e5, outcomes=outcomes, advice="Tidegate helps",
               why="Under Tidegate 120.0 instance-hours instead of 200.0.", page=page)
        for name, page in (("chat-prod", "endpoint-chat-prod.html"), ("<b>x</b>", None))
    ]  # fmt: skip
    return Overview(
        title="What Tidegate would make of the endpoints in eu-central-1",
        lines=["All of it under Tidegate: 240.0 instance-hours instead of 400.0, -40.0%."],
        judged=judged,
        skipped=[("young", "5 hours of history; 2 days are needed")],
        facts={"prices": "as given"},
    )


@pytest.mark.parametrize(("scheme", "size"), [("light", "wide"), ("dark", "narrow")])
def test_the_page_of_a_fleet_leads_to_those_of_its_endpoints_and_back(
    browser: Browser, tmp_path: Path, scheme: Literal["light", "dark"], size: str
) -> None:
    index = write_overview(overview(), tmp_path)
    write_report(sample_run(), tmp_path / "endpoint-chat-prod.html", of_fleet=True)
    with opened(browser, index.as_uri(), scheme, size, charts=0) as seen:
        page = seen.page
        expect(page.get_by_text("<b>x</b>")).to_have_count(1)  # names are text
        expect(page.get_by_role("row", name="What it has now").nth(0)).to_contain_text("400.0")  # the whole fleet
        expect(page.get_by_role("row", name="Tidegate 240.0")).to_contain_text("55.20")
        expect(page.get_by_role("row", name="young")).to_contain_text("2 days are needed")
        assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]
        shown = page.locator(":not(details) > .scroll").all()  # a chart as a table may be wider than a phone
        assert all(box.evaluate("e => e.scrollWidth <= e.clientWidth") for box in shown)
        assert trespasses(page) == []

        page.get_by_role("link", name="chat-prod").press("Enter")
        expect(seen.plots).to_have_count(4)  # Plotly came from the file beside it
        page.get_by_role("link", name="all endpoints").press("Enter")
        expect(page).to_have_url(index.as_uri())
        assert seen.complaints == []
        assert {url for url in seen.requests if not url.startswith(("data:", "blob:"))} == {
            (tmp_path / name).as_uri() for name in ("index.html", "endpoint-chat-prod.html", "plotly.js")
        }


def test_follows_the_scheme_while_open_and_is_light_on_paper(browser: Browser, report: str) -> None:
    with opened(browser, report, "light", "wide") as seen:
        seen.page.emulate_media(color_scheme="dark")
        expect(seen.plots.first).to_have_css("background-color", CARD["dark"])
        seen.page.set_viewport_size({"width": 1, "height": 1})  # as a window on its way from one size to another
        seen.page.set_viewport_size({"width": 1280, "height": 900})
        expect(seen.page.locator("#chart-0 .xtick text").first).to_contain_text("Mar 2, 2026")
        seen.page.get_by_role("button", name="Zoom in").first.press("Enter")
        expect(seen.page.locator("#chart-0")).to_have_attribute("data-zoomed", "true")
        seen.page.emulate_media(color_scheme="dark", media="print")
        expect(seen.plots.first).to_have_css("background-color", CARD["light"])
        for plot in seen.plots.all():
            expect(plot).to_have_css("width", "685px")  # between the margins of an A4 page
        assert seen.page.pdf(format="A4").startswith(b"%PDF")
        expect(seen.page.locator("button.at").first).to_be_visible()  # the decisions are printed too
        assert seen.complaints == []
