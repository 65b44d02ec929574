"""The rules of Kubernetes at one look a minute.

An instance is meant to get 100 requests a minute (or, of a queue, five messages). What minute m brings is seen at the
beginning of minute m + 3. Tags: documented by the project in question, inferred from that, unverified.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from simulator.baselines.kubernetes import Hpa, Keda, Kpa
from simulator.baselines.stage import Scaler, Stage
from tests.unit.simulator.baselines.cases import minutes, queue, realtime


@dataclass
class Row:
    """Load from `count` instances, and the orders it leads to: minute -> capacity."""

    source: str
    name: str
    count: int
    load: Sequence[int | None]
    orders: dict[int, int]
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of the case (and of KEDA) that are not the default."""


def names(row: Row) -> str:
    return f"{row.source}: {row.name}"


def played(stage: Stage, scaler: Scaler) -> dict[int, int]:
    stage.play(scaler, "test", "")
    return dict(stage.orders)


# Changes take a minute here, so that the rule itself is seen.
HPA_ROWS = [
    Row("documented", "10 % above the target is tolerated", 10, minutes((20, 1100)), {}),
    Row("documented", "11 % is not: ceil(11.1)", 10, minutes((5, 1110)), {3: 12}),
    Row("documented", "10 % below is tolerated", 10, minutes((20, 900)), {}),
    Row("documented", "the newest reading scales out at once", 2, minutes((5, 210), (1, 290)), {}, {}),
    Row("documented", "... in the minute in which it is seen", 2, minutes((5, 210), (5, 290)), {8: 3}),
    # 400 is seen at 8 for the first time; at 12 the 10 of minute 7 is still among the last 300 s
    Row("documented", "in only when no proposal of 300 s was higher", 10, minutes((5, 1000), (15, 400)), {13: 4}),
    Row("documented", "... to the highest of them", 10, minutes((5, 1000), (2, 400), (1, 700), (4, 400), (9, 200)), {13: 7, 16: 4, 20: 2}),
    Row("documented", "four pods or as many again each 15 s, four times a minute", 1, minutes((9, 9000)), {3: 40, 5: 90}),
    Row("documented", "never to zero", 3, minutes((20, 0)), {9: 1}, {"minimum": 0}),
    Row("documented", "not above the maximum", 3, minutes((20, 900)), {3: 5}, {"maximum": 5}),
    # order at 3, served from 9; what is seen meanwhile changes nothing
    Row("inferred", "an endpoint takes one change at a time", 2, minutes((5, 300), (15, 600)), {3: 3, 10: 6}, {"provisioning": 6}),
]  # fmt: skip


@pytest.mark.parametrize("row", HPA_ROWS, ids=names)
def test_hpa(row: Row) -> None:
    load = [count or 0 for count in row.load]
    stage = Stage(realtime(load, **{"provisioning": 1, **row.options}), row.count)
    assert played(stage, Hpa(stage, lambda minute: load[minute], 100.0)) == row.orders


def test_hpa_holds_without_a_metric() -> None:
    stage = Stage(realtime([900] * 9), 2)
    assert played(stage, Hpa(stage, lambda _: None, 100.0)) == {}


# The length of the queue is given, None where it cannot be read.
KEDA_ROWS = [
    Row("documented", "one message wakes the first replica", 0, [0, 0, 1], {5: 1}),
    Row("documented", "as many as the activation threshold do not", 0, [3] * 9, {}, {"activation": 3}),
    Row("documented", "one more does", 0, [3, 3, 4], {5: 1}, {"activation": 3}),
    # one from 4 on; then ceil(23 / 5)
    Row("documented", "then the autoscaler: a replica for each five", 0, [23] * 9, {3: 1, 5: 5}),
    # active for the last time at 4; the cooldown of 300 s is over after 9
    Row("documented", "the last replica stays for the cooldown", 1, [4, 4, *[0] * 20], {10: 0}),
    Row("documented", "to zero from any number, not by way of one", 6, [30, 30, *[0] * 20], {10: 0}),
    Row("documented", "a message begins the cooldown anew", 1, [4, 0, 0, 0, 4, *[0] * 20], {13: 0}),
    Row("documented", "not below the minimum", 2, [10, *[0] * 20], {9: 1}, {"minimum": 1}),
    Row("documented", "a failure is not an empty queue", 3, [15, *[None] * 20], {}),
    Row("documented", "after three failures in a row, the fallback", 3, [15, *[None] * 20], {6: 6}, {"fallback": 6}),
    Row("documented", "two failures are none", 3, [15, None, None, 15, None, None, 15], {}, {"fallback": 6}),
]


