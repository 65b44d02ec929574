"""What orders ahead for a target: the option under which its own last weeks would have cost least (algorithms 14)."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from statistics import fmean

from core.learning.fit import EVERY
from core.model import Judged, Learned, Observation, Option
from core.policy import Profile
from core.signals import utilisation
from core.signals.forecast import ACTIVE, FRESH, LAG, around, foresee, span
from core.times import A_DAY, MINUTE

MOST, LEAST = 14, 7
"""Days that are compared; with fewer nothing is chosen, and the forecast orders."""

MARGIN = 0.1
"""What is chosen stays until another is cheaper by this share: one episode more or less is worth as much."""

WHOLE = 1 / 12
"""Share of a day that must be known of it: a fit that was belied (ADR 0003) leaves a day in parts, and these count."""

USUAL, DEAREST, BUSY = 2.0, 2.0, 0.4
"""Instance-minutes paid for one of load (as at a target of 0.5) at which the knob's price is what it says; the most by
which it is multiplied, to that of the next position; and the share of active minutes below which waiting is paid."""

ALARM = 3
"""Minutes above its target after which tracking orders (facts 2.1)."""


def choose(found: Learned, before: Learned | None, seen: Observation, profile: Profile) -> Learned:
    """Return a new fit with the days judged so far, and with what is to order ahead under it.

    Each day is judged once, by the fit that was in force then: forecasts as issued, by which nothing of it was known.

    Args:
        found: the new fit.
        before: the one it follows, if any.
        seen: requests of each minute.
        profile: as it is without a forecast.
    """
    price = profile.forecast_price
    days = tuple(day for day in before.judged if day.price == price) if before else ()
    days = _with(judge(before, seen, profile) if before else None, days)[:MOST]
    found = replace(found, judged=days, dearness=_dearness(days, seen, profile.capacity_per_instance))
    if before is None or days_of(days) < LEAST:
        return found
    costs = costs_of(days)
    best = min(costs, key=costs.__getitem__)
    chosen = best if costs[best] <= (1 - MARGIN) * costs[before.chosen] else before.chosen
    return replace(found, chosen=chosen)


def _dearness(days: Sequence[Judged], seen: Observation, capacity: float | None) -> float:
    """Return what load costs here, by `USUAL`: so a percent of the requests is worth one share of any target's bill.

    Paid is what the forecast holds at the knob's own price, so what is found does not change what will be found.
    """
    load, paid = sum(day.load for day in days), sum(day.instances[Option.FORECAST] for day in days)
    if not load or not capacity or fmean(point.value > ACTIVE * capacity for point in seen.points) < BUSY:
        return 1.0
    # Less than one for one is what a maximum left unserved, which makes no load cheap.
    return round(min(max(paid / load, 1) / USUAL, DEAREST), 2)


def days_of(days: Sequence[Judged]) -> int:
    """Return how many days they are, to the nearest."""
    return round(sum(day.minutes for day in days) / A_DAY)


def _with(part: Judged | None, days: tuple[Judged, ...]) -> tuple[Judged, ...]:
    """Return the days with what was judged last: a day of its own, or added to the newest while that is not full."""
    if part is None:
        return days
    if not days or days[0].minutes + part.minutes > A_DAY:
        return (part, *days)
    last, minutes = days[0], days[0].minutes + part.minutes
    both = replace(
        last,
        minutes=minutes,
        load=last.load + part.load,
        instances={option: last.instances[option] + part.instances[option] for option in Option},
        violated={option: last.violated[option] + part.violated[option] for option in Option},
        under=(last.minutes * last.under + part.minutes * part.under) / minutes,
        promised=(last.minutes * last.promised + part.minutes * part.promised) / minutes,
    )
    return (both, *days[1:])


def costs_of(days: Sequence[Judged]) -> Mapping[Option, float]:
    """Return what each option came to: instance-minutes paid, and `price` for each of requests that was violated."""
    return {o: sum(day.instances[o] + day.price * day.violated[o] for day in days) for o in Option}


def judge(learned: Learned, seen: Observation, profile: Profile) -> Judged | None:
    """Replay the day after a fit under each option; None where less than two hours of it are known.

    A reduced replay of every seventh minute. What an option asks for is asked of the rules that decide. Paid is what is
    ordered; what was ordered all the time that an order takes is ready. A change under way delays nothing here.
    """
    capacity, standing_by, price = profile.capacity_per_instance, profile.forecasting, profile.forecast_price
    if capacity is None or standing_by is None:
        return None
    minutes = {point.at: point.value / capacity for point in seen.points}
    ordered: dict[Option, list[int]] = {option: [] for option in Option}
    loads, under, promised = list[float](), list[bool](), list[float]()
    for now, part, past in _passes(learned, seen):
        tracked = _tracked(profile, past)
        for option, counts in ordered.items():
            wish = foresee(replace(part, chosen=option, dearness=1.0), past, capacity=capacity, price=price)
            if wish is None:  # too little is known, under each option
                break
            asked = _tracked(standing_by, past) if option is Option.FORECAST else tracked
            floor = max(wish.floor(counts[-1] if counts else 0), asked, profile.min_capacity)
            counts.append(min(floor, profile.max_capacity))
            if option is Option.FORECAST:
                came = [minutes.get(now + ahead * MINUTE) for ahead in learned.horizons[1:]]
                under += [load <= max(wish.up_to, 1) for load in came if load is not None]
                promised.append(wish.promised)
                loads.append(minutes[now])
    if len(loads) * EVERY < WHOLE * A_DAY or not under:
        return None
    takes = max(1, round(learned.horizons[1] / EVERY))
    return Judged(
        price=price,
        load=round(EVERY * sum(loads), 1),
        instances={option: EVERY * sum(counts) for option, counts in ordered.items()},
        violated={option: round(EVERY * _violated(loads, counts, takes), 1) for option, counts in ordered.items()},
        under=round(fmean(under), 4),
        promised=round(fmean(promised), 4),
        minutes=EVERY * len(loads),
    )


def _passes(learned: Learned, seen: Observation) -> Iterator[tuple[datetime, Learned, Observation]]:
    """Yield every seventh minute for which a fit was in force, its part around it, and the requests seen then."""
    times = [point.at for point in seen.points]
    known = set(times)
    for after in range(0, FRESH // MINUTE, EVERY):
        newest = learned.fitted_at + after * MINUTE
        now = newest + LAG * MINUTE
        if newest in known and now in known:
            part = around(learned, now)
            first, end = bisect_left(times, now - span(part, now)), bisect_right(times, newest)
            yield now, part, Observation(seen.points[first:end])


def _tracked(profile: Profile, past: Observation) -> int:
    """Return what guard and tracking ordered of late, as long as it is kept."""
    kept = profile.stabilization // MINUTE
    asked = [utilisation.recommend(profile, point) for point in past.points[-kept - ALARM + 1 :]]
    rung = [min(each.settled for each in asked[i : i + ALARM]) for i in range(len(asked) - ALARM + 1)]
    return max([*rung, *(each.floor for each in asked[-kept:])])


def _violated(loads: Sequence[float], counts: Sequence[int], takes: int) -> float:
    """Return the load of those minutes in which it was more than what had been ordered for the last `takes` of them."""
    return sum(load for i, load in enumerate(loads) if round(load, 9) > min(counts[max(0, i - takes) : i + 1]))
