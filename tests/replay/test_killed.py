"""The controller dies on a real day. `make killed` plays more deaths on all traces."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.killed import die, harmed
from core.learning.fit import fit
from core.model import Observation, Point
from simulator.baselines import run
from simulator.cases import DAY, case_of
from simulator.replay import TARGET, Replay
from simulator.traces import MINUTE

TRACE = Path(__file__).parents[2] / "traces" / "servegen_small_c31.csv"
DIES, KNOWN, ALIVE = 16676, 7 * DAY, 60
"""Minute of the trace in which it dies; minutes before that were learned of; minutes that it lives here."""


@pytest.mark.parametrize(("before", "left"), [(None, 0.5), (0.35, 0.35), (0.7, 0.5)])
def test_who_asks_a_dead_one_is_served_no_worse_than_by_plain_aas(before: float | None, left: float) -> None:
    """Plain AAS at 0.5, or at what the user had it track before adoption if that is less."""
    whole, begin = case_of(TRACE), DIES - ALIVE
    known = [Point(whole.start + i * MINUTE, float(whole.requests[i])) for i in range(begin - KNOWN, begin)]
    case = replace(whole, start=whole.start + begin * MINUTE, requests=whole.requests[begin : DIES + DAY], warmup=0)
    played = Replay(case, before=before)
    learned = fit(Observation(tuple(known)), case.capacity)
    assert learned is not None
    played.stack.store.put_learned(TARGET, learned)
    played.run(ALIVE)
    dead, plain = die(played), run("aas-target-tracking", f"{left}", case)
    values = played.result().target / case.capacity
    assert (round(values[ALIVE], 2), round(values[-1], 2)) == (0.9, left)
    assert harmed(case, dead, ALIVE) <= harmed(case, plain, ALIVE)
    if before == left:  # once what was raised has fallen, it is the user's own policy, instance for instance
        same = ALIVE + 4 * 60
        assert dead.ready[same:].tolist() == plain.ready[same:].tolist()
