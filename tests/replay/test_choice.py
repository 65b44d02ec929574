"""A real day replayed under each option, beside what target tracking of AWS's made of the same day."""

from pathlib import Path

import pytest

from core.learning.choice import costs_of, judge
from core.learning.fit import fit
from core.model import Observation, Option, Point
from core.times import A_DAY, MINUTE
from simulator.baselines import run
from simulator.cases import case_of
from tests.builders import REALTIME, profile

TRACES = Path(__file__).resolve().parents[2] / "traces"
UNTIL = 10 * A_DAY
"""Ten days are fitted, the eleventh is judged."""


@pytest.mark.parametrize(
    ("name", "cheapest"),
    [
        ("servegen_large_c149", {Option.WINDOWS, Option.FORECAST}),  # jobs by the clock
        ("servegen_large_c133", {Option.FORECAST}),  # bursts that nobody can foresee
    ],
)
def test_a_real_day(name: str, cheapest: set[Option]) -> None:
    """What the guard costs and leaves late is what tracking did, and ordering ahead is worth its price."""
    case = case_of(TRACES / f"{name}.csv")
    seen = Observation(tuple(Point(case.start + i * MINUTE, float(n)) for i, n in enumerate(case.requests)))
    found = fit(Observation(seen.points[:UNTIL]), case.capacity)
    assert found is not None
    plain = profile(REALTIME, min_capacity=1, max_capacity=100, objectives={"requests_per_instance": case.capacity})
    day = judge(found, Observation(seen.points[: UNTIL + A_DAY + 20]), plain)
    assert day is not None
    course, minutes = run("aas-target-tracking", "0.5", case), slice(UNTIL, UNTIL + A_DAY)
    violated = case.requests[minutes][(case.needed > course.ready)[minutes]].sum() / case.capacity
    assert day.load == pytest.approx(case.requests[minutes].sum() / case.capacity, rel=0.05)  # of every seventh minute
    assert day.instances[Option.GUARD] == pytest.approx(course.billed[minutes].sum(), rel=0.1)
    assert day.violated[Option.GUARD] == pytest.approx(violated, rel=0.35)
    assert day.violated[Option.FORECAST] < day.violated[Option.GUARD] / 2
    costs = costs_of([day])
    assert min(costs, key=costs.__getitem__) in cheapest
    assert day.under > 0.98
    assert day.promised == pytest.approx(day.under, abs=0.02)