@pytest.mark.parametrize("row", KEDA_ROWS, ids=names)
def test_keda(row: Row) -> None:
    rule = {key: value for key, value in row.options.items() if key in ("activation", "fallback")}
    fields = {"provisioning": 1, "provisioning_from_zero": 1, "minimum": row.options.get("minimum", 0)}
    lengths = [*row.load, None, None]
    stage = Stage(queue([0] * (len(row.load) + 2), **fields), row.count)
    scaler = Keda(stage, lambda minute: lengths[minute], 5.0, **rule)
    assert played(stage, scaler) == row.orders


# Two ready pods are meant to carry 200: panic begins at four.
KPA_ROWS = [
    Row("documented", "the mean of the minute, rounded up", 2, minutes((1, 100), (5, 210)), {3: 1, 5: 3}),
    Row("documented", "in at once when calm", 3, minutes((2, 250), (5, 200)), {5: 2}),
    # three from two is no panic: at 7 it is back to two
    Row("documented", "150 % is no panic", 2, minutes((2, 300), (2, 200), (5, 200)), {3: 3, 5: 2}),
    # 400 is seen at 3 and 4, where two are ready; at 5, a stable window after, still panic; at 6 it is over
    Row("documented", "200 % is: no scale-in until a stable window after", 2, minutes((2, 400), (5, 200)), {3: 4, 6: 2}),
    # 900 is seen at 4, while the change to four is under way; in panic it still counts at 5, at 6 no longer
    Row("documented", "in panic the highest counts", 2, minutes((1, 400), (1, 900), (9, 200)), {3: 4, 5: 9, 7: 4, 9: 2}),
    Row("documented", "at most down to half", 8, minutes((9, 100)), {3: 4, 5: 2, 7: 1}),
    Row("documented", "the last pod goes after the window and the grace period", 1, minutes((3, 50), (9, 0)), {7: 0}, {"minimum": 0}),
    Row("documented", "not where the minimum is one", 1, minutes((3, 50), (9, 0)), {}),
    Row("documented", "from zero with the first request", 0, minutes((3, 0), (3, 250)), {6: 3}, {"minimum": 0}),
]  # fmt: skip


@pytest.mark.parametrize("row", KPA_ROWS, ids=names)
def test_knative(row: Row) -> None:
    fields = {"provisioning": 1, "provisioning_from_zero": 1, **row.options}
    stage = Stage(realtime([count or 0 for count in row.load], **fields), row.count)
    assert played(stage, Kpa(stage, 100.0)) == row.orders


def test_knative_with_a_longer_window_sees_the_mean_of_it() -> None:
    # documented: autoscaling.knative.dev/window; at 11 it holds 300 once and 150 four times: 180
    stage = Stage(realtime(minutes((5, 300), (9, 150)), provisioning=1), 3)
    assert played(stage, Kpa(stage, 100.0, window=5)) == {11: 2}


def test_panic_looks_at_the_newest_minute_alone() -> None:
    # documented: panic-window-percentage; at 8 the window holds 100 four times and 500 once, 180, and the newest is 500
    stage = Stage(realtime(minutes((5, 100), (1, 500), (3, 100)), provisioning=1), 1)
    assert played(stage, Kpa(stage, 100.0, window=5)) == {8: 5}
