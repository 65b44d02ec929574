"""What each option of what orders ahead comes to on the traces: `python -m bench.choice [TRACE ...] [--knob strict]`.

Each day is fitted as FleetSync does and the day before it judged by the fit it had (`core.learning.choice`); the last
column names what was chosen after each. Nothing else of the controller plays: this is what a choice is made from.
"""

from pathlib import Path
from typing import Annotated

import typer

from core.learning.choice import choose, costs_of
from core.learning.fit import HISTORY, fit
from core.model import Judged, Learned, Observation, Option, Point
from core.policy import Profile, parse_fleet
from core.times import A_DAY, MINUTE
from simulator.cases import Case, Mode, standing
from simulator.replay import profile_of

TRACES = Path(__file__).resolve().parents[1] / "traces"
HOUR = 3
"""Of the day, in which all are fitted."""


def main(
    traces: Annotated[
        list[str] | None, typer.Argument(help="Parts of names; all that are played in real time.")
    ] = None,
    knob: Annotated[str, typer.Option(help="Position of the knob.")] = "balanced",
) -> None:
    """Judge every day of every trace."""
    print(f"| trace, days | {' | '.join(Option)} | chosen |")
    print(f"|---|{'---|' * len(Option)}---|")
    for planned in standing(TRACES):
        named = not traces or any(part in planned.path.name for part in traces)
        if planned.mode is Mode.REALTIME and named:
            print(_line(planned.case(), knob))


def _line(case: Case, knob: str) -> str:
    profile = parse_fleet({"version": 1, "profiles": {"p": profile_of(case, {"forecast": knob})}}).profiles["p"]
    chosen, days = _judged(case, profile)
    load, costs = sum(day.load for day in days), costs_of(days)
    least = min(costs.values())
    cells = []
    for option, cost in costs.items():
        hours, violated = sum(day.instances[option] for day in days) / 60, sum(day.violated[option] for day in days)
        cells.append(f"{hours:,.0f} h, {violated / load:.2%}, {cost / least:.2f}")
    return f"| {case.trace}, {len(days)} | {' | '.join(cells)} | {''.join(chosen)} |"


def _judged(case: Case, profile: Profile) -> tuple[list[str], list[Judged]]:
    """Return the initial of what was chosen on each day, and the days."""
    points = tuple(Point(case.start + i * MINUTE, float(each)) for i, each in enumerate(case.requests))
    first = (HOUR * 60 - case.start.hour * 60 - case.start.minute) % A_DAY
    chosen, days = list[str](), list[Judged]()
    before: Learned | None = None
    for end in range(first, len(points), A_DAY):
        seen = Observation(points[max(0, end - HISTORY // MINUTE) : end] or points[:1])
        found = fit(seen, case.capacity, profile.timezone)
        if found is not None:
            before = choose(found, before, seen, profile)
            chosen.append(before.chosen[0])
            days += [day for day in before.judged[:1] if day not in days[-1:]]
    return chosen, days


if __name__ == "__main__":
    typer.run(main)
