"""What Application Auto Scaling does, minute by minute, each row tagged with what AWS says of it (facts 2).

documented: AWS says so; inferred: it follows from what AWS says; unverified: the usual belief, which nobody has read
back. A row has the values of its metrics from minute 0 on, readable at once, and the orders they lead to: the minute at
whose end another count is asked for, and the count. Six minutes to start, one to leave, target and threshold 100,
cooldowns of 300 s.

The clock of a scale-out ordered at the end of minute t: instances serve from t + 7, which is seen at its end; there the
cooldown begins, and five minutes later, at the end of t + 12, the next order may go out. Of a scale-in: t + 2, t + 7.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from simulator.account import SimulatedAccount
from simulator.metrics import metric_key, sample
from tests.unit.simulator.worlds import DIMENSIONS, count, realtime_account, register, step, track

Values = list[float | None]
Setup = Callable[[SimulatedAccount], None]


def tracking(**options: Any) -> Setup:
    return lambda account: track(account, **options)


def stepping(*bounds: tuple[float | None, float | None, int], **options: Any) -> Setup:
    keys = ("MetricIntervalLowerBound", "MetricIntervalUpperBound", "ScalingAdjustment")
    steps = [{key: value for key, value in zip(keys, each, strict=True) if value is not None} for each in bounds]
    return lambda account: step(account, steps, **options)


@dataclass
class Row:
    tag: str
    name: str
    start: int
    metrics: Mapping[str, Values]
    orders: dict[int, int]
    policies: tuple[Setup, ...] = (tracking(),)
    bounds: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Minimum and maximum set at the beginning of a minute; 1 to 20 before."""

    deployed: int | None = None
    """A minute at whose beginning somebody deploys, which takes six minutes and keeps the count."""


def load(*values: float | None) -> dict[str, Values]:
    return {"load": [*values]}


def steps(*values: float | None) -> dict[str, Values]:
    return {"steps": [*values]}


BOTH = (tracking(), tracking(metric="other"))
OUT = stepping((0, 50, 1), (50, None, 3))
IN = stepping((None, -50, -2), (-50, 0, -1), operator="LessThanThreshold")


def percent(change: int, **options: Any) -> Setup:
    bounds = (0, None, change) if change > 0 else (None, 0, change)
    operator = "GreaterThanOrEqualToThreshold" if change > 0 else "LessThanThreshold"
    return stepping(bounds, operator=operator, AdjustmentType="PercentChangeInCapacity", **options)


