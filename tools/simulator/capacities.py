"""What an instance serves, learned day after day of a simulated M/G/k endpoint, and how far that is from the truth.

Each request is drawn, so p95 of a minute scatters as it does in life; `simulator.queueing` gives its expectation.
"""

import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

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
    """Return an endpoint, simulated once."""
    return Endpoint(slots, service)


def learn(
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


@dataclass(frozen=True, slots=True)
class Learned:
    """One endpoint, and what was learned of it at the end of each day, as a share of the truth."""

    what: str
    stated: float
    shares: tuple[float, ...]


PLAYED = [(4, "exponential", 2), (4, "exponential", 4), (4, "uneven", 4), (1, "even", 4), (16, "even", 2)]
"""Slots, how work is spread, and the objective in p95 of an idle instance."""


def shares(slots: int, service: str, patience: float, stated: float, days: int) -> Learned:
    """Play an endpoint that is stated to serve so many times what it does."""
    found = endpoint(slots, service)
    objective = patience * found.p95[0]
    truth = found.capacity(objective)
    results = learn(found, objective, stated=stated * truth, days=days)
    what = f"{slots} slots, {service} work, objective {patience:g} times p95 of an idle instance"
    return Learned(what, stated, tuple((each.capacity or 0.0) / truth for each in results))


def play(days: int = 8) -> list[Learned]:
    """Play every endpoint, stated too low, right and too high."""
    return [shares(*each, stated, days) for each in PLAYED for stated in (0.7, 1.0, 1.5)]
