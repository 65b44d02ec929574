"""An outage of 90 minutes on a real day, and the storm after it: all who were kept out come back at once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.learning.fit import fit
from core.model import Observation, Point
from simulator.cases import DAY, Case, case_of
from simulator.replay import TARGET, Replay
from simulator.traces import MINUTE

TRACE = Path(__file__).parents[2] / "traces" / "servegen_small_c05.csv"
BEGUN, BEGINS, OUTAGE = 8 * DAY + 9 * 60, 60, 90
"""The ninth day is played from nine in the morning on, an hour before the outage."""


def played(*, holds: bool) -> tuple[Case, Replay]:
    """Play four hours on what was fitted of the days before; without a known week nothing is held."""
    whole = case_of(TRACE)
    points = tuple(Point(whole.start + i * MINUTE, float(load)) for i, load in enumerate(whole.requests[:BEGUN]))
    learned = fit(Observation(points), whole.capacity)
    assert learned is not None
    load = whole.requests[BEGUN : BEGUN + 4 * 60].copy()
    away = slice(BEGINS, BEGINS + OUTAGE)
    load[away.stop : away.stop + OUTAGE] += load[away]
    load[away] = 0
    case = replace(whole, start=whole.start + BEGUN * MINUTE, requests=load, warmup=0)
    run = Replay(case)
    run.stack.store.put_learned(TARGET, replace(learned, week=holds))
    run.run(len(load))
    return case, run


def lost(case: Case, run: Replay) -> float:
    """Return the share of the storm's requests that came above what served."""
    storm = slice(BEGINS + OUTAGE, BEGINS + 2 * OUTAGE)
    served = run.result().course.ready[storm] * case.capacity
    return float(np.maximum(case.requests[storm] - served, 0).sum() / case.requests[storm].sum())


def test_what_is_usual_stands_when_the_storm_comes() -> None:
    (case, held), (_, believed) = played(holds=True), played(holds=False)
    assert held.result().failures == ()
    last = BEGINS + OUTAGE - 1
    assert held.result().course.ready[last] == 5  # 1.25 times the usual load, which needs four
    assert believed.result().course.ready[last] == 1
    assert lost(case, held) == pytest.approx(0.029, abs=0.005)  # twice the usual load, until an order serves
    assert lost(case, believed) > 2 * lost(case, held)
