"""The report of a replay: one HTML file that opens offline.

It shows each target's demand against ready capacity, beside the same traffic under plain Application Auto Scaling.
"""

from pathlib import Path

from simulator.report.page import page
from simulator.report.runs import Compared, FleetRun, Mark, Series, TargetRun, Totals

__all__ = ["Compared", "FleetRun", "Mark", "Series", "TargetRun", "Totals", "write_report"]


def write_report(run: FleetRun, path: Path) -> None:
    """Write the report, making its folder if need be.

    Args:
        run: what was replayed.
        path: the HTML file; replaced if it exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(run), encoding="utf-8")
