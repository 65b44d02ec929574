"""The report of a replay: one HTML file that opens offline.

It shows each target's demand against ready capacity, beside the same traffic under plain Application Auto Scaling.
"""

from pathlib import Path

from plotly.offline import get_plotlyjs

from simulator.report.fleet import Judged, Outcome, Overview, fleet_page
from simulator.report.page import page
from simulator.report.runs import Compared, FleetRun, Mark, Series, TargetRun, Totals

__all__ = [
    "Compared",
    "FleetRun",
    "Judged",
    "Mark",
    "Outcome",
    "Overview",
    "Series",
    "TargetRun",
    "Totals",
    "write_overview",
    "write_report",
]

INDEX, PLOTLY = "index.html", "plotly.js"
"""Names in the folder of a fleet: the page that leads to the others, and what they share."""


def write_report(run: FleetRun, path: Path, *, of_fleet: bool = False) -> None:
    """Write the report, making its folder if need be.

    Args:
        run: what was replayed.
        path: the HTML file; replaced if it exists.
        of_fleet: whether it is one of many in the folder of `write_overview`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    html = page(run, plotly=PLOTLY, up=INDEX) if of_fleet else page(run)
    path.write_text(html, encoding="utf-8")


def write_overview(overview: Overview, folder: Path) -> Path:
    """Write the page that leads to those of the endpoints, and what they share; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PLOTLY).write_text(get_plotlyjs(), encoding="utf-8")
    path = folder / INDEX
    path.write_text(fleet_page(overview), encoding="utf-8")
    return path