ROWS = [
    # counting
    Row("unverified 2.1", "three high minutes: 2 x 1.6 = 3.2", 2, load(*[160] * 3), {2: 4}),
    Row("unverified 2.1", "two are not enough, and a good one starts the count anew", 2, load(160, 160, 95, 160, 160, 95), {}),
    Row("unverified 2.1", "fifteen low minutes: 10 x 0.55 = 5.5", 10, load(*[55] * 15), {14: 6}),
    Row("unverified 2.1", "fourteen are not enough", 10, load(*[55] * 14, 91, *[55] * 14), {}),
    Row("unverified 2.1", "low is below 0.9 x target, not at it", 10, load(*[90] * 30), {}),
    Row("unverified 2.1", "just below: 10 x 0.89 = 8.9", 10, load(*[89] * 15), {14: 9}),
    Row("documented 2.1", "high is above the target, not at it", 2, load(*[100] * 30), {}),
    Row("documented 2.8", "an alarm acts each minute while it lasts, cooldown 0", 2, load(*[150] * 10), {2: 3, 9: 5}, (tracking(ScaleOutCooldown=0),)),
    # size
    Row("unverified 2.2", "proportional, rounded up: 3 x 1.01 = 3.03", 3, load(*[101] * 3), {2: 4}),
    Row("documented 2.2", "not in where one fewer would exceed the target: 2 x 0.55 = 1.1", 2, load(*[55] * 40), {}),
    Row("documented 1.3", "not above the maximum", 4, load(*[300] * 3), {2: 5}, bounds={0: (1, 5)}),
    Row("documented 1.3", "not below the minimum", 4, load(*[10] * 15), {14: 3}, bounds={0: (3, 20)}),
    # cooldowns
    Row("documented 2.3", "out: the same again waits until 2 + 12: 3 x 1.5 = 4.5", 2, load(*[150] * 15), {2: 3, 14: 5}),
    Row("inferred 2.3", "out: it begins when the instances serve, not with the order", 2, load(*[150] * 14), {2: 3}),
    Row("documented 2.3", "out: a larger one passes, what was added counts: 2 x 2.4 = 4.8", 2, load(*[150] * 10, 240), {2: 3, 10: 5}),
    Row("documented 2.3", "in: the next waits until 14 + 7: 8 x 0.8 = 6.4", 10, load(*[80] * 22), {14: 8, 21: 7}),
    Row("documented 2.3", "in: a minute less", 10, load(*[80] * 21), {14: 8}),
    Row("documented 2.3", "in: a scale-out ends it: an hour's is gone at 34", 10, load(*[80] * 17, *[110] * 3, *[50] * 16), {14: 8, 19: 9, 34: 5}, (tracking(ScaleInCooldown=3600, ScaleOutCooldown=0),)),
    Row("documented 1.5", "steps: a larger step during the cooldown adds the difference: 2 + 3, one of which is there", 2, steps(*[110] * 8, 160), {0: 3, 8: 5}, (OUT,)),
    # several policies
    Row("documented 2.4", "out: one is enough", 4, {"load": [150] * 3, "other": [95] * 3}, {2: 6}, BOTH),
    Row("documented 2.4", "out: the largest wins, max(6, 8)", 4, {"load": [150] * 3, "other": [200] * 3}, {2: 8}, BOTH),
    Row("documented 2.4", "in: one that does not agree holds it back", 4, {"load": [50] * 20, "other": [95] * 20}, {}, BOTH),
    Row("documented 2.4", "in: all agree, the largest wins, max(2, 2.8)", 4, {"load": [50] * 15, "other": [70] * 15}, {14: 3}, BOTH),
    Row("documented 2.4", "in: one that may not scale in is not asked", 4, {"load": [50] * 15, "other": [95] * 15}, {14: 2}, (tracking(), tracking(metric="other", DisableScaleIn=True))),
    Row("documented 2.4", "in: a step policy asks nobody", 4, {"load": [95] * 2, "steps": [90, 100]}, {0: 3}, (tracking(), IN)),
    # missing data
    Row("inferred 2.5", "in: a silent metric holds it back", 4, {"load": [10] * 20, "other": []}, {}, BOTH),
    Row("documented 2.4", "out: a silent metric does not", 4, {"load": [150] * 3, "other": []}, {2: 6}, BOTH),
    Row("documented 2.8", "a gap in the evaluation range is passed over: three of the last five", 2, load(95, 160, None, 160, 160), {4: 4}),
    Row("documented 2.8", "the same in fifteen of the last seventeen", 10, load(95, *[55] * 10, None, *[55] * 5), {16: 6}),
    Row("documented 2.5", "silence alone moves nothing", 4, load(*[95] * 3, *[None] * 30), {}),
    # steps
    Row("documented 1.5", "above: the lower bound belongs to the step", 2, steps(150), {0: 5}, (OUT,)),
    Row("documented 1.5", "above: the upper does not", 2, steps(149.9), {0: 3}, (OUT,)),
    Row("documented 1.5", "at the threshold, distance 0", 2, steps(100), {0: 3}, (OUT,)),
    Row("documented 1.5", "below: the upper bound belongs to the step", 6, steps(50), {0: 4}, (IN,)),
    Row("documented 1.5", "below: the lower does not", 6, steps(50.1), {0: 5}, (IN,)),
    Row("documented 1.5", "exact capacity", 6, steps(120), {0: 9}, (stepping((0, None, 9), AdjustmentType="ExactCapacity"),)),
    # percentages of four
    Row("documented 1.5", "30 % of 4 = 1.2, rounds down to 1", 4, steps(120), {0: 5}, (percent(30),)),
    Row("documented 1.5", "60 % of 4 = 2.4, rounds down to 2", 4, steps(120), {0: 6}, (percent(60),)),
    Row("documented 1.5", "10 % of 4 = 0.4, becomes 1", 4, steps(120), {0: 5}, (percent(10),)),
    Row("documented 1.5", "-10 % of 4 = -0.4, becomes -1", 4, steps(80), {0: 3}, (percent(-10),)),
    Row("documented 1.5", "-60 % of 4 = -2.4, rounds towards zero", 4, steps(80), {0: 2}, (percent(-60),)),
    Row("documented 1.5", "at least MinAdjustmentMagnitude", 4, steps(120), {0: 7}, (percent(10, MinAdjustmentMagnitude=3),)),
    # bounds
    Row("documented 2.6", "a minimum above the count scales out at once", 2, load(*[95] * 5), {3: 6}, bounds={3: (6, 20)}),
    Row("documented 2.6", "a maximum below the count scales in at once", 8, load(*[95] * 5), {3: 5}, bounds={3: (1, 5)}),
    Row("documented 2.6", "a minimum at or below the count does nothing", 4, load(*[95] * 9), {}, bounds={3: (4, 20), 5: (2, 20)}),
    Row("documented 2.3", "bounds know no cooldown: 3 instances since 9, raised at 11", 2, load(*[150] * 12), {2: 3, 11: 7}, bounds={11: (7, 20)}),
    Row("inferred 2.3", "and begin none: at 9 four are there, and the 200 of two is still read: 4 x 2", 2, load(*[95] * 3, *[200] * 8), {3: 4, 9: 8}, bounds={3: (4, 20)}),
    # one change at a time
    Row("documented 2.7", "while the endpoint changes nothing is ordered, then at once: 4 x 2", 4, load(*[200] * 8), {6: 8}, deployed=0),
    Row("unverified 2.7", "a minimum raised meanwhile binds with the next order", 4, load(*[95] * 8, *[110] * 3), {10: 9}, bounds={2: (9, 20)}, deployed=0),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.tag}: {row.name}")
def test_minute_by_minute(row: Row) -> None:
    account = realtime_account(count=row.start)
    register(account, 1, 20)
    for put in row.policies:
        put(account)
    orders: dict[int, int] = {}
    for minute in range(max(len(values) for values in row.metrics.values())):
        _, before = count(account)
        if minute == row.deployed:
            account.deploy("ranker", row.start)
        if minute in row.bounds:
            register(account, *row.bounds[minute])
        for name, values in row.metrics.items():
            if minute < len(values) and (value := values[minute]) is not None:
                newest = account.cloudwatch.newest_minute + 1
                account.cloudwatch.store.put(metric_key("Test", name, DIMENSIONS), newest, sample(value))
        account.advance()
        if count(account)[1] != before:
            orders[minute] = count(account)[1]
    assert orders == row.orders


def test_every_row_says_what_it_rests_on() -> None:
    assert {row.tag.split(" ")[0] for row in ROWS} == {"documented", "inferred", "unverified"}
