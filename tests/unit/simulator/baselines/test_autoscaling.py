"""The fast Application Auto Scaling, minute by minute, and against the full model of the service.

Target 100 requests per instance. What a minute brings can be read when two more are over: with a load that begins in
minute 0, the third high minute (2) is seen at the beginning of minute 5. Tags: what AWS documents, what follows from
it, and what is only believed (facts 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.account import SimulatedAccount
from simulator.baselines import run
from simulator.baselines.autoscaling import AutoScaling, TargetTracking
from simulator.baselines.aws import per_instance
from simulator.baselines.stage import Stage
from simulator.cases import Case
from simulator.traces import read_trace
from simulator.workload import RealtimeWorkload
from tests.unit.simulator.baselines.cases import START, minutes, realtime
from tests.unit.simulator.worlds import VARIANT, register

TRACES = Path(__file__).parents[4] / "traces"


@dataclass
class Floors:
    """A scaler with MinCapacity moved by somebody; minute -> floor."""

    scaler: AutoScaling
    at: dict[int, int]

    def decide(self, now: int, seen: int) -> None:
        self.scaler.decide(now, seen)
        if now in self.at:
            self.scaler.set_minimum(now, self.at[now])


def played(case: Case, count: int, target: float = 100.0, floors: dict[int, int] | None = None) -> Stage:
    stage = Stage(case, count)
    scaler = AutoScaling(stage, [TargetTracking(per_instance(stage), target)])
    stage.play(Floors(scaler, floors or {}), "test", "")
    return stage


@dataclass
class Row:
    """Load from `count` instances, and the orders it leads to: minute -> capacity."""

    source: str
    name: str
    count: int
    load: Sequence[int]
    orders: dict[int, int]
    floors: dict[int, int] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)


ROWS = [
    Row("unverified 2.1", "two high minutes are not enough", 2, minutes((2, 320), (20, 190)), {}),
    Row("unverified 2.1", "a good minute between starts the count anew", 2, minutes((2, 320), (1, 190), (3, 320), (9, 190)), {8: 4}),
    Row("unverified 2.1", "14 low minutes are not enough", 10, minutes((14, 550), (20, 950)), {}),
    Row("unverified 2.1", "15 low minutes scale in: 10 x 55 / 100", 10, minutes((18, 550)), {17: 6}),
    Row("unverified 2.1", "a minute in the band starts the low count anew", 10, minutes((14, 550), (1, 900), (17, 550)), {32: 6}),
    Row("documented 2.2", "between 90 and 100 nothing moves", 10, minutes((40, 910)), {}),
    Row("documented 2.2", "three high minutes scale out in proportion, rounded up: 2 x 1.6", 2, minutes((12, 320)), {5: 4}),
    Row("documented 2.2", "not in, if one fewer would run at 110", 2, minutes((40, 110)), {}),
    Row("documented 1.3", "not above the maximum", 2, minutes((60, 900)), {5: 4}, fields={"maximum": 4}),
    Row("documented 1.3", "not below the minimum", 3, minutes((60, 0)), {17: 2}, fields={"minimum": 2}),
    # Two have become three in minute 11, which is seen at 12: the cooldown lasts until 17. At 14 the load of minute 11
    # is seen, 330 / 3: nothing but the cooldown forbids 3 x 1.1.
    Row("documented 2.3", "the cooldown starts when the instances are there", 2, minutes((11, 300), (7, 330)), {5: 3, 17: 4}),
    # At 12 minute 9 is seen: 420 / 2 = 210. From the two before the scale-out that makes 5, not 7 from three.
    Row("documented 2.3", "a larger scale-out passes, what was added counts", 2, minutes((6, 300), (12, 420)), {5: 3, 12: 5}),
    # Ten have become six in minute 18, seen at 19: no further until 24, where 200 / 6 = 33 asks for 6 x 33 / 100 = 2.
    Row("documented 2.3", "a scale-in waits for the cooldown of the last", 10, minutes((17, 550), (10, 200)), {17: 6, 24: 2}),
    # At 9 minute 6 is seen: 900 / 2. Nothing until the change of minute 5 is through, then nine from two at once.
    Row("documented 2.7", "one change at a time", 2, minutes((6, 300), (12, 900)), {5: 3, 12: 9}),
    Row("documented 2.6", "a minimum above the count scales out at once", 2, minutes((12, 150)), {3: 4}, {3: 4}),
    Row("documented 2.6", "a lower minimum changes nothing by itself", 4, minutes((12, 380)), {}, {3: 2}, {"minimum": 4}),
    # 600 / 2 = 300 is still read when four are there; no cooldown hides it, so 4 x 3.
    Row("inferred 2.3", "a raised minimum starts no cooldown", 2, minutes((12, 600)), {3: 4, 10: 12}, {3: 4}),
    # At 7 the change to three is under way, so five are not ordered; at 12 tracking asks for 2 x 360 / 2 / 100, four.
    Row("inferred 2.7", "a minimum raised during a change binds with the next one", 2, minutes((9, 300), (40, 360)), {5: 3, 12: 5}, {7: 5}),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.source}: {row.name}")
def test_minute_by_minute(row: Row) -> None:
    stage = played(realtime(row.load, **row.fields), row.count, floors=row.floors)
    assert dict(stage.orders) == row.orders


def test_billing_runs_from_the_order_until_the_instances_are_gone() -> None:
    stage = Stage(realtime(minutes((12, 320), (40, 0))), 2)
    course = stage.play(AutoScaling(stage, [TargetTracking(per_instance(stage), 100.0)]), "test", "")
    # two until the order of minute 5, four from there though they serve from 11; low from 11, seen 15 times at 28
    assert course.billed.tolist() == minutes((5, 2), (24, 4), (23, 1))
    assert course.ready.tolist() == minutes((11, 2), (18, 4), (23, 1))
    assert course.orders.tolist() == [5, 28]


def test_a_scale_out_ends_the_cooldown_of_a_scale_in() -> None:
    # documented (2.3); seen only where that cooldown outlasts a scale-out: 40 minutes, from 19 to 59
    stage = Stage(realtime(minutes((17, 550), (5, 1200), (40, 550)), provisioning=2), 10)
    stage.play(AutoScaling(stage, [TargetTracking(per_instance(stage), 100.0, cooldown_in=40)]), "test", "")
    # 6 x 200 / 100 at 22; twelve serve from 24 on, where 550 / 12 is low: seen 15 times at 41
    assert dict(stage.orders) == {17: 6, 22: 12, 41: 6}


# --- against the full model -------------------------------------------------------------------------------------------


def in_the_full_model(case: Case, count: int, target: float, floors: dict[int, int]) -> tuple[list[int], list[int]]:
    """Ready and desired instances of each minute, as the simulated account has them."""
    account = SimulatedAccount(START, record_calls=False)
    account.cloudwatch.lag = timedelta(minutes=case.lag)
    workload = RealtimeWorkload(per_minute_requests=case.requests.tolist(), capacity_per_instance=case.capacity)
    account.add_endpoint(
        name="ranker",
        workload=workload,
        instance_count=count,
        provisioning_delay=timedelta(minutes=case.provisioning),
        removal_delay=timedelta(minutes=case.removal),
    )
    register(account, case.minimum, case.maximum)
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    configuration: Any = {"TargetValue": target, "PredefinedMetricSpecification": metric}
    account.client("application-autoscaling").put_scaling_policy(
        **VARIANT,
        PolicyName="requests",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=configuration,
    )
    for minute in range(len(case.requests)):
        if minute in floors:
            register(account, floors[minute], case.maximum)
        account.advance()
    return workload.history.ready, workload.history.desired


def desired(stage: Stage) -> list[int]:
    """Instances asked for in each minute."""
    counts, asked = [], dict(stage.orders)
    count = stage.ready[0]
    for minute in range(len(stage.ready)):
        count = asked.get(minute, count)
        counts.append(count)
    return counts


loads = st.lists(
    st.tuples(st.integers(1, 25), st.sampled_from([0, 90, 100, 150, 270, 330, 495, 777, 1500])), min_size=1, max_size=12
).map(lambda runs: minutes(*runs))


@settings(deadline=None, max_examples=60)
@given(
    loads,
    st.integers(1, 8),
    st.sampled_from([50.0, 70.0, 100.0]),
    st.dictionaries(st.integers(1, 80), st.integers(1, 6), max_size=3),
    st.fixed_dictionaries({"provisioning": st.integers(1, 9), "removal": st.integers(1, 3), "lag": st.integers(0, 3)}),
)
def test_equals_the_full_model_of_the_service(
    load: list[int], count: int, target: float, floors: dict[int, int], clockwork: dict[str, int]
) -> None:
    case = realtime(load, maximum=12, **clockwork)
    stage = played(case, count, target, floors)
    assert (stage.ready, desired(stage)) == in_the_full_model(case, count, target, floors)


def test_equals_the_full_model_on_a_day_of_real_traffic() -> None:
    day = read_trace(TRACES / "servegen_small_c31.csv").slice(START + timedelta(days=2), 24)
    case = realtime(day.requests.tolist(), capacity=330.0)
    course = run("aas-target-tracking", "0.7", case)
    ready, asked = in_the_full_model(case, case.first_count(), 0.7 * 330.0, {})
    assert course.ready.tolist() == ready
    assert course.billed.tolist() == [max(pair) for pair in zip(ready, asked, strict=True)]
    assert len(course.orders) > 20
