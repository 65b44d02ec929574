"""Capacity learned day after day: a simulated M/G/k endpoint, and the whole controller on one that queues."""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest

from core.learning.capacity import measure
from core.model import Measured, Observation, Point
from core.policy import Objectives

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = 24 * 60
LEVELS = [0.05 * step for step in range(1, 26)]
"""Loads at which the instance is simulated, in what its slots can do."""

SERVICES: dict[str, Callable[[random.Random], float]] = {
    "exponential": lambda chance: chance.expovariate(1.0),
    "even": lambda chance: chance.gammavariate(4.0, 0.25),
    "uneven": lambda chance: math.exp(chance.gauss(-0.59, 1.086)),  # log-normal, deviation 1.5 times the mean
}


class Endpoint:
    """Instances of `slots` workers (M/G/k), simulated request by request at each level, 120 minutes long."""

    def __init__(self, slots: int, service: str, seconds: float = 1.0) -> None:
        self.rate = 60 * slots / seconds
        chance, draw = random.Random(1), SERVICES[service]  # noqa: S311 - a simulation
        self.minutes: list[list[list[float]]] = []
        for level in LEVELS:
            free, now = [0.0] * slots, 0.0
            warm = 20 if level < 1 else 2
            minutes: list[list[float]] = [[] for _ in range(120 + warm)]
            while (now := now + chance.expovariate(level * self.rate / 60)) < 60 * len(minutes):
                begins = max(heapq.heappop(free), now)
                if begins - now > 40 * seconds:  # more do not wait
                    heapq.heappush(free, begins)
                    continue
                ends = begins + draw(chance) * seconds
                heapq.heappush(free, ends)
                minutes[int(now // 60)].append(ends - now)
            self.minutes.append(minutes[warm:])
        self.p95 = [_p95([each for minute in minutes for each in minute]) for minutes in self.minutes]

    def capacity(self, objective: float) -> float:
        """Requests a minute at which p95 over all minutes is the objective, in seconds."""
        over = next(i for i, each in enumerate(self.p95) if each > objective)
        share = (objective - self.p95[over - 1]) / (self.p95[over] - self.p95[over - 1])
        return self.rate * (LEVELS[over - 1] + 0.05 * share)

    def latency(self, each: float, instances: int, chance: random.Random) -> float:
        """Draw p95 of a minute in which an instance had so many requests."""
        place = min(max(each / self.rate / 0.05 - 1, 0.0), len(LEVELS) - 1.001)
        low = int(place)
        drawn = [
            _p95([x for _ in range(instances) for x in chance.choice(self.minutes[level])]) for level in (low, low + 1)
        ]
        return drawn[0] + (place - low) * (drawn[1] - drawn[0])


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[int(0.95 * len(values))]


@cache
def endpoint(slots: int, service: str) -> Endpoint:
    return Endpoint(slots, service)


def learned(
    found: Endpoint,
    objective: float,
    *,
    stated: float,
    days: int = 4,
    slower: Callable[[int], float] = lambda _minute: 1.0,
) -> list[Measured]:
    """Let a day's load, from 3 to 12 capacities, meet as many instances as what was learned asks for, six minutes late.

    Args:
        found: the endpoint.
        objective: of p95, in seconds.
        stated: what an instance is said to serve.
        days: how long.
        slower: by what latencies are longer in a minute.
    """
    chance, truth = random.Random(5), found.capacity(objective)  # noqa: S311 - a simulation
    objectives = Objectives(latency_p95=timedelta(seconds=objective))
    series: list[list[Point]] = [[], [], []]
    results: list[Measured] = []
    planned, counts = stated, [4] * 6
    for minute in range(days * DAY):
        at = START + timedelta(minutes=minute)
        rate = truth * (7.5 - 4.5 * math.cos(2 * math.pi * minute / DAY))
        load = max(0.0, chance.gauss(rate, 0.04 * rate))
        counts.append(max(2, math.ceil(1.04 * rate / planned)))
        instances = counts[-6]
        latency = slower(minute) * found.latency(load / instances, instances, chance)
        for points, value in zip(series, (load, load / instances, 1e6 * latency), strict=True):
            points.append(Point(at, value))
        if minute % DAY == DAY - 1:
            seen = [Observation(tuple(points[-14 * DAY :])) for points in (*series, series[2])]
            results.append(measure(seen, objectives=objectives, before=planned, now=at))
            planned = results[-1].capacity or stated
    return results


ENDPOINTS = [(4, "exponential", 2), (4, "exponential", 4), (4, "uneven", 4), (1, "even", 4), (16, "even", 2)]
"""Slots, how work is spread, and the objective in p95 of an idle instance."""


@pytest.mark.parametrize(("slots", "service", "patience"), ENDPOINTS)
@pytest.mark.parametrize("stated", [1.0, 1.5])
def test_within_a_twentieth_of_the_truth_once_load_reaches_the_limit(
    slots: int, service: str, patience: float, stated: float
) -> None:
    found = endpoint(slots, service)
    objective = patience * found.p95[0]
    truth = found.capacity(objective)
    shares = [(each.capacity or 0) / truth for each in learned(found, objective, stated=stated * truth)]
    assert all(0.95 <= share <= 1.05 for share in shares[2:]), shares


def test_from_far_below_it_is_probed_day_by_day_and_never_above() -> None:
    found = endpoint(4, "exponential")
    objective = 4 * found.p95[0]
    truth = found.capacity(objective)
    shares = [(each.capacity or 0) / truth for each in learned(found, objective, stated=0.6 * truth, days=10)]
    assert all(after <= 1.06 * before for before, after in itertools.pairwise(shares)), shares
    assert 0.95 <= shares[-1] <= max(shares) <= 1.05


@pytest.mark.parametrize("hour", [3, 9, 12])
def test_a_bad_hour_moves_it_by_no_more_than_a_twentieth(hour: int) -> None:
    found = endpoint(4, "exponential")
    objective = 4 * found.p95[0]
    truth = found.capacity(objective)

    def slower(minute: int) -> float:
        return 10.0 if DAY <= minute - 60 * hour < DAY + 60 else 1.0

    usual = learned(found, objective, stated=truth)
    poisoned = learned(found, objective, stated=truth, slower=slower)
    for before, after in zip(usual, poisoned, strict=True):
        assert after.capacity == pytest.approx(before.capacity, rel=0.05)
