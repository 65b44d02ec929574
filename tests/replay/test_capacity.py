"""Capacity learned day after day of a simulated M/G/k endpoint."""

import itertools
import math
from functools import cache

import pytest

from core.model import Measured
from simulator.capacities import PLAYED, endpoint, learn, shares


@pytest.mark.parametrize("stated", [1.0, 1.5])
@pytest.mark.parametrize(("slots", "service", "patience"), PLAYED)  # those of one endpoint next to each other
def test_within_a_twentieth_of_the_truth_once_load_reaches_the_limit(
    slots: int, service: str, patience: float, stated: float
) -> None:
    found = shares(slots, service, patience, stated, days=4).shares
    assert all(0.95 <= share <= 1.05 for share in found[2:]), found


def test_from_far_below_it_is_probed_day_by_day_and_never_above() -> None:
    found = shares(4, "exponential", 4, 0.6, days=10).shares
    assert all(after <= 1.06 * before for before, after in itertools.pairwise(found)), found
    assert 0.95 <= found[-1] <= max(found) <= 1.05


@cache
def learnt(bad_hour: float = math.inf) -> list[Measured]:
    """Four days, on the second of which one hour may be ten times as slow."""
    found = endpoint(4, "exponential")
    objective = 4 * found.p95[0]

    def slower(minute: int) -> float:
        return 10.0 if minute // 60 == 24 + bad_hour else 1.0

    return learn(found, objective, stated=found.capacity(objective), slower=slower)


@pytest.mark.parametrize("hour", [3, 9, 12])
def test_a_bad_hour_moves_it_by_no_more_than_a_twentieth(hour: int) -> None:
    for before, after in zip(learnt(), learnt(hour), strict=True):
        assert after.capacity == pytest.approx(before.capacity, rel=0.05)
